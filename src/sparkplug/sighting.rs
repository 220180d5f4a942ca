//! A message without its payload: what it says of a node, a device or a host. This goes to where the state is kept.

use super::host_state::HostState;
use super::payload::{NotSparkplug, Outline};
use super::topic::{node_key, Kind, Topic, CERTIFICATES};
use crate::time::WallTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The node as `GROUP/NODE`, or the host.
    pub key: Box<str>,
    /// When the message was accepted.
    pub at: WallTime,
    pub seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Edge {
        kind: Kind,
        device: Option<Box<str>>,
        outline: Outline,
    },
    /// `None`: the retained STATE was removed.
    Host(Option<HostState>),
    /// A certificate that was there when the process began.
    Kept {
        device: Option<Box<str>>,
        outline: Outline,
    },
}

impl Sighting {
    /// # Errors
    /// The payload is not one of Sparkplug, or a birth is empty.
    pub fn of(topic: &Topic<'_>, payload: &[u8], at: WallTime) -> Result<Self, NotSparkplug> {
        let (key, seen) = match *topic {
            Topic::Host(host) => {
                let is_removed = payload.is_empty();
                let state = (!is_removed)
                    .then(|| HostState::read(payload))
                    .transpose()?;
                (host.into(), Seen::Host(state))
            }
            Topic::Edge {
                kind,
                group,
                node,
                device,
            } => {
                if payload.is_empty() && kind == Kind::Birth {
                    return Err(NotSparkplug);
                }
                let outline = Outline::read(payload)?;
                let device = device.map(Into::into);
                let seen = Seen::Edge {
                    kind,
                    device,
                    outline,
                };
                (node_key(group, node), seen)
            }
        };
        Ok(Self { key, at, seen })
    }

    /// What a retained message says of the time before the process began: a certificate, or the STATE of a host.
    #[must_use]
    pub fn of_retained(topic: &str, payload: &[u8], at: WallTime) -> Option<Self> {
        let birth = topic.strip_prefix(CERTIFICATES);
        let Self { key, at, seen } =
            Self::of(&Topic::parse(birth.unwrap_or(topic))?, payload, at).ok()?;
        let seen = match seen {
            Seen::Edge {
                kind: Kind::Birth,
                device,
                outline,
            } if birth.is_some() => Seen::Kept { device, outline },
            Seen::Host(state) if birth.is_none() => Seen::Host(state),
            _ => return None,
        };
        Some(Self { key, at, seen })
    }

    /// Bytes of the names in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let device = match &self.seen {
            Seen::Edge {
                device: Some(device),
                ..
            }
            | Seen::Kept {
                device: Some(device),
                ..
            } => device.len(),
            _ => 0,
        };
        self.key.len() + device
    }
}
