//! Requests and answers in MQTT 5: where the answer is wanted and whose it is travel as properties, and
//! the broker must hand them on unaltered [MQTT-3.3.2-15], [MQTT-3.3.2-16].

use ringmq::mqtt::property::{Properties, Property};
use ringmq::mqtt::{Publish, Version};

use crate::plan::{Group, Plan};

/// True when messages of the group ask or answer.
pub(super) fn is_exchange(plan: &Plan, group: &Group) -> bool {
    plan.is_all(Version::V5) && (asks(group) || group.answers_to.is_some())
}

fn asks(group: &Group) -> bool {
    let publishing = group.publishing.as_ref();
    publishing.is_some_and(|publishing| publishing.response_topic.is_some())
}

/// Number of the client that asks the one with this number in its group, or is it.
fn asker(plan: &Plan, group: usize, index: u32) -> u32 {
    let asking = if asks(&plan.groups[group]) {
        group
    } else {
        plan.groups.iter().position(asks).unwrap_or(group)
    };
    plan.first_client(asking) + index
}

/// Properties of a client's requests or answers, encoded without their length; empty for other messages.
pub(super) fn properties(plan: &Plan, group: usize, index: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let own = &plan.groups[group];
    if !is_exchange(plan, own) {
        return bytes;
    }
    let publishing = own.publishing.as_ref();
    if let Some(topic) = publishing.and_then(|publishing| publishing.response_topic.as_ref()) {
        Property::ResponseTopic(&own.fill(topic, index, 0, plan.seed)).put(&mut bytes);
    }
    let number = asker(plan, group, index).to_be_bytes();
    Property::CorrelationData(&number).put(&mut bytes);
    bytes
}

/// What is wrong with the properties of a request or answer that a client got.
pub(super) fn damage(
    plan: &Plan,
    group: usize,
    index: u32,
    publish: &Publish<'_>,
) -> Option<&'static str> {
    let number = asker(plan, group, index).to_be_bytes();
    let properties = || Properties::new(publish.properties.raw);
    let is_whose = properties().any(|own| own == Property::CorrelationData(&number));
    let Some(template) = &plan.groups[group].answers_to else {
        return (!is_whose).then_some(
            "an answer came without the correlation data of its request [MQTT-3.3.2-16]",
        );
    };
    let topic = plan.groups[group].fill(template, index, 0, plan.seed);
    let has_topic = properties().any(|own| own == Property::ResponseTopic(&topic));
    (!is_whose || !has_topic).then_some(
        "a request came without its response topic or correlation data [MQTT-3.3.2-15], \
         [MQTT-3.3.2-16]",
    )
}

#[cfg(test)]
mod tests {
    use ringmq::mqtt::{PublishProperties, Qos};

    use super::*;

    fn plan(words: &str) -> Plan {
        let words: Vec<String> = words.split(' ').map(str::to_string).collect();
        crate::cli::plan_of(&words).unwrap().0
    }

    fn publish(raw: &[u8]) -> Publish<'_> {
        Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: None,
            properties: PublishProperties {
                raw,
                ..PublishProperties::default()
            },
            payload: &[],
        }
    }

    #[test]
    fn what_was_altered_is_noticed() {
        let (answering, asking) = (0, 1);
        let plan = plan("round-trip --clients 3 --protocol 5 --seed 1");
        let request = properties(&plan, asking, 2);
        let answer = properties(&plan, answering, 2);
        assert_eq!(damage(&plan, answering, 2, &publish(&request)), None);
        assert_eq!(damage(&plan, asking, 2, &publish(&answer)), None);
        for other in [properties(&plan, asking, 1), answer.clone(), Vec::new()] {
            assert!(damage(&plan, answering, 2, &publish(&other)).is_some());
        }
        for other in [properties(&plan, answering, 1), Vec::new()] {
            assert!(damage(&plan, asking, 2, &publish(&other)).is_some());
        }
    }

    #[test]
    fn other_messages_have_none() {
        assert!(properties(&plan("round-trip --clients 3"), 1, 0).is_empty());
        assert!(properties(&plan("pairs --protocol 5"), 1, 0).is_empty());
    }
}
