//! Retained messages under change while clients walk through them with wildcards. A walker must see
//! every topic in at least the state acknowledged before it subscribed, and never an older one after.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::event::{poll, PollFd, Timespec};

use super::flows::DISORDER;
use super::stage::Actor;
use crate::verified::client::{Client, Disorder};
use crate::verified::frames::{self, Connect, Publish};
use crate::verified::link::Link;
use crate::verified::random::Random;

const TOPICS: usize = 400;
const BRANCHES: usize = 8;
/// Retained messages under way at once, each of another topic.
const WINDOW: usize = 16;
const WALKERS: usize = 12;
const PAUSE: Duration = Duration::from_millis(50);

/// Publishes ever newer states.
struct Updater {
    client: Client,
    /// The state of each topic that the broker has acknowledged.
    acknowledged: Vec<u64>,
    /// By packet identifier: topic and state.
    under_way: BTreeMap<u16, (usize, u64)>,
    next_id: u16,
    is_publishing: bool,
}

struct Walker {
    link: Link,
    is_v5: bool,
    branch: Option<usize>,
    /// By topic: the state that was acknowledged when it subscribed.
    least: Vec<u64>,
    seen: Vec<Option<u64>>,
}

pub(super) struct Retained {
    port: u16,
    random: Random,
    is_stormy: bool,
    updater: Updater,
    walkers: Vec<Walker>,
    walks: u64,
}

fn topic(n: usize) -> String {
    format!("kept/{}/{n}", n % BRANCHES)
}

impl Updater {
    fn step(&mut self, random: &mut Random) {
        self.client.move_bytes();
        while let Some((first, body)) = self.client.receive() {
            match first {
                0x20 => self.publish_again(),
                0x40 => {
                    let id = frames::acknowledged(&body);
                    let (topic, state) = self.under_way.remove(&id).expect("under way");
                    self.acknowledged[topic] = state;
                }
                _ => panic!("updater: {first:02x} {body:02x?}"),
            }
            if self.client.may_disturb() {
                break;
            }
        }
        while self.is_publishing && self.client.is_up && self.under_way.len() < WINDOW {
            self.publish(random);
        }
        self.client.write();
    }

    /// The next state of a topic that has none under way: a repeated one cannot be out of date.
    fn publish(&mut self, random: &mut Random) {
        let is_first_round = self.acknowledged.iter().position(|&state| state == 0);
        let topic = is_first_round.unwrap_or_else(|| random.below(TOPICS as u64) as usize);
        let is_free = |n: &usize| !self.under_way.values().any(|(under_way, _)| under_way == n);
        let topic = (topic..TOPICS).chain(0..topic).find(is_free);
        let topic = topic.expect("more topics than the window");
        self.next_id = self.next_id % 1_000 + 1;
        while self.under_way.contains_key(&self.next_id) {
            self.next_id = self.next_id % 1_000 + 1;
        }
        let state = self.acknowledged[topic] + 1;
        self.under_way.insert(self.next_id, (topic, state));
        self.send(self.next_id, false);
    }

    fn publish_again(&mut self) {
        let ids: Vec<u16> = self.under_way.keys().copied().collect();
        for id in ids {
            self.send(id, true);
        }
    }

    fn send(&mut self, id: u16, is_dup: bool) {
        let (n, state) = self.under_way[&id];
        let padding = n % 300;
        let frame = frames::publish(&Publish {
            is_v5: self.client.is_v5,
            topic: &topic(n),
            qos: 1,
            id,
            is_dup,
            is_retained: true,
            payload: format!("{n} {state} {:x<padding$}", "").as_bytes(),
        });
        self.client.send(&frame);
    }

    /// Every topic has a state.
    fn is_complete(&self) -> bool {
        self.acknowledged.iter().all(|&state| state > 0)
    }
}

impl Walker {
    /// Handles what came; false when the walk is done.
    fn step(&mut self, acknowledged: &[u64]) -> bool {
        self.link.write();
        assert!(self.link.read(), "a walker was closed");
        while let Some((first, body)) = self.link.take() {
            match first & 0xf0 {
                0x20 => {
                    self.least = acknowledged.to_vec();
                    let filter = self
                        .branch
                        .map_or("kept/#".into(), |n| format!("kept/{n}/+"));
                    let frame = frames::subscribe(self.is_v5, &filter, 1);
                    self.link.unsent.extend_from_slice(&frame);
                }
                0x30 => self.published(first, &body),
                0x90 => assert_eq!(body.last(), Some(&1), "granted QoS"),
                _ => panic!("walker: {first:02x} {body:02x?}"),
            }
        }
        self.link.write();
        self.missing() > 0
    }

    fn published(&mut self, first: u8, body: &[u8]) {
        let message = frames::published(self.is_v5, first, body);
        let frame = frames::acknowledgement(0x40, message.id);
        self.link.unsent.extend_from_slice(&frame);
        let text = std::str::from_utf8(message.payload).expect("text");
        let mut words = text.split(' ').map(|word| word.parse().unwrap_or(0));
        let (n, state) = words.next().zip(words.next()).expect("two numbers");
        let n = n as usize;
        assert_eq!(message.topic, topic(n));
        let before = self.seen[n].replace(state);
        assert!(
            before.is_none_or(|before| before <= state),
            "{}: state {state} after {before:?}",
            message.topic
        );
    }

    fn missing(&self) -> usize {
        let is_mine = |n: &usize| self.branch.is_none_or(|branch| n % BRANCHES == branch);
        let is_missing = |n: &usize| {
            self.least.is_empty() || self.seen[*n].is_none_or(|seen| seen < self.least[*n])
        };
        (0..TOPICS).filter(is_mine).filter(is_missing).count()
    }
}

impl Retained {
    pub(super) fn new(port: u16, seed: u64) -> Self {
        Self {
            port,
            random: Random::new(0),
            is_stormy: false,
            updater: Updater {
                client: Client::new(port, "updater".into(), false, seed),
                acknowledged: vec![0; TOPICS],
                under_way: BTreeMap::new(),
                next_id: 0,
                is_publishing: false,
            },
            walkers: Vec::new(),
            walks: 0,
        }
    }

    fn send_walker(&mut self) {
        let is_v5 = self.random.one_in(2);
        self.walks += 1;
        let first = frames::connect(&Connect {
            is_v5,
            client_id: &format!("walker-{}", self.walks),
            is_kept: false,
            will: None,
        });
        let receive_buffer = self.random.one_in(2).then_some(4_096);
        let is_branch = self.random.one_in(2);
        self.walkers.push(Walker {
            link: Link::open(self.port, receive_buffer, first),
            is_v5,
            branch: is_branch.then(|| self.random.below(BRANCHES as u64) as usize),
            least: Vec::new(),
            seen: vec![None; TOPICS],
        });
    }
}

impl Actor for Retained {
    fn storm(&mut self, seed: u64) {
        self.random = Random::new(seed ^ 0x6b65_7074);
        self.is_stormy = true;
        self.updater.is_publishing = true;
        self.updater.client.set_disorder(DISORDER);
    }

    fn calm(&mut self) {
        self.is_stormy = false;
        self.updater.is_publishing = false;
        self.updater.client.set_disorder(Disorder::NONE);
    }

    fn turn(&mut self) {
        while self.is_stormy && self.updater.is_complete() && self.walkers.len() < WALKERS {
            self.send_walker();
        }
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        self.updater.client.wait_for(&mut fds);
        fds.extend(self.walkers.iter().map(|walker| walker.link.wait_for(true)));
        let pause = Timespec::try_from(PAUSE).expect("a short time");
        poll(&mut fds, Some(&pause)).expect("poll");
        self.updater.step(&mut self.random);
        let acknowledged = &self.updater.acknowledged;
        self.walkers.retain_mut(|walker| walker.step(acknowledged));
        // Some do not wait for the end of their walk.
        if self.is_stormy && self.walkers.len() > 1 && self.random.one_in(20) {
            self.walkers.remove(0).link.reset();
        }
    }

    fn is_settled(&self) -> bool {
        let updater = &self.updater;
        self.walkers.is_empty() && updater.under_way.is_empty() && updater.client.is_up
    }

    fn handled(&self) -> u64 {
        self.walks + self.updater.client.packets()
    }

    fn connections(&self) -> usize {
        self.walkers.len() + self.updater.client.connections()
    }

    fn state(&self) -> String {
        let missing: Vec<usize> = self.walkers.iter().map(Walker::missing).collect();
        format!(
            "updater: {} under way, up {}; walkers miss {missing:?}",
            self.updater.under_way.len(),
            self.updater.client.is_up
        )
    }
}
