//! Inputs, one after the other: from the corpus, changed, or new.

use fastrand::Rng;
use ringmq_fuzz::{Input, Target};

use super::mutate::{change_steps, change_stream, put_step, random_bytes, sensible_steps};
use super::seeds::Conversation;

/// Inputs kept of one slice.
const CORPUS_MAX: usize = 4_096;
/// Bytes of one input.
const INPUT_MAX: usize = 1_024;
/// Choices beyond this would not be taken.
const CHOICES_MAX: usize = 256;

/// So many of 256 inputs are new.
const NEW_OF_256: u8 = 40;

/// Lives on: one slice of one body.
pub(super) struct Inputs {
    kind: Input,
    rng: Rng,
    corpus: Vec<Vec<u8>>,
    input: Vec<u8>,
}

impl Inputs {
    pub(super) fn new(target: &Target, seed: u64, slice: u64, seeds: &[Conversation]) -> Self {
        let name = target.name.bytes().fold(0u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let rng = Rng::with_seed(seed ^ name.rotate_left(32) ^ slice.wrapping_mul(0x9E37_79B9));
        let corpus = match target.input {
            Input::Choices => Vec::new(),
            Input::Stream => stream_seeds(seeds),
            Input::Steps => seeds.iter().map(steps).collect(),
        };
        Self {
            kind: target.input,
            rng,
            corpus,
            input: Vec::new(),
        }
    }

    /// The seeds come first, as they are.
    pub(super) fn next_input(&mut self, iteration: u64) -> &[u8] {
        let (rng, input) = (&mut self.rng, &mut self.input);
        input.clear();
        let seed = usize::try_from(iteration).ok();
        if let Some(seed) = seed.and_then(|index| self.corpus.get(index)) {
            input.extend_from_slice(seed);
        } else if self.corpus.is_empty() || rng.u8(..) < NEW_OF_256 {
            match self.kind {
                Input::Choices => random_bytes(rng, CHOICES_MAX, input),
                Input::Stream => random_bytes(rng, 48, input),
                Input::Steps => sensible_steps(rng, input),
            }
        } else {
            input.extend_from_slice(rng.choice(&self.corpus).map_or(&[][..], Vec::as_slice));
            match self.kind {
                Input::Steps => change_steps(rng, &self.corpus, input),
                Input::Stream => change_stream(rng, &self.corpus, input, true),
                Input::Choices => change_stream(rng, &self.corpus, input, false),
            }
        }
        input.truncate(match self.kind {
            Input::Choices => CHOICES_MAX,
            Input::Stream | Input::Steps => INPUT_MAX,
        });
        input
    }

    /// The last input showed something new.
    pub(super) fn keep(&mut self) {
        if self.corpus.len() < CORPUS_MAX {
            self.corpus.push(self.input.clone());
        } else {
            let index = self.rng.usize(..CORPUS_MAX);
            self.corpus[index].clone_from(&self.input);
        }
    }

    pub(super) fn corpus_len(&self) -> usize {
        self.corpus.len()
    }
}

/// Each step of the table by itself, and all that one client sends in a row; each once.
fn stream_seeds(seeds: &[Conversation]) -> Vec<Vec<u8>> {
    let mut streams = Vec::new();
    for conversation in seeds {
        for client in 0..4 {
            let sends = conversation.sends.iter();
            let own = sends.filter(|(sender, _)| *sender == client);
            let own: Vec<&[u8]> = own.map(|(_, bytes)| bytes.as_slice()).collect();
            streams.push(own.concat());
            streams.extend(own.into_iter().map(<[u8]>::to_vec));
        }
    }
    streams.retain(|stream| (1..=INPUT_MAX).contains(&stream.len()));
    streams.sort();
    streams.dedup();
    streams
}

fn steps(conversation: &Conversation) -> Vec<u8> {
    let mut input = Vec::new();
    for (client, bytes) in &conversation.sends {
        put_step(*client, bytes, &mut input);
    }
    input
}
