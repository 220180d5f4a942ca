use super::*;

type Stream = LogStream<Vec<u8>>;

fn stream(last: u64, entries: u8) -> Stream {
    let mut stream = Stream::new(last);
    for n in 0..entries {
        assert_eq!(stream.push(vec![n]), last + 1 + u64::from(n));
    }
    stream
}

fn sent(stream: &mut Stream) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while let Some(append) = stream.poll_append() {
        all.push((append.expected, append.attempt));
    }
    all
}

#[test]
fn appends_are_made_in_order_and_acknowledged_together() {
    let mut stream = stream(7, 3);
    assert_eq!(sent(&mut stream), [(7, 0), (8, 0), (9, 0)]);
    stream.handle(8, 0, Outcome::Acknowledged(9));
    assert_eq!((stream.acknowledged(), stream.is_drained()), (9, false));
    stream.handle(7, 0, Outcome::Acknowledged(8)); // late
    stream.handle(9, 0, Outcome::Acknowledged(10));
    assert_eq!((stream.acknowledged(), stream.is_drained()), (10, true));
}

#[test]
fn so_many_are_on_their_way() {
    let mut stream = stream(0, 0);
    for _ in 0..2 * IN_FLIGHT_MAX {
        stream.push(vec![0]);
    }
    assert_eq!(sent(&mut stream).len(), IN_FLIGHT_MAX);
    stream.handle(0, 0, Outcome::Acknowledged(1));
    assert_eq!(sent(&mut stream), [(IN_FLIGHT_MAX as u64, 0)]);
    let mut large = Stream::new(0);
    for _ in 0..3 {
        large.push(vec![0; IN_FLIGHT_BYTES]);
    }
    assert_eq!(sent(&mut large), [(0, 0)]);
}

#[test]
fn what_is_behind_an_unknown_append_is_sent_again() {
    let mut stream = stream(0, 3);
    sent(&mut stream);
    stream.handle(0, 0, Outcome::Unknown);
    assert_eq!(sent(&mut stream), [(0, 1), (1, 1), (2, 1)]);
    // The others of the first attempt fail, too, which says nothing of the second.
    stream.handle(1, 0, Outcome::Refused);
    stream.handle(2, 0, Outcome::Unknown);
    assert!(!stream.wants_look() && stream.poll_append().is_none());
    // But one that has come late is there.
    stream.handle(0, 0, Outcome::Acknowledged(1));
    assert_eq!(stream.acknowledged(), 1);
}

#[test]
fn a_refusal_is_looked_into() {
    let mut stream = stream(4, 3);
    sent(&mut stream);
    stream.handle(4, 0, Outcome::Refused);
    assert!(stream.wants_look() && stream.poll_append().is_none());
    stream.handle_look(6, |sequence| sequence <= 6);
    assert_eq!(stream.acknowledged(), 6);
    assert_eq!(sent(&mut stream), [(6, 1)]);
}

#[test]
fn who_was_taken_over_from_appends_nothing_more() {
    let mut stream = stream(4, 3);
    sent(&mut stream);
    stream.handle(4, 0, Outcome::Refused);
    stream.handle_look(6, |sequence| sequence == 5);
    assert_eq!(stream.over(), Some(Over::Fenced(6)));
    assert_eq!(stream.acknowledged(), 5);
    assert!(stream.poll_append().is_none());
    stream.handle(4, 0, Outcome::Unknown);
    assert!(stream.poll_append().is_none());
}

#[test]
fn a_stream_that_has_lost_its_end_is_not_continued() {
    let mut stream = stream(4, 1);
    sent(&mut stream);
    stream.handle(4, 0, Outcome::Refused);
    for _ in 1..LOOKS_SHORTER {
        stream.handle_look(3, |_| true);
        assert!(stream.wants_look());
    }
    stream.handle_look(3, |_| true);
    let over = Over::Shorter {
        last: 3,
        acknowledged: 4,
    };
    assert_eq!(stream.over(), Some(over));
}

#[test]
fn who_rests_learns_that_it_was_taken_over_from() {
    let mut stream = stream(4, 0);
    stream.handle_end(4);
    stream.handle_end(3); // of a moment ago
    assert!(!stream.wants_look());
    stream.handle_end(5);
    stream.handle_look(5, |_| false);
    assert_eq!(stream.over(), Some(Over::Fenced(5)));
}
