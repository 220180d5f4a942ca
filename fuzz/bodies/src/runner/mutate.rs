//! Changes to inputs.

use fastrand::Rng;
use ringmq_fuzz::steps::{steps, STEP_BYTES_MAX};

/// Values at the borders of what the protocol can say, and pieces that mean something in it.
const INTERESTING: &[&[u8]] = &[
    &[0],
    &[1],
    &[0x7F],
    &[0x80],
    &[0xFF],
    &[0, 0],
    &[0, 1],
    &[0xFF, 0xFF],
    &[0x80, 0x01],
    &[0x80, 0x00],
    &[0xFF, 0x7F],
    &[0xFF, 0xFF, 0xFF, 0x7F],
    &[0x80, 0x80, 0x80, 0x80],
    &[0, 0, 0, 0],
    &[0xFF, 0xFF, 0xFF, 0xFF],
    b"#",
    b"+",
    b"/",
    b"/#",
    b"+/",
    b"$SYS",
    b"$share/g/",
    b"\0\x01t",
    b"\0\x01#",
    b"\xC3\xA4",
    b"\xED\xA0\x80",
    b"\xEF\xBB\xBF",
    b"\xF4\x90\x80\x80",
    // Properties: identifier and a value.
    &[0x01, 1],
    &[0x02, 0, 0, 0, 1],
    &[0x0B, 1],
    &[0x11, 0, 0, 0, 9],
    &[0x21, 0, 1],
    &[0x22, 0, 2],
    &[0x23, 0, 1],
    &[0x26, 0, 1, b'k', 0, 1, b'v'],
    &[0x27, 0, 0, 0, 40],
    // Whole packets.
    &[0x40, 2, 0, 1],
    &[0x50, 2, 0, 1],
    &[0x62, 2, 0, 1],
    &[0x70, 2, 0, 1],
    &[0xC0, 0],
    &[0xE0, 0],
];

pub(super) fn random_bytes(rng: &mut Rng, longest: usize, into: &mut Vec<u8>) {
    let length = rng.usize(..=longest);
    let start = into.len();
    into.resize(start + length, 0);
    rng.fill(&mut into[start..]);
}

/// A few changes; `has_packets`: the bytes are packets whose lengths should mostly be right.
pub(super) fn change_stream(
    rng: &mut Rng,
    corpus: &[Vec<u8>],
    input: &mut Vec<u8>,
    has_packets: bool,
) {
    if has_packets && rng.u8(..) < 64 {
        for _ in 0..rng.usize(1..4) {
            if let Some(other) = rng.choice(corpus) {
                input.extend_from_slice(other);
            }
        }
    }
    for _ in 0..rng.usize(0..5) {
        change(rng, corpus, input);
    }
    if has_packets && rng.u8(..) < 192 {
        mend_length(input);
    }
}

fn change(rng: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    if input.is_empty() {
        random_bytes(rng, 16, input);
        return;
    }
    let at = rng.usize(..input.len());
    let end = (at + rng.usize(1..9)).min(input.len());
    match rng.u8(..10) {
        0 => input[at] ^= 1 << rng.u8(..8),
        1 => input[at] = rng.u8(..),
        2 => insert(input, at, rng.choice(INTERESTING).copied().unwrap_or(&[])),
        3 => {
            let value = rng.choice(INTERESTING).copied().unwrap_or(&[]);
            let length = value.len().min(input.len() - at);
            input[at..at + length].copy_from_slice(&value[..length]);
        }
        4 => drop(input.drain(at..end)),
        5 => {
            let piece = input[at..end].to_vec();
            insert(input, at, &piece);
        }
        6 => splice(rng, corpus, input, at),
        // Lengths: one more or less than it was.
        7 => input[at] = input[at].wrapping_add(1),
        8 => input[at] = input[at].wrapping_sub(1),
        _ => input.truncate(at),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Puts the end of another input after the start of this one, or a piece of it into this one.
fn splice(rng: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>, at: usize) {
    let Some(other) = rng.choice(corpus).filter(|other| !other.is_empty()) else {
        return;
    };
    let from = rng.usize(..other.len());
    if rng.bool() {
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    } else {
        let to = (from + rng.usize(1..33)).min(other.len());
        insert(input, at, &other[from..to]);
    }
}

/// Makes the remaining length of the first packet what follows it. A length of several bytes is
/// replaced by one that is right.
fn mend_length(input: &mut Vec<u8>) {
    if input.len() < 2 {
        return;
    }
    let old = 1 + input[1..]
        .iter()
        .take(3)
        .take_while(|&&byte| byte >= 0x80)
        .count();
    let header = (1 + old).min(input.len());
    let mut length = input.len() - header;
    let mut encoded = Vec::with_capacity(4);
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        encoded.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    input.splice(1..header, encoded);
}

/// Appends one step, see [`ringmq_fuzz::steps`].
pub(super) fn put_step(kind: u8, bytes: &[u8], into: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(STEP_BYTES_MAX)];
    into.push(kind);
    into.extend((bytes.len() as u16).to_le_bytes());
    into.extend_from_slice(bytes);
}

/// A step in which a client sends packets that make sense (see the body `world`), out of random
/// choices.
fn sensible_step(rng: &mut Rng) -> (u8, Vec<u8>) {
    const SPEAK: u8 = 6 << 2;
    let mut bytes = Vec::new();
    random_bytes(rng, 32, &mut bytes);
    (SPEAK | rng.u8(..) & !(7 << 2), bytes)
}

/// A new input of such steps.
pub(super) fn sensible_steps(rng: &mut Rng, into: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..10) {
        let (kind, bytes) = sensible_step(rng);
        put_step(kind, &bytes, into);
    }
}

/// Changes the order of steps and what is in them.
pub(super) fn change_steps(rng: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    let mut all: Vec<(u8, Vec<u8>)> = steps(input)
        .map(|(kind, bytes)| (kind, bytes.to_vec()))
        .collect();
    for _ in 0..rng.usize(1..5) {
        if all.is_empty() || rng.u8(..) < 40 {
            // Steps of another input, at the end or in between.
            let other = rng.choice(corpus).map_or(&[][..], Vec::as_slice);
            let at = if rng.bool() {
                all.len()
            } else {
                rng.usize(..=all.len())
            };
            let more = steps(other).map(|(kind, bytes)| (kind, bytes.to_vec()));
            all.splice(at..at, more);
            continue;
        }
        let at = rng.usize(..all.len());
        match rng.u8(..10) {
            8 | 9 => all.insert(at, sensible_step(rng)),
            0 => drop(all.remove(at)),
            1 => all.insert(at, all[at].clone()),
            2 => {
                let to = rng.usize(..all.len());
                all.swap(at, to);
            }
            3 => all[at].0 = rng.u8(..),
            4 => all[at].0 ^= 1 << rng.u8(..8),
            _ => change_stream(rng, &[], &mut all[at].1, true),
        }
    }
    input.clear();
    for (kind, bytes) in &all {
        put_step(*kind, bytes, input);
    }
}
