//! States as they are shown: plain data.

use super::node::{Device, Node};
use crate::time::WallTime;

/// An edge node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// `GROUP/NODE`.
    pub key: Box<str>,
    pub online: bool,
    /// Of a time before the process: its certificate is all that is there of it.
    pub is_recalled: bool,
    /// Of its last birth.
    pub bd_seq: Option<u64>,
    pub metrics: u32,
    pub birth_timestamp: Option<u64>,
    pub born_at: Option<WallTime>,
    pub died_at: Option<WallTime>,
    pub seen_at: Option<WallTime>,
    /// What its next message should have.
    pub next_seq: Option<u64>,
    pub messages: u64,
    pub births: u64,
    pub rebirths: u64,
    pub rebirth_requests: u64,
    pub deaths: u64,
    pub gaps: u64,
    pub missing: u64,
    pub births_without_death: u64,
    pub stale_deaths: u64,
    pub before_birth: u64,
    pub devices: u32,
    pub devices_online: u32,
}

/// A device of an edge node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    pub name: Box<str>,
    pub online: bool,
    /// As [`NodeRow::is_recalled`].
    pub is_recalled: bool,
    pub metrics: u32,
    pub born_at: Option<WallTime>,
    pub died_at: Option<WallTime>,
    pub seen_at: Option<WallTime>,
    pub messages: u64,
    pub births: u64,
    pub deaths: u64,
}

/// A host application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    pub name: Box<str>,
    pub online: bool,
    /// As it says.
    pub timestamp: u64,
    pub seen_at: WallTime,
}

impl Node {
    pub(super) fn row(&self, key: &str) -> NodeRow {
        NodeRow {
            key: key.into(),
            online: self.online,
            is_recalled: self.is_recalled,
            bd_seq: self.birth.bd_seq,
            metrics: self.birth.metrics,
            birth_timestamp: self.birth.timestamp,
            born_at: self.born_at,
            died_at: self.died_at,
            seen_at: (self.messages > 0).then_some(self.seen_at),
            next_seq: self.next_seq,
            messages: self.messages,
            births: self.births,
            rebirths: self.rebirths,
            rebirth_requests: self.rebirth_requests,
            deaths: self.deaths,
            gaps: self.gaps,
            missing: self.missing,
            births_without_death: self.births_without_death,
            stale_deaths: self.stale_deaths,
            before_birth: self.before_birth,
            devices: self.devices.len() as u32,
            devices_online: self.devices_online,
        }
    }

    pub(super) fn device_row(&self, name: &str, device: &Device) -> DeviceRow {
        DeviceRow {
            name: name.into(),
            online: self.is_online(device),
            is_recalled: self.is_recalled,
            metrics: device.metrics,
            born_at: device.born_at,
            died_at: device.died_at,
            seen_at: (device.messages > 0).then_some(device.seen_at),
            messages: device.messages,
            births: device.births,
            deaths: device.deaths,
        }
    }
}
