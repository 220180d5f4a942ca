//! What an input showed: the runner keeps inputs that show something new and goes on from them, in
//! place of the branch counters that only the nightly toolchain has.

use std::cell::RefCell;
use std::hash::Hash;

/// More than an input can show that is worth keeping; beyond it nothing is noted.
const NOTED_MAX: usize = 64;

thread_local! {
    static NOTED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Notes that this input showed `what`: a packet type with its optional fields, an error ...
pub fn note(what: impl Hash) {
    let hash = ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(what);
    NOTED.with_borrow_mut(|noted| {
        if noted.len() < NOTED_MAX {
            noted.push(hash);
        }
    });
}

/// Moves what has been noted on this thread to the end of `into`.
pub fn take(into: &mut Vec<u64>) {
    NOTED.with_borrow_mut(|noted| into.append(noted));
}
