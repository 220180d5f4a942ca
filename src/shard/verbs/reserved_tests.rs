//! Names that begin with `$`: what is counted and noted. What clients see is in `tests/wire`.

use crate::shard::Action;
use crate::testing::{World, V311};

#[test]
fn a_flood_to_the_servers_names_is_counted_and_noted_once() {
    let mut broker = World::of_one_shard(|_| {});
    let (id, _) = broker.connect(V311, b'a');
    for _ in 0..20 {
        broker.give_here(id, b"\x30\x05\0\x02$xy\x30\x05\0\x02$zy"); // as plain packets
        broker.give_here(id, b"\x32\x07\0\x02$x\0\x01y");
        broker.give_here(id, b"\x30\x04\0\x01xy");
    }
    let actions = std::iter::from_fn(|| broker.shards[0].poll_action());
    let notices: Vec<String> = actions
        .filter_map(|action| match action {
            Action::Notice(notice) => Some(notice.text),
            _ => None,
        })
        .collect();
    assert_eq!(notices, ["not authorized to publish to \"$x\""]);
    let stats = broker.shards[0].stats();
    assert_eq!(stats.publications_refused, 60);
    assert_eq!(stats.publications_received, 80);
}
