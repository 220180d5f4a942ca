//! The local session of a bridge that has not connected yet.

use std::num::NonZeroU16;

use super::remote::{put_subscribe, put_unsubscribe, SUBSCRIBE_ID};
use super::terms::Bridge;
use crate::mqtt::packet::{ConnectProperties, Disconnect, RetainHandling};
use crate::mqtt::{encode, Connect, SubscriptionOptions, Version};

/// A whole conversation with our own broker after which what goes out is kept for the bridge: CONNECT, SUBSCRIBE,
/// DISCONNECT. `before` is what the bridge was: filters that it has no more are given up. `None`: nothing is kept for it.
#[must_use]
pub fn waiting(bridge: &Bridge, before: Option<&Bridge>) -> Option<Vec<u8>> {
    if bridge.local_clean_start || !bridge.goes_out() {
        return None;
    }
    let id = bridge.local_id();
    let connect = Connect {
        version: Version::V5,
        is_bridge: false,
        clean_start: false,
        keep_alive_s: 0,
        client_id: &id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval_s: Some(u32::MAX),
            // What it is sent before DISCONNECT stays unacknowledged.
            receive_maximum: NonZeroU16::new(1),
            ..ConnectProperties::default()
        },
    };
    let mut bytes = Vec::new();
    encode::connect(&mut bytes, &connect);
    if let Some(before) = before {
        let still: Vec<String> = bridge.filters_here().collect();
        let gone = before.filters_here();
        let gone: Vec<String> = gone.filter(|filter| !still.contains(filter)).collect();
        put_unsubscribe(&mut bytes, Version::V5, SUBSCRIBE_ID - 1, &gone);
    }
    let lines = bridge.lines.iter().filter(|line| line.goes_out());
    let filters: Vec<_> = lines
        .map(|line| {
            let options = SubscriptionOptions {
                qos: line.qos,
                no_local: !line.is_shared(),
                retain_as_published: true,
                // It comes with the first connection.
                retain_handling: RetainHandling::DoNotSend,
            };
            (line.subscribed(line.local_filter()), options)
        })
        .collect();
    put_subscribe(&mut bytes, Version::V5, SUBSCRIBE_ID, &filters);
    encode::disconnect(&mut bytes, Version::V5, &Disconnect::default());
    Some(bytes)
}

/// A whole conversation with our own broker after which it keeps nothing for the bridge.
#[must_use]
pub fn forgetting(bridge: &Bridge) -> Vec<u8> {
    let id = bridge.local_id();
    let connect = Connect {
        version: Version::V5,
        is_bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        client_id: &id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    let mut bytes = Vec::new();
    encode::connect(&mut bytes, &connect);
    encode::disconnect(&mut bytes, Version::V5, &Disconnect::default());
    bytes
}
