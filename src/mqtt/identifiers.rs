//! Subscription identifiers of a delivery.

use std::ops::Deref;
use std::rc::Rc;

/// Shared by the deliveries of one grant. One pointer: every message that waits has a place for them, and few have any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifiers(Rc<Vec<u32>>);

impl Deref for Identifiers {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}

impl From<Vec<u32>> for Identifiers {
    fn from(identifiers: Vec<u32>) -> Self {
        Self(Rc::new(identifiers))
    }
}

impl From<&[u32]> for Identifiers {
    fn from(identifiers: &[u32]) -> Self {
        identifiers.to_vec().into()
    }
}

impl<const N: usize> From<[u32; N]> for Identifiers {
    fn from(identifiers: [u32; N]) -> Self {
        identifiers.to_vec().into()
    }
}
