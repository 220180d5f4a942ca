//! Durable interest over resumes with another expiry.

use crate::ids::ShardId;
use crate::routing::{Destination, Interest};
use crate::shard::Shard;
use crate::testing::{Setup, World};

/// CONNECT of 5.0 without Clean Start, with this Session Expiry Interval.
fn connect(expiry_s: u8) -> Vec<u8> {
    let body = b"\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0";
    let mut bytes = vec![0x10, body.len() as u8 + 4];
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&[expiry_s, 0, 1, b'c']);
    bytes
}

const SUBSCRIBE: &[u8] = b"\x82\x19\0\x01\0\0\x01t\x01\0\x02u/\x01\0\x0a$share/g/t\x01";

#[test]
fn a_session_resumed_to_end_with_its_connection_is_durable_nowhere() {
    let mut world = World::calm(Setup::new(3));
    let link = world.open(0);
    world.send(link, &connect(60));
    world.settle();
    world.send(link, SUBSCRIBE);
    world.settle();
    let home = world.links[link].at.expect("connected").0;
    let known = |world: &mut World| {
        let home = Destination::Shard(ShardId(home as u16));
        let of = |shard: &mut Shard| {
            let index = &mut shard.routes.index;
            let is_durable = index.route("t").durable.contains(home);
            (index.interest("t", home), is_durable)
        };
        let each = world.shards.iter_mut().map(of).collect::<Vec<_>>();
        assert_eq!(Shard::audit_replicas(&world.shards), Ok(()));
        assert!(each.iter().all(|one| *one == each[0]), "{each:?}");
        each[0]
    };
    assert_eq!(known(&mut world), (Interest::Durable, true));
    world.close(link);
    world.settle();
    assert_eq!(known(&mut world), (Interest::Durable, true));
    let link = world.open(1);
    world.send(link, &connect(0));
    world.settle();
    assert_eq!(world.links[link].received[2], 1, "the session is present");
    assert_eq!(known(&mut world), (Interest::Transient, false));
    world.close(link);
    world.settle();
    assert_eq!(known(&mut world), (Interest::Absent, false));
}
