//! A server's session and a client that keeps the rules, with packets lost only when a connection
//! breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use ringmq::limits::QueuePolicy;
use ringmq::mqtt::{KeptAt, PacketId, Publication, Qos};
use ringmq::session::{Delivery, QueueBounds, QueueOffer, Resend, Session, Waiting};

use crate::choices::Choices;
use crate::features::note;

/// Messages in the queue.
const QUEUE_MAX: usize = 5;
/// Turns that finish whatever is left.
const FINISH_MAX: usize = 10_000;

/// Name of a message.
type Number = u32;

enum ToClient {
    Publish(PacketId, Number, Qos),
    Release(PacketId),
}

#[derive(Clone, Copy)]
enum ToServer {
    /// PUBACK.
    Acknowledged(PacketId),
    /// PUBREC, and whether the client takes the message.
    Received(PacketId, bool),
    /// PUBCOMP.
    Complete(PacketId),
}

/// What the server should have of an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    Publish(Number, Qos),
    Release(Number),
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// The client has to get it in the end.
    Owed,
    /// Dropped by the queue, taken for another member, or refused.
    Excused,
}

/// Both ends, and what must be true of them.
pub(super) struct Pair {
    session: Session,
    bounds: QueueBounds,
    receive_maximum: u16,
    is_connected: bool,
    to_client: VecDeque<ToClient>,
    to_server: VecDeque<ToServer>,
    /// Identifiers in flight, as the model has them, in the order of sending.
    in_flight: VecDeque<(PacketId, Sent)>,
    /// Identifiers whose PUBLISH took quota of this connection.
    open: BTreeSet<u16>,
    /// Those already sent on this connection.
    sent_here: BTreeSet<u16>,
    queued: VecDeque<Number>,
    messages: Vec<(Qos, Fate, usize)>,
    /// QoS 2 identifiers the client has received and not seen released.
    held: BTreeSet<u16>,
    received: BTreeMap<Number, u32>,
    last_received: Option<Number>,
}

impl Pair {
    pub(super) fn new(choices: &mut Choices<'_>) -> Self {
        let policy = choices.one_of(&[
            QueuePolicy::DropOldest,
            QueuePolicy::DropNewest,
            QueuePolicy::Disconnect,
        ]);
        let mut pair = Self {
            session: Session::new("c".into(), 5),
            bounds: QueueBounds {
                messages_max: QUEUE_MAX,
                bytes_max: 1_000,
                policy,
            },
            receive_maximum: 0,
            is_connected: false,
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            in_flight: VecDeque::new(),
            open: BTreeSet::new(),
            sent_here: BTreeSet::new(),
            queued: VecDeque::new(),
            messages: Vec::new(),
            held: BTreeSet::new(),
            received: BTreeMap::new(),
            last_received: None,
        };
        pair.connect(1 + u16::from(choices.byte() % 4));
        pair
    }

    pub(super) fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 16 {
            0..=5 => {
                let qos = choices.one_of(&[Qos::AtLeastOnce, Qos::ExactlyOnce]);
                let size = choices.one_of(&[0, 1, 30, 300, 2_000]);
                let is_shared = choices.byte() < 64;
                self.offer(qos, size, is_shared);
            }
            6..=8 => self.client_takes(choices),
            9..=11 => self.server_takes(),
            12 => self.disconnect(),
            13 => {
                self.disconnect();
                self.connect(1 + u16::from(choices.byte() % 4));
            }
            14 => self.unknown_ack(choices),
            _ => self.take_shared(),
        }
        self.check();
    }

    fn connect(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum;
        self.is_connected = true;
        self.session.window.start(receive_maximum);
        self.open.clear();
        self.sent_here.clear();
        self.last_received = None;
        self.pump();
    }

    fn disconnect(&mut self) {
        if self.is_connected {
            self.is_connected = false;
            self.session.window.stop();
            self.to_client.clear();
            self.to_server.clear();
        }
    }

    /// A message for the client: into the window if it is next, otherwise into the queue.
    fn offer(&mut self, qos: Qos, size: usize, is_shared: bool) {
        let number = self.messages.len() as Number;
        let delivery = delivery(number, qos, size, is_shared);
        let cost = delivery.cost_bytes();
        self.messages.push((qos, Fate::Owed, cost));
        if self.is_connected && self.session.queue.is_empty() && self.session.window.has_room() {
            self.send(number, delivery);
            return;
        }
        let queue = &mut self.session.queue;
        let before = queue.len();
        match queue.offer(delivery, &self.bounds) {
            QueueOffer::Queued => self.queued.push_back(number),
            QueueOffer::DroppedOldest(count) => {
                assert_eq!(self.bounds.policy, QueuePolicy::DropOldest);
                assert!(count > 0 && count <= before, "dropped what was not there");
                for _ in 0..count {
                    let oldest = self.queued.pop_front().expect("counted");
                    self.messages[oldest as usize].1 = Fate::Excused;
                }
                self.queued.push_back(number);
            }
            refused @ (QueueOffer::DroppedNewest | QueueOffer::Overflow) => {
                let is_overflow = refused == QueueOffer::Overflow;
                let asked = self.bounds.policy == QueuePolicy::Disconnect;
                assert_eq!(is_overflow, asked, "not the policy");
                assert!(before > 0, "an empty queue takes any one message");
                let is_full =
                    before >= QUEUE_MAX || self.cost_of_queue() + cost > self.bounds.bytes_max;
                assert!(is_full, "dropped though there was room");
                self.messages[number as usize].1 = Fate::Excused;
                note(("refused", is_overflow));
            }
        }
    }

    fn cost_of_queue(&self) -> usize {
        let cost = |number: &Number| self.messages[*number as usize].2;
        self.queued.iter().map(cost).sum()
    }

    fn send(&mut self, number: Number, delivery: Delivery) {
        let qos = delivery.qos;
        let id = self.session.window.push(delivery);
        let is_used = self.in_flight.iter().any(|(known, _)| *known == id);
        assert!(!is_used, "identifier {id:?} is in use [MQTT-2.2.1-4]");
        self.in_flight.push_back((id, Sent::Publish(number, qos)));
        self.sent(id, number, qos);
    }

    fn sent(&mut self, id: PacketId, number: Number, qos: Qos) {
        assert!(
            self.sent_here.insert(id.get()),
            "sent twice on a connection"
        );
        self.open.insert(id.get());
        assert!(
            self.open.len() <= usize::from(self.receive_maximum),
            "more open than Receive Maximum [MQTT-3.3.4-9]"
        );
        self.to_client.push_back(ToClient::Publish(id, number, qos));
    }

    /// Sends what can be sent: first again, then from the queue.
    fn pump(&mut self) {
        if !self.is_connected {
            return;
        }
        loop {
            let next = match self.session.window.next_resend() {
                None => break,
                Some(Resend::Publish(id, delivery)) => {
                    ToClient::Publish(id, number_of(delivery), delivery.qos)
                }
                Some(Resend::Release(id)) => ToClient::Release(id),
            };
            self.resend(next);
        }
        while self.session.window.has_room() {
            let Some(delivery) = self.session.queue.pop() else {
                assert!(self.queued.is_empty(), "the queue has lost a message");
                break;
            };
            let number = number_of(&delivery);
            assert_eq!(self.queued.pop_front(), Some(number), "order of the queue");
            self.send(number, delivery);
        }
    }

    /// What is sent again is the first in flight that has not been sent on this connection.
    fn resend(&mut self, next: ToClient) {
        let sent_here = &self.sent_here;
        let first = self
            .in_flight
            .iter()
            .find(|(id, _)| !sent_here.contains(&id.get()))
            .copied();
        match next {
            ToClient::Publish(id, number, qos) => {
                assert_eq!(first, Some((id, Sent::Publish(number, qos))), "sent again");
                self.sent(id, number, qos);
            }
            ToClient::Release(id) => {
                let (known, sent) = first.expect("PUBREL for nothing in flight");
                assert!(known == id && matches!(sent, Sent::Release(_)), "released");
                self.sent_here.insert(id.get());
                self.to_client.push_back(ToClient::Release(id));
            }
        }
    }

    fn client_takes(&mut self, choices: &mut Choices<'_>) {
        match self.to_client.pop_front() {
            None => {}
            Some(ToClient::Publish(id, number, Qos::ExactlyOnce)) => {
                let is_refused = choices.byte() > 230;
                if self.held.contains(&id.get()) {
                    self.to_server.push_back(ToServer::Received(id, true));
                } else if is_refused {
                    self.messages[number as usize].1 = Fate::Excused;
                    self.to_server.push_back(ToServer::Received(id, false));
                } else {
                    self.held.insert(id.get());
                    self.accept(number);
                    self.to_server.push_back(ToServer::Received(id, true));
                }
            }
            Some(ToClient::Publish(id, number, _)) => {
                self.accept(number);
                self.to_server.push_back(ToServer::Acknowledged(id));
            }
            Some(ToClient::Release(id)) => {
                self.held.remove(&id.get());
                self.to_server.push_back(ToServer::Complete(id));
            }
        }
    }

    fn accept(&mut self, number: Number) {
        assert!(
            self.last_received < Some(number),
            "out of order [MQTT-4.6.0-6]"
        );
        self.last_received = Some(number);
        *self.received.entry(number).or_default() += 1;
        let (qos, _, _) = self.messages[number as usize];
        let is_repeat = qos == Qos::ExactlyOnce && self.received[&number] > 1;
        assert!(!is_repeat, "QoS 2 message {number} was delivered twice");
    }

    fn server_takes(&mut self) {
        let Some(packet) = self.to_server.pop_front() else {
            return;
        };
        let window = &mut self.session.window;
        match packet {
            ToServer::Acknowledged(id) => {
                assert_eq!(window.puback(id), Ok(()), "PUBACK {id:?}");
                self.done(id);
            }
            ToServer::Received(id, true) => {
                assert_eq!(window.pubrec(id), Ok(()), "PUBREC {id:?}");
                let entry = self.entry(id);
                if let Sent::Publish(number, _) = entry.1 {
                    entry.1 = Sent::Release(number);
                }
                self.to_client.push_back(ToClient::Release(id));
            }
            ToServer::Received(id, false) => {
                assert_eq!(window.pubrec_refused(id), Ok(()), "refused {id:?}");
                self.done(id);
            }
            ToServer::Complete(id) => {
                assert_eq!(window.pubcomp(id), Ok(()), "PUBCOMP {id:?}");
                self.done(id);
            }
        }
        self.pump();
    }

    fn entry(&mut self, id: PacketId) -> &mut (PacketId, Sent) {
        self.in_flight
            .iter_mut()
            .find(|(known, _)| *known == id)
            .expect("the client acknowledges what is in flight")
    }

    fn done(&mut self, id: PacketId) {
        self.in_flight.retain(|(known, _)| *known != id);
        self.open.remove(&id.get());
    }

    /// An acknowledgement of what is not in flight changes nothing.
    fn unknown_ack(&mut self, choices: &mut Choices<'_>) {
        let id = choices.packet_id();
        let window = &mut self.session.window;
        let known = self.in_flight.iter().find(|(known, _)| *known == id);
        let (fits_1, fits_2, is_released) = match known {
            Some((_, Sent::Publish(_, Qos::AtLeastOnce))) => (true, false, false),
            Some((_, Sent::Publish(..))) => (false, true, false),
            Some((_, Sent::Release(_))) => (false, false, true),
            None => (false, false, false),
        };
        if !fits_1 {
            assert!(window.puback(id).is_err(), "PUBACK {id:?} fits nothing");
        }
        if !fits_2 {
            assert!(window.pubrec_refused(id).is_err(), "refusing {id:?}");
            assert_eq!(window.pubrec(id).is_ok(), is_released, "PUBREC {id:?}");
        }
        if !is_released {
            assert!(window.pubcomp(id).is_err(), "PUBCOMP {id:?} fits nothing");
        }
    }

    /// The client is away for good as a member: what is not begun goes to another.
    fn take_shared(&mut self) {
        if self.is_connected {
            return;
        }
        let taken = self.session.window.take_shared(|_| true);
        for delivery in taken.iter().filter_map(Waiting::delivery) {
            assert!(delivery.qos == Qos::AtLeastOnce && delivery.shared.is_some());
            let number = number_of(delivery);
            let sent = Sent::Publish(number, Qos::AtLeastOnce);
            let before = self.in_flight.len();
            self.in_flight.retain(|(_, known)| *known != sent);
            assert_eq!(self.in_flight.len() + 1, before, "taken, but not in flight");
            self.messages[number as usize].1 = Fate::Excused;
        }
        let waiting = self.session.queue.take_shared(|_| true);
        let waiting = waiting.iter().filter_map(Waiting::delivery);
        let numbers: Vec<Number> = waiting.map(number_of).collect();
        assert!(numbers.is_sorted(), "order of the messages taken");
        self.queued.retain(|number| !numbers.contains(number));
        for number in numbers {
            self.messages[number as usize].1 = Fate::Excused;
        }
    }

    fn check(&self) {
        let (window, queue) = (&self.session.window, &self.session.queue);
        assert!(queue.len() <= QUEUE_MAX, "messages in the queue");
        let is_within = queue.bytes() <= self.bounds.bytes_max || queue.len() == 1;
        assert!(is_within, "bytes in the queue");
        assert_eq!(queue.len(), self.queued.len(), "length of the queue");
        assert_eq!(queue.bytes(), self.cost_of_queue(), "bytes of the queue");
        assert_eq!(
            queue.front().and_then(Waiting::delivery).map(number_of),
            self.queued.front().copied()
        );
        let in_flight: usize = self
            .in_flight
            .iter()
            .map(|(_, sent)| match sent {
                Sent::Publish(number, _) => self.messages[*number as usize].2,
                Sent::Release(_) => 0,
            })
            .sum();
        assert_eq!(window.bytes(), in_flight, "bytes in flight");
        assert!(
            window.len() >= self.in_flight.len(),
            "entries of the window"
        );
        assert_eq!(window.is_empty(), self.in_flight.is_empty());
        let all_sent = self.sent_here.len() >= self.in_flight.len()
            && self
                .in_flight
                .iter()
                .all(|(id, _)| self.sent_here.contains(&id.get()));
        let has_quota = self.open.len() < usize::from(self.receive_maximum);
        let has_room = self.is_connected && all_sent && has_quota;
        assert_eq!(window.has_room(), has_room, "room in the window");
        note((self.in_flight.len(), queue.len(), self.is_connected));
    }

    /// The client comes back and everything is done: nothing is owed any more.
    pub(super) fn finish(&mut self) {
        self.disconnect();
        self.connect(2);
        let mut none = Choices::new(&[]);
        for _ in 0..FINISH_MAX {
            if self.to_client.is_empty() && self.to_server.is_empty() {
                break;
            }
            self.client_takes(&mut none);
            self.server_takes();
        }
        self.check();
        assert!(self.in_flight.is_empty(), "something stays in flight");
        assert!(self.session.queue.is_empty(), "something stays queued");
        for (number, (_, fate, _)) in self.messages.iter().enumerate() {
            let is_there = self.received.contains_key(&(number as Number));
            assert!(
                is_there || *fate == Fate::Excused,
                "message {number} was lost"
            );
        }
    }
}

fn delivery(number: Number, qos: Qos, size: usize, is_shared: bool) -> Delivery {
    let mut payload = vec![0; 4 + size];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    Delivery {
        publication: Rc::new(Publication {
            topic: "t".into(),
            payload: Bytes::from(payload),
            properties: Bytes::new(),
            qos,
            retain: false,
            expires_at: None,
            kept_at: KeptAt::default(),
        }),
        qos,
        retain: false,
        identifiers: None,
        shared: is_shared.then(|| "$share/g/t".into()),
    }
}

fn number_of(delivery: &Delivery) -> Number {
    let bytes = delivery.publication.payload.first_chunk::<4>();
    u32::from_be_bytes(*bytes.expect("messages begin with their number"))
}
