//! Client ids and the nodes that own them, in the world of [`super::tests`].

use super::tests::{Client, World};
use crate::cluster::lanes::{Group, LaneKey, Place, GROUPS};

/// A client id that a node owns.
fn name_of(world: &World, at: usize) -> String {
    let own = &world.nodes[at].own;
    let is_owned = |name: &String| {
        let owner = world.nodes[at].lanes.owner(LaneKey([7; 16]).group(name));
        owner.is_some_and(|owner| owner.node == *own)
    };
    let mut names = (0..1_000).map(|n| format!("c{n}"));
    names.find(is_owned).expect("it owns some")
}

fn is_accepted(world: &mut World, client: Client) -> bool {
    world.take(client) == b"\x20\x02\0\0"
}

#[test]
fn a_client_goes_on_where_its_client_id_is_owned() {
    let mut world = World::new(3);
    let name = name_of(&world, 1);
    let first = world.open(1, &name);
    assert!(is_accepted(&mut world, first));
    // Elsewhere it is passed on, with CONNECT as it came.
    let other = world.open(2, &name);
    let (node, bytes) = world.relayed(other).unwrap();
    assert_eq!(node.as_str(), "b");
    assert_eq!(bytes, world.connect_packet(&name));
    // And takes over there what the first had.
    let second = world.open_relayed(1, &name, 1);
    assert!(is_accepted(&mut world, second));
    assert!(world.is_closed(first));
}

/// Until all nodes have the same table a connection may come to one that thinks it is another's.
#[test]
fn who_was_passed_on_is_passed_on_a_few_times_only() {
    let mut world = World::new(2);
    let name = name_of(&world, 0);
    let client = world.open_relayed(1, &name, 2);
    assert_eq!(world.relayed(client).unwrap().0.as_str(), "a");
    let client = world.open_relayed(1, &name, 3);
    assert!(world.relayed(client).is_none());
    assert_eq!(world.take(client), b"");
    world.nodes[0].is_stopped = true;
    world.run(7_000);
    assert!(is_accepted(&mut world, client), "node b has taken it");
}

#[test]
fn groups_of_a_killed_node_are_served_again_within_10_s() {
    let mut world = World::new(3);
    let name = name_of(&world, 0);
    world.nodes[0].is_stopped = true;
    world.run(1_000);
    let waits = world.open(1, &name);
    let is_passed_on = world.relayed(waits).is_some();
    assert!(is_passed_on, "its owner is not known to be dead");
    world.run(6_000);
    let served: usize = (1..3).map(|at| world.served(at)).sum();
    assert_eq!(served, GROUPS);
    let again = world.open(1, &name);
    let is_here = is_accepted(&mut world, again);
    assert!(is_here || world.relayed(again).is_some());
}

#[test]
fn without_a_lease_nobody_is_let_in_and_who_waits_too_long_is_told() {
    let mut world = World::new(2);
    let name = name_of(&world, 0);
    world.nodes[0].is_cut = true;
    world.run(4_500);
    let client = world.open(0, &name);
    assert_eq!(world.take(client), b"");
    world.run(3_000);
    assert_eq!(world.take(client), b"");
    world.run(8_000);
    assert_eq!(world.take(client), b"\x20\x02\0\x03", "server unavailable");
    assert!(world.is_closed(client));
    world.nodes[0].is_cut = false;
    world.run(3_000);
    let name = name_of(&world, 0);
    let client = world.open(0, &name);
    assert!(is_accepted(&mut world, client));
}

/// A client id has one connection, whichever nodes are cut off, at nodes that may acknowledge.
#[test]
fn groups_are_served_by_one_node_that_has_a_lease() {
    let mut world = World::new(3);
    for step in 0..60_usize {
        let at = step % 3;
        world.nodes[at].is_cut = step % 4 != 3;
        world.run(100 + 700 * (step as u64 % 11));
        let now = world.now;
        for group in Group::all() {
            let serves = |at: &usize| {
                let node = &world.nodes[*at];
                node.membership.lease_until() > now && node.place(group) == Place::Here
            };
            let servers: Vec<usize> = (0..3).filter(serves).collect();
            assert!(servers.len() < 2, "{group:?} is served by {servers:?}");
        }
        world.nodes[at].is_cut = false;
    }
    world.run(8_000);
    let served: usize = (0..3).map(|at| world.served(at)).sum();
    assert_eq!(served, GROUPS);
}

#[test]
fn a_node_that_joins_gets_groups_without_sessions_and_clients_stay_where_they_are() {
    let mut world = World::new(1);
    let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let clients: Vec<Client> = names.iter().map(|name| world.open(0, name)).collect();
    for client in &clients {
        assert!(is_accepted(&mut world, *client));
    }
    world.add("b");
    world.run(5_000);
    assert!(world.served(1) > 5, "{}", world.served(1));
    assert_eq!(world.served(0) + world.served(1), GROUPS);
    assert!(clients.iter().all(|client| !world.is_closed(*client)));
    for name in &names {
        let group = LaneKey([7; 16]).group(name);
        assert_eq!(world.nodes[0].place(group), Place::Here, "{name}");
    }
}

#[test]
fn a_client_without_an_id_is_served_where_it_comes() {
    let mut world = World::new(2);
    for at in [0, 1] {
        let client = world.open(at, "");
        assert!(is_accepted(&mut world, client));
    }
}
