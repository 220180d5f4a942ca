//! Subscriptions that come and go over the flows' own topics, by clients that nobody verifies: some
//! never acknowledge, some never read.

use std::time::Duration;

use rustix::event::{poll, PollFd, Timespec};

use super::stage::Actor;
use crate::verified::frames::{self, Connect};
use crate::verified::link::Link;
use crate::verified::random::Random;

const CLIENTS: usize = 24;
/// Of them, so many never read: the broker keeps up to a queue of bytes for each.
const DEAF: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Churn {
    port: u16,
    random: Random,
    is_stormy: bool,
    clients: Vec<Noise>,
    handled: u64,
}

struct Noise {
    link: Link,
    is_v5: bool,
    is_deaf: bool,
    filter: String,
    is_up: bool,
    /// Packets until it goes.
    packets_left: u64,
}

impl Churn {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            random: Random::new(0),
            is_stormy: false,
            clients: Vec::new(),
            handled: 0,
        }
    }

    fn arrive(&mut self) {
        let is_v5 = self.random.one_in(2);
        let first = frames::connect(&Connect {
            is_v5,
            client_id: &format!("noise-{}", self.random.below(1_000)),
            is_kept: false,
            will: None,
        });
        let deaf = self.clients.iter().filter(|client| client.is_deaf).count();
        self.clients.push(Noise {
            link: Link::open(self.port, Some(4_096), first),
            is_v5,
            is_deaf: deaf < DEAF && self.random.one_in(3),
            filter: String::new(),
            is_up: false,
            packets_left: 1 + self.random.below(2_000),
        });
        self.handled += 1;
    }

    /// Handles what came for one client; false when it goes.
    fn step(random: &mut Random, client: &mut Noise) -> bool {
        client.link.write();
        if client.is_up && client.is_deaf {
            return !random.one_in(300);
        }
        if !client.link.read() {
            return false; // another took its name
        }
        while let Some((first, body)) = client.link.take() {
            client.packets_left = client.packets_left.saturating_sub(1);
            match first & 0xf0 {
                0x20 => {
                    client.is_up = true;
                    client.subscribe(random);
                }
                0x30 if first & 6 != 0 && !random.one_in(10) => {
                    let id = frames::published(client.is_v5, first, &body).id;
                    let answer = if first & 4 != 0 { 0x50 } else { 0x40 };
                    let answer = frames::acknowledgement(answer, id);
                    client.link.unsent.extend_from_slice(&answer);
                }
                0x60 => {
                    let answer = frames::acknowledgement(0x70, frames::acknowledged(&body));
                    client.link.unsent.extend_from_slice(&answer);
                }
                _ => {}
            }
            if random.one_in(20) {
                client.unsubscribe();
                client.subscribe(random);
            }
        }
        client.link.write();
        client.packets_left > 0
    }
}

impl Noise {
    fn subscribe(&mut self, random: &mut Random) {
        let flow = random.below(40);
        self.filter = match random.below(6) {
            0 => "flow/#".into(),
            1 => format!("flow/{flow}/0"),
            2 => format!("flow/{flow}/#"),
            3 => format!("$share/noise/flow/{flow}/#"),
            4 => "kept/3/+".into(),
            _ => "+/+".into(),
        };
        let qos = random.below(3) as u8;
        let frame = frames::subscribe(self.is_v5, &self.filter, qos);
        self.link.unsent.extend_from_slice(&frame);
    }

    fn unsubscribe(&mut self) {
        let frame = frames::unsubscribe(self.is_v5, &self.filter);
        self.link.unsent.extend_from_slice(&frame);
    }
}

impl Actor for Churn {
    fn storm(&mut self, seed: u64) {
        self.random = Random::new(seed ^ 0x0063_6875_726e);
        self.is_stormy = true;
    }

    fn calm(&mut self) {
        self.is_stormy = false;
        for client in self.clients.drain(..) {
            if self.random.one_in(2) {
                client.link.reset();
            }
        }
    }

    fn turn(&mut self) {
        while self.is_stormy && self.clients.len() < CLIENTS {
            self.arrive();
        }
        let fds = self.clients.iter();
        let fds = fds.map(|client| client.link.wait_for(!(client.is_deaf && client.is_up)));
        let mut fds: Vec<PollFd<'_>> = fds.collect();
        let pause = Timespec::try_from(PAUSE).expect("a short time");
        poll(&mut fds, Some(&pause)).expect("poll");
        let random = &mut self.random;
        let before = self.clients.len();
        self.clients.retain_mut(|client| Self::step(random, client));
        self.handled += (before - self.clients.len()) as u64;
    }

    fn is_settled(&self) -> bool {
        self.clients.is_empty()
    }

    fn handled(&self) -> u64 {
        self.handled
    }

    fn connections(&self) -> usize {
        self.clients.len()
    }

    fn state(&self) -> String {
        format!("{} noisy clients", self.clients.len())
    }
}
