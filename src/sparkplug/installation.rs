//! The edge nodes, devices and hosts whose messages meet in one place.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::finding::Finding;
use super::host_state::HostState;
use super::node::{Device, Node};
use super::payload::Outline;
use super::rows::{DeviceRow, HostRow, NodeRow};
use super::sighting::{Seen, Sighting};
use super::topic::Kind;
use crate::time::WallTime;

/// Bytes of one state in the mean, its names included: the bound in bytes follows from that in number.
pub const STATE_BYTES: u64 = 512;
/// What each state takes besides its name.
const NODE_BYTES: usize = 384;
const DEVICE_BYTES: usize = 160;
const HOST_BYTES: usize = 96;
/// Nodes that are looked at, and devices that are forgotten, to make room for one state.
const LOOKED_AT: usize = 16;
const FORGOTTEN: usize = 64;

/// How many states there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nodes: u64,
    pub nodes_online: u64,
    pub devices: u64,
    pub devices_online: u64,
    pub hosts: u64,
    pub hosts_online: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host {
    state: HostState,
    seen_at: WallTime,
}

/// Lives on: the shard that the names of its nodes and hosts hash to. Bounded in number, by `sparkplug-states-max`,
/// and with that in bytes.
#[derive(Debug, Default)]
pub struct Installation {
    nodes: BTreeMap<Box<str>, Node>,
    hosts: BTreeMap<Box<str>, Host>,
    counts: Counts,
    bytes: u64,
    states_max: u64,
    /// Where room was last looked for.
    hand: Option<Box<str>>,
}

impl Installation {
    #[must_use]
    pub fn new(states_max: u32) -> Self {
        Self {
            states_max: states_max.into(),
            ..Self::default()
        }
    }

    /// Another bound from now on; what is there stays.
    pub fn set_max(&mut self, states_max: u32) {
        self.states_max = states_max.into();
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// One message has passed.
    pub fn take(&mut self, sighting: &Sighting) -> Option<Finding> {
        let Sighting { key, at, seen } = sighting;
        match seen {
            Seen::Host(state) => self.take_host(key, *state, *at),
            Seen::Kept { device, outline } => {
                self.recall(key, device.as_deref(), outline);
                None
            }
            Seen::Edge {
                kind: Kind::Command | Kind::Death,
                ..
            } if !self.nodes.contains_key(key) => None,
            Seen::Edge { .. } => self.take_edge(sighting),
        }
    }

    fn take_edge(&mut self, sighting: &Sighting) -> Option<Finding> {
        let Sighting { key, at, seen } = sighting;
        let Seen::Edge {
            kind,
            device,
            outline,
        } = seen
        else {
            return None;
        };
        if !self.nodes.contains_key(key) {
            if !self.take_room(NODE_BYTES + key.len()) {
                return Some(Finding::NoRoom);
            }
            self.nodes.insert(key.clone(), Node::default());
            self.counts.nodes += 1;
        }
        let mut is_full = false;
        if let Some(device) = device.as_ref().filter(|_| *kind == Kind::Birth) {
            is_full = !self.add_device(key, device);
        }
        let node = self.nodes.get_mut(key)?; // room may have been made of it
        let before = (node.online, node.devices_online);
        let finding = match device {
            None => node.take(*kind, outline, *at),
            Some(device) => node.take_of_device(device, *kind, outline, *at),
        };
        let after = (node.online, node.devices_online);
        let counts = &mut self.counts;
        counts.nodes_online = counts.nodes_online + u64::from(after.0) - u64::from(before.0);
        counts.devices_online = counts.devices_online + u64::from(after.1) - u64::from(before.1);
        match is_full {
            true => Some(Finding::NoRoom),
            false => finding,
        }
    }

    /// A certificate from before the process. It changes nothing that has come since, and takes no room of others.
    fn recall(&mut self, key: &str, device: Option<&str>, birth: &Outline) {
        let of_node = if device.is_none() {
            *birth
        } else {
            Outline::default()
        };
        if !self.nodes.contains_key(key) {
            if !self.fits(NODE_BYTES + key.len()) {
                return;
            }
            self.bytes += (NODE_BYTES + key.len()) as u64;
            self.nodes.insert(key.into(), Node::recalled(&of_node));
            self.counts.nodes += 1;
        }
        let fits = device.is_some_and(|device| self.fits(DEVICE_BYTES + device.len()));
        let Some(node) = self.nodes.get_mut(key).filter(|node| node.is_recalled) else {
            return; // it has been born since, or has died
        };
        let Some(device) = device else {
            node.birth = *birth; // the certificate of a device came first
            return;
        };
        if fits && !node.devices.contains_key(device) {
            node.devices.insert(device.into(), Device::recalled(birth));
            self.bytes += (DEVICE_BYTES + device.len()) as u64;
            self.counts.devices += 1;
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        let bytes = self.bytes + bytes as u64;
        self.states() < self.states_max && bytes <= self.states_max * STATE_BYTES
    }

    /// False: there is no room for it.
    fn add_device(&mut self, key: &str, device: &str) -> bool {
        let has = |node: &Node| !node.online || node.devices.contains_key(device);
        if self.nodes.get(key).is_some_and(has) {
            return true; // a device of a node that is not online is none
        }
        if !self.take_room(DEVICE_BYTES + device.len()) {
            return false;
        }
        if let Some(node) = self.nodes.get_mut(key) {
            node.devices.insert(device.into(), Default::default());
            self.counts.devices += 1;
        }
        true
    }

    fn take_host(&mut self, key: &str, state: Option<HostState>, at: WallTime) -> Option<Finding> {
        let before = self.hosts.get(key).copied();
        let was_online = before.is_some_and(|host| host.state.online);
        let Some(state) = state else {
            if self.hosts.remove(key).is_some() {
                self.counts.hosts -= 1;
                self.counts.hosts_online -= u64::from(was_online);
                self.bytes -= (HOST_BYTES + key.len()) as u64;
            }
            return None;
        };
        // A will of a connection before the one at hand.
        if before.is_some_and(|host| !state.online && state.timestamp < host.state.timestamp) {
            return None;
        }
        if before.is_none() {
            if !self.take_room(HOST_BYTES + key.len()) {
                return Some(Finding::NoRoom);
            }
            self.counts.hosts += 1;
        }
        let counts = &mut self.counts;
        counts.hosts_online = counts.hosts_online + u64::from(state.online) - u64::from(was_online);
        let host = Host { state, seen_at: at };
        self.hosts.insert(key.into(), host);
        None
    }

    fn states(&self) -> u64 {
        self.counts.nodes + self.counts.devices + self.counts.hosts
    }

    /// Counts the bytes of one state more; false: there is no room for it.
    fn take_room(&mut self, bytes: usize) -> bool {
        if !self.fits(bytes) {
            self.make_room();
        }
        let has_room = self.fits(bytes);
        self.bytes += if has_room { bytes as u64 } else { 0 };
        has_room
    }

    /// Forgets nodes that are not online, as far as some work goes; the next time it continues behind them.
    fn make_room(&mut self) {
        for _ in 0..LOOKED_AT {
            let from = match self.hand.take() {
                Some(hand) => Bound::Excluded(hand),
                None => Bound::Unbounded,
            };
            let next = self
                .nodes
                .range_mut::<str, _>((bound(&from), Bound::Unbounded))
                .next();
            let Some((key, node)) = next else {
                return; // the next time from the beginning
            };
            if node.online {
                self.hand = Some(key.clone());
                continue;
            }
            for _ in 0..FORGOTTEN {
                let Some((name, _)) = node.devices.pop_first() else {
                    break;
                };
                self.counts.devices -= 1;
                self.bytes -= (DEVICE_BYTES + name.len()) as u64;
            }
            if node.devices.is_empty() {
                let key = key.clone();
                self.nodes.remove(&key);
                self.counts.nodes -= 1;
                self.bytes -= (NODE_BYTES + key.len()) as u64;
            }
            return;
        }
    }

    /// Edge nodes behind a name, in order, and where the next piece begins.
    #[must_use]
    pub fn nodes(&self, after: Option<&str>, max: usize) -> (Vec<NodeRow>, Option<Box<str>>) {
        let found = self.nodes.range::<str, _>(behind(after));
        let rows: Vec<NodeRow> = found.take(max).map(|(key, node)| node.row(key)).collect();
        let is_cut = rows.len() == max;
        let next = rows.last().filter(|_| is_cut).map(|row| row.key.clone());
        (rows, next)
    }

    /// One edge node.
    #[must_use]
    pub fn node(&self, key: &str) -> Option<NodeRow> {
        self.nodes.get(key).map(|node| node.row(key))
    }

    /// Devices of an edge node behind a name; `None`: there is no such node.
    #[must_use]
    pub fn devices(
        &self,
        key: &str,
        after: Option<&str>,
        max: usize,
    ) -> Option<(Vec<DeviceRow>, Option<Box<str>>)> {
        let node = self.nodes.get(key)?;
        let found = node.devices.range::<str, _>(behind(after)).take(max);
        let rows: Vec<DeviceRow> = found
            .map(|(name, device)| node.device_row(name, device))
            .collect();
        let is_cut = rows.len() == max;
        let next = rows.last().filter(|_| is_cut).map(|row| row.name.clone());
        Some((rows, next))
    }

    /// Host applications behind a name.
    #[must_use]
    pub fn hosts(&self, after: Option<&str>, max: usize) -> (Vec<HostRow>, Option<Box<str>>) {
        let found = self.hosts.range::<str, _>(behind(after)).take(max);
        let rows = found.map(|(name, host)| HostRow {
            name: name.clone(),
            online: host.state.online,
            timestamp: host.state.timestamp,
            seen_at: host.seen_at,
        });
        let rows: Vec<HostRow> = rows.collect();
        let is_cut = rows.len() == max;
        let next = rows.last().filter(|_| is_cut).map(|row| row.name.clone());
        (rows, next)
    }

    /// Bounds and counts, for tests, simulations and fuzzers.
    ///
    /// # Errors
    /// A sentence about the first that does not hold.
    #[cfg(any(test, feature = "testing"))]
    pub fn audit(&self) -> Result<(), String> {
        let mut counts = Counts::default();
        let mut bytes = 0;
        for (key, node) in &self.nodes {
            let online = node
                .devices
                .values()
                .filter(|device| node.is_online(device));
            let online = online.count() as u64;
            if online != u64::from(node.devices_online) {
                return Err(format!(
                    "{online} devices of {key} are online, counted otherwise"
                ));
            }
            counts.nodes += 1;
            counts.nodes_online += u64::from(node.online);
            counts.devices += node.devices.len() as u64;
            counts.devices_online += online;
            bytes += NODE_BYTES + key.len();
            bytes += node
                .devices
                .keys()
                .map(|name| DEVICE_BYTES + name.len())
                .sum::<usize>();
        }
        counts.hosts = self.hosts.len() as u64;
        counts.hosts_online = self.hosts.values().filter(|host| host.state.online).count() as u64;
        bytes += self
            .hosts
            .keys()
            .map(|name| HOST_BYTES + name.len())
            .sum::<usize>();
        if counts != self.counts || bytes as u64 != self.bytes {
            return Err(format!("{counts:?} in {bytes} bytes, counted: {self:?}"));
        }
        Ok(())
    }
}

fn behind(after: Option<&str>) -> (Bound<&str>, Bound<&str>) {
    (
        after.map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded,
    )
}

fn bound(owned: &Bound<Box<str>>) -> Bound<&str> {
    match owned {
        Bound::Excluded(name) => Bound::Excluded(name),
        _ => Bound::Unbounded,
    }
}
