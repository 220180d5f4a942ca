//! Conversations of MQTT-SN, datagram by datagram, with a broker without sockets: `tests/mqtt_sn/*.txt`.
//!
//! A conversation begins with the statements it checks and what it is, between bars. Its lines:
//!
//! - `one > CONNECT 04 01 003C 'one'`: a peer sends a message; octets, text, and `$id` for what was bound before.
//!   The length is put in front; `one > RAW 03 16` is a whole datagram.
//! - `one < REGACK $id 0001 00`: the next datagram to that peer, all of it; a `$name` that is not bound yet takes two
//!   octets. `one < nothing`: there is none.
//! - `one >* SEARCHGW 00`: to the multicast group, whose members get what `group < ...` says.
//! - `one >& PUBLISH ...`: received together with the datagram that follows.
//! - `crash`: with `set journal true`, another process continues from the disk.
//! - `wait 15`: so many seconds pass. `set NAME VALUE`: an option of the listener, before anything else.

pub(crate) mod conversation;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use conversation::{all, Conversation, Line};
use ringmq::mqtt_sn::Settings;
use ringmq::shard::Durability;
use ringmq::testing::{Calm, Sector, Setup, World};
use ringmq::time::Span;

/// A broker with its peers.
struct Stage {
    world: World<Calm>,
    peers: Vec<String>,
    arrived: HashMap<usize, VecDeque<Vec<u8>>>,
    bound: HashMap<String, Vec<u8>>,
}

#[test]
fn conversations() {
    let conversations = all();
    assert!(conversations.len() > 30, "{}", conversations.len());
    let mut failures = Vec::new();
    for conversation in &conversations {
        for shards in [1, 2] {
            if let Err(problem) = play(conversation, shards) {
                failures.push(format!(
                    "{} ({shards} shards): {problem}",
                    conversation.title()
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What is sent to a group goes to many, and whoever asks may be forged.
#[test]
fn searches_are_answered_so_often_in_a_second() {
    let group = SocketAddr::from(([225, 1, 1, 1], 1885));
    let settings = Settings {
        multicast: Some(group),
        ..Settings::default()
    };
    let mut world = World::calm(Setup::new(1));
    world.begin_gateways(settings);
    for in_second in [20, 20] {
        world.wait(Span::from_secs(1));
        for _ in 0..30 {
            world.receive_group_datagram(address(0), &[3, 1, 0]);
            world.receive_datagram(0, address(0), &[3, 1, 0]);
        }
        let sent = world.take_datagrams(0);
        let to = |whom| sent.iter().filter(|(to, _)| *to == whom).count();
        assert_eq!((to(group), to(address(0))), (in_second, in_second));
    }
}

/// Whoever forges addresses is sent no more than it sends, has bounded state, and pushes nobody out.
#[test]
fn connects_with_forged_addresses_cost_bounded_state() {
    const FORGED: usize = 5_000;
    let connect = |id: &str, flags: u8| {
        let mut datagram = vec![6 + id.len() as u8, 4, flags, 1, 0, 60];
        datagram.extend_from_slice(id.as_bytes());
        datagram
    };
    let mut world = World::calm(Setup::new(1));
    world.begin_gateways(Settings::default());
    let asks = |world: &mut World<Calm>, peer: usize, datagram: &[u8]| {
        world.receive_datagram(0, address(peer), datagram);
        world.settle();
        world.take_datagrams(0)
    };
    assert_eq!(asks(&mut world, 0, &connect("live", 4))[0].1, [3, 5, 0]);
    let (mut received, mut sent) = (0, 0);
    let count = |sent: &[(SocketAddr, Vec<u8>)]| -> usize {
        sent.iter().map(|(_, bytes)| bytes.len()).sum()
    };
    for peer in 1..=FORGED {
        let datagram = connect(&format!("forged {peer}"), 0x0C);
        received += datagram.len();
        sent += count(&asks(&mut world, peer, &datagram));
    }
    assert_eq!(world.gateway(0).states()[..2], [1_000, 1]);
    world.audit();
    for _ in 0..30 {
        assert_eq!(
            asks(&mut world, 0, &[2, 0x16]),
            [(address(0), vec![2, 0x17])]
        );
        world.wait(Span::from_secs(2));
        sent += count(&world.take_datagrams(0));
    }
    assert_eq!(world.gateway(0).states(), [0, 1, 0, 0]);
    assert!(sent <= received, "{sent} octets were sent for {received}");
}

fn play(conversation: &Conversation, shards: u16) -> Result<(), String> {
    let mut world = World::calm(Setup::new(shards));
    if conversation.has_journal() {
        world.begin_journals(Durability::Commit);
    }
    world.begin_gateways(conversation.settings()?);
    let mut stage = Stage {
        world,
        peers: Vec::new(),
        arrived: HashMap::new(),
        bound: HashMap::new(),
    };
    for (number, line) in &conversation.lines {
        stage
            .line(line)
            .map_err(|problem| format!("line {number}: {problem}"))?;
    }
    Ok(())
}

impl Stage {
    fn line(&mut self, line: &Line) -> Result<(), String> {
        match line {
            Line::Wait(seconds) => self.world.wait(Span::from_secs(*seconds)),
            Line::Crash => self.crash()?,
            Line::Sends {
                peer,
                to_group,
                is_joined,
                octets,
            } => {
                let peer = self.peer(peer);
                let datagram = octets.datagram(&self.bound)?;
                let shard = peer % self.world.shards.len();
                if *to_group {
                    self.world.receive_group_datagram(address(peer), &datagram);
                } else {
                    self.world.receive_datagram(shard, address(peer), &datagram);
                }
                if !is_joined {
                    self.world.settle();
                }
            }
            Line::Gets { peer, octets } => {
                let peer = self.peer(peer);
                self.collect();
                let next = self.arrived.entry(peer).or_default().pop_front();
                match (octets, next) {
                    (None, None) => {}
                    (None, Some(found)) => return Err(format!("there is {found:02X?}")),
                    (Some(_), None) => return Err("there is nothing".into()),
                    (Some(octets), Some(found)) => octets.matches(&found, &mut self.bound)?,
                }
            }
        }
        self.collect();
        self.world.audit();
        Ok(())
    }

    /// What is not on the disk is lost.
    fn crash(&mut self) -> Result<(), String> {
        let shards = self.world.shards.len();
        for shard in 0..shards {
            let disk = self.world.disk_mut(shard).ok_or("there is no journal")?;
            disk.crash(|_| Sector::Lost);
        }
        let setup = Setup {
            now: self.world.now,
            ..Setup::new(shards as u16)
        };
        self.world.restart(&setup, Durability::Commit)?;
        self.world.settle();
        Ok(())
    }

    fn peer(&mut self, name: &str) -> usize {
        if name == "group" {
            return GROUP;
        }
        let known = self.peers.iter().position(|one| one == name);
        known.unwrap_or_else(|| {
            self.peers.push(name.to_owned());
            self.peers.len() - 1
        })
    }

    fn collect(&mut self) {
        for shard in 0..self.world.shards.len() {
            for (to, datagram) in self.world.take_datagrams(shard) {
                let peer = match to.ip().is_multicast() {
                    true => GROUP,
                    false => usize::from(to.port() - FIRST_PORT),
                };
                self.arrived.entry(peer).or_default().push_back(datagram);
            }
        }
    }
}

const FIRST_PORT: u16 = 20_000;
/// Stands for all members of the multicast group.
const GROUP: usize = usize::MAX;

fn address(peer: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], FIRST_PORT + peer as u16))
}
