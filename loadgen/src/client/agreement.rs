//! Limits of an MQTT 5 broker's CONNACK, against what a client is to do. A scenario that does
//! not fit is not run in another way: it ends with a sentence.

use ringmq::mqtt::{topic, ConnAckProperties, Qos};

use crate::plan::{Group, Publishing};

/// Why clients of the group cannot do their part; `index` is the client's number in it, `more` the bytes
/// of properties beside those of all publishers.
pub(super) fn refusal(
    group: &Group,
    index: u32,
    run: u64,
    more: usize,
    properties: &ConnAckProperties<'_>,
) -> Option<String> {
    let publishing = group.publishing.as_ref();
    publishing
        .and_then(|publishing| cannot_publish(group, publishing, index, (run, more), properties))
        .or_else(|| cannot_subscribe(group, properties))
}

fn cannot_publish(
    group: &Group,
    publishing: &Publishing,
    index: u32,
    (run, more): (u64, usize),
    properties: &ConnAckProperties<'_>,
) -> Option<String> {
    let most = properties.maximum_qos.unwrap_or(Qos::ExactlyOnce);
    if publishing.qos > most {
        // [MQTT-3.2.2-11]
        return Some(format!(
            "the broker takes QoS {} at most (Maximum QoS) and the messages are QoS {}: give --qos {0}",
            most as u8, publishing.qos as u8
        ));
    }
    if publishing.retain && properties.retain_available == Some(false) {
        // [MQTT-3.2.2-14]
        return Some(
            "the broker takes no retained messages (Retain Available is 0) and the scenario publishes \
             them"
                .into(),
        );
    }
    let aliases = properties.topic_alias_maximum.unwrap_or(0);
    if publishing.topic_alias && publishing.topics.max(1) > u32::from(aliases) {
        // [MQTT-3.2.2-17], [MQTT-3.2.2-18]
        return Some(format!(
            "the broker takes {aliases} topic aliases (Topic Alias Maximum) and each publisher has {} \
             topics: leave --topic-alias out",
            publishing.topics.max(1)
        ));
    }
    let largest = packet_size(group, publishing, index, (run, more));
    let room = properties.maximum_packet_size? as usize;
    // [MQTT-3.2.2-15]
    (largest > room).then(|| {
        format!(
            "the broker takes packets of {room} bytes at most (Maximum Packet Size) and a PUBLISH has \
             {largest}: give a smaller --payload-size"
        )
    })
}

fn cannot_subscribe(group: &Group, properties: &ConnAckProperties<'_>) -> Option<String> {
    let mut filters = group
        .subscriptions
        .iter()
        .map(|subscription| &subscription.filter.0);
    let (wildcards, shared) = (
        properties.wildcard_subscription_available,
        properties.shared_subscription_available,
    );
    filters.find_map(|filter| {
        if shared == Some(false) && topic::is_shared(filter) {
            Some(format!(
                "the broker has no shared subscriptions (Shared Subscription Available is 0), which \
                 {filter} needs"
            ))
        } else if wildcards == Some(false) && filter.contains(['+', '#']) {
            Some(format!(
                "the broker has no wildcard subscriptions (Wildcard Subscription Available is 0), \
                 which {filter} needs"
            ))
        } else {
            None
        }
    })
}

/// Bytes of the largest PUBLISH that a client sends.
fn packet_size(
    group: &Group,
    publishing: &Publishing,
    index: u32,
    (run, more): (u64, usize),
) -> usize {
    let last_topic = publishing.topics.max(1) - 1;
    let name = group.fill(&publishing.topic, index, last_topic, run).len();
    let packet_id = if publishing.qos == Qos::AtMostOnce {
        0
    } else {
        2
    };
    let properties = properties_size(publishing, more);
    let rest = 2 + name + packet_id + properties + publishing.payload_max(group);
    let length_bytes = match rest {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    };
    1 + length_bytes + rest
}

/// Bytes of the property section, with its length.
fn properties_size(publishing: &Publishing, more: usize) -> usize {
    let alias = if publishing.topic_alias { 3 } else { 0 };
    let expiry = publishing.properties.message_expiry_interval_s;
    let expiry = if expiry.is_some() { 5 } else { 0 };
    let properties = alias + expiry + more + publishing.properties.encoded().len();
    let length_bytes = if properties < 128 { 1 } else { 2 };
    length_bytes + properties
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{MessageProperties, PayloadSize, Subscription, Template};

    fn group() -> Group {
        let mut group = Group::new("g", 1, Template("c".into()));
        group.publishing = Some(Publishing {
            topic: Template("a/{t}".into()),
            topics: 3,
            qos: Qos::AtLeastOnce,
            retain: true,
            payload: PayloadSize::Fixed(100),
            own_payload: None,
            topic_alias: true,
            properties: MessageProperties::default(),
            response_topic: None,
            window: None,
        });
        group.subscriptions.push(Subscription {
            filter: Template("$share/g/a/+".into()),
            qos: Qos::AtMostOnce,
        });
        group
    }

    fn generous() -> ConnAckProperties<'static> {
        ConnAckProperties {
            topic_alias_maximum: Some(3),
            // Type and length 2, topic 2 + 3, identifier 2, properties 4, payload 100.
            maximum_packet_size: Some(113),
            ..ConnAckProperties::default()
        }
    }

    #[test]
    fn what_fits_is_run() {
        assert_eq!(refusal(&group(), 0, 0, 0, &generous()), None);
        let one_more = refusal(&group(), 0, 0, 1, &generous());
        assert!(one_more.unwrap().contains("Maximum Packet Size"));
    }

    #[test]
    fn each_limit_has_its_sentence() {
        type Change = fn(&mut ConnAckProperties<'static>);
        let rows: [(&str, Change); 6] = [
            ("Maximum QoS", |own| own.maximum_qos = Some(Qos::AtMostOnce)),
            ("Retain Available", |own| own.retain_available = Some(false)),
            ("Topic Alias Maximum", |own| {
                own.topic_alias_maximum = Some(2)
            }),
            ("Maximum Packet Size", |own| {
                own.maximum_packet_size = Some(112)
            }),
            ("Shared Subscription Available", |own| {
                own.shared_subscription_available = Some(false);
            }),
            ("Wildcard Subscription Available", |own| {
                own.wildcard_subscription_available = Some(false);
            }),
        ];
        for (name, change) in rows {
            let mut properties = generous();
            change(&mut properties);
            let sentence = refusal(&group(), 0, 0, 0, &properties).expect(name);
            assert!(sentence.contains(name), "{sentence}");
        }
    }
}
