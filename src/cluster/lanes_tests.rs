use std::collections::BTreeSet;

use super::*;

const STEP: Span = Span::from_millis(50);

/// Nodes over a store of keys; a node's lease and its view of the others are set by the test.
struct World {
    nodes: Vec<Lanes>,
    seen: Vec<usize>,
    leased: Vec<bool>,
    /// Groups in which there are sessions.
    in_use: BTreeSet<Group>,
    changes: Vec<(Group, u64, Owner)>,
    now: Time,
}

fn node(name: &str, life: u64) -> Node {
    let name = NodeName::new(name).unwrap();
    let incarnation = Incarnation(life);
    Node { name, incarnation }
}

fn details(node: &Node, is_drained: bool) -> Details {
    Details {
        incarnation: node.incarnation,
        is_drained,
        is_adopted: false,
        relay: format!("{}:7000", node.name.as_str()).into(),
        clients: None,
    }
}

impl World {
    fn new(names: &[&str]) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            seen: Vec::new(),
            leased: Vec::new(),
            in_use: BTreeSet::new(),
            changes: Vec::new(),
            now: Time(60_000_000_000),
        };
        names.iter().for_each(|name| world.add(name, 1));
        world
    }

    fn add(&mut self, name: &str, life: u64) {
        let own = node(name, life);
        let mut lanes = Lanes::new(own.clone(), LaneKey([7; 16]));
        for other in &mut self.nodes {
            let known = other.own.clone();
            lanes.joined(&known);
            lanes.described(&known.name, other.details(&known.name).cloned());
            other.joined(&own);
            other.described(&own.name, Some(details(&own, false)));
        }
        lanes.described(&own.name, Some(details(&own, false)));
        self.nodes.push(lanes);
        self.seen.push(0);
        self.leased.push(true);
    }

    fn drain(&mut self, at: usize) {
        let own = self.nodes[at].own.clone();
        for lanes in &mut self.nodes {
            lanes.described(&own.name, Some(details(&own, true)));
        }
    }

    fn dies(&mut self, at: usize) {
        let dead = self.nodes.remove(at).own;
        self.seen.remove(at);
        self.leased.remove(at);
        let now = self.now;
        self.nodes
            .iter_mut()
            .for_each(|lanes| lanes.left(&dead, now));
    }

    /// Revision of a group's key.
    fn revision(&self, group: Group) -> u64 {
        let last = self.changes.iter().rev().find(|it| it.0 == group);
        last.map_or(0, |it| it.1)
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Span::from_millis(ms);
        while self.now < end {
            self.now = self.now + STEP;
            for at in 0..self.nodes.len() {
                self.turn_of(at);
            }
        }
    }

    fn turn_of(&mut self, at: usize) {
        let now = self.now;
        let news = self.changes[self.seen[at]..].to_vec();
        self.seen[at] = self.changes.len();
        for (group, revision, owner) in news {
            self.nodes[at].seen(group, revision, Some(owner), now);
        }
        if self.leased[at] {
            self.nodes[at].leased(now + Span::from_millis(4_000), now);
        }
        for group in Group::all() {
            let table = self.nodes[at].rows[group.index()].offer;
            if table == Offer::Asked {
                let epoch = self.nodes[at].owner(group).unwrap().epoch;
                let is_free = !self.in_use.contains(&group);
                self.nodes[at].answered(group, epoch, is_free, now);
            }
        }
        for claim in self.nodes[at].claims(now) {
            match self.revision(claim.group) == claim.revision {
                true => {
                    let revision = self.changes.len() as u64 + 1;
                    self.changes.push((claim.group, revision, claim.owner));
                }
                false => self.nodes[at].claim_failed(claim.group),
            }
        }
        let serving: Vec<usize> = (0..GROUPS)
            .filter(|group| {
                let serves = |lanes: &&Lanes| lanes.place(&lanes.rows[*group]) == Place::Here;
                self.nodes.iter().filter(serves).count() > 1
            })
            .collect();
        assert!(serving.is_empty(), "served twice: {serving:?}");
    }

    /// Groups that a node serves.
    fn served(&self, at: usize) -> usize {
        let lanes = &self.nodes[at];
        let places = lanes.rows.iter().map(|row| lanes.place(row));
        places.filter(|place| *place == Place::Here).count()
    }
}

#[test]
fn the_first_node_owns_everything_and_one_that_joins_is_given_its_part() {
    let mut world = World::new(&["a"]);
    world.run(200);
    assert_eq!(world.served(0), GROUPS);
    world.add("b", 1);
    world.run(3_000);
    assert_eq!(world.served(0) + world.served(1), GROUPS);
    assert!(world.served(1) > 20, "{}", world.served(1));
    // A third one moves nothing between the two.
    let before: Vec<Owner> = Group::all()
        .map(|group| world.nodes[0].owner(group).unwrap().clone())
        .collect();
    world.add("c", 1);
    world.run(3_000);
    for (group, before) in Group::all().zip(before) {
        let owner = &world.nodes[0].owner(group).unwrap().node;
        assert!(*owner == before.node || owner.name.as_str() == "c");
    }
}

#[test]
fn a_group_with_sessions_stays_until_they_have_ended() {
    let mut world = World::new(&["a"]);
    world.run(200);
    world.in_use = Group::all()
        .filter(|group| group.index() % 2 == 0)
        .collect();
    world.add("b", 1);
    world.run(9_000);
    let moved = world.served(1);
    assert!(moved > 10 && moved < 32, "{moved}");
    let of_b = |group: &Group| world.nodes[0].owner(*group).unwrap().node.name.as_str() == "b";
    assert!(Group::all()
        .filter(of_b)
        .all(|group| group.index() % 2 == 1));
    world.in_use.clear();
    world.run(30_000);
    assert!(world.served(1) > moved);
    assert_eq!(world.served(0) + world.served(1), GROUPS);
}

#[test]
fn groups_of_a_dead_node_are_taken_at_once_by_who_is_wanted_for_them() {
    let mut world = World::new(&["a", "b", "c"]);
    world.run(200);
    let all: usize = (0..3).map(|at| world.served(at)).sum();
    assert_eq!(all, GROUPS);
    let of_a = world.served(0);
    assert!(of_a > 10 && of_a < 35, "{of_a}");
    world.dies(0);
    world.run(150);
    assert_eq!(world.served(0) + world.served(1), GROUPS);
}

#[test]
fn without_a_lease_nothing_is_taken_and_nothing_given() {
    let mut world = World::new(&["a", "b"]);
    world.leased = vec![false, false];
    world.run(1_000);
    assert!(world.changes.is_empty());
    world.leased[1] = true;
    world.run(200);
    let owners: BTreeSet<&str> = (world.changes.iter())
        .map(|(.., owner)| owner.node.name.as_str())
        .collect();
    assert_eq!(
        owners,
        BTreeSet::from(["b"]),
        "each takes what it is wanted for"
    );
}

/// Its keys may come before the one that says it is alive.
#[test]
fn an_owner_that_nobody_has_seen_yet_is_given_time() {
    let mut world = World::new(&["a"]);
    let stranger = node("z", 9);
    let group = Group::new(5).unwrap();
    world.changes.push((
        group,
        1,
        Owner {
            node: stranger.clone(),
            epoch: 3,
        },
    ));
    world.run(5_800);
    assert_eq!(world.nodes[0].owner(group).unwrap().node, stranger);
    world.run(400);
    let owner = world.nodes[0].owner(group).unwrap();
    assert_eq!((owner.node.name.as_str(), owner.epoch), ("a", 4));
}

#[test]
fn a_node_that_comes_back_takes_what_its_last_life_had() {
    let mut world = World::new(&["a", "b"]);
    world.run(200);
    let before = world.served(1);
    // It was killed and is back before the others take it for dead.
    let dead = world.nodes.pop().unwrap().own;
    world.seen.pop();
    world.leased.pop();
    let now = world.now;
    world.nodes[0].left(&dead, now);
    world.add("b", 2);
    world.run(200);
    assert_eq!(world.served(1), before);
}

/// Its sessions are served by who has them.
#[test]
fn who_adopts_the_sessions_of_a_lost_node_takes_its_groups_and_serves_them_then() {
    for has_adopter in [true, false] {
        let mut world = World::new(&["a", "b", "c"]);
        let lost = world.nodes[0].own.clone();
        for lanes in &mut world.nodes {
            let details = Details {
                is_adopted: true,
                ..details(&lost, false)
            };
            lanes.described(&lost.name, Some(details));
        }
        world.run(200);
        let (of_a, of_b, of_c) = (world.served(0), world.served(1), world.served(2));
        world.dies(0);
        world.run(2_000);
        assert_eq!((world.served(0), world.served(1)), (of_b, of_c));
        if has_adopter {
            world.nodes[1].adopts(&lost.name);
            world.run(500);
            let own = world.nodes[1].own.clone();
            assert_eq!(world.nodes[1].owned_by(&own), of_a + of_c);
            assert_eq!(world.served(1), of_c, "not before they are here");
            world.nodes[1].adopted(&lost.name);
            assert_eq!(world.served(1), of_a + of_c);
        } else {
            world.run(11_000);
            assert_eq!(
                world.served(0) + world.served(1),
                GROUPS,
                "nobody adopts them"
            );
        }
    }
}

#[test]
fn a_drained_node_gives_everything_and_the_last_one_keeps_it() {
    let mut world = World::new(&["a", "b"]);
    world.run(200);
    world.drain(0);
    world.run(3_000);
    assert_eq!((world.served(0), world.served(1)), (0, GROUPS));
    world.drain(1);
    world.run(3_000);
    assert_eq!(world.served(1), GROUPS, "there is nobody to take it");
    world.dies(1);
    world.run(200);
    assert_eq!(world.served(0), GROUPS, "rather a drained one than none");
}

#[test]
fn what_is_offered_is_served_by_nobody_until_it_is_given_or_kept() {
    let mut world = World::new(&["a"]);
    world.run(200);
    world.add("b", 1);
    let now = world.now + LOOK_EVERY;
    let lanes = &mut world.nodes[0];
    assert_eq!(lanes.claims(now), [], "shards are asked first");
    let table = lanes.poll_table().unwrap();
    let asked: Vec<Group> = Group::all()
        .filter(|group| table.offered[group.index()] == 1)
        .collect();
    assert_eq!(asked.len(), OFFERED_AT_ONCE);
    assert!(asked
        .iter()
        .all(|group| table.places[group.index()] == Place::Nowhere));
    lanes.answered(asked[0], 1, false, now);
    lanes.answered(asked[1], 9, true, now); // of another epoch
    lanes.answered(asked[2], 1, true, now);
    let claims = lanes.claims(now);
    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].group, claims[0].owner.epoch), (asked[2], 2));
    let table = lanes.poll_table().unwrap();
    assert_eq!(table.places[asked[0].index()], Place::Here);
    assert_eq!(table.places[asked[2].index()], Place::Nowhere);
}

#[test]
fn client_ids_are_spread_over_all_groups() {
    let key = LaneKey([3; 16]);
    let mut counts = [0; GROUPS];
    for n in 0..6_400 {
        counts[key.group(&format!("client-{n}")).index()] += 1;
    }
    assert!(
        counts.iter().all(|count| (50..160).contains(count)),
        "{counts:?}"
    );
    assert_ne!(LaneKey([4; 16]).group("client-1"), key.group("client-1"));
}

#[test]
fn keys_are_read_as_they_are_written() {
    let owner = Owner {
        node: node("a", u64::MAX),
        epoch: 17,
    };
    assert_eq!(Owner::decode(&owner.encode()), Some(owner));
    for clients in [None, Some("mqtt.example:1883".into())] {
        let details = Details {
            clients,
            is_adopted: true,
            ..details(&node("a", 1), true)
        };
        assert_eq!(Details::decode(&details.encode()), Some(details));
    }
    for text in ["", "1", "2 1 a 1", "1 x a 1", "1 1 a", "1 1 a.b 1"] {
        assert_eq!(Owner::decode(text), None, "{text:?}");
    }
    for text in ["", "1 0", "1 0 0", "2 0 0 x:1"] {
        assert_eq!(Details::decode(text), None, "{text:?}");
    }
}
