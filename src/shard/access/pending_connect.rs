//! A CONNECT that waits for authentication of its client, or for authorization of its will.

use std::num::NonZeroU16;

use bytes::Bytes;

use crate::mqtt::{Connect, ConnectProperties, PublishProperties, Version, Will};
use crate::session::StoredWill;

/// What is still needed of a CONNECT once its credentials and its Maximum Packet Size have been taken from
/// it: those are not kept. Lives on: the connection's shard.
#[derive(Debug)]
pub(in crate::shard) struct PendingConnect {
    version: Version,
    is_bridge: bool,
    clean_start: bool,
    keep_alive_s: u16,
    client_id: Box<str>,
    will: Option<Box<StoredWill>>,
    session_expiry_interval_s: Option<u32>,
    receive_maximum: Option<NonZeroU16>,
    topic_alias_maximum: Option<u16>,
    request_problem_information: Option<bool>,
}

impl PendingConnect {
    pub(in crate::shard) fn of(connect: &Connect<'_>) -> Self {
        let properties = &connect.properties;
        Self {
            version: connect.version,
            is_bridge: connect.is_bridge,
            clean_start: connect.clean_start,
            keep_alive_s: connect.keep_alive_s,
            client_id: connect.client_id.into(),
            will: connect.will.as_ref().map(|will| Box::new(store_will(will))),
            session_expiry_interval_s: properties.session_expiry_interval_s,
            receive_maximum: properties.receive_maximum,
            topic_alias_maximum: properties.topic_alias_maximum,
            request_problem_information: properties.request_problem_information,
        }
    }

    /// The CONNECT again, with its authentication method.
    pub(in crate::shard) fn get<'a>(&'a self, method: Option<&'a str>) -> Connect<'a> {
        Connect {
            version: self.version,
            is_bridge: self.is_bridge,
            clean_start: self.clean_start,
            keep_alive_s: self.keep_alive_s,
            client_id: &self.client_id,
            will: self.will.as_deref().map(will_of),
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval_s: self.session_expiry_interval_s,
                receive_maximum: self.receive_maximum,
                topic_alias_maximum: self.topic_alias_maximum,
                request_problem_information: self.request_problem_information,
                authentication_method: method,
                ..ConnectProperties::default()
            },
        }
    }
}

/// The will of a CONNECT as its session keeps it.
pub(in crate::shard) fn store_will(will: &Will<'_>) -> StoredWill {
    let mut properties = Vec::new();
    will.properties.forwardable_into(&mut properties);
    StoredWill {
        topic: will.topic.into(),
        payload: Bytes::copy_from_slice(will.payload),
        properties: properties.into(),
        qos: will.qos,
        retain: will.retain,
        delay_interval_s: will.delay_interval_s,
        message_expiry_interval_s: will.properties.message_expiry_interval_s,
    }
}

fn will_of(will: &StoredWill) -> Will<'_> {
    Will {
        topic: &will.topic,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        delay_interval_s: will.delay_interval_s,
        properties: PublishProperties {
            message_expiry_interval_s: will.message_expiry_interval_s,
            raw: &will.properties,
            raw_is_forwardable: true, // it was made so
            ..PublishProperties::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Qos, UserProperties};

    #[test]
    fn it_is_the_connect_without_its_credentials() {
        let will = Will {
            topic: "w",
            payload: b"gone",
            qos: Qos::AtLeastOnce,
            retain: true,
            delay_interval_s: 5,
            properties: PublishProperties {
                message_expiry_interval_s: Some(6),
                raw: b"\x01\x01",
                raw_is_forwardable: true,
                ..PublishProperties::default()
            },
        };
        let connect = Connect {
            version: Version::V5,
            is_bridge: true,
            clean_start: true,
            keep_alive_s: 7,
            client_id: "c",
            will: Some(will),
            user_name: Some("ann"),
            password: Some(b"secret"),
            properties: ConnectProperties {
                session_expiry_interval_s: Some(8),
                receive_maximum: NonZeroU16::new(9),
                maximum_packet_size: Some(10),
                topic_alias_maximum: Some(11),
                request_response_information: Some(true),
                request_problem_information: Some(false),
                user_properties: UserProperties::default(),
                authentication_method: Some("m"),
                authentication_data: Some(b"secret"),
            },
        };
        let mut expected = connect.clone();
        expected.user_name = None;
        expected.password = None;
        // Taken from it when it came; the broker gives no response information.
        expected.properties.maximum_packet_size = None;
        expected.properties.request_response_information = None;
        expected.properties.authentication_data = None;
        assert_eq!(PendingConnect::of(&connect).get(Some("m")), expected);
    }
}
