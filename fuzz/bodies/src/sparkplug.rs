//! Sparkplug: payloads of any bytes and of pieces that belong there, under topics of the namespace.

use ringmq::sparkplug::{stamped, Installation, Outline, Sighting, Topic};
use ringmq::time::WallTime;

use crate::choices::Choices;
use crate::features::note;

/// Fields as they are in payloads, whole and broken.
const PIECES: &[&[u8]] = &[
    b"\x08\x01",                              // timestamp
    b"\x18\x05",                              // seq
    b"\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x02", // bdSeq
    b"\x12\x04\x0a\x02aa",                    // a metric without a value
    b"\x12\x1a\x0a\x14Node Control/Rebirth\x70\x01",
    b"\x22\x04uuid",
    b"\x2a\x02\x12\x00",                         // body
    b"\x12\x08\x92\x01\x05\x12\x03\x12\x01\x08", // a template in a template
    b"\x0b",                                     // a group begins
    b"\x0c",                                     // and ends
    b"\x12\xff\xff\xff\xff\x0f",                 // more than there is
    b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"{\"online\": true, \"timestamp\": 9}",
];
const NAMES: &[&str] = &[
    "g", "STATE", "NBIRTH", "NDATA", "NDEATH", "NCMD", "DBIRTH", "DDATA", "DDEATH", "", "n", "m",
];
/// Messages of one input.
const MESSAGES_MAX: usize = 40;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let states_max = choices.below(6);
    let mut installation = Installation::new(states_max as u32);
    for at in 0..MESSAGES_MAX {
        if choices.is_empty() {
            return;
        }
        let topic = topic(&mut choices);
        let payload = payload(&mut choices);
        let outline = Outline::read(&payload);
        note((
            "outline",
            outline.map(|outline| (outline.seq, outline.bd_seq, outline.metrics)),
        ));
        match (outline, stamped(&payload, at as u64)) {
            (Ok(outline), Ok(own)) => {
                let timestamp = Some(at as u64);
                let expected = Outline {
                    timestamp,
                    ..outline
                };
                assert_eq!(Outline::read(&own), Ok(expected), "all else stays");
                assert!(own.len() <= payload.len() + 11, "it grows by a timestamp");
            }
            (outline, own) => assert!(outline.is_err(), "it can be stamped: {own:?}"),
        }
        let Some(parsed) = Topic::parse(&topic) else {
            continue;
        };
        if let Ok(sighting) = Sighting::of(&parsed, &payload, WallTime(at as u64)) {
            note(("finding", installation.take(&sighting)));
            let counts = installation.counts();
            let states = counts.nodes + counts.devices + counts.hosts;
            assert!(states <= states_max as u64, "{counts:?}");
            installation.audit().expect("what is counted is there");
        }
    }
}

fn topic(choices: &mut Choices<'_>) -> String {
    let levels = choices.below(5) + 1;
    let mut topic = String::from("spBv1.0");
    for _ in 0..levels {
        topic.push('/');
        topic.push_str(choices.one_of(NAMES));
    }
    topic
}

fn payload(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..choices.below(6) {
        match choices.flag() {
            true => payload.extend_from_slice(choices.one_of(PIECES)),
            false => payload.extend_from_slice(choices.data()),
        }
    }
    payload
}
