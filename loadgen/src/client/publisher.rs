//! The sending side of a client: topics encoded beforehand, packet identifiers, what waits.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use ringmq::mqtt::encode::{self, AckKind, PublishOut};
use ringmq::mqtt::{Ack, PacketId, Qos, ReasonCode, UserProperties, Version};

use super::in_flight::{Again, InFlight, Message};
use crate::feed::Feed;
use crate::payload::{Header, Pattern};
use crate::payload_template::{Occasion, PayloadTemplate};
use crate::plan::{PayloadSize, Publishing};
use crate::proof::{self, ContentHash};

/// Bytes waiting to be sent above which no more messages are added; they are held back instead.
pub const OUT_FULL: usize = 256 << 10;
/// Messages that may wait for room or for acknowledgements, per client.
const HELD_BACK_MAX: usize = 1 << 20;

/// One topic of a publisher: all of its PUBLISH but the payload.
struct Topic {
    name: Box<str>,
    head: Box<[u8]>,
    /// Where the packet identifier is.
    id_at: usize,
}

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Plain,
    /// The name, and the alias that stands for it from now on.
    Introduces,
    Alias,
}

/// The user's own payload, and what is filled in for this client.
pub struct OwnPayload {
    pub template: Arc<PayloadTemplate>,
    pub feed: Option<Arc<Feed>>,
    /// The client's number in its group.
    pub index: u32,
    pub seed: u64,
    pub unix_ahead_ns: u64,
    /// Its proof is a user property of MQTT 5.
    pub has_proof_beside: bool,
}

impl OwnPayload {
    /// A message's payload, the same whenever it is sent; with it the value of the property that proves it.
    fn payload(&self, header: Header, topic: u32, intended_ns: u64) -> (Vec<u8>, Option<Vec<u8>>) {
        let of = Occasion {
            header,
            index: self.index,
            topic,
            seed: self.seed,
            // A header's time is a multiple of 8 ns, and may be all that is left of it.
            unix_ns: (intended_ns & !7).wrapping_add(self.unix_ahead_ns),
            feed: self.feed.as_deref(),
        };
        let mut payload = Vec::new();
        self.template.put(&mut payload, &of);
        let property = self.has_proof_beside.then(|| {
            let mut hash = ContentHash::default();
            hash.add(&payload);
            proof::property(header, payload.len(), hash)
        });
        (payload, property)
    }
}

/// A message that waits, or nothing more than its header.
pub struct Publisher {
    version: Version,
    qos: Qos,
    retain: bool,
    payload: PayloadSize,
    own_payload: Option<Box<OwnPayload>>,
    message_expiry_interval_s: Option<u32>,
    /// Other MQTT 5 properties, encoded.
    properties: Box<[u8]>,
    topics: Box<[Topic]>,
    /// Topics that still have to be sent with their name.
    unaliased: usize,
    alias: bool,
    /// Next sequence number, so messages sent or held back so far.
    pub sequence: u64,
    pub held_back: VecDeque<Header>,
    /// In flight when sessions were lost.
    pub abandoned: u64,
    /// Refused by the broker in their acknowledgements.
    pub refused: u64,
    pub in_flight: InFlight,
}

impl Publisher {
    /// `properties` are those of MQTT 5 that all messages have, encoded.
    pub fn new(
        version: Version,
        publishing: &Publishing,
        names: Vec<String>,
        properties: Vec<u8>,
        own_payload: Option<OwnPayload>,
    ) -> Self {
        let alias = publishing.topic_alias && version.is_v5();
        let mut publisher = Self {
            version,
            qos: publishing.qos,
            retain: publishing.retain,
            payload: publishing.payload.clone(),
            own_payload: own_payload.map(Box::new),
            message_expiry_interval_s: publishing.properties.message_expiry_interval_s,
            properties: properties.into(),
            topics: Box::default(),
            unaliased: if alias { names.len() } else { 0 },
            alias,
            sequence: 0,
            held_back: VecDeque::new(),
            abandoned: 0,
            refused: 0,
            in_flight: InFlight::default(),
        };
        let naming = publisher.first_naming();
        let topics = names.into_iter().enumerate();
        publisher.topics = topics
            .map(|(at, name)| publisher.topic(name.into_boxed_str(), at, naming))
            .collect();
        publisher
    }

    fn first_naming(&self) -> Naming {
        if self.alias {
            Naming::Introduces
        } else {
            Naming::Plain
        }
    }

    fn topic(&self, name: Box<str>, at: usize, naming: Naming) -> Topic {
        let mut head = Vec::new();
        let out = self.out(&name, at, naming, self.payload.max());
        encode::publish_header(&mut head, self.version, &out);
        let more = head[1..].iter().take_while(|byte| **byte >= 0x80).count();
        // First byte, remaining length, length of the topic, topic.
        let id_at = 1 + (more + 1) + 2 + out.topic.len();
        Topic {
            id_at,
            head: head.into(),
            name,
        }
    }

    fn out<'a>(
        &'a self,
        name: &'a str,
        at: usize,
        naming: Naming,
        payload_bytes: usize,
    ) -> PublishOut<'a> {
        PublishOut {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: if naming == Naming::Alias { "" } else { name },
            packet_id: (self.qos != Qos::AtMostOnce).then_some(PacketId(NonZeroU16::MIN)),
            topic_alias: if naming == Naming::Plain {
                None
            } else {
                NonZeroU16::new(at as u16 + 1)
            },
            message_expiry_interval_s: self.message_expiry_interval_s,
            properties: &self.properties,
            payload_len: payload_bytes,
            ..PublishOut::default()
        }
    }

    /// A new connection: the aliases of the last one are void.
    pub fn reset_aliases(&mut self) {
        if !self.alias {
            return;
        }
        self.unaliased = self.topics.len();
        for at in 0..self.topics.len() {
            let name = std::mem::take(&mut self.topics[at].name);
            self.topics[at] = self.topic(name, at, Naming::Introduces);
        }
    }

    /// The broker has accepted the connection, with the session of the last one or without it.
    pub fn connected(&mut self, has_session: bool) {
        if has_session {
            self.in_flight.resume();
        } else {
            self.abandoned += self.in_flight.abandon();
        }
    }

    /// Its messages are acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.qos != Qos::AtMostOnce
    }

    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.qos == Qos::ExactlyOnce
    }

    /// True when one more PUBLISH may be sent.
    #[must_use]
    #[inline]
    pub fn has_credit(&self, window: u16) -> bool {
        self.qos == Qos::AtMostOnce
            || (self.in_flight.count() < window && self.in_flight.again_count() == 0)
    }

    /// Remembers a message for later; false when too many wait.
    pub fn hold_back(&mut self, header: Header) -> bool {
        let room = self.held_back.len() < HELD_BACK_MAX;
        if room {
            self.held_back.push_back(header);
        }
        room
    }

    /// Appends what must be sent again while `out` is not full and the broker's
    /// receive maximum allows.
    pub fn put_again(&mut self, out: &mut Vec<u8>, pattern: &Pattern, window: u16, now_ns: u64) {
        let waiting = self.in_flight.again_count();
        let mut on_the_way = usize::from(self.in_flight.count()).saturating_sub(waiting);
        while out.len() < OUT_FULL && on_the_way < usize::from(window) {
            let Some((id, again)) = self.in_flight.next_again(now_ns) else {
                return;
            };
            on_the_way += 1;
            match again {
                Again::Publish(message) => self.put_dup(out, id, &message, pattern),
                Again::PubRel => put_pubrel(out, self.version, id),
            }
        }
    }

    /// The same message again, with DUP [MQTT-3.3.1-1] and, since aliases are void, its topic's name.
    fn put_dup(&self, out: &mut Vec<u8>, id: u16, message: &Message, pattern: &Pattern) {
        let at = message.topic as usize;
        if let Some(own) = &self.own_payload {
            let content = own.payload(message.header, message.topic, message.intended_ns);
            return self.put_own(out, (at, Naming::Plain), (Some(id), true), content);
        }
        let size = message.payload_bytes as usize;
        let mut publish = self.out(&self.topics[at].name, at, Naming::Plain, size);
        publish.dup = true;
        publish.packet_id = PacketId::new(id);
        encode::publish_header(out, self.version, &publish);
        pattern.put(out, message.header, size);
    }

    /// Appends the next PUBLISH. The caller has asked [`Publisher::has_credit`].
    #[inline]
    pub fn put(
        &mut self,
        out: &mut Vec<u8>,
        header: Header,
        (intended_ns, now_ns): (u64, u64),
        pattern: &Pattern,
    ) {
        // In turn, so that receivers find a message's topic by its sequence.
        let at = match self.topics.len() as u64 {
            1 => 0,
            topics => (header.sequence % topics) as usize,
        };
        let content = self
            .own_payload
            .as_ref()
            .map(|own| own.payload(header, at as u32, intended_ns));
        let size = match &content {
            Some((payload, _)) => payload.len(),
            None => self.payload.pick(),
        };
        let id = (self.qos != Qos::AtMostOnce).then(|| {
            self.in_flight.begin(Message {
                header,
                intended_ns,
                sent_ns: now_ns,
                topic: at as u32,
                payload_bytes: size as u32,
            })
        });
        if let Some(content) = content {
            self.put_own(out, (at, self.naming()), (id, false), content);
        } else if let PayloadSize::Fixed(_) = self.payload {
            let (start, topic) = (out.len(), &self.topics[at]);
            out.extend_from_slice(&topic.head);
            if let Some(id) = id {
                out[start + topic.id_at..][..2].copy_from_slice(&id.to_be_bytes());
            }
            pattern.put(out, header, size);
        } else {
            self.put_head(out, at, id, size);
            pattern.put(out, header, size);
        }
        if self.unaliased > 0 {
            self.unaliased -= 1;
            let name = std::mem::take(&mut self.topics[at].name);
            self.topics[at] = self.topic(name, at, Naming::Alias);
        }
    }

    /// How the next message names its topic.
    fn naming(&self) -> Naming {
        if self.alias && self.unaliased == 0 {
            Naming::Alias
        } else {
            self.first_naming()
        }
    }

    /// A message whose payload is the user's own, the first time or with DUP.
    fn put_own(
        &self,
        out: &mut Vec<u8>,
        (at, naming): (usize, Naming),
        (id, dup): (Option<u16>, bool),
        (payload, property): (Vec<u8>, Option<Vec<u8>>),
    ) {
        let properties = property.map(|property| [&self.properties[..], &property].concat());
        let mut publish = self.out(&self.topics[at].name, at, naming, payload.len());
        publish.dup = dup;
        publish.packet_id = id.and_then(PacketId::new);
        if let Some(properties) = &properties {
            publish.properties = properties;
        }
        encode::publish_header(out, self.version, &publish);
        out.extend_from_slice(&payload);
    }

    /// A head that was not made beforehand, since its payload's size differs.
    fn put_head(&self, out: &mut Vec<u8>, at: usize, id: Option<u16>, size: usize) {
        let mut publish = self.out(&self.topics[at].name, at, self.naming(), size);
        publish.packet_id = id.and_then(PacketId::new);
        encode::publish_header(out, self.version, &publish);
    }
}

fn put_pubrel(out: &mut Vec<u8>, version: Version, id: u16) {
    let Some(packet_id) = PacketId::new(id) else {
        return; // identifiers begin at 1
    };
    let ack = Ack {
        packet_id,
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    encode::ack(out, version, AckKind::PubRel, &ack);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{MessageProperties, Template};

    /// What is sent again is the same message, but for DUP.
    #[test]
    fn own_payloads_are_the_same_again() {
        let template = "{rand:0-999999999}{choice:a,b,c}{now:us} {seq}";
        let template = Arc::new(PayloadTemplate::parse(template).unwrap());
        let publishing = Publishing {
            topic: Template("t".into()),
            topics: 1,
            qos: Qos::AtLeastOnce,
            retain: false,
            payload: PayloadSize::Fixed(0),
            own_payload: Some(Arc::clone(&template)),
            topic_alias: false,
            properties: MessageProperties::default(),
            response_topic: None,
            window: None,
        };
        let own = OwnPayload {
            template,
            feed: None,
            index: 0,
            seed: 5,
            unix_ahead_ns: 7,
            has_proof_beside: true,
        };
        let names = vec!["t".to_string()];
        let mut publisher = Publisher::new(Version::V5, &publishing, names, Vec::new(), Some(own));
        let (mut first, mut again, pattern) = (Vec::new(), Vec::new(), Pattern::default());
        for sequence in 0..3 {
            let intended_ns = 1_001 + sequence;
            let header = Header::new(1, sequence, intended_ns);
            publisher.put(&mut first, header, (intended_ns, 2_000), &pattern);
        }
        publisher.connected(true);
        publisher.put_again(&mut again, &pattern, 10, 3_000);
        assert_ne!(first, again);
        let mut at = 0;
        while at < again.len() {
            again[at] &= !0b1000; // DUP
            at += 2 + usize::from(again[at + 1]);
        }
        assert_eq!(first, again);
    }
}
