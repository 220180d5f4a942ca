//! Properties of a publication that crosses a bridge: response topics get their name at the other end, and the
//! brokers passed are counted.

use crate::mqtt::property::Property;
use crate::mqtt::PublishProperties;

/// User property with a number for each bridge that a message has passed: that of the broker whose bridge it was.
const PATH: &str = "ringmq-path";
/// Bytes that the path may add to a message.
pub(super) const ROOM: usize = 512;

/// The bridges passed so far, by their brokers.
pub(super) fn path<'a>(properties: &PublishProperties<'a>) -> &'a str {
    let mut pairs = properties.user_properties().iter();
    let pair = pairs.find(|(name, _)| *name == PATH);
    pair.map_or("", |(_, value)| value)
}

/// How many they are.
pub(super) fn hops(path: &str) -> usize {
    path.split(',').filter(|broker| !broker.is_empty()).count()
}

pub(super) fn has_passed(path: &str, broker: u32) -> bool {
    let own = number(broker);
    path.split(',').any(|passed| passed == own)
}

fn number(broker: u32) -> String {
    format!("{broker:08x}")
}

/// Appends what is passed on. `renamed` gives the other name of a response topic; `broker` is the one whose
/// bridge this is.
pub(super) fn put(
    out: &mut Vec<u8>,
    properties: &PublishProperties<'_>,
    renamed: impl Fn(&str) -> Option<String>,
    broker: u32,
) {
    for property in properties.iter() {
        match property {
            Property::ResponseTopic(topic) => {
                let other = renamed(topic);
                Property::ResponseTopic(other.as_deref().unwrap_or(topic)).put(out);
            }
            Property::UserProperty(name, _) if name == PATH => {}
            other if other.is_forwardable() => other.put(out),
            _ => {}
        }
    }
    let path = match path(properties) {
        "" => number(broker),
        before => format!("{before},{}", number(broker)),
    };
    Property::UserProperty(PATH, &path).put(out);
}
