//! One MQTT client as a value: bytes and the time in, bytes out. It has no socket and no clock.

mod agreement;
mod exchange;
mod in_flight;
mod inspect;
mod promises;
pub mod publisher;
mod receive;
mod subscriptions;

use std::sync::Arc;

use ringmq::mqtt::encode;
use ringmq::mqtt::{Connect, ConnectProperties, Disconnect, PublishProperties, Qos, Version, Will};

use crate::flows::Flows;
use crate::meter::{Count, Meter, Timing};
use crate::payload::{Header, Pattern, HEADER_BYTES};
use crate::plan::{Group, Plan};
pub use inspect::Published;
pub use promises::Promise;
pub use publisher::OUT_FULL;
use publisher::{OwnPayload, Publisher};
use receive::Pending;

/// What clients share on a worker.
pub struct Context<'a> {
    pub plan: &'a Plan,
    pub meter: &'a mut Meter,
    /// Bytes of payloads behind the header.
    pub pattern: &'a Pattern,
    /// What payloads besides those with a header may be.
    pub own_payloads: OwnPayloads,
    /// MQTT 5 properties of messages, by group.
    pub properties: &'a [Published],
    pub now_ns: u64,
    /// An answer that is due from now on.
    pub asked: Option<Promise>,
}

/// What payloads of a plan without a header may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnPayloads {
    /// Some have a proof within or beside.
    pub have_proofs: bool,
    /// Some have none: they look like those of other programs.
    pub have_none: bool,
}

impl OwnPayloads {
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut own = Self::default();
        let publishing = plan
            .groups
            .iter()
            .filter_map(|group| group.publishing.as_ref());
        for template in publishing.filter_map(|publishing| publishing.own_payload.as_ref()) {
            own.have_proofs |= !template.is_unverified;
            own.have_none |= template.is_unverified;
        }
        own
    }
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Without a connection.
    Idle,
    /// The transport is being opened.
    Opening,
    AwaitsConnAck,
    Ready,
}

/// Reason of a connection's end that was not asked for, as a sentence.
#[derive(Debug)]
pub struct ConnectionError(pub String);

/// When stored messages were asked for, and when the last came.
struct Stored {
    asked_ns: u64,
    last_ns: u64,
}

pub struct Client {
    pub group: u16,
    /// Number in its group.
    pub index: u32,
    /// Number over all groups: its name as a publisher.
    pub number: u32,
    pub version: Version,
    pub state: State,
    /// Connections in a row that failed or were lost.
    pub failures: u8,
    /// Its connection was lost, at least once.
    pub was_lost: bool,
    /// Its connection was lost and has not been opened again.
    pub is_away: bool,
    /// The broker had its session when it connected.
    pub has_session: bool,
    /// It is to have its subscriptions.
    pub subscribes: bool,
    /// SUBACK has come and granted them all, in this session.
    pub is_subscribed: bool,
    /// Highest QoS granted.
    granted: Option<Qos>,
    /// SUBACK, UNSUBACK or the PINGRESP of a round trip is due.
    awaits_suback: bool,
    awaits_unsuback: bool,
    awaits_pingresp: bool,
    /// The PINGRESP of a round trip has not come in time.
    pub is_mute: bool,
    /// PINGREQ packets without an answer.
    pings: u8,
    /// When the first of these was sent, at the latest.
    pinged_ns: u64,
    /// Wills that the broker has to have published: connections that ended without DISCONNECT.
    pub wills_due: u64,
    /// Of these: the broker ended the connection, or itself.
    wills_uncertain: u64,
    /// Its step's work is done or has failed.
    pub settled: bool,
    /// Its messages are requests or answers of MQTT 5.
    exchanges: bool,
    /// Sequence at which it has published all it was to.
    pub limit: u64,
    pub out: Vec<u8>,
    pub flows: Flows,
    /// Messages received without a header.
    pub unproven: u64,
    /// Received with a header that does not tell any more whose they are.
    pub altered: u64,
    publisher: Option<Box<Publisher>>,
    stored: Option<Box<Stored>>,
    /// When CONNECT, SUBSCRIBE or UNSUBSCRIBE was sent.
    asked_ns: u64,
    /// Least that the window, the broker's receive maximum and the plan allow.
    receive_maximum: u16,
    window: u16,
    /// Its own, or the broker's when that says another [MQTT-3.2.2-21]; 0 is off.
    pub keep_alive_s: u16,
    pending: Option<Box<Pending>>,
    /// QoS 2 identifiers received and not yet released.
    unreleased: Vec<u16>,
}

impl Client {
    #[must_use]
    pub fn new(plan: &Plan, group: usize, index: u32) -> Self {
        Self {
            group: group as u16,
            index,
            number: plan.first_client(group) + index,
            version: plan.version(group, index),
            state: State::Idle,
            failures: 0,
            was_lost: false,
            is_away: false,
            has_session: false,
            subscribes: false,
            is_subscribed: false,
            granted: None,
            awaits_suback: false,
            awaits_unsuback: false,
            awaits_pingresp: false,
            is_mute: false,
            pings: 0,
            pinged_ns: 0,
            wills_due: 0,
            wills_uncertain: 0,
            settled: true,
            exchanges: exchange::is_exchange(plan, &plan.groups[group]),
            limit: 0,
            out: Vec::new(),
            flows: Flows::default(),
            unproven: 0,
            altered: 0,
            publisher: None,
            stored: None,
            asked_ns: 0,
            receive_maximum: u16::MAX,
            window: plan.connection.in_flight_max,
            keep_alive_s: plan.connection.keep_alive_s,
            pending: None,
            unreleased: Vec::new(),
        }
    }

    fn own<'a>(&self, plan: &'a Plan) -> &'a Group {
        &plan.groups[usize::from(self.group)]
    }

    /// The transport is being opened.
    pub fn open(&mut self, now_ns: u64) {
        self.state = State::Opening;
        self.asked_ns = now_ns;
    }

    /// When its connection, or its last answer, was asked for.
    #[must_use]
    pub fn asked_ns(&self) -> u64 {
        self.asked_ns
    }

    /// The transport is open: appends CONNECT.
    pub fn connect(&mut self, plan: &Plan) {
        let own = self.own(plan);
        let common = &plan.connection;
        let client_id = own.fill(&own.client_id, self.index, 0, plan.seed);
        let will = own.will.as_ref().map(|will| {
            let topic = own.fill(&will.topic, self.index, 0, plan.seed);
            let header = Header::new(self.number, self.wills_due, 0);
            let (payload, _) = header.to_bytes(HEADER_BYTES);
            (topic, payload, will.qos)
        });
        let connect = Connect {
            version: self.version,
            is_bridge: false,
            clean_start: own.session.clean_start,
            keep_alive_s: common.keep_alive_s,
            client_id: &client_id,
            will: will.as_ref().map(|(topic, payload, qos)| Will {
                topic,
                payload,
                qos: *qos,
                retain: false,
                delay_interval_s: 0,
                properties: PublishProperties::default(),
            }),
            user_name: own.own_value("user", self.index).or(common.user.as_deref()),
            password: own
                .own_value("password", self.index)
                .or(common.password.as_deref())
                .map(str::as_bytes),
            properties: ConnectProperties {
                session_expiry_interval_s: own.session.expiry_interval_s,
                ..ConnectProperties::default()
            },
        };
        encode::connect(&mut self.out, &connect);
        self.state = State::AwaitsConnAck;
        if self.own(plan).answers_to.is_some() {
            self.prepare(plan);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.reset_aliases();
        }
    }

    /// The connection ends without DISCONNECT; `is_asked` when that is what the scenario wants.
    pub fn broken(&mut self, is_asked: bool, cx: &mut Context<'_>) {
        if self.state == State::Ready && self.own(cx.plan).will.is_some() {
            self.wills_due += 1;
            let is_certain = is_asked || self.own(cx.plan).wills_are_kept;
            self.wills_uncertain += u64::from(!is_certain);
            cx.meter.count(Count::Published);
        }
    }

    /// The connection is closed.
    pub fn closed(&mut self) {
        self.state = State::Idle;
        self.out.clear();
        self.pending = None;
        self.pings = 0;
        (self.awaits_suback, self.awaits_unsuback) = (false, false);
        self.awaits_pingresp = false;
    }

    /// Appends DISCONNECT.
    pub fn disconnect(&mut self) {
        encode::disconnect(&mut self.out, self.version, &Disconnect::default());
    }

    /// Appends PINGREQ.
    pub fn ping(&mut self, cx: &mut Context<'_>) {
        encode::pingreq(&mut self.out);
        if self.pings == 0 {
            self.pinged_ns = cx.now_ns;
        }
        self.pings = self.pings.saturating_add(1);
        cx.asked = Some(Promise::PingResp);
    }

    /// Appends PINGREQ and waits for its answer, which comes when the broker has read all before it.
    pub fn round_trip(&mut self, cx: &mut Context<'_>) {
        self.ping(cx);
        self.awaits_pingresp = true;
        self.asked_ns = cx.now_ns;
    }

    fn ask(&mut self, promise: Promise, cx: &mut Context<'_>) {
        cx.asked = Some(promise);
        self.asked_ns = cx.now_ns;
    }

    /// Encodes what this client publishes; call before the first message.
    pub fn prepare(&mut self, plan: &Plan) {
        if self.publisher.is_some() {
            return;
        }
        let own = self.own(plan);
        let Some(publishing) = &own.publishing else {
            return;
        };
        self.window = publishing.window.unwrap_or(plan.connection.in_flight_max);
        let name = |topic| own.fill(&publishing.topic, self.index, topic, plan.seed);
        let names = (0..publishing.topics.max(1)).map(name).collect();
        let version = self.version;
        let mut properties = publishing.properties.encoded();
        properties.extend(exchange::properties(plan, self.group.into(), self.index));
        let own_payload = publishing.own_payload.as_ref().map(|template| OwnPayload {
            template: Arc::clone(template),
            feed: own.feed.clone(),
            index: self.index,
            seed: plan.seed,
            unix_ahead_ns: plan.unix_ahead_ns,
            has_proof_beside: version.is_v5() && template.wants_proof_beside(),
        });
        let publisher = Publisher::new(version, publishing, names, properties, own_payload);
        self.publisher = Some(Box::new(publisher));
    }

    /// How many PUBLISH packets may be unacknowledged.
    pub fn set_window(&mut self, window: u16) {
        self.window = window;
    }

    /// True when one more message can be appended now.
    #[must_use]
    #[inline]
    pub fn can_publish(&self) -> bool {
        let window = self.window.min(self.receive_maximum);
        self.state == State::Ready
            && self.out.len() < OUT_FULL
            && self
                .publisher
                .as_ref()
                .is_some_and(|publisher| publisher.has_credit(window))
    }

    /// A message's time has come: appends its PUBLISH, or holds it back when that cannot be.
    #[inline]
    pub fn publish(&mut self, intended_ns: u64, cx: &mut Context<'_>) {
        let can = self.can_publish();
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        let header = Header::new(self.number, publisher.sequence, intended_ns);
        if can && publisher.held_back.is_empty() {
            publisher.sequence += 1;
            publisher.put(&mut self.out, header, (intended_ns, cx.now_ns), cx.pattern);
            cx.meter.count(Count::Published);
        } else {
            cx.meter.count(Count::HeldBack);
            if publisher.hold_back(header) {
                publisher.sequence += 1;
            } else {
                cx.meter.count(Count::NotSent);
            }
        }
    }

    /// Publishes what must be sent again and those held back, as far as room and acknowledgements allow.
    pub fn publish_held_back(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Ready {
            if let Some(publisher) = &mut self.publisher {
                publisher.put_again(&mut self.out, cx.pattern, self.receive_maximum, cx.now_ns);
            }
        }
        while self.can_publish() {
            let Some(publisher) = &mut self.publisher else {
                return;
            };
            let Some(header) = publisher.held_back.pop_front() else {
                return;
            };
            let intended_ns = cx.now_ns.saturating_sub(header.latency_ns(cx.now_ns));
            publisher.put(&mut self.out, header, (intended_ns, cx.now_ns), cx.pattern);
            cx.meter.count(Count::Published);
        }
    }

    /// Answers a request: publishes its header back.
    fn answer(&mut self, header: Header, cx: &mut Context<'_>) {
        if let Some(publisher) = &mut self.publisher {
            publisher.hold_back(header);
        }
        self.publish_held_back(cx);
    }

    /// Messages published or held back; of one that publishes nothing, the wills that are due.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.publisher
            .as_ref()
            .map_or(self.wills_due, |publisher| publisher.sequence)
    }

    /// Messages that wait to be sent, or to be sent again.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.publisher.as_ref().map_or(0, |publisher| {
            publisher.held_back.len() + publisher.in_flight.again_count()
        })
    }

    /// All that it has published is acknowledged, as far as it will be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.publisher.as_ref().is_none_or(|publisher| {
            publisher.held_back.is_empty() && publisher.in_flight.count() == 0
        })
    }

    /// Messages of QoS 1 and 2 that nothing is known about: not acknowledged, or not before their
    /// session was lost.
    #[must_use]
    pub fn uncertain(&self) -> u64 {
        self.publisher
            .as_ref()
            .map_or(self.wills_uncertain, |publisher| {
                u64::from(publisher.in_flight.count()) + publisher.abandoned
            })
    }

    /// Messages that the broker has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.publisher
            .as_ref()
            .map_or(0, |publisher| publisher.refused)
    }

    /// The CONNACK, SUBACK or UNSUBACK that was waited for.
    fn settle(&mut self, count: Count, timing: Timing, cx: &mut Context<'_>) {
        self.settled = true;
        cx.meter.count(count);
        cx.meter
            .time(timing, cx.now_ns.saturating_sub(self.asked_ns));
    }
}
