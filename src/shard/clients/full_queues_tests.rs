//! Full queues with the policy `block`: who waits, for how long, and who does not.

use std::sync::Arc;

use crate::limits::{OwnTerms, QueuePolicy};
use crate::shard::TERMS_LOOKED_FOR;
use crate::testing::{connect_packet, Calm, Setup, World, V311, V5};

const MAX: u32 = 4;
const PING: [u8; 2] = [0xC0, 0];
const PONG: [u8; 2] = [0xD0, 0];

struct Scene {
    world: World<Calm>,
    keeper: usize,
}

fn publish(qos: u8, topic: u8, id: u8) -> Vec<u8> {
    let mut packet = vec![0x30 | qos << 1, 4, 0, 1, topic, id];
    if qos > 0 {
        packet.splice(5..5, [0, id]);
        packet[1] = 6;
    }
    packet
}

/// CONNECT of a session that outlives its connection.
fn returning() -> Vec<u8> {
    let mut connect = connect_packet(V311, b'k');
    connect[9] = 0;
    connect
}

impl Scene {
    /// A client that is subscribed to `t` is away.
    fn new(shards: u16) -> Self {
        let mut setup = Setup::new(shards);
        setup.limits.queue_policy = QueuePolicy::Block;
        setup.limits.queue_messages_max = MAX;
        setup.limits.outgoing_window_max = 1;
        Self::of(setup)
    }

    fn of(setup: Setup) -> Self {
        let mut world = World::new(setup, Calm);
        let keeper = world.open(0);
        world.send(keeper, &returning());
        world.send(keeper, &[0x82, 6, 0, 1, 0, 1, b't', 2]);
        let mut it = Self { world, keeper };
        assert_eq!(it.taken(keeper), [0x20, 2, 0, 0, 0x90, 3, 0, 1, 2]);
        it.world.send(keeper, &[0xE0, 0]);
        it
    }

    fn client(&mut self, version: u8, name: u8) -> usize {
        let link = self.world.open(0);
        self.world.send(link, &connect_packet(version, name));
        assert_eq!(self.taken(link)[0], 0x20);
        link
    }

    fn taken(&mut self, link: usize) -> Vec<u8> {
        self.world.settle();
        let looked_for = TERMS_LOOKED_FOR.get();
        for shard in &self.world.shards {
            shard.audit().unwrap();
        }
        TERMS_LOOKED_FOR.set(looked_for); // those of the audit are none
        std::mem::take(&mut self.world.links[link].received)
    }

    /// Messages until the queue is full.
    fn fill(&mut self, publisher: usize) {
        for id in 1..=MAX as u8 {
            self.world.send(publisher, &publish(1, b't', id));
            assert_eq!(self.taken(publisher)[..4], [0x40, 2, 0, id]);
        }
    }

    /// The client returns and acknowledges everything: these payloads.
    fn drain(&mut self) -> Vec<u8> {
        self.keeper = self.world.open(0);
        self.world.send(self.keeper, &returning());
        let mut got = Vec::new();
        loop {
            let mut bytes = &self.taken(self.keeper)[..];
            if bytes.is_empty() {
                break;
            }
            while let [first, length, ..] = *bytes {
                let (packet, rest) = bytes.split_at(usize::from(length) + 2);
                if first & 0xF0 == 0x30 {
                    got.push(packet[7]);
                    let answer = if first & 6 == 2 { 0x40 } else { 0x50 };
                    self.world
                        .send(self.keeper, &[answer, 2, packet[5], packet[6]]);
                } else if first == 0x62 {
                    self.world
                        .send(self.keeper, &[0x70, 2, packet[2], packet[3]]);
                }
                bytes = rest;
            }
        }
        got
    }

    /// Publications that came, each counted once.
    fn came(&self) -> u64 {
        let shards = self.world.shards.iter();
        shards
            .map(|shard| shard.stats().publications_received)
            .sum()
    }

    fn waited(&self) -> u64 {
        let shards = self.world.shards.iter();
        shards.map(|shard| shard.stats().publications_waited).sum()
    }
}

#[test]
fn publishers_of_its_topics_wait_until_it_has_room_and_nothing_is_lost() {
    for shards in [1, 3] {
        let mut it = Scene::new(shards);
        let (old, new) = (it.client(V311, b'o'), it.client(V5, b'n'));
        it.fill(old);
        // With what is behind it, by clients of both versions, at QoS 1 and 2.
        it.world.send(old, &publish(2, b't', 11));
        it.world.send(old, &PING);
        assert_eq!(it.taken(old), b"", "{shards} shards");
        let mut v5 = publish(1, b't', 12);
        v5.insert(7, 0);
        v5[1] += 1;
        it.world.send(new, &v5);
        it.world.send(new, &PING);
        assert_eq!(it.taken(new), b"");
        assert_eq!(it.waited(), 2);
        // Other topics are none of its business, and QoS 0 does not wait.
        let other = it.client(V311, b'x');
        it.world.send(other, &publish(1, b'u', 13));
        it.world.send(other, &publish(0, b't', 14));
        it.world.send(other, &PING);
        assert_eq!(it.taken(other)[4..], PONG);
        let mut got = it.drain();
        got[4..].sort_unstable(); // of two publishers
        assert_eq!(got, [1, 2, 3, 4, 11, 12]);
        assert_eq!(it.taken(old), [&[0x50, 2, 0, 11][..], &PONG].concat());
        assert_eq!(it.taken(new)[..4], [0x40, 2, 0, 12]);
        // From then on as before.
        it.world.send(old, &publish(1, b't', 15));
        assert_eq!(it.taken(old), [0x40, 2, 0, 15]);
        assert_eq!(it.came(), u64::from(MAX) + 2 + 2 + 1);
    }
}

#[test]
fn the_end_of_its_session_lets_them_go_on() {
    for shards in [1, 3] {
        let mut it = Scene::new(shards);
        let publisher = it.client(V311, b'p');
        it.fill(publisher);
        it.world.send(publisher, &publish(1, b't', 11));
        assert_eq!(it.taken(publisher), b"");
        it.client(V311, b'k'); // begins anew
        assert_eq!(it.taken(publisher), [0x40, 2, 0, 11]);
    }
}

#[test]
fn who_leaves_while_it_waits_has_not_published() {
    for shards in [1, 3] {
        let mut it = Scene::new(shards);
        let publisher = it.client(V311, b'p');
        it.fill(publisher);
        it.world.send(publisher, &publish(1, b't', 11));
        assert_eq!(it.taken(publisher), b"");
        it.world.close(publisher);
        it.world.settle();
        assert_eq!(it.drain(), [1, 2, 3, 4]);
    }
}

#[test]
fn those_wait_whose_topics_it_is_subscribed_to_now() {
    for shards in [1, 3] {
        let mut it = Scene::new(shards);
        let (of_t, of_u) = (it.client(V311, b'p'), it.client(V311, b'q'));
        it.fill(of_t);
        it.world.send(of_t, &publish(1, b't', 11));
        assert_eq!(it.taken(of_t), b"");
        it.world.send(of_u, &publish(1, b'u', 12));
        assert_eq!(it.taken(of_u), [0x40, 2, 0, 12]);
        // It is back, takes little, and subscribes to something else.
        it.keeper = it.world.open(0);
        it.world.send(it.keeper, &returning());
        it.taken(it.keeper);
        it.world.send(it.keeper, &[0x82, 6, 0, 2, 0, 1, b'u', 1]);
        assert_eq!(it.taken(it.keeper), [0x90, 3, 0, 2, 1]);
        it.world.send(of_u, &publish(1, b'u', 13));
        assert_eq!(it.taken(of_u), b"", "{shards} shards");
        it.world.send(it.keeper, &[0xA2, 5, 0, 3, 0, 1, b't']);
        assert_eq!(it.taken(it.keeper), [0xB0, 2, 0, 3]);
        assert_eq!(it.taken(of_t), [0x40, 2, 0, 11]);
        assert_eq!(it.taken(of_u), b"");
        it.world.send(it.keeper, &[0xA2, 5, 0, 4, 0, 1, b'u']);
        assert_eq!(it.taken(it.keeper), [0xB0, 2, 0, 4]);
        assert_eq!(it.taken(of_u), [0x40, 2, 0, 13]);
    }
}

/// Terms of one client cost others nothing: theirs are looked for at CONNECT, and not for each message that waits.
#[test]
fn terms_are_looked_for_where_there_are_some() {
    let mut setup = Setup::new(1);
    let terms = OwnTerms {
        queue_messages_max: Some(2),
        ..OwnTerms::default()
    };
    setup.own_terms = Arc::new([("other".into(), terms)].into());
    let looked_for = |it: &mut Scene| {
        let publisher = it.client(V311, b'p');
        TERMS_LOOKED_FOR.set(0);
        for id in 1..=20 {
            it.world.send(publisher, &publish(1, b't', id));
            assert_eq!(it.taken(publisher)[..2], [0x40, 2]);
        }
        TERMS_LOOKED_FOR.get()
    };
    let mut it = Scene::of(setup.clone());
    assert_eq!(looked_for(&mut it), 0);
    assert_eq!(it.drain().len(), 20);
    // Its own are found from its first message on, and after a reload.
    setup.own_terms = Arc::new([("k".into(), terms)].into());
    let mut it = Scene::of(setup.clone());
    assert!(looked_for(&mut it) >= 20);
    assert_eq!(it.drain().len(), 2);
    for (client, left) in [("other", 20), ("k", 2)] {
        let mut config = (*it.world.shards[0].config).clone();
        config.own_terms = Arc::new([(client.into(), terms)].into());
        it.world.shards[0].handle_config(Arc::new(config));
        it.world.send(it.keeper, &[0xE0, 0]);
        looked_for(&mut it);
        assert_eq!(it.drain().len(), left);
    }
}
