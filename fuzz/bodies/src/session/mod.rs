//! A session and its client over connections that break: window, queue and received identifiers
//! against a model that only counts.

mod model;
mod parts;

use crate::choices::Choices;
use model::Pair;

/// Operations of one input.
const STEPS_MAX: usize = 64;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    parts::received(&mut choices);
    parts::aliases(&mut choices);
    let mut pair = Pair::new(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        pair.step(&mut choices);
    }
    pair.finish();
}
