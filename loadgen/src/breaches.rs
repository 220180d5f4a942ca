//! Deliveries that were not what had been published: a sentence for each kind.

use crate::engine::Report;
use crate::meter::{Count, Counts};
use crate::plan::Plan;
use crate::results::DeliveryAudit;

/// Count, name in results, and the end of the sentence "N ...".
const KINDS: [(Count, &str, &str); 9] = [
    (
        Count::Altered,
        "altered",
        "payloads were not those published: length, header or content was altered",
    ),
    (
        Count::WrongTopic,
        "wrong_topic",
        "messages came under another topic name than they were published to [MQTT-3.3.2-2]",
    ),
    (
        Count::RaisedQos,
        "raised_qos",
        "messages came with a QoS above that granted or published [MQTT-3.8.4-8]",
    ),
    (
        Count::LoweredQos,
        "lowered_qos",
        "messages came with a QoS below that granted and published [MQTT-3.8.4-8]",
    ),
    (
        Count::WrongRetain,
        "wrong_retain",
        "messages came with RETAIN where they were live, or without it where they were retained \
         [MQTT-3.3.1-12]",
    ),
    (
        Count::WrongDup,
        "wrong_dup",
        "messages came with DUP the first time [MQTT-3.3.1-3] or with QoS 0 [MQTT-3.3.1-2]",
    ),
    (
        Count::WrongProperties,
        "wrong_properties",
        "messages came without the properties that they were published with [MQTT-3.3.2-17]",
    ),
    (
        Count::WrongIdentifier,
        "wrong_identifier",
        "messages came with a subscription identifier where none was given [MQTT-3.3.4-3]",
    ),
    (
        Count::WrongSession,
        "wrong_session",
        "clients asked for a clean session and were answered that one was present [MQTT-3.2.2-2]",
    ),
];

/// Adds what the reports have counted to an audit.
pub(crate) fn add(plan: &Plan, reports: &[Report], audit: &mut DeliveryAudit) {
    let mut counts = Counts::default();
    for report in reports {
        counts.merge(&report.meter.counts);
    }
    for (count, name, sentence) in KINDS {
        let number = counts.get(count);
        if number > 0 {
            audit.breaches.insert(name.to_string(), number);
            audit.broken_promises.push(format!("{number} {sentence}"));
        }
    }
    let foreign = counts.get(Count::Foreign);
    if foreign > 0 {
        audit.breaches.insert("foreign".into(), foreign);
        if has_topics_of_its_own(plan) {
            audit.broken_promises.push(format!(
                "{foreign} payloads came that were not published, on topics that only this run has"
            ));
        }
    }
}

/// No other program publishes to its topics: the run's number is in all of them.
fn has_topics_of_its_own(plan: &Plan) -> bool {
    let mut filters = plan.groups.iter().flat_map(|group| &group.subscriptions);
    filters.all(|subscription| subscription.filter.0.contains("{r}"))
}
