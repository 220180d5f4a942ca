use super::*;

fn message<'a>(topic: &'a str, payload: &'a [u8]) -> Message<'a> {
    Message {
        topic,
        shared_topic: None,
        payload,
        shared: None,
        properties: b"\x01\x01",
        qos: Qos::ExactlyOnce,
        retain: true,
        expires_at: Some(Time(77)),
        owned: None,
        serial: 0,
        waiter: Waiter::Nobody,
        needs_commit: false,
    }
}

#[test]
fn what_is_written_is_read() {
    let large = vec![9; LARGE_PAYLOAD];
    let member = BlockOp::Member {
        group: "$share/g/a/#",
        member: MemberId(NonZeroU64::MAX),
        hops: 2,
    };
    let mut publications = Publications::default();
    publications.push(&mut message("a/b", b"small"), &BlockOp::FanOutAndRetain);
    publications.push(&mut message("a/c", &large), &member);
    publications.push(&mut message("", b""), &BlockOp::Retain);
    let run = PublishRun {
        version: Version::V5,
        packets: b"\x30\x04\0\x01t\0",
        topic: 4..5,
        count: 1,
        largest: 6,
        payloads: 1,
        has_more: true,
    };
    publications.push_run(&run);
    let mut reader = publications.reader(Position::default());
    for (topic, payload, op) in [
        ("a/b", &b"small"[..], BlockOp::FanOutAndRetain),
        ("a/c", &large[..], member),
        ("", &b""[..], BlockOp::Retain),
    ] {
        let Some(BlockItem::Message(got, got_task)) = reader.next() else {
            panic!("no message");
        };
        assert_eq!((got.topic, got.payload, got_task), (topic, payload, op));
        assert_eq!(got.properties, b"\x01\x01");
        assert_eq!((got.qos, got.retain), (Qos::ExactlyOnce, true));
        assert_eq!(got.expires_at, Some(Time(77)));
    }
    let Some(BlockItem::PublishRun(got)) = reader.next() else {
        panic!("no run");
    };
    assert_eq!((&got, got.topic()), (&run, "t"));
    assert!(reader.next().is_none());
}

#[test]
fn a_publication_named_again_is_read_in_full_from_any_position() {
    let large = vec![9; LARGE_PAYLOAD];
    let mut publications = Publications::default();
    publications.push(&mut message("a", &large), &BlockOp::Retain);
    publications.push(&mut message("b", &large[1..]), &BlockOp::FanOut);
    let member = |n| BlockOp::Member {
        group: "$share/g/b",
        member: MemberId(NonZeroU64::MIN.saturating_add(n)),
        hops: 0,
    };
    assert!(publications.push_again(&member(1)) < 64);
    let awaited = |ticket| Awaited {
        by: ShardId(3),
        ticket: Ticket(ticket),
    };
    publications.push_waiter(Waiter::Peer(awaited(7)));
    publications.push_again(&member(2));
    publications.push_run(&PublishRun {
        version: Version::V311,
        packets: b"\x30\x03\0\x01c",
        topic: 4..5,
        count: 1,
        largest: 5,
        payloads: 0,
        has_more: false,
    });
    publications.push_waiter(Waiter::Peer(awaited(u64::MAX)));
    publications.push(&mut message("c", b"x"), &BlockOp::FanOut);
    let all = |mut reader: Reader<'_>| {
        let read = std::iter::from_fn(|| reader.next());
        let told = |carried| match carried {
            BlockItem::Message(m, op) => {
                format!("{} {} {op:?} {:?}", m.topic, m.payload.len(), m.waiter)
            }
            BlockItem::PublishRun(run) => format!("{run:?}"),
        };
        read.map(told).collect::<Vec<_>>()
    };
    let expected = all(publications.reader(Position::default()));
    assert_eq!(expected.len(), 6);
    assert!(expected[3].starts_with(&format!("b {}", LARGE_PAYLOAD - 1)));
    let is_awaited = |item: &String| item.contains("Peer(Awaited { by: ShardId(3)");
    let awaited: Vec<usize> = (0..6).filter(|n| is_awaited(&expected[*n])).collect();
    assert_eq!(awaited, [3, 5]);
    let mut reader = publications.reader(Position::default());
    for done in 0..=6 {
        let from_here = all(publications.reader(reader.position()));
        assert_eq!(from_here, expected[done..]);
        assert_eq!(reader.next().is_none(), reader.is_at_end() && done == 6);
    }
}
