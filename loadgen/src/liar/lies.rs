//! Lies of a broker: what it does against MQTT, each with a name on the command line.

use std::str::FromStr;
use std::time::Duration;

use crate::options::parse_duration;

/// What a lie's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Every Nth time; 1 unless given.
    Every,
    /// Begins so long after the first PUBLISH; without a value at once.
    After,
    /// A number that has to be given.
    Number,
    None,
}

/// One kind of lie.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub value: Value,
    /// What the broker does, as the end of "the broker ...".
    pub does: &'static str,
}

const fn kind(name: &'static str, value: Value, does: &'static str) -> Kind {
    Kind { name, value, does }
}

/// All lies.
pub const KINDS: &[Kind] = &[
    kind(
        "freeze",
        Value::After,
        "stops reading and writing; connections stay open",
    ),
    kind(
        "half-freeze",
        Value::After,
        "delivers nothing more, but acknowledges and answers",
    ),
    kind(
        "mute-subscribers",
        Value::After,
        "stops serving connections that have subscribed",
    ),
    kind(
        "read-rate",
        Value::Number,
        "reads so many bytes per second of each connection",
    ),
    kind(
        "capacity",
        Value::Number,
        "takes so many messages per second in all",
    ),
    kind(
        "deliver-rate",
        Value::Number,
        "acknowledges at once and delivers so many messages per second",
    ),
    kind(
        "stall",
        Value::Number,
        "waits so many milliseconds before its 500th message",
    ),
    kind(
        "die",
        Value::Number,
        "closes all connections at this message",
    ),
    kind(
        "refuse-connect",
        Value::Every,
        "answers CONNECT with not authorized",
    ),
    kind("withhold-connack", Value::Every, "does not answer CONNECT"),
    kind("withhold-suback", Value::Every, "does not answer SUBSCRIBE"),
    kind(
        "withhold-unsuback",
        Value::Every,
        "does not answer UNSUBSCRIBE",
    ),
    kind("withhold-pingresp", Value::Every, "does not answer PINGREQ"),
    kind(
        "withhold-puback",
        Value::Every,
        "does not acknowledge PUBLISH of QoS 1",
    ),
    kind(
        "withhold-pubrec",
        Value::Every,
        "does not acknowledge PUBLISH of QoS 2",
    ),
    kind("withhold-pubcomp", Value::Every, "does not answer PUBREL"),
    kind(
        "refuse-subscribe",
        Value::Every,
        "answers SUBSCRIBE with 0x80",
    ),
    kind(
        "refuse-publish",
        Value::Every,
        "answers PUBLISH with quota exceeded (MQTT 5) and drops it",
    ),
    kind(
        "grant-less",
        Value::None,
        "grants QoS 0 whatever is asked, and keeps to it",
    ),
    kind(
        "session-present",
        Value::None,
        "finds a session where a clean one was asked for",
    ),
    kind(
        "no-takeover",
        Value::None,
        "leaves the old connection open when an identifier comes again",
    ),
    kind(
        "shared-to-all",
        Value::None,
        "delivers to all members of a shared subscription",
    ),
    kind("no-retained", Value::None, "keeps no retained messages"),
    kind(
        "forget-sessions",
        Value::None,
        "keeps nothing for clients that are away",
    ),
    kind("drop", Value::Every, "does not deliver a message"),
    kind("duplicate", Value::Every, "delivers a message twice"),
    kind(
        "swap",
        Value::Every,
        "delivers a message after the next one",
    ),
    kind(
        "corrupt",
        Value::Every,
        "flips a bit in the last byte of a payload",
    ),
    kind(
        "corrupt-head",
        Value::Every,
        "flips a bit in the tenth byte of a payload",
    ),
    kind(
        "truncate",
        Value::Every,
        "leaves out the last byte of a payload",
    ),
    kind("extend", Value::Every, "appends a byte to a payload"),
    kind(
        "wrong-topic",
        Value::Every,
        "delivers to another topic name",
    ),
    kind(
        "mix-payloads",
        Value::Every,
        "delivers the payload of the message before",
    ),
    kind(
        "raise-qos",
        Value::Every,
        "delivers with QoS 2, whatever was granted",
    ),
    kind(
        "lower-qos",
        Value::Every,
        "delivers with QoS 0, whatever was granted",
    ),
    kind("set-retain", Value::Every, "sets RETAIN on a live message"),
    kind("set-dup", Value::Every, "sets DUP on the first delivery"),
    kind(
        "strip-properties",
        Value::Every,
        "leaves out the properties of a message (MQTT 5)",
    ),
    kind(
        "add-identifier",
        Value::Every,
        "adds a subscription identifier that was not given (MQTT 5)",
    ),
    kind(
        "invent",
        Value::Every,
        "delivers a message that was not published beside one that was",
    ),
];

/// One lie with its value.
#[derive(Clone, Copy, Debug)]
pub struct Lie {
    name: &'static str,
    value: f64,
}

impl FromStr for Lie {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let kind = kind.ok_or_else(|| format!("there is no lie {name:?}"))?;
        let number = |text: &str| {
            let value = text.parse::<f64>().ok().filter(|value| *value >= 1.0);
            value.ok_or_else(|| format!("{name}: give a number of 1 or more"))
        };
        let value = match (kind.value, value) {
            (Value::None, None) => 1.0,
            (Value::None, Some(_)) => return Err(format!("{name} takes no value")),
            (Value::Every, value) => value.map_or(Ok(1.0), number)?,
            (Value::After, value) => {
                let after = value.map_or(Ok(Duration::ZERO), parse_duration)?;
                after.as_secs_f64()
            }
            (Value::Number, Some(value)) => number(value)?,
            (Value::Number, None) => return Err(format!("give {name}=NUMBER")),
        };
        Ok(Self {
            name: kind.name,
            value,
        })
    }
}

/// What a broker does wrong, and how often it had the occasion.
#[derive(Clone, Debug, Default)]
pub struct Lies(Vec<(Lie, u64)>);

impl Lies {
    #[must_use]
    pub fn new(lies: &[Lie]) -> Self {
        Self(lies.iter().map(|lie| (*lie, 0)).collect())
    }

    /// The value of a lie, when it is one of its.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        let found = self.0.iter().find(|(lie, _)| lie.name == name);
        found.map(|(lie, _)| lie.value)
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// An occasion: true when it is an Nth one, so that the lie is due.
    pub fn is_due(&mut self, name: &str) -> bool {
        let Some((lie, occasions)) = self.0.iter_mut().find(|(lie, _)| lie.name == name) else {
            return false;
        };
        *occasions += 1;
        *occasions % lie.value as u64 == 0
    }

    /// True when the time of a lie that begins after some time has come.
    #[must_use]
    pub fn has_begun(&self, name: &str, since_start: Duration) -> bool {
        let after = self.value(name);
        after.is_some_and(|after| since_start.as_secs_f64() >= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_have_names_and_values() {
        let lies: Vec<Lie> = ["drop=3", "freeze=2s", "capacity=100", "no-takeover"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let mut lies = Lies::new(&lies);
        let due: Vec<bool> = (0..6).map(|_| lies.is_due("drop")).collect();
        assert_eq!(due, [false, false, true, false, false, true]);
        assert!(!lies.is_due("corrupt"));
        assert_eq!(lies.value("capacity"), Some(100.0));
        assert!(lies.has("no-takeover"));
        assert!(!lies.has_begun("freeze", Duration::from_millis(1_999)));
        assert!(lies.has_begun("freeze", Duration::from_secs(2)));
        for wrong in ["fly", "drop=0", "capacity", "no-takeover=1", "freeze=x"] {
            assert!(wrong.parse::<Lie>().is_err(), "{wrong}");
        }
    }
}
