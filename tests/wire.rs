//! The wire table: what a client sends, and byte for byte what it must get back.
//!
//! `tests/wire/*.txt` has one row per rule. A row starts in the first column and goes on over
//! indented lines; a line starting with `#` is a comment:
//!
//! ```text
//! clauses | versions | description | step ; step ; step
//!     step ; step
//! ```
//!
//! `clauses` are ids of statements, see `tests/conformance.rs`, or sections of the specification.
//! `versions` is `all`, `v3` (3.1 and 3.1.1), `3.1`, `3.1.1` or `5`: the row runs once for each.
//!
//! # Steps
//!
//! A step names a connection by a capital letter and an optional digit; the client id is the
//! letter in lower case, so `A` and `A2` are two connections of the client `a`.
//!
//! | step | meaning |
//! | --- | --- |
//! | `A+` | opens `A`, sends a CONNECT with clean start and without keep alive, expects success |
//! | `A+ keep` | the same with a session that outlives the connection (v5: for an hour) |
//! | `A+ resume` | like `keep`, and the answer must say session present |
//! | `A+ ... v3.1.1 {bytes}` | this connection speaks another version; more CONNECT properties (v5) |
//! | `A> bytes` | sends bytes (opens the connection when there is none) |
//! | `A> close` | the client closes without DISCONNECT |
//! | `A< packet` | the next packet received, and nothing else, is this |
//! | `A< any p \| q \| r` | the next packets are these, in any order |
//! | `A< one p \| q` | the next packet is one of these |
//! | `A< nothing` | nothing was received and the connection is open |
//! | `A< close` | the server closes the connection without a further packet |
//! | `A< gone` | the server closes; an answer before it is optional |
//! | `A< error 82` | v5: DISCONNECT with this reason, then close; v3: close |
//! | `A< refused 85 02` | v5: CONNACK 0x85, then close; v3: CONNACK 2 (`-`: none), then close |
//! | `wait 1500ms` | time passes |
//!
//! At the end of a row every connection must be as expected: nothing unread, not closed unawares.
//!
//! # Bytes
//!
//! Hexadecimal digits, and: `"topic"` a string with its two length bytes; `'x'` the characters
//! alone; `[ ... ]` the content behind its length as a variable byte integer; `{ ... }` a property
//! section: the same in v5, nothing at all in v3; `v5( ... )` and `v3( ... )` for one of them only;
//! `( ... )*70` repeated; `NAME` protocol name and level of the version; `$x` two bytes, the first
//! time taken from what is received (the server's packet identifiers), later that value; `$x!y!z` the
//! same, and other than `$y` and `$z`; `*` any one byte (only to receive). The properties of a received PUBLISH are compared without regard to
//! their order, but user properties keep theirs.
//!
//! Instead of bytes a received packet can be named by what matters: `CONNACK ok`, `CONNACK
//! resumed`, `CONNACK 85`, `PUBACK id code`, `PUBREC`, `PUBREL`, `PUBCOMP` likewise, `SUBACK id
//! code code`, `UNSUBACK id code`, `DISCONNECT 8e`. Codes may be left out where success is meant
//! (PUBACK and PUBREC: also 0x10, no matching subscribers), `81,82` is a choice, and `8f/80` means
//! 8f in v5 and 80 in v3. `+12` and `-12` demand and forbid a property, `+13=003c` its value.
//! Reason strings and user properties of these packets are ignored.
//!
//! # Where the rows run
//!
//! Against [`ringmq::shard::Shard`] without sockets in virtual time: one shard, one shard fed byte
//! by byte, two shards. With `RINGMQ_WIRE_COMMAND="mosquitto -p {port} ..."` also against a broker
//! started per row, with `RINGMQ_WIRE_TARGET=host:port` against a running one; `RINGMQ_WIRE_ONLY`
//! selects rows by a part of `file:line clause description`.

mod bounded;
mod bytes;
mod expect;
pub(crate) mod row;
mod ruled;
mod run;
mod secured;
mod socket;
mod world;

use std::fmt::Write as _;
use std::panic::{catch_unwind, AssertUnwindSafe};

use ringmq::limits::{Limits, QueuePolicy};
use ringmq::listener::ListenerPolicy;
use ringmq::mqtt::Qos;

use self::row::Row;
use self::world::World;

/// What a row is run against.
trait Broker {
    /// Opens a connection; false when it was refused at once.
    fn open(&mut self, name: &str);
    fn send(&mut self, name: &str, bytes: &[u8]);
    fn close(&mut self, name: &str);
    /// The next whole packet, if one comes (or has come).
    fn receive(&mut self, name: &str) -> Option<Vec<u8>>;
    /// The next whole packet, if there is one now or within a short while.
    fn receive_soon(&mut self, name: &str) -> Option<Vec<u8>>;
    /// True when the server has closed the connection.
    fn is_closed(&mut self, name: &str) -> bool;
    /// True when the server closes the connection now or before long.
    fn awaits_close(&mut self, name: &str) -> bool;
    fn wait_ms(&mut self, ms: u64);
}

fn selected() -> Vec<Row> {
    let only = std::env::var("RINGMQ_WIRE_ONLY").unwrap_or_default();
    row::all()
        .into_iter()
        .filter(|row| row.title().contains(&only))
        .collect()
}

/// Runs rows in every version and reports all failures at once.
fn run_table(rows: &[Row], world: &dyn Fn() -> Box<dyn Broker>) {
    let mut failures = String::new();
    let (mut runs, mut failed) = (0, 0);
    for row in rows {
        for &version in &row.versions {
            runs += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut broker = world();
                run::run(row, version, broker.as_mut())
            }));
            let problem = match outcome {
                Ok(Ok(())) => continue,
                Ok(Err(problem)) => problem,
                Err(_) => "panicked".to_owned(),
            };
            failed += 1;
            let _ = writeln!(failures, "{} [{version:?}]\n    {problem}", row.title());
        }
    }
    assert!(failed == 0, "{failed} of {runs} runs failed:\n{failures}");
}

#[test]
fn table_is_well_formed_and_large_enough() {
    let rows = row::all();
    assert!(rows.len() >= 300, "{} rows", rows.len());
    for version in run::VERSIONS {
        let count = rows
            .iter()
            .filter(|r| r.versions.contains(&version))
            .count();
        assert!(count >= 100, "{count} rows for {version:?}");
    }
    for row in &rows {
        for &version in &row.versions {
            if let Err(problem) = run::check(row, version) {
                panic!("{} [{version:?}]: {problem}", row.title());
            }
        }
    }
}

#[test]
fn table_on_one_shard() {
    run_table(&selected(), &|| Box::new(World::new(1, usize::MAX)));
}

#[test]
fn table_on_one_shard_byte_by_byte() {
    run_table(&selected(), &|| Box::new(World::new(1, 1)));
}

#[test]
fn table_on_two_shards() {
    run_table(&selected(), &|| Box::new(World::new(2, usize::MAX)));
}

#[test]
fn table_on_three_shards_in_pieces_of_three_bytes() {
    run_table(&selected(), &|| Box::new(World::new(3, 3)));
}

/// Rows for limits other than the default ones.
fn run_with_limits(rows: &str, limits: &Limits) {
    let rows = row::parse_table("row", rows);
    run_table(&rows, &|| {
        Box::new(World::with_limits(1, usize::MAX, limits.clone()))
    });
}

// conformance: 5:MQTT-3.1.3-8 5:MQTT-3.1.4-2 5:MQTT-3.2.2-8 3.1.1:MQTT-3.1.3-9 3.1.1:MQTT-3.2.2-5
#[test]
fn a_client_id_beyond_the_limit_is_refused() {
    let limits = Limits {
        client_id_bytes_max: 5,
        ..Limits::default()
    };
    let rows = "
3.1.3.1 | all | six bytes | A> 10 [ NAME 02 0000 {} \"abcdef\" ] c0 00 ; A< refused 85 02
3.1.3.1 | all | five bytes | A> 10 [ NAME 02 0000 {} \"abcde\" ] ; A< CONNACK ok";
    run_with_limits(rows, &limits);
}

// conformance: 5:MQTT-3.2.2-9 5:MQTT-3.2.2-10 5:MQTT-3.2.2-11 5:MQTT-3.2.2-12
#[test]
fn a_listener_may_take_less_than_qos_2() {
    let policy = ListenerPolicy {
        qos_max: Qos::AtLeastOnce,
        ..ListenerPolicy::default()
    };
    let rows = "
3.2.2.3.4 | 5 | it is announced | A> 10 [ NAME 02 003c {} \"a\" ] ; A< CONNACK ok +24=01
3.2.2.3.4 | all | a subscription for more is granted less
    A+ ; A> 82 [ 0001 {} \"t\" 02 \"u\" 01 \"v\" 00 ] ; A< SUBACK 0001 01 01 00
3.2.2.3.4 | 5 | a will of more is refused | A> 10 [ NAME 16 003c {} \"a\" {} \"w\" \"x\" ] ; A< refused 9b -
3.2.2.3.4 | all | a publication of more ends the connection
    A+ ; A> 32 [ \"t\" 0001 {} 'x' ] ; A< PUBACK 0001 ; A> 34 [ \"t\" 0001 {} 'x' ] ; A< error 9b";
    let rows = row::parse_table("row", rows);
    run_table(&rows, &|| {
        let limits = Limits::default();
        Box::new(World::with_policy(1, usize::MAX, limits, policy.clone()))
    });
}

/// One message in flight, one in the queue.
fn narrow() -> Limits {
    Limits {
        outgoing_window_max: 1,
        queue_messages_max: 1,
        ..Limits::default()
    }
}

#[test]
fn an_overflowing_queue_does_not_disturb_the_delivery_to_others() {
    let limits = Limits {
        queue_policy: QueuePolicy::Disconnect,
        ..narrow()
    };
    let rows = "
3.3.4 | all | the will of the client with the full queue comes after the publication
    W+ ; W> 82 [ 0001 {} \"w\" 00 ] ; W< SUBACK 0001 00
    C> 10 [ NAME 06 0000 {} \"c\" {} \"w\" \"gone\" ] ; C< CONNACK ok
    C> 82 [ 0001 {} \"t\" 01 ] ; C< SUBACK 0001 01 ; D+ ; D> 82 [ 0001 {} \"t\" 00 ] ; D< SUBACK 0001 00
    P+ ; P> 32 [ \"t\" 0001 {} '1' ] 32 [ \"t\" 0002 {} '2' ] 32 [ \"t\" 0003 {} '3' ]
    P< PUBACK 0001 ; P< PUBACK 0002 ; P< PUBACK 0003
    D< 30 [ \"t\" {} '1' ] ; D< 30 [ \"t\" {} '2' ] ; D< 30 [ \"t\" {} '3' ]
    C< 32 [ \"t\" $m {} '1' ] ; C< error 97 ; W< 30 [ \"w\" {} 'gone' ]";
    run_with_limits(rows, &limits);
}

#[test]
fn what_waits_for_a_member_that_unsubscribes_goes_to_one_that_is_away() {
    let rows = "
4.8.2 | all | the queue of the member that leaves
    A+ keep ; A> 82 [ 0001 {} \"$share/g/t\" 01 ] ; A< SUBACK 0001 01 ; A> e0 00 ; A< close
    B+ ; B> 82 [ 0001 {} \"$share/g/t\" 01 ] ; B< SUBACK 0001 01
    P+ ; P> 32 [ \"t\" 0001 {} '1' ] 32 [ \"t\" 0002 {} '2' ] ; P< PUBACK 0001 ; P< PUBACK 0002
    B< 32 [ \"t\" $m {} '1' ] ; B> a2 [ 0002 {} \"$share/g/t\" ] ; B< UNSUBACK 0002 00
    A+ resume ; A< 32 [ \"t\" $n {} '2' ] ; A> 40 [ $n ]";
    run_with_limits(rows, &narrow());
}

// conformance: 5:MQTT-3.3.4-7 5:MQTT-4.9.0-1
#[test]
fn the_clients_send_quota_belongs_to_its_connection() {
    let limits = Limits {
        receive_maximum: 2,
        ..Limits::default()
    };
    let rows = "
4.9 | 5 | what an earlier connection left takes no quota, nor does its PUBCOMP
    A+ keep ; A> 34 [ \"t\" 0001 {} 'x' ] 34 [ \"t\" 0002 {} 'x' ] ; A< PUBREC 0001 ; A< PUBREC 0002 ; A> close
    A+ resume ; A> 62 [ 0001 ] 34 [ \"t\" 0003 {} 'x' ] 34 [ \"t\" 0004 {} 'x' ] 62 [ 0002 ]
    A< PUBCOMP 0001 ; A< PUBREC 0003 ; A< PUBREC 0004 ; A< PUBCOMP 0002 ; A> 34 [ \"t\" 0005 {} 'x' ] ; A< error 93
4.9 | 5 | what is sent again does
    A+ keep ; A> 34 [ \"t\" 0001 {} 'x' ] ; A< PUBREC 0001 ; A> close
    A+ resume ; A> 3c [ \"t\" 0001 {} 'x' ] 34 [ \"t\" 0002 {} 'x' ] 34 [ \"t\" 0003 {} 'x' ]
    A< PUBREC 0001 ; A< PUBREC 0002 ; A< error 93
4.9 | 5 | a PUBREL of nothing does not
    A+ ; A> 62 [ 0009 ] 34 [ \"t\" 0001 {} 'x' ] 34 [ \"t\" 0002 {} 'x' ] ; A< PUBCOMP 0009 92 ; A< PUBREC 0001 ; A< PUBREC 0002
4.9 | 5 | PUBACK and PUBCOMP give quota back when they are sent
    A+ ; A> 32 [ \"t\" 0001 {} 'x' ] 32 [ \"t\" 0002 {} 'x' ] ; A< PUBACK 0001 ; A< PUBACK 0002
    A> 34 [ \"t\" 0001 {} 'x' ] 34 [ \"t\" 0002 {} 'x' ] 62 [ 0001 ] 62 [ 0002 ] ; A< PUBREC 0001 ; A< PUBREC 0002 ; A< PUBCOMP 0001 ; A< PUBCOMP 0002
    A> 32 [ \"t\" 0001 {} 'x' ] 32 [ \"t\" 0002 {} 'x' ] 32 [ \"t\" 0003 {} 'x' ] ; A< PUBACK 0001 ; A< PUBACK 0002 ; A< error 93";
    run_with_limits(rows, &limits);
}

// conformance: 5:MQTT-4.6.0-6 3.1.1:MQTT-4.6.0-6
#[test]
fn queued_qos_0_is_not_overtaken() {
    let limits = Limits {
        queue_qos0: true,
        queue_messages_max: 9,
        ..narrow()
    };
    let rows = "
4.6 | all | QoS 0 of when the client was away comes before QoS 0 of now
    S+ keep ; S> 82 [ 0001 {} \"q\" 01 \"t\" 00 ] ; S< SUBACK 0001 01 00 ; S> e0 00 ; S< close
    P+ ; P> 32 [ \"q\" 0001 {} '1' ] 32 [ \"q\" 0002 {} '2' ] 30 [ \"t\" {} '3' ] ; P< PUBACK 0001 ; P< PUBACK 0002
    S+ resume ; S< 32 [ \"q\" $m {} '1' ] ; P> 30 [ \"t\" {} '4' ] 31 [ \"t\" {} '5' ] ; S< nothing
    S> 40 [ $m ] ; S< 32 [ \"q\" $n {} '2' ] ; S> 40 [ $n ]
    S< 30 [ \"t\" {} '3' ] ; S< 30 [ \"t\" {} '4' ] ; S< 30 [ \"t\" {} '5' ]";
    run_with_limits(rows, &limits);
}

#[test]
fn table_on_another_broker() {
    // Rows that let minutes pass are for virtual time.
    let is_quick = |row: &Row| run::waits_ms(row) <= 12_000;
    let rows: Vec<Row> = selected().into_iter().filter(is_quick).collect();
    if let Ok(target) = std::env::var("RINGMQ_WIRE_TARGET") {
        run_table(&rows, &|| Box::new(socket::Remote::at(&target)));
    } else if let Ok(command) = std::env::var("RINGMQ_WIRE_COMMAND") {
        run_table(&rows, &|| Box::new(socket::Remote::start(&command)));
    }
}
