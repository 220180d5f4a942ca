//! Clients that die. Whoever ends without a DISCONNECT that forbids it has its will published, once;
//! the others have not.

use std::time::Duration;

use rustix::event::{poll, PollFd, Timespec};

use super::flows::DISORDER;
use super::stage::Actor;
use crate::verified::client::{Client, Disorder};
use crate::verified::frames::{self, Connect, Will};
use crate::verified::link::Link;
use crate::verified::random::Random;
use crate::verified::seen::Seen;
use crate::verified::subscriber::Subscriber;

const MORTALS: usize = 24;
const PAUSE: Duration = Duration::from_millis(50);
/// Wills the watcher has yet to receive, at most: less than its queue.
const OUTSTANDING_MAX: u64 = 2_000;
/// Number of a will that must not be published.
const NEVER: u64 = u64::MAX;

/// How a mortal ends, chosen when it connects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
    /// Another connection with its name.
    TakenOver,
    /// DISCONNECT with reason 0x04, or in version 3 a protocol error.
    WithWill,
    /// DISCONNECT with reason 0x00: the will is discarded [MQTT-3.14.4-3].
    WithoutWill,
}

struct Mortal {
    link: Link,
    is_v5: bool,
    end: End,
    name: usize,
}

pub(super) struct Wills {
    port: u16,
    random: Random,
    is_stormy: bool,
    watcher: Subscriber,
    mortals: Vec<Mortal>,
    /// Connections whose last words are said, with their names; the broker closes them.
    ended: Vec<(usize, Link)>,
    /// Wills so far that are to be published, by name.
    due: Vec<u64>,
    seen: Vec<Seen>,
    handled: u64,
}

impl Wills {
    pub(super) fn new(port: u16, seed: u64) -> Self {
        let client = Client::new(port, "watcher".into(), true, seed);
        Self {
            port,
            random: Random::new(0),
            is_stormy: false,
            watcher: Subscriber::new(client, "will/+".into(), 2),
            mortals: Vec::new(),
            ended: Vec::new(),
            due: vec![0; MORTALS],
            seen: (0..MORTALS).map(|_| Seen::default()).collect(),
            handled: 0,
        }
    }

    fn be_born(&mut self, name: usize) {
        let is_v5 = self.random.one_in(2);
        let end = [
            End::Close,
            End::Reset,
            End::TakenOver,
            End::WithWill,
            End::WithoutWill,
        ][self.random.below(5) as usize];
        let mut n = NEVER;
        if end != End::WithoutWill {
            n = self.due[name];
            self.due[name] += 1;
        }
        let first = frames::connect(&Connect {
            is_v5,
            client_id: &format!("mortal-{name}"),
            is_kept: false,
            will: Some(Will {
                topic: &format!("will/{name}"),
                payload: &format!("{name} {n}"),
                qos: 2,
            }),
        });
        self.mortals.push(Mortal {
            link: Link::open(self.port, None, first),
            is_v5,
            end,
            name,
        });
    }

    /// Ends every mortal whose CONNACK has come: its will is known by then.
    fn reap(&mut self) {
        for index in (0..self.mortals.len()).rev() {
            let mortal = &mut self.mortals[index];
            mortal.link.write();
            assert!(mortal.link.read(), "mortal {} was closed", mortal.name);
            let Some(answer) = mortal.link.take() else {
                continue;
            };
            assert_eq!((answer.0, answer.1[1]), (0x20, 0), "{answer:02x?}");
            self.handled += 1;
            let mortal = self.mortals.swap_remove(index);
            self.let_die(mortal);
        }
    }

    fn let_die(&mut self, mut mortal: Mortal) {
        let last_words = match mortal.end {
            End::Close => return,
            End::Reset => return mortal.link.reset(),
            End::TakenOver => {
                // Not answered before the one it takes over is gone, so nothing overtakes it.
                self.be_born(mortal.name);
                Vec::new()
            }
            End::WithWill if mortal.is_v5 => frames::disconnect(true, 4),
            End::WithWill => vec![0xf7, 0],
            End::WithoutWill => frames::disconnect(mortal.is_v5, 0),
        };
        mortal.link.unsent.extend_from_slice(&last_words);
        mortal.link.write();
        self.ended.push((mortal.name, mortal.link));
    }

    fn watch(&mut self) {
        let mut arrivals = Vec::new();
        self.watcher.step(&mut arrivals);
        for arrival in arrivals {
            let name = arrival.publisher as usize;
            assert_ne!(arrival.n, NEVER, "mortal {name} had disconnected");
            let is_first = self.seen[name].insert(arrival.n);
            assert!(is_first, "will {} of mortal {name} came twice", arrival.n);
        }
    }

    fn missing(&self) -> u64 {
        let seen: u64 = self.seen.iter().map(Seen::count).sum();
        self.due.iter().sum::<u64>() - seen
    }
}

impl Actor for Wills {
    fn storm(&mut self, seed: u64) {
        self.random = Random::new(seed ^ 0x7769_6c6c);
        self.is_stormy = true;
        self.watcher.client.set_disorder(DISORDER);
    }

    fn calm(&mut self) {
        self.is_stormy = false;
        self.watcher.client.set_disorder(Disorder::NONE);
    }

    fn turn(&mut self) {
        let may_live = self.watcher.is_subscribed && self.missing() < OUTSTANDING_MAX;
        for name in 0..MORTALS {
            // Its next connection must not overtake its last words.
            let lives = self.mortals.iter().any(|mortal| mortal.name == name)
                || self.ended.iter().any(|(ended, _)| *ended == name);
            if self.is_stormy && may_live && !lives {
                self.be_born(name);
            }
        }
        let links = self.mortals.iter().map(|mortal| &mortal.link);
        let links = links.chain(self.ended.iter().map(|(_, link)| link));
        let mut fds: Vec<PollFd<'_>> = links.map(|link| link.wait_for(true)).collect();
        self.watcher.client.wait_for(&mut fds);
        let pause = Timespec::try_from(PAUSE).expect("a short time");
        poll(&mut fds, Some(&pause)).expect("poll");
        self.watch();
        self.reap();
        self.ended.retain_mut(|(_, link)| link.read());
    }

    fn is_settled(&self) -> bool {
        let is_quiet = self.mortals.is_empty() && self.ended.is_empty();
        is_quiet && self.missing() == 0 && self.watcher.is_subscribed && self.watcher.is_finished()
    }

    fn handled(&self) -> u64 {
        self.handled + self.watcher.client.packets()
    }

    fn connections(&self) -> usize {
        self.mortals.len() + self.ended.len() + self.watcher.client.connections()
    }

    fn state(&self) -> String {
        format!(
            "{} of {} wills missing, {} mortals, {} not closed, watcher {}",
            self.missing(),
            self.due.iter().sum::<u64>(),
            self.mortals.len(),
            self.ended.len(),
            self.watcher.state()
        )
    }
}
