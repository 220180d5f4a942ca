//! The bound of memory that a configuration comes to.

use super::*;
use crate::bridge::Bridge;
use crate::limits::{OwnTerms, QueuePolicy};

fn machine(shards: u16) -> Machine {
    Machine {
        shards,
        connections: None,
        memory: None,
    }
}

#[test]
fn memory_bound_grows_with_limits_and_shards() {
    let mut checked = Checked::default();
    checked.limits.sparkplug = true;
    let two = checked.memory_bound(machine(2)).total();
    assert!(checked.memory_bound(machine(1)).total() < two);
    for option in options::all() {
        let Some(Value::Number(max)) = ends(option.kind)
            .into_iter()
            .rev()
            .find(|v| *v != Value::Word)
        else {
            continue;
        };
        let counts = ["-max", "-maximum"]
            .iter()
            .any(|end| option.name.ends_with(end));
        if !counts
            || [
                "session-expiry-max",
                "keep-alive-max",
                "half-open-max",
                "memory-max",
                // In the bytes of what they count.
                "retained-messages-max",
                "topic-levels-max",
                "receive-maximum",
                // Of the disk.
                "journal-bytes-max",
            ]
            .contains(&option.name)
        {
            continue;
        }
        let mut more = checked.clone();
        (option.set)(&mut more, Value::Number(max));
        let grows = more.memory_bound(machine(2)).total() > two;
        let at_max = (option.get)(&checked) == Value::Number(max);
        assert!(grows || at_max, "{} is not in the sum", option.name);
    }
    // Nothing overflows at the ends of all ranges.
    let mut most = checked.clone();
    for option in options::all() {
        if let Some(value) = ends(option.kind)
            .into_iter()
            .rev()
            .find(|v| *v != Value::Word)
        {
            (option.set)(&mut most, value);
        }
    }
    assert!(most.memory_bound(machine(128)).to_string().lines().count() > 5);
}

#[test]
fn a_queue_of_a_bridge_that_blocks_may_hold_twice_its_bound() {
    let total = |policy, bytes_max| {
        let mut checked = Checked::default();
        checked.bridges.push(Bridge {
            own_terms: OwnTerms {
                queue_policy: policy,
                queue_bytes_max: Some(bytes_max),
                queue_messages_max: Some(0),
                ..OwnTerms::default()
            },
            ..Bridge::default()
        });
        checked.memory_bound(machine(2)).total()
    };
    let without = Checked::default().memory_bound(machine(2)).total();
    assert_eq!(total(None, 5_000), without + 5_000);
    assert_eq!(total(Some(QueuePolicy::Block), 5_000), without + 10_000);
}

#[test]
fn memory_bound_of_a_small_broker_by_hand() {
    let mut checked = Checked::default();
    checked.limits = Limits {
        packet_size_max: 1_000,
        connections_max: 10,
        outgoing_bytes_max: 5_000,
        ..checked.limits
    };
    let bound = checked.memory_bound(machine(1));
    let bytes = |what: &str| {
        bound
            .lines
            .iter()
            .find(|line| line.what == what)
            .unwrap()
            .bytes()
    };
    assert_eq!(bytes("connections"), 10 * (2_048 + 1_000));
    assert_eq!(bytes("bytes to send"), 10 * (5_000 + 1_000));
    assert_eq!(bytes("publications between shards"), 0);
    assert_eq!(
        bound.total(),
        bound.lines.iter().map(MemoryLine::bytes).sum::<u128>()
    );
    let shown = bound.to_string();
    assert!(
        shown.contains("connections                   29.7 KiB  connections-max"),
        "{shown}"
    );
}

/// What waits for disks is counted where there are any.
#[test]
fn journals_are_in_the_sum() {
    let mut checked = Checked::default();
    let total = |checked: &Checked| checked.memory_bound(machine(2)).total();
    let without = total(&checked);
    checked.run.data_dir = Some("data".into());
    let packet = u128::from(checked.limits.packet_size_max);
    let each = (16 << 20) + 3 * ((256 << 10) + packet);
    assert_eq!(total(&checked) - without, 2 * each);
}

/// What a person sizes a machine by: connections as the limit of open files allows them, shards as
/// they will be, and a word when the machine is too small.
#[test]
fn the_sum_for_a_machine() {
    let mut checked = Checked::default();
    let small = Machine {
        shards: 2,
        connections: Some(1_000),
        memory: Some(60 << 20),
    };
    let bound = checked.memory_bound(small);
    assert_eq!(bound.connections, 1_000);
    let warning = bound.warning().expect("1 GiB of retained messages");
    assert!(
        warning.contains("60.0 MiB of memory are there"),
        "{warning}"
    );
    assert!(warning.contains("retained-bytes-max"), "{warning}");
    let shown = bound.to_string();
    assert!(shown.contains("1000 quiet clients"), "{shown}");
    assert!(bound.summary().contains("2 shard(s)"));

    // By default retained messages follow the memory there is.
    checked.fit_to(small.memory);
    assert_eq!(checked.limits.retained_bytes_max, 15 << 20);
    assert_eq!(checked.memory_bound(small).warning(), None);
    checked.fit_to(Some(1 << 20));
    let packet = u64::from(checked.limits.packet_size_max);
    assert_eq!(checked.limits.retained_bytes_max, packet, "one at least");
    checked.fit_to(Some(1 << 40));
    assert_eq!(checked.limits.retained_bytes_max, 1 << 30);
    checked.fit_to(None);
    checked.retained_by_memory = false;
    checked.fit_to(Some(60 << 20));
    assert_eq!(
        checked.limits.retained_bytes_max,
        1 << 30,
        "what is said counts"
    );
    // One client at its worst: a few packets, its queue, and its filters.
    let worst = checked.memory_bound(small).worst_client();
    assert!(worst < 16 << 20, "{worst}");
}
