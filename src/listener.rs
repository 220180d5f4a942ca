//! What an operator says of a listener, as those below it understand it.

use crate::mqtt::{Qos, Version};

/// What connections of one listener may do. `ShardConfig` has one for each
/// [`crate::ids::ListenerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerPolicy {
    pub versions: Versions,
    /// Largest control packet accepted, in bytes; `None`: as large as the broker's limits allow.
    pub packet_size_max: Option<u32>,
    /// Highest quality of service a client may publish with, and be granted.
    pub qos_max: Qos,
    pub authentication: Authentication,
}

/// Whether clients must say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// A client may come without credentials; those it brings are checked where there is something
    /// to check them with.
    #[default]
    Anonymous,
    /// A client needs credentials that were checked: a certificate, or a user name and password.
    Required,
}

/// A set of protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub v31: bool,
    pub v311: bool,
    pub v5: bool,
}

impl Versions {
    pub const ALL: Self = Self {
        v31: true,
        v311: true,
        v5: true,
    };

    #[must_use]
    pub fn contains(self, version: Version) -> bool {
        match version {
            Version::V31 => self.v31,
            Version::V311 => self.v311,
            Version::V5 => self.v5,
        }
    }
}

impl Default for ListenerPolicy {
    /// Everything the broker can do, for anybody.
    fn default() -> Self {
        Self {
            versions: Versions::ALL,
            packet_size_max: None,
            qos_max: Qos::ExactlyOnce,
            authentication: Authentication::Anonymous,
        }
    }
}
