//! Storms of connects: hundreds at once that say nothing, half a CONNECT, or garbage, and many that
//! use one client identifier. Whatever the guest leaves open, the broker must close.

use std::time::Duration;

use rustix::event::{poll, PollFd, Timespec};

use super::stage::Actor;
use crate::verified::frames::{self, Connect, Will};
use crate::verified::link::Link;
use crate::verified::random::Random;

/// Connects of one storm.
const GUESTS_MAX: u64 = 300;
/// Connections waiting for the broker to close them; above it no more are left open.
const ABANDONED_MAX: usize = 1_500;
/// Between two storms.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Guests {
    port: u16,
    random: Random,
    is_stormy: bool,
    /// The broker has to close these: their CONNECT never comes, or was none.
    abandoned: Vec<Link>,
    /// Connections that all used one client identifier: the broker has to close all but one.
    rivals: Vec<Vec<Link>>,
    names: u64,
    handled: u64,
}

impl Guests {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            random: Random::new(0),
            is_stormy: false,
            abandoned: Vec::new(),
            rivals: Vec::new(),
            names: 0,
            handled: 0,
        }
    }

    fn storm_once(&mut self) {
        let count = 1 + self.random.below(GUESTS_MAX);
        match self.random.below(4) {
            0 => self.come_and_go(count),
            1 => self.say_half(count),
            2 => self.say_garbage(count),
            _ => self.use_one_name(2 + count / 8),
        }
        self.handled += count;
    }

    /// Connects and closes, or resets, without a word.
    fn come_and_go(&mut self, count: u64) {
        let links = (0..count).map(|_| Link::open(self.port, None, Vec::new()));
        let links: Vec<Link> = links.collect();
        for link in links {
            if self.random.one_in(2) {
                link.reset();
            }
        }
    }

    /// Sends the first bytes of a CONNECT, or all of it, and goes; or stays and says no more.
    fn say_half(&mut self, count: u64) {
        for n in 0..count {
            let mut first = self.connect(&format!("half-{n}"));
            let is_cut = !self.random.one_in(4);
            if is_cut {
                first.truncate(self.random.below(first.len() as u64) as usize);
            }
            let link = Link::open(self.port, None, first);
            if is_cut && self.abandoned.len() < ABANDONED_MAX && self.random.one_in(3) {
                self.abandoned.push(link);
            } else if self.random.one_in(2) {
                link.reset();
            }
        }
    }

    /// Says what is no CONNECT, or a CONNECT and then nonsense.
    fn say_garbage(&mut self, count: u64) {
        for n in 0..count {
            let mut bytes = Vec::new();
            if self.random.one_in(2) {
                bytes = self.connect(&format!("garbage-{n}"));
                bytes.extend_from_slice(&[0xf7, 0xff, 0xff, 0xff, 0xff, 0x7f]); // a length of five bytes
            }
            let len = self.random.below(200);
            bytes.extend((0..len).map(|_| self.random.below(256) as u8));
            let link = Link::open(self.port, None, bytes);
            if self.abandoned.len() < ABANDONED_MAX {
                self.abandoned.push(link);
            }
        }
    }

    /// Many connections with one client identifier.
    fn use_one_name(&mut self, count: u64) {
        // Never a name of rivals that are still here: they would be taken over, too.
        self.names += 1;
        let client_id = format!("rival-{}", self.names);
        let rivals = (0..count).map(|_| {
            let first = self.connect(&client_id);
            Link::open(self.port, None, first)
        });
        let rivals = rivals.collect();
        self.rivals.push(rivals);
    }

    fn connect(&mut self, client_id: &str) -> Vec<u8> {
        let will = Will {
            topic: "guests/will",
            payload: "gone",
            qos: self.random.below(3) as u8,
        };
        frames::connect(&Connect {
            is_v5: self.random.one_in(2),
            client_id,
            is_kept: false,
            will: self.random.one_in(4).then_some(will),
        })
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.abandoned.iter().chain(self.rivals.iter().flatten())
    }

    fn step(&mut self) {
        for link in self.rivals.iter_mut().flatten() {
            link.write();
        }
        for link in &mut self.abandoned {
            link.write();
        }
        let before = self.links().count();
        self.abandoned.retain_mut(Link::read);
        for rivals in &mut self.rivals {
            rivals.retain_mut(Link::read);
            assert!(!rivals.is_empty(), "the last of one name was closed");
        }
        self.handled += (before - self.links().count()) as u64;
        // One is left, and it is the one that was accepted.
        self.rivals.retain_mut(|rivals| {
            let answer = (rivals.len() == 1).then(|| rivals[0].take()).flatten();
            if let Some(answer) = &answer {
                assert_eq!((answer.0, answer.1[1]), (0x20, 0), "{answer:02x?}");
            }
            answer.is_none()
        });
    }
}

impl Actor for Guests {
    fn storm(&mut self, seed: u64) {
        self.random = Random::new(seed ^ 0x0067_7565_7374);
        self.is_stormy = true;
    }

    fn calm(&mut self) {
        self.is_stormy = false;
    }

    fn turn(&mut self) {
        if self.is_stormy && self.rivals.len() < 20 {
            self.storm_once();
        }
        let mut fds: Vec<PollFd<'_>> = self.links().map(|link| link.wait_for(true)).collect();
        let pause = Timespec::try_from(PAUSE).expect("a short time");
        poll(&mut fds, Some(&pause)).expect("poll");
        self.step();
    }

    fn is_settled(&self) -> bool {
        self.links().next().is_none()
    }

    fn handled(&self) -> u64 {
        self.handled
    }

    fn connections(&self) -> usize {
        self.links().count()
    }

    fn state(&self) -> String {
        format!(
            "{} connections that the broker should have closed, rivals: {:?}",
            self.abandoned.len(),
            self.rivals.iter().map(Vec::len).collect::<Vec<_>>()
        )
    }
}
