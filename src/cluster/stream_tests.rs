use super::*;
use crate::prng::Prng;

const T: Time = Time::ZERO;

fn after(ms: u64) -> Time {
    T + Span::from_millis(ms)
}

#[test]
fn a_block_is_cut_into_parts() {
    let mut sender = Sender::new(T);
    assert_eq!(sender.push(b"abcde", 2), 3);
    let mut all = Vec::new();
    while let Some(frame) = sender.poll(T) {
        all.push((
            frame.number,
            frame.is_first,
            frame.has_more,
            frame.part.to_vec(),
        ));
    }
    let expected = [
        (1, true, true, b"ab".to_vec()),
        (2, false, true, b"cd".to_vec()),
        (3, false, false, b"e".to_vec()),
    ];
    assert_eq!(all, expected);
    sender.acknowledged(2, T);
    assert_eq!(sender.bytes(), 1);
}

#[test]
fn silence_sends_again_and_an_acknowledgement_does_not() {
    let mut sender = Sender::new(T);
    for _ in 0..3 {
        sender.push(b"x", 9);
    }
    while sender.poll(T).is_some() {}
    assert!(sender.poll(after(99)).is_none());
    assert_eq!(sender.poll(after(100)).map(|frame| frame.number), Some(1));
    while sender.poll(after(100)).is_some() {}
    sender.acknowledged(1, after(150));
    assert!(sender.poll(after(2_149)).is_none());
    assert_eq!(sender.poll(after(2_150)).map(|frame| frame.number), Some(2));
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let mut sender = Sender::new(T);
    let part = vec![0; WINDOW / 2];
    for _ in 0..3 {
        sender.push(&part, usize::MAX);
    }
    assert!(sender.poll(T).is_some() && sender.poll(T).is_some());
    assert!(sender.poll(T).is_none());
    sender.acknowledged(1, T);
    assert!(sender.poll(T).is_some());
}

#[test]
fn what_is_given_up_is_passed_over() {
    let (mut sender, mut receiver) = (Sender::new(T), Receiver::default());
    sender.push(b"1", 9);
    sender.push(b"2", 9);
    let first = sender.poll(T).unwrap();
    assert_eq!(
        receiver.arrived(first.number, first.is_first),
        Arrived::Next
    );
    sender.give_up();
    sender.push(b"3", 9);
    sender.push(b"4", 9);
    assert_eq!(receiver.arrived(4, false), Arrived::TooEarly);
    assert_eq!(receiver.arrived(3, true), Arrived::Next);
    assert_eq!(receiver.arrived(4, false), Arrived::Next);
    assert_eq!(receiver.arrived(1, true), Arrived::Again);
}

/// Over a way that loses, doubles and exchanges, in both directions, each block arrives once and in order.
#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    for seed in 0..200 {
        let mut random = Prng::new(seed);
        let (mut sender, mut receiver) = (Sender::new(T), Receiver::default());
        let (mut way, mut back) = (Vec::new(), Vec::new());
        let (mut pushed, mut got) = (0_u32, Vec::new());
        let mut now = T;
        while got.len() < 200 {
            now = now + Span::from_millis(random.draw() % 40);
            if pushed < 200 {
                sender.push(&pushed.to_le_bytes(), 9);
                pushed += 1;
            }
            while let Some(frame) = sender.poll(now) {
                let copies = random.draw() % 8 % 3; // none, one or two
                for _ in 0..copies {
                    let at = way.len() - (random.draw() as usize % (way.len() + 1)).min(3);
                    way.insert(at, (frame.number, frame.is_first, frame.part.to_vec()));
                }
            }
            for (number, is_first, part) in way.drain(..random.draw() as usize % (way.len() + 1)) {
                let arrived = receiver.arrived(number, is_first);
                if arrived == Arrived::Next {
                    got.push(u32::from_le_bytes(part.try_into().unwrap()));
                }
                if !random.draw().is_multiple_of(3) {
                    back.push((receiver.last(), arrived == Arrived::TooEarly));
                }
            }
            for (last, is_gap) in back.drain(..) {
                sender.acknowledged(last, now);
                if is_gap {
                    sender.gap(last, now);
                }
            }
        }
        assert_eq!(got, (0..200).collect::<Vec<_>>(), "seed {seed}");
    }
}
