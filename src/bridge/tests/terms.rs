//! Lines, loops, pauses, and the session of a bridge that is away.

use super::scene::shown;
use super::{bridge, line};
use crate::bridge::{forgetting, look_for_loops, waiting, Backoff, Bridge, Direction, Line};
use crate::mqtt::{Qos, Version};
use crate::time::Span;

#[test]
fn lines_rename_topics_in_both_directions() {
    let both = line("temp/# both 2 site7/ factory/");
    assert_eq!(
        (both.direction, both.qos),
        (Direction::Both, Qos::ExactlyOnce)
    );
    assert_eq!(both.local_filter(), "site7/temp/#");
    assert_eq!(both.remote_filter(), "factory/temp/#");
    assert_eq!(
        both.to_remote("site7/temp/1").as_deref(),
        Some("factory/temp/1")
    );
    assert_eq!(
        both.to_local("factory/temp/1").as_deref(),
        Some("site7/temp/1")
    );
    assert_eq!(both.to_remote("site7/other"), None);
    assert_eq!(both.to_remote("temp/1"), None);
    let single = line("'' in 1 here/it \"over there/it\"");
    assert_eq!(single.to_local("over there/it").as_deref(), Some("here/it"));
    assert_eq!(line("a/b").direction, Direction::Out);
    let shared = line("$share/g/jobs/# in 1 '' far/");
    assert_eq!(
        shared.subscribed(shared.remote_filter()),
        "$share/g/far/jobs/#"
    );
    for wrong in [
        "",
        "a sideways",
        "a out 3",
        "a out 1 x y z",
        "'' out 1 x",
        "a/#/b",
        "a out 0 +/ x/",
        "$share/g/a both",
        "'a",
    ] {
        assert!(Line::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn bridges_that_would_return_what_the_other_has_taken_are_found() {
    let other = |lines: &[&str], address: &str| Bridge {
        name: "c".into(),
        addresses: vec![address.into()],
        ..bridge(lines)
    };
    let out = bridge(&["# out 1 a/ x/"]);
    let found = |other: Bridge| look_for_loops(&[out.clone(), other]).len();
    assert_eq!(found(other(&["# in 1 a/ x/"], "far:1883")), 1);
    assert_eq!(
        found(other(&["# in 1 b/ x/"], "far:1883")),
        0,
        "another name here"
    );
    assert_eq!(
        found(other(&["# in 1 a/ y/"], "far:1883")),
        0,
        "another name there"
    );
    assert_eq!(
        found(other(&["# in 1 a/ x/"], "near:1883")),
        0,
        "another remote"
    );
    let text = &look_for_loops(&[out.clone(), other(&["# in 1 a/ x/"], "far:1883")])[0].1;
    assert!(
        text.contains("# out 1 a/ x/") && text.contains("# in 1 a/ x/"),
        "{text}"
    );
}

#[test]
fn pauses_are_random_between_base_and_cap_and_begin_anew_after_a_stable_connection() {
    let spans = [1, 30, 60].map(Span::from_secs);
    let mut backoff = Backoff::new(spans, 7);
    let pauses: Vec<_> = (0..200).map(|_| backoff.next(Span::ZERO)).collect();
    assert!(pauses
        .iter()
        .all(|pause| (spans[0]..=spans[1]).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause > Span::from_secs(10)));
    assert_eq!(backoff.longest(), spans[1]);
    assert!(backoff.next(spans[2]) <= Span::from_secs(3));
}

#[test]
fn a_session_waits_for_its_bridge_only_where_something_goes_out() {
    let bytes = waiting(&bridge(&["a out 1", "b in 1"]), None).unwrap();
    assert_eq!(
        shown(Version::V5, &bytes),
        [
            "CONNECT bridge.b resumed",
            "SUBSCRIBE a/1 no-local",
            "DISCONNECT"
        ]
    );
    assert!(waiting(&bridge(&["b in 1"]), None).is_none());
    let forgets = Bridge {
        local_clean_start: true,
        ..bridge(&["a out 1"])
    };
    assert!(waiting(&forgets, None).is_none());
}

#[test]
fn filters_of_before_are_given_up_and_a_bridge_that_is_gone_is_forgotten() {
    let before = bridge(&["a out 1", "b out 1", "c in 1"]);
    let now = bridge(&["b out 2", "d in 1"]);
    let bytes = waiting(&now, Some(&before)).unwrap();
    let packets = shown(Version::V5, &bytes);
    assert_eq!(
        packets[1..],
        ["UNSUBSCRIBE a", "SUBSCRIBE b/2 no-local", "DISCONNECT"]
    );
    let packets = shown(Version::V5, &forgetting(&now));
    assert_eq!(packets, ["CONNECT bridge.b clean", "DISCONNECT"]);
    assert_eq!(now.filters_there().collect::<Vec<_>>(), ["d"]);
}
