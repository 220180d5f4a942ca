//! Options of the journal: where it is, when it is written, how large its files are.

use super::{opt, Access, Opt, U16};
use crate::config::kind::{Kind, Value};
use crate::run_options::Durability;
use crate::time::Span;

const GROUP: &str = "Durability";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "data-dir"),
        Kind::Text("the name of a folder"),
        text!(run.data_dir),
        (
            "Folder of what outlives the process: sessions, queues, retained",
            "\"/var/lib/ringmq\" is a usual place for a service: without one, \"\", all is in memory and ends with \
             the process. The folder is made if its parent is there; it belongs to one broker.",
        ),
    ),
    opt(
        (GROUP, "durability"),
        Kind::Interval {
            max: 60,
            word: "commit",
        },
        Access(
            |checked| match checked.run.durability {
                Durability::Commit => Value::Word,
                Durability::Interval(span) => Value::Number(span.as_secs()),
            },
            |checked, value| {
                checked.run.durability = match value {
                    Value::Word => Durability::Commit,
                    seconds => Durability::Interval(Span::from_secs(seconds.number())),
                }
            },
        ),
        (
            "When changes are brought to the disk of data-dir",
            "\"commit\": at once, and acknowledgements wait for it, so that what a client was told survives a \
             loss of power. \"interval:1s\" acknowledges at once and writes each second: a crash loses up to so \
             much of what was acknowledged.",
        ),
    ),
    opt(
        (GROUP, "disk-full-timeout"),
        Kind::Seconds {
            min: 1,
            max: U16,
            word: None,
        },
        number!(limits.disk_full_timeout_s),
        (
            "Time that a 3.1.1 client's publication waits for room on a full disk",
            "While the disk of data-dir is full, publications that have to be written there are refused to 5.0 \
             clients with 0x97. 3.1.1 has no such answer: they wait, and after this time the connection ends.",
        ),
    ),
    opt(
        (GROUP, "queue-memory"),
        Kind::Bytes {
            min: 0,
            max: 1 << 50,
        },
        number!(limits.queue_memory),
        (
            "Bytes of memory for messages that wait and are in the journal as well",
            "Of the whole broker. Beyond it messages that wait for clients with a session that outlives its connection \
             are on the disk alone, those for clients that are away first, and are read when they are to be sent.",
        ),
    ),
    opt(
        (GROUP, "journal-segment-bytes"),
        Kind::Bytes {
            min: 1 << 20,
            max: 1 << 30,
        },
        number!(run.journal_segment_bytes),
        (
            "Bytes of one file of the journal; each shard keeps at least three",
            "Written full of zeros once and used again, so a commit is one write. Less suits a small disk, and \
             shorter files are given back sooner.",
        ),
    ),
    opt(
        (GROUP, "journal-bytes-max"),
        Kind::BytesOr {
            min: 3 << 20,
            max: 1 << 50,
            word: "unlimited",
        },
        optional!(run.journal_bytes_max),
        (
            "Bytes of all files of the journal together",
            "Beyond them the journal is treated as a full disk is, and well again when what waits has been taken.",
        ),
    ),
];
