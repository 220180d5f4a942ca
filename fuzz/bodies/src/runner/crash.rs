//! An input that fails: minimised, written, shown.
//!
//! Everything happens in the panic hook, in the thread that panics, because the broker's release
//! profile aborts on panic; smaller inputs are tried in processes of their own.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use ringmq::mutant::Mutant;
use ringmq_fuzz::steps::steps;
use ringmq_fuzz::{Input, Target};

use super::mutate::put_step;
use super::Plan;

/// Processes started to make one input smaller.
const TRIES_MAX: usize = 600;

/// The input a worker is at.
#[derive(Default)]
pub(super) struct Current {
    target: Option<Target>,
    /// Slice and iteration in it.
    at: (u64, u64),
    seed: u64,
    mutant: Option<Mutant>,
    input: Vec<u8>,
}

impl Current {
    pub(super) fn set(&mut self, target: &Target, at: (u64, u64), plan: &Plan, input: &[u8]) {
        self.target = Some(*target);
        self.at = at;
        self.seed = plan.seed;
        self.mutant = plan.mutant;
        self.input.clear();
        self.input.extend_from_slice(input);
    }

    pub(super) fn clear(&mut self) {
        self.target = None;
    }

    /// Body, slice and iteration; `None` between slices.
    pub(super) fn place(&self) -> Option<(&'static str, u64, u64)> {
        self.target
            .map(|target| (target.name, self.at.0, self.at.1))
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Mutex<Current>>>> = const { RefCell::new(None) };
}

/// Only the first thread that fails reports.
static REPORTING: Mutex<()> = Mutex::new(());

pub(super) fn set_current(current: &Arc<Mutex<Current>>) {
    CURRENT.set(Some(Arc::clone(current)));
}

pub(super) fn install_hook() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let _reporting = REPORTING.lock().unwrap_or_else(PoisonError::into_inner);
        default(info);
        let current = CURRENT.with_borrow(Clone::clone);
        if let Some(current) = current {
            report(
                &current.lock().unwrap_or_else(PoisonError::into_inner),
                true,
            );
        }
    }));
}

/// An input never came to an end.
pub(super) fn report_hang(current: &Mutex<Current>) {
    let _reporting = REPORTING.lock().unwrap_or_else(PoisonError::into_inner);
    eprintln!("this input takes too long");
    report(
        &current.lock().unwrap_or_else(PoisonError::into_inner),
        false,
    );
}

/// Writes and shows the input, then ends the process.
fn report(current: &Current, minimise: bool) {
    let Some(target) = current.target else {
        return;
    };
    let (slice, iteration) = current.at;
    let mut input = current.input.clone();
    let before = input.len();
    if minimise {
        input = smaller(&target, current.mutant, input);
    }
    let path = write(&target, &input);
    let hex = input.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    println!(
        "{}: FAILED at iteration {iteration} of slice {slice}, seed {}",
        target.name, current.seed
    );
    println!("{} bytes, before {before}: {hex}", input.len());
    let mutant = current
        .mutant
        .map_or(String::new(), |mutant| format!(" --mutant {mutant:?}"));
    let profile = if cfg!(debug_assertions) {
        "--profile fuzz"
    } else {
        "--release"
    };
    println!(
        "cargo run {profile} -p ringmq-fuzz -- --target {} --replay {}{mutant}",
        target.name,
        path.display()
    );
    std::process::exit(1);
}

fn write(target: &Target, input: &[u8]) -> PathBuf {
    let hash = ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(input);
    let folder = Path::new("fuzz/crashes");
    let path = folder.join(format!("{}-{hash:016x}.bin", target.name));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, input));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
    path
}

/// Takes pieces out, large ones first, as long as it fails at the same place.
fn smaller(target: &Target, mutant: Option<Mutant>, input: Vec<u8>) -> Vec<u8> {
    let trial = Trial {
        target: target.name,
        mutant,
        path: std::env::temp_dir().join(format!("ringmq-fuzz-{}.bin", std::process::id())),
    };
    let Some(place) = trial.place(&input) else {
        eprintln!("the input does not fail again by itself");
        return input;
    };
    let mut input = Pieces::of(target, &input);
    let mut tries = 0;
    for part in (0..=input.parts.len()).rev() {
        let mut piece = input.len_of(part).div_ceil(2);
        while piece > 0 && tries < TRIES_MAX {
            let mut at = 0;
            let mut took_any = false;
            while at < input.len_of(part) && tries < TRIES_MAX {
                let less = input.without(part, at, piece);
                tries += 1;
                if trial.place(&less.joined()).as_ref() == Some(&place) {
                    input = less;
                    took_any = true;
                } else {
                    at += piece;
                }
            }
            if !took_any || piece > 1 {
                piece /= 2;
            }
        }
    }
    let _ = std::fs::remove_file(&trial.path);
    input.joined()
}

/// An input in the parts from which something can be taken out: its steps, or all of it.
#[derive(Clone)]
struct Pieces {
    is_steps: bool,
    parts: Vec<(u8, Vec<u8>)>,
}

impl Pieces {
    fn of(target: &Target, input: &[u8]) -> Self {
        let is_steps = target.input == Input::Steps;
        let parts = if is_steps {
            let owned = |(kind, bytes): (u8, &[u8])| (kind, bytes.to_vec());
            steps(input).map(owned).collect()
        } else {
            vec![(0, input.to_vec())]
        };
        Self { is_steps, parts }
    }

    /// Bytes of a part; the one after the last stands for the parts themselves, to be taken out
    /// whole.
    fn len_of(&self, part: usize) -> usize {
        match self.parts.get(part) {
            Some((_, bytes)) => bytes.len(),
            None if self.is_steps => self.parts.len(),
            None => 0,
        }
    }

    fn without(&self, part: usize, at: usize, count: usize) -> Self {
        let mut less = self.clone();
        if let Some((_, bytes)) = less.parts.get_mut(part) {
            bytes.drain(at..(at + count).min(bytes.len()));
        } else {
            less.parts.drain(at..(at + count).min(less.parts.len()));
        }
        less
    }

    fn joined(&self) -> Vec<u8> {
        let mut input = Vec::new();
        for (kind, bytes) in &self.parts {
            if self.is_steps {
                put_step(*kind, bytes, &mut input);
            } else {
                input.extend_from_slice(bytes);
            }
        }
        input
    }
}

/// One input in a process of its own.
struct Trial {
    target: &'static str,
    mutant: Option<Mutant>,
    path: PathBuf,
}

impl Trial {
    /// Where it panics.
    fn place(&self, input: &[u8]) -> Option<String> {
        std::fs::write(&self.path, input).ok()?;
        let mut command = Command::new(std::env::current_exe().ok()?);
        command.args(["--target", self.target, "--replay"]);
        command.arg(&self.path).env("RUST_BACKTRACE", "0");
        if let Some(mutant) = self.mutant {
            command.arg("--mutant").arg(format!("{mutant:?}"));
        }
        let output = command.stdin(Stdio::null()).output().ok()?;
        if output.status.success() {
            return None;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let (_, place) = text.split_once("panicked at ")?;
        place.lines().next().map(str::to_owned)
    }
}
