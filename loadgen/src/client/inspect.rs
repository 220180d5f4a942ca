//! Deliveries held against what was published: content, topic, QoS, RETAIN, DUP and properties.

use ringmq::mqtt::property::{Properties, Property};
use ringmq::mqtt::{Qos, Version};

use super::OwnPayloads;
use crate::flows::{Arrival, Expected};
use crate::meter::Count;
use crate::payload::{topic_hash, Header, Pattern, Reading, Sample, HEADER_BYTES};
use crate::plan::{Group, Plan, Template};
use crate::proof::{ContentHash, Proof, MARK};

/// The parts of a PUBLISH whose payload may not be whole yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skimmed<'a> {
    pub(super) packet_id: u16,
    pub(super) topic: &'a [u8],
    pub(super) properties: &'a [u8],
    /// As much of it as has come.
    pub(super) payload: &'a [u8],
    pub(super) payload_bytes: usize,
}

/// Finds the parts of a PUBLISH of which `body` is the beginning and `length` the whole. `None`: the
/// beginning is too short for a header.
#[inline]
pub(super) fn skim(version: Version, first: u8, body: &[u8], length: usize) -> Option<Skimmed<'_>> {
    let topic_bytes = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let topic = body.get(2..2 + topic_bytes)?;
    let mut at = 2 + topic_bytes;
    let mut packet_id = 0;
    if first & 0b110 != 0 {
        packet_id = u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]);
        at += 2;
    }
    let mut properties: &[u8] = &[];
    if version.is_v5() {
        let mut bytes = 0;
        for shift in [0, 7, 14, 21] {
            let byte = *body.get(at)?;
            at += 1;
            bytes |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        properties = body.get(at..at + bytes)?;
        at += bytes;
    }
    let payload_bytes = length.checked_sub(at)?;
    let payload = body.get(at..)?;
    (payload.len() >= payload_bytes.min(HEADER_BYTES)).then_some(Skimmed {
        packet_id,
        topic,
        properties,
        payload,
        payload_bytes,
    })
}

/// MQTT 5 properties of a group's messages.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Those that a broker passes on unchanged.
    pub encoded: Vec<u8>,
    /// They have a message expiry interval besides.
    pub expire: bool,
}

impl Published {
    /// Of all groups.
    #[must_use]
    pub fn of(plan: &Plan) -> Box<[Self]> {
        let groups = plan.groups.iter().map(|group| {
            let own = group.publishing.as_ref().map(|own| &own.properties);
            own.map_or_else(Self::default, |own| Self {
                encoded: own.encoded(),
                expire: own.message_expiry_interval_s.is_some(),
            })
        });
        groups.collect()
    }
}

/// What is kept of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) first: u8,
    pub(super) packet_id: u16,
    /// Of its topic name, when that is compared.
    pub(super) topic: Option<u32>,
    pub(super) reading: Reading,
    /// Bytes behind the header are not those that follow from it.
    pub(super) is_altered: bool,
    /// Against the properties: `Count` of the breach.
    pub(super) breach: Option<Count>,
    /// Of a payload of the user's own whose end has not come: its proof, and the hash so far.
    pub(super) proof: Option<(Proof, ContentHash)>,
}

impl Delivery {
    /// Looks at everything that has come of a PUBLISH but its properties.
    #[inline]
    pub(super) fn of(
        first: u8,
        skimmed: &Skimmed<'_>,
        pattern: &Pattern,
        (own, sample): (OwnPayloads, Sample),
    ) -> Self {
        let mut reading = Header::read(skimmed.payload, skimmed.payload_bytes);
        let mut is_altered = reading == Reading::Altered;
        match reading {
            Reading::Sound(header, place) if sample.has(header) => {
                let body = &skimmed.payload[HEADER_BYTES..];
                is_altered = !pattern.matches(place, 0, body);
            }
            Reading::Short if !pattern.matches(0, 0, skimmed.payload) => {
                reading = Reading::Foreign;
            }
            _ => {}
        }
        let mut delivery = Self {
            first,
            packet_id: skimmed.packet_id,
            topic: None,
            reading,
            is_altered,
            breach: None,
            proof: None,
        };
        if own != OwnPayloads::default() && !matches!(reading, Reading::Sound(..)) {
            delivery.look_for_proof(skimmed, own, sample);
        }
        if delivery.compared(sample).is_some() {
            delivery.topic = Some(topic_hash(skimmed.topic));
        }
        delivery
    }

    /// Its header and the place that its bytes begin at, when its content is to be compared.
    #[inline]
    pub(super) fn compared(&self, sample: Sample) -> Option<(Header, u8)> {
        match self.reading {
            Reading::Sound(header, place) if sample.has(header) => Some((header, place)),
            _ => None,
        }
    }

    /// A payload without a header may be one of the user's own.
    #[cold]
    fn look_for_proof(&mut self, skimmed: &Skimmed<'_>, own: OwnPayloads, sample: Sample) {
        let payload = skimmed.payload;
        let beside = Proof::beside(skimmed.properties);
        let Some(proof) = beside.or_else(|| Proof::within(payload)) else {
            if own.have_none && self.reading == Reading::Foreign {
                self.reading = Reading::Short;
            }
            return;
        };
        self.reading = proof.reading(skimmed.payload_bytes);
        self.is_altered = match self.reading {
            Reading::Sound(header, _) if !sample.has(header) => false,
            Reading::Sound(..) if payload.len() < skimmed.payload_bytes => {
                let mut hash = ContentHash::default();
                hash.add(payload);
                self.proof = Some((proof, hash));
                false
            }
            Reading::Sound(..) => !proof.holds(payload),
            _ => true,
        };
    }

    pub(super) fn qos(&self) -> Option<Qos> {
        Qos::from_bits(self.first >> 1 & 0b11)
    }

    fn has_retain(&self) -> bool {
        self.first & 1 != 0
    }

    fn has_dup(&self) -> bool {
        self.first & 0b1000 != 0
    }
}

/// What a receiver's subscriptions promise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promised {
    /// Highest QoS granted.
    pub(super) granted: Option<Qos>,
    /// There is one subscription, so its QoS is exact.
    pub(super) is_only: bool,
    /// It subscribes after the messages were retained.
    pub(super) gets_retained: bool,
    /// Its session may have had the message before.
    pub(super) may_repeat: bool,
}

/// What is wrong with a message of a known publisher.
#[inline]
pub(super) fn breaches(
    own: &Delivery,
    expected: &Expected,
    topic: Option<u32>,
    promised: Promised,
    arrival: Arrival,
) -> impl Iterator<Item = Count> {
    let is_known = topic.is_some();
    let wrong_topic = topic
        .zip(own.topic)
        .is_some_and(|(topic, found)| topic != found);
    let (raised, lowered) = match (own.qos(), promised.granted) {
        (Some(qos), Some(granted)) if is_known => {
            let due = expected.qos.min(granted);
            (qos > due, promised.is_only && qos < due)
        }
        _ => (false, false),
    };
    // [MQTT-3.3.1-8], [MQTT-3.3.1-9]
    let wrong_retain = is_known
        && if own.has_retain() {
            !expected.is_retained
        } else {
            expected.is_retained && promised.gets_retained
        };
    // [MQTT-3.3.1-2], [MQTT-3.3.1-3]
    let is_repeated = arrival == Arrival::Again || promised.may_repeat;
    let wrong_dup = own.has_dup() && (own.first & 0b110 == 0 || !is_repeated);
    [
        own.breach,
        wrong_topic.then_some(Count::WrongTopic),
        raised.then_some(Count::RaisedQos),
        lowered.then_some(Count::LoweredQos),
        wrong_retain.then_some(Count::WrongRetain),
        wrong_dup.then_some(Count::WrongDup),
    ]
    .into_iter()
    .flatten()
}

/// What the messages of `publisher` must look like at the client `receiver`.
pub(super) fn expected(plan: &Plan, receiver: u32, publisher: u32) -> Expected {
    let Some((group, index)) = plan.place_of(publisher) else {
        return Expected::default();
    };
    // An answer carries the header of the one who asked.
    let answering = || plan.groups.iter().position(|own| own.answers_to.is_some());
    let from = if publisher == receiver {
        answering().unwrap_or(group)
    } else {
        group
    };
    of_group(plan, from, index).unwrap_or_default()
}

fn of_group(plan: &Plan, at: usize, index: u32) -> Option<Expected> {
    let group: &Group = &plan.groups[at];
    let hash = |topic: &Template, number: u32| {
        topic_hash(group.fill(topic, index, number, plan.seed).as_bytes())
    };
    if let Some(publishing) = &group.publishing {
        let topics = if publishing.topic.0.contains("{t}") {
            publishing.topics.max(1)
        } else {
            1
        };
        return Some(Expected {
            topics: (0..topics)
                .map(|number| hash(&publishing.topic, number))
                .collect(),
            group: at as u16,
            qos: publishing.qos,
            is_retained: publishing.retain,
        });
    }
    let will = group.will.as_ref()?;
    Some(Expected {
        topics: [hash(&will.topic, 0)].into(),
        group: at as u16,
        qos: will.qos,
        is_retained: false,
    })
}

/// What is wrong with the properties of a message that was published with `published`.
pub(super) fn damage(found: &[u8], published: &[u8], may_expire: bool) -> Option<Count> {
    let rest = match found {
        [0x02, _, _, _, _, rest @ ..] if may_expire => rest, // the expiry interval is first, mostly
        _ => found,
    };
    if rest == published && (rest.len() < found.len()) == may_expire {
        return None;
    }
    let mut has_identifier = false;
    let mut expires = false;
    let mut passed_on = |raw: &[u8]| {
        let (mut user, mut others) = (Vec::new(), Vec::new());
        for property in Properties::new(raw) {
            match property {
                Property::SubscriptionIdentifier(_) => has_identifier = true,
                Property::MessageExpiryInterval(_) => expires = true,
                Property::TopicAlias(_) | Property::UserProperty(MARK, _) => {}
                Property::UserProperty(name, value) => {
                    user.push((name.to_string(), value.to_string()));
                }
                other => {
                    let mut bytes = Vec::new();
                    other.put(&mut bytes);
                    others.push(bytes);
                }
            }
        }
        others.sort(); // only the order of user properties is promised [MQTT-3.3.2-18]
        (user, others)
    };
    let (found, published) = (passed_on(found), passed_on(published));
    if has_identifier {
        return Some(Count::WrongIdentifier);
    }
    (found != published || expires != may_expire).then_some(Count::WrongProperties)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MessageProperties;

    #[test]
    fn skims_without_the_whole_payload() {
        let (header, _) = Header::new(7, 8, 9).to_bytes(99_992);
        let mut body = vec![0, 1, b't', 0, 5, 2, 1, 1];
        body.extend(header);
        let skimmed = skim(Version::V5, 0x32, &body, 100_000).unwrap();
        assert_eq!((skimmed.packet_id, skimmed.payload_bytes), (5, 99_992));
        assert_eq!(
            (skimmed.topic, skimmed.properties),
            (&b"t"[..], &[1, 1][..])
        );
        assert_eq!(skimmed.payload, header);
        for short in 0..body.len() {
            assert_eq!(skim(Version::V5, 0x32, &body[..short], 100_000), None);
        }
        let empty = skim(Version::V311, 0x30, &[0, 1, b't'], 3).unwrap();
        assert_eq!(empty.payload_bytes, 0);
        assert_eq!(skim(Version::V311, 0x30, &[0, 9, b't'], 3), None);
    }

    #[test]
    fn properties_are_passed_on_in_any_order_of_kinds() {
        let encoded = |user: &[(&str, &str)], content_type: Option<&str>| {
            let own = MessageProperties {
                content_type: content_type.map(str::to_string),
                user: user
                    .iter()
                    .map(|(a, b)| (a.to_string(), b.to_string()))
                    .collect(),
                ..MessageProperties::default()
            };
            own.encoded()
        };
        let published = encoded(&[("a", "1"), ("b", "2")], Some("text"));
        assert_eq!(damage(&published, &published, false), None);
        let moved = [
            encoded(&[("a", "1"), ("b", "2")], None),
            encoded(&[], Some("text")),
        ];
        assert_eq!(damage(&moved.concat(), &published, false), None);
        let wrong = Some(Count::WrongProperties);
        let swapped = encoded(&[("b", "2"), ("a", "1")], Some("text"));
        assert_eq!(damage(&swapped, &published, false), wrong);
        assert_eq!(damage(&[], &published, false), wrong);
        let mut more = published.clone();
        Property::SubscriptionIdentifier(3).put(&mut more);
        assert_eq!(
            damage(&more, &published, false),
            Some(Count::WrongIdentifier)
        );
        let mut expiring = Vec::new();
        Property::MessageExpiryInterval(3).put(&mut expiring);
        assert_eq!(damage(&expiring, &[], true), None);
        assert_eq!(damage(&[], &[], true), wrong);
        assert_eq!(damage(&expiring, &[], false), wrong);
    }
}
