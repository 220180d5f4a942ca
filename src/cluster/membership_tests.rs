use super::*;

fn at(ms: u64) -> Time {
    Time::ZERO + Span::from_millis(ms)
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn node(text: &str, incarnation: u64) -> Node {
    Node {
        name: name(text),
        incarnation: Incarnation(incarnation),
    }
}

fn beat(incarnation: u64, number: u64) -> Option<Beat> {
    Some(Beat {
        incarnation: Incarnation(incarnation),
        number,
        has_joined: number > 6,
    })
}

/// Puts and sees its own key at once, at each of these times.
fn beats(one: &mut Membership, times: impl IntoIterator<Item = u64>) {
    for ms in times {
        let put = one.put_due(false, at(ms)).expect("a put is due");
        let own = one.own.name.clone();
        one.seen(&own, put.revision + 1, Some(put.beat), at(ms));
        one.seen_all(at(ms));
    }
}

#[test]
fn what_is_put_is_read() {
    let beat = beat(u64::MAX - 4, 7).unwrap();
    assert_eq!(Beat::decode(&beat.encode()), Some(beat));
    for text in ["", "1", "1 x 3", "2 0 0", "1 00", "1 00 -1 0", "1 00 1"] {
        assert_eq!(Beat::decode(text), None, "{text:?}");
    }
}

#[test]
fn a_lease_counts_from_the_sending_of_what_came_back() {
    let mut one = Membership::new(node("a", 1));
    let put = one.put_due(false, at(100)).unwrap();
    assert_eq!(one.lease_until(), Time::ZERO);
    assert_eq!(one.put_due(false, at(1_200)), None, "one is on its way");
    one.seen(&name("a"), 5, Some(put.beat), at(1_900));
    one.seen_all(at(1_900));
    assert_eq!(one.lease_until(), at(100) + LEASE);
    let second = one.put_due(false, at(1_900)).unwrap();
    assert_eq!((second.revision, second.beat.number), (5, 2));
}

#[test]
fn a_put_that_was_given_up_gives_no_lease_when_it_comes_back() {
    let mut one = Membership::new(node("a", 1));
    let first = one.put_due(false, at(0)).unwrap();
    let second = one.put_due(false, at(2_600)).unwrap();
    one.seen(&name("a"), 1, Some(first.beat), at(2_700));
    one.seen_all(at(2_700));
    assert_eq!(one.lease_until(), Time::ZERO);
    one.put_failed(second.beat.number); // the key had changed
    let third = one.put_due(false, at(3_600)).unwrap();
    assert_eq!(third.revision, 1);
    one.seen(&name("a"), 2, Some(third.beat), at(3_650));
    one.seen_all(at(3_650));
    assert_eq!(one.lease_until(), at(7_600));
}

#[test]
fn who_is_silent_for_six_seconds_is_dead() {
    let mut one = Membership::new(node("a", 1));
    let joined = one.seen(&name("b"), 1, beat(9, 1), at(0));
    assert_eq!(joined, [Change::Joined(node("b", 9))]);
    beats(&mut one, (0..=5).map(|s| s * 1_000));
    assert_eq!(one.judge(at(5_999)), []);
    beats(&mut one, [6_000]);
    assert_eq!(one.judge(at(6_000)), [Change::Left(node("b", 9))]);
    assert_eq!(one.judge(at(6_001)), []);
    assert_eq!(
        one.seen(&name("b"), 9, beat(9, 8), at(6_500)),
        [Change::Joined(node("b", 9))],
        "it was only slow"
    );
}

#[test]
fn another_life_takes_the_place_of_the_one_before() {
    let mut one = Membership::new(node("a", 1));
    one.seen(&name("b"), 1, beat(9, 1), at(0));
    let changes = one.seen(&name("b"), 2, beat(10, 1), at(10));
    let expected = [Change::Left(node("b", 9)), Change::Joined(node("b", 10))];
    assert_eq!(changes, expected);
    let farewell = one.seen(&name("b"), 3, None, at(20));
    assert_eq!(farewell, [Change::Left(node("b", 10))]);
}

/// Who cannot see its own puts takes no other node for dead.
#[test]
fn nobody_is_judged_without_a_lease_and_all_have_time_after_it() {
    let mut one = Membership::new(node("a", 1));
    one.seen(&name("b"), 1, beat(9, 1), at(0));
    beats(&mut one, [0]);
    assert_eq!(one.judge(at(20_000)), []);
    beats(&mut one, [20_000]);
    assert_eq!(one.judge(at(20_001)), []);
    beats(&mut one, (21..=26).map(|s| s * 1_000));
    assert_eq!(one.judge(at(26_000)), [Change::Left(node("b", 9))]);
}

/// The lease of a node is over before another one takes it for dead, however late its puts are seen.
#[test]
fn a_lease_ends_before_others_stop_waiting() {
    for delay in [0, 10, 900, 2_400] {
        let mut dying = Membership::new(node("b", 9));
        let mut other = Membership::new(node("a", 1));
        beats(&mut other, [0]);
        let put = dying.put_due(false, at(0)).unwrap();
        dying.seen(&name("b"), 1, Some(put.beat), at(delay));
        dying.seen_all(at(delay));
        other.seen(&name("b"), 1, Some(put.beat), at(delay));
        let mut now = 0;
        let dead = loop {
            now += 500;
            if now % 1_000 == 0 {
                beats(&mut other, [now]);
            }
            if !other.judge(at(now)).is_empty() {
                break at(now);
            }
        };
        assert!(dying.lease_until() + Span::from_millis(2_000) <= dead);
    }
}

#[test]
fn a_name_in_use_is_waited_for_and_then_taken() {
    let mut one = Membership::new(node("a", 1));
    one.seen(&name("a"), 7, beat(5, 100), at(0));
    assert!(one.is_name_taken());
    assert_eq!(one.put_due(false, at(5_900)), None);
    one.seen(&name("a"), 8, beat(5, 101), at(5_950));
    assert_eq!(one.put_due(false, at(11_900)), None);
    let put = one.put_due(false, at(11_950)).unwrap();
    assert_eq!(put.revision, 8);
    one.seen(&name("a"), 9, Some(put.beat), at(12_000));
    one.seen_all(at(12_000));
    assert!(!one.is_name_taken());
    assert_eq!(one.lease_until(), at(11_950) + LEASE);
}

/// A watch that begins anew shows what is known again.
#[test]
fn what_is_shown_again_is_no_sign_of_life() {
    let mut one = Membership::new(node("a", 1));
    one.seen(&name("b"), 1, beat(9, 1), at(0));
    beats(&mut one, (0..=5).map(|s| s * 1_000));
    assert_eq!(one.seen(&name("b"), 1, beat(9, 1), at(5_500)), []);
    beats(&mut one, [6_000]);
    assert_eq!(one.judge(at(6_000)), [Change::Left(node("b", 9))]);
    let again = one.seen(&name("b"), 1, beat(9, 1), at(6_100));
    assert_eq!(again, [], "it is as dead as before");
    let farewell = one.seen(&name("b"), 7, None, at(6_200));
    assert_eq!(farewell, []);
}

#[test]
fn a_name_in_use_is_not_waited_for_anew_with_each_watch() {
    let mut one = Membership::new(node("a", 1));
    for ms in [0, 2_700, 5_400] {
        one.seen(&name("a"), 7, beat(5, 100), at(ms));
    }
    let put = one.put_due(false, at(6_000)).unwrap();
    assert_eq!(put.revision, 7);
}

/// A node whose watch is broken puts its key over its own last put, so others do not take it for dead.
#[test]
fn who_sees_nothing_puts_its_key_without_a_lease() {
    let mut one = Membership::new(node("a", 1));
    beats(&mut one, [0]);
    let mut revision = 1;
    for ms in [1_000, 3_500, 6_000] {
        let put = one.put_due(false, at(ms)).unwrap();
        assert_eq!(put.revision, revision);
        revision += 3; // others put theirs
        one.put_taken(put.beat.number, revision);
    }
    assert_eq!(one.lease_until(), at(0) + LEASE);
    // The new watch shows the last put.
    one.seen(&name("a"), revision, beat(1, 4), at(6_300));
    one.seen_all(at(6_300));
    assert_eq!(one.lease_until(), at(6_000) + LEASE);
}

#[test]
fn a_put_that_is_refused_is_made_over_what_the_watch_shows() {
    let mut one = Membership::new(node("a", 1));
    beats(&mut one, [0]);
    let put = one.put_due(false, at(1_000)).unwrap();
    one.put_taken(put.beat.number, 9);
    let lost = one.put_due(false, at(3_500)).unwrap();
    assert_eq!(lost.revision, 9);
    one.put_failed(lost.beat.number);
    let again = one.put_due(false, at(4_500)).unwrap();
    assert_eq!(again.revision, 1, "the store has lost what it had taken");
}

/// Another node's key that was put again since comes behind ours, though that node may have had a lease before.
#[test]
fn a_lease_begins_when_all_is_shown() {
    let mut one = Membership::new(node("a", 1));
    let put = one.put_due(false, at(0)).unwrap();
    one.seen(&name("a"), 5, Some(put.beat), at(100));
    assert_eq!(one.lease_until(), Time::ZERO);
    one.seen(&name("b"), 6, beat(9, 20), at(100));
    one.seen_all(at(100));
    assert_eq!(one.lease_until(), at(0) + LEASE);
}
