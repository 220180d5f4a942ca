use super::*;

fn member() -> RemoteMember {
    RemoteMember { shard: 3, id: 77 }
}

fn publication(op: Op<'_>) -> Record<'_> {
    Record::Publication(Carried {
        op,
        qos: Qos::ExactlyOnce,
        retain: true,
        topic: "a/b",
        properties: b"\x01\x01",
        payload: b"payload",
        expires_at: Some(WallTime(77)),
    })
}

fn all() -> Vec<Record<'static>> {
    vec![
        Record::AskSnapshot(1),
        Record::SnapshotBegins(u64::MAX),
        Record::SnapshotEnds(3),
        Record::Interest {
            filter: "a/+/#",
            interest: Interest::Durable,
        },
        Record::Joined {
            member: member(),
            share: "g",
            filter: "a/#",
            connected: true,
            durable: false,
        },
        Record::Left {
            member: member(),
            share: "g",
            filter: "a/#",
        },
        Record::Connected {
            member: member(),
            connected: false,
        },
        Record::Barrier(8),
        Record::BarrierApplied(9),
        publication(Op::FanOut),
        publication(Op::Retain),
        publication(Op::FanOutAndRetain),
        publication(Op::Sync),
        publication(Op::Member {
            group: "$share/g/a/#",
            member: member(),
            hops: 4,
        }),
        Record::AskRetained,
        Record::RetainedEnds,
    ]
}

#[test]
fn what_is_written_is_read() {
    let mut block = Vec::new();
    all().iter().for_each(|record| record.put(&mut block));
    let mut it = Reader::fields(&block);
    for record in all() {
        assert_eq!(Record::take(&mut it).unwrap(), record);
    }
    assert!(it.end().is_ok());
}

#[test]
fn what_is_cut_is_refused() {
    for record in all() {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        for end in 0..bytes.len() {
            let cut = Record::take(&mut Reader::fields(&bytes[..end]));
            assert!(cut.is_err(), "{record:?} of {end} bytes");
        }
    }
}

/// Nothing that a client could not have sent comes in by another node.
#[test]
fn wrong_texts_are_refused() {
    let interest = Interest::Transient;
    let filters = ["", "a/#/b", "a+", "$share/g/t"];
    let wrong = filters.map(|filter| Record::Interest { filter, interest });
    let shares = [("g/h", "t"), ("", "t"), ("+", "t"), ("g", "a/#/b")];
    let left = shares.map(|(share, filter)| Record::Left {
        member: member(),
        share,
        filter,
    });
    let mut groups = Vec::new();
    for group in ["", "t", "$share/g", "$share/g/a/#/b"] {
        groups.push(publication(Op::Member {
            group,
            member: member(),
            hops: 0,
        }));
    }
    for record in wrong.into_iter().chain(left).chain(groups) {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        assert!(
            Record::take(&mut Reader::fields(&bytes)).is_err(),
            "{record:?}"
        );
    }
    for topic in ["", "a/+", "$SYS/x"] {
        let mut bytes = Vec::new();
        let Record::Publication(carried) = publication(Op::FanOut) else {
            unreachable!()
        };
        Record::Publication(Carried { topic, ..carried }).put(&mut bytes);
        assert!(
            Record::take(&mut Reader::fields(&bytes)).is_err(),
            "{topic:?}"
        );
    }
}
