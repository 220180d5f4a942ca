//! The bound of memory that a configuration comes to.

use super::*;

#[test]
fn memory_bound_grows_with_limits_and_shards() {
    let checked = Checked::default();
    let one = checked.memory_bound(1).total();
    assert!(one < checked.memory_bound(2).total());
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
            ]
            .contains(&option.name)
        {
            continue;
        }
        let mut more = checked.clone();
        (option.set)(&mut more, Value::Number(max));
        let grows = more.memory_bound(1).total() > one;
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
    assert!(most.memory_bound(128).to_string().lines().count() > 5);
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
    let bound = checked.memory_bound(1);
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
