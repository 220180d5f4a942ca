//! Values about lanes: groups of them, the keys in the store, and the table that shards are given.

use std::fmt;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

use super::{Incarnation, Node, NodeName};

/// Groups of lanes, for good: keys are named by them.
pub const GROUPS: usize = 64;
/// As of a shard's placement.
const LANES: u64 = 1_024;
const LANES_OF_GROUP: u64 = LANES / GROUPS as u64;

/// A group of 16 lanes, which has one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub(super) u8);

impl Group {
    /// `None`: there is no such group.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        (number < GROUPS).then_some(Self(number as u8))
    }

    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..GROUPS as u8).map(Self)
    }
}

/// Key of the hash of client ids, the same on all nodes of a cluster. Secret, as that of a shard's placement is: the
/// network cannot choose client ids of one node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LaneKey(pub [u8; 16]);

impl fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneKey(secret)")
    }
}

impl LaneKey {
    #[must_use]
    pub fn group(self, client_id: &str) -> Group {
        let hash = SipHasher24::new_with_key(&self.0).hash(client_id.as_bytes());
        Group((hash % LANES / LANES_OF_GROUP) as u8)
    }
}

/// Who owns a group, as its key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub node: Node,
    /// Of this group's owners so far.
    pub epoch: u64,
}

impl Owner {
    #[must_use]
    pub fn encode(&self) -> String {
        let Node { name, incarnation } = &self.node;
        format!("1 {} {} {:016x}", self.epoch, name.as_str(), incarnation.0)
    }

    /// `None`: nothing of this format.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("1 ")?.split(' ');
        let epoch = fields.next()?.parse().ok()?;
        let name = NodeName::new(fields.next()?)?;
        let incarnation = u64::from_str_radix(fields.next()?, 16).ok()?;
        let incarnation = Incarnation(incarnation);
        Some(Self {
            node: Node { name, incarnation },
            epoch,
        })
    }
}

/// What a node says of itself beside that it is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub incarnation: Incarnation,
    /// It is to own nothing.
    pub is_drained: bool,
    /// When it is lost, another node adopts its sessions, and has its groups therefore.
    pub is_adopted: bool,
    /// Where other nodes pass on its clients: HOST:PORT.
    pub relay: Arc<str>,
    /// Where clients of MQTT 5.0 are sent to, if they may be.
    pub clients: Option<Arc<str>>,
}

impl Details {
    #[must_use]
    pub fn encode(&self) -> String {
        let flags = u8::from(self.is_drained) | u8::from(self.is_adopted) << 1;
        let clients = self.clients.as_deref().unwrap_or_default();
        let text = format!(
            "1 {:016x} {flags} {} {clients}",
            self.incarnation.0, self.relay
        );
        text.trim_end().to_owned()
    }

    /// `None`: nothing of this format.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("1 ")?.split(' ');
        let incarnation = u64::from_str_radix(fields.next()?, 16).ok()?;
        let flags: u8 = fields.next()?.parse().ok()?;
        Some(Self {
            incarnation: Incarnation(incarnation),
            is_drained: flags & 1 != 0,
            is_adopted: flags & 2 != 0,
            relay: fields.next()?.into(),
            clients: fields.next().map(Into::into),
        })
    }
}

/// A key that is to be put, only if it is as it was at this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub group: Group,
    pub revision: u64,
    pub owner: Owner,
}

/// Where the clients of a group are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Here,
    There(Arc<Peer>),
    /// No node serves them now.
    Nowhere,
}

/// Another node that is alive, as a shard needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub node: Node,
    pub relay: Arc<str>,
    pub clients: Option<Arc<str>>,
}

/// What all groups are, for the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneTable {
    pub key: LaneKey,
    /// By group.
    pub places: Box<[Place]>,
    /// By group: the epoch of this node, which would give it away: has it any session of it? 0: it would not.
    pub offered: Box<[u64]>,
}

impl LaneTable {
    #[must_use]
    pub fn place(&self, client_id: &str) -> &Place {
        &self.places[self.key.group(client_id).index()]
    }

    #[must_use]
    pub fn owns_some(&self) -> bool {
        self.places.contains(&Place::Here)
    }

    /// Groups that this node would give away, and their epochs.
    pub fn offers(&self) -> impl Iterator<Item = (Group, u64)> + '_ {
        let all = Group::all().map(|group| (group, self.offered[group.index()]));
        all.filter(|(_, epoch)| *epoch != 0)
    }

    /// A group is another node's that was not when the table was that one.
    #[must_use]
    pub fn has_lost(&self, before: &Self) -> bool {
        let is_there = |place: &Place| matches!(place, Place::There(_));
        let mut both = self.places.iter().zip(&before.places);
        both.any(|(now, before)| is_there(now) && !is_there(before))
    }
}
