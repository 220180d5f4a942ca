//! An authorization service that answers late, seen from outside a shard.

use std::io::IoSlice;
use std::sync::Arc;

use crate::auth::{AuthzDecision, HookTerms, Request, Rules};
use crate::shard::*;

struct Broker {
    shard: Shard,
    now: Time,
    asked: Vec<(ConnectionId, Request)>,
    closed: Vec<ConnectionId>,
}

const WAIT: Span = Span::from_secs(60);

impl Broker {
    fn new() -> Self {
        let config = Arc::new(ShardConfig {
            shards: 1,
            limits: Limits::default(),
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: PlacementSeed([1; 16]),
            hash_seed: 1,
            own_terms: Default::default(),
        });
        let now = Time(1_000_000_000);
        let mut shard = Shard::new(ShardId(0), &config, 1, now);
        shard.handle_rules(Arc::new(Rules {
            acl_hook: Some(HookTerms::default()),
            ..Rules::default()
        }));
        Self {
            shard,
            now,
            asked: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// A 3.1.1 client with a keep alive of 4 s.
    fn connect(&mut self, name: u8) -> ConnectionId {
        let id = self.open();
        self.give(
            id,
            &[b"\x10\x0d\0\x04MQTT\x04\x02\0\x04\0\x01", &[name][..]].concat(),
        );
        assert_eq!(self.take(id), b"\x20\x02\0\0");
        id
    }

    fn open(&mut self) -> ConnectionId {
        let origin = Origin::new(RemoteEnd::Unix, ListenerId(0));
        self.shard.handle_opened(origin, self.now).unwrap()
    }

    fn give(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.shard.handle_bytes(id, bytes, self.now);
        self.end_turn();
    }

    fn end_turn(&mut self) {
        self.shard.end_turn(self.now);
        while let Some(action) = self.shard.poll_action() {
            match action {
                Action::Authorize(id, request) => self.asked.push((id, *request)),
                Action::Close(id) | Action::Abort(id) => self.closed.push(id),
                _ => {}
            }
        }
        self.shard.audit().unwrap();
    }

    /// Answers the oldest request.
    fn rule(&mut self, decision: AuthzDecision) {
        let (id, request) = self.asked.remove(0);
        let decisions = request.decided(decision, WAIT);
        self.shard.handle_authorized(id, decisions, self.now);
        self.end_turn();
    }

    fn take(&mut self, id: ConnectionId) -> Vec<u8> {
        while self.shard.poll_transmit().is_some() {}
        let mut slices = [IoSlice::new(&[]); 8];
        let count = self.shard.outgoing(id, &mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
        self.shard.handle_written(id, bytes.len(), self.now);
        bytes
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + Span::from_millis(ms);
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.shard.handle_timeout(self.now);
            self.end_turn();
        }
        self.now = end;
    }

    fn subscribed(&mut self, name: u8) -> ConnectionId {
        let id = self.connect(name);
        self.give(id, &[0x82, 6, 0, 1, 0, 1, b'#', 0]);
        self.rule(AuthzDecision::Allowed);
        assert_eq!(self.take(id), [0x90, 3, 0, 1, 0]);
        id
    }
}

/// PUBLISH of one byte to a topic of one byte, QoS 0.
fn publish(topic: u8, payload: u8) -> Vec<u8> {
    vec![0x30, 4, 0, 1, topic, payload]
}

const PING: [u8; 2] = [0xC0, 0];
const PONG: [u8; 2] = [0xD0, 0];
const DISCONNECT: [u8; 2] = [0xE0, 0];

#[test]
fn who_asks_waits_and_others_do_not() {
    let mut broker = Broker::new();
    let (reader, writer) = (broker.subscribed(b'r'), broker.connect(b'w'));
    broker.give(
        writer,
        &[publish(b'a', b'1'), publish(b'b', b'2'), PING.to_vec()].concat(),
    );
    assert!(!broker.shard.wants_input(writer) && broker.shard.wants_input(reader));
    broker.give(reader, &PING);
    assert_eq!(broker.take(reader), PONG, "nothing yet, and it is served");
    // Bytes that were read already wait, too.
    broker.give(writer, &publish(b'a', b'3'));
    assert_eq!(broker.asked.len(), 1, "one question at a time");
    // It is not silent: it waits.
    for _ in 0..6 {
        broker.wait(5_000);
        broker.give(reader, &PING);
        assert_eq!(broker.take(reader), PONG);
    }
    assert!(broker.closed.is_empty());
    broker.rule(AuthzDecision::Allowed);
    assert_eq!(broker.take(reader), publish(b'a', b'1'));
    assert!(
        !broker.shard.wants_input(writer),
        "the next topic is asked about"
    );
    broker.rule(AuthzDecision::Refused);
    assert_eq!(broker.take(reader), publish(b'a', b'3'));
    assert_eq!(broker.take(writer), PONG);
    assert!(broker.shard.wants_input(writer));
    assert_eq!(broker.shard.stats().publications_refused, 1);
    assert_eq!(broker.shard.stats().publications_received, 3);
    // Its keep alive counts from the answer.
    broker.wait(5_900);
    assert!(!broker.closed.contains(&writer));
    broker.wait(200);
    assert!(broker.closed.contains(&writer));
}

#[test]
fn what_was_sent_before_the_end_counts() {
    for says_goodbye in [true, false] {
        let mut broker = Broker::new();
        let (reader, writer) = (broker.subscribed(b'r'), broker.connect(b'w'));
        let mut bytes = [publish(b'a', b'1'), publish(b'b', b'2')].concat();
        if says_goodbye {
            bytes.extend(DISCONNECT);
        }
        broker.give(writer, &bytes);
        broker
            .shard
            .handle_closed(writer, CloseCause::EndOfStream, broker.now);
        broker.end_turn();
        assert_eq!(broker.shard.connections(), 2);
        broker.rule(AuthzDecision::Allowed);
        assert_eq!(broker.take(reader), publish(b'a', b'1'));
        assert_eq!(broker.shard.connections(), 2, "there is more of it");
        broker.rule(AuthzDecision::Allowed);
        assert_eq!(broker.take(reader), publish(b'b', b'2'));
        assert_eq!(
            (broker.shard.connections(), broker.shard.sessions()),
            (1, 1)
        );
        assert!(broker.asked.is_empty());
    }
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut broker = Broker::new();
    let (reader, writer) = (broker.subscribed(b'r'), broker.connect(b'w'));
    // Taken over while it waits, with its socket open and closed.
    for is_gone in [false, true] {
        let waiting = broker.connect(b'x');
        broker.give(waiting, &publish(b'a', b'1'));
        if is_gone {
            broker
                .shard
                .handle_closed(waiting, CloseCause::Failed, broker.now);
        }
        let next = broker.connect(b'x');
        assert_eq!(broker.closed.pop(), Some(waiting));
        broker.rule(AuthzDecision::Allowed);
        assert!(broker.take(reader).is_empty(), "of another connection");
        if !is_gone {
            broker
                .shard
                .handle_closed(waiting, CloseCause::Asked, broker.now);
        }
        broker.give(next, &DISCONNECT);
        broker
            .shard
            .handle_closed(next, CloseCause::Asked, broker.now);
        broker.closed.clear();
        assert_eq!(broker.shard.connections(), 2);
    }
    // The broker stops while a client waits whose socket is closed.
    broker.give(writer, &publish(b'a', b'1'));
    broker
        .shard
        .handle_closed(writer, CloseCause::EndOfStream, broker.now);
    broker.shard.handle_shutdown(broker.now);
    broker.wait(1_000);
    broker
        .shard
        .handle_closed(reader, CloseCause::Asked, broker.now);
    broker.end_turn();
    assert!(broker.shard.is_stopped());
    broker.rule(AuthzDecision::Allowed);
}

#[test]
fn a_will_that_is_never_ruled_about() {
    let mut broker = Broker::new();
    let connect = b"\x10\x13\0\x04MQTT\x04\x06\0\0\0\x01w\0\x01t\0\x01x";
    let id = broker.open();
    broker.give(id, connect);
    assert!(!broker.shard.wants_input(id));
    assert_eq!(broker.asked[0].1.topics, [Box::from("t")]);
    broker.wait(11_000);
    assert_eq!(broker.take(id), b"\x20\x02\0\x03");
    assert_eq!(broker.closed.first(), Some(&id));
    broker.rule(AuthzDecision::Allowed);
    assert_eq!(broker.shard.sessions(), 0);
    // And one whose client disconnects meanwhile.
    let id = broker.open();
    broker.give(id, connect);
    broker
        .shard
        .handle_closed(id, CloseCause::EndOfStream, broker.now);
    broker.rule(AuthzDecision::Allowed);
    assert_eq!(broker.shard.sessions(), 0);
}
