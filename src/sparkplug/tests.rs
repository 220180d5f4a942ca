use proptest::prelude::*;

use super::*;
use crate::time::WallTime;

/// Births and deaths as clients of other makers send them: timestamp, metrics, seq.
const NBIRTH_NPM: &str =
    "08d0e8e2c3a234 1208 0a026277 200b 7001 120b 0a056264536571 2008 5800 1800";
const NDEATH_NPM: &str = "08c4ece2c3a234 120b 0a056264536571 2008 5800";
const NDEATH_PIP: &str = "088f8680c4a234 1212 0a056264536571 18a6feffc3a234 2004 5801";
const DDEATH_PIP: &str = "08c68480c4a234 1804";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let octet = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

#[test]
fn topics() {
    let edge = |kind, device| {
        Some(Topic::Edge {
            kind,
            group: "G 1",
            node: "n.ö",
            device,
        })
    };
    for (topic, expected) in [
        ("spBv1.0/G 1/NBIRTH/n.ö", edge(Kind::Birth, None)),
        ("spBv1.0/G 1/NDATA/n.ö", edge(Kind::Data, None)),
        ("spBv1.0/G 1/NDEATH/n.ö", edge(Kind::Death, None)),
        ("spBv1.0/G 1/NCMD/n.ö", edge(Kind::Command, None)),
        ("spBv1.0/G 1/DBIRTH/n.ö/d", edge(Kind::Birth, Some("d"))),
        ("spBv1.0/G 1/DDATA/n.ö/$", edge(Kind::Data, Some("$"))),
        ("spBv1.0/G 1/DDEATH/n.ö/d", edge(Kind::Death, Some("d"))),
        ("spBv1.0/G 1/DCMD/n.ö/d", edge(Kind::Command, Some("d"))),
        ("spBv1.0/STATE/host", Some(Topic::Host("host"))),
        ("spBv1.0/G/NBIRTH", None),
        ("spBv1.0/G/NBIRTH/n/d", None),
        ("spBv1.0/G/DBIRTH/n", None),
        ("spBv1.0/G/DBIRTH/n/d/e", None),
        ("spBv1.0/G/DBIRTH/n/", None),
        ("spBv1.0/G/DBIRTH//d", None),
        ("spBv1.0/G/NBIRTH/", None),
        ("spBv1.0//NBIRTH/n", None),
        ("spBv1.0/STATE/", None),
        ("spBv1.0/STATE", None),
        ("spBv1.0/", None),
        ("spBv1.0/G/nbirth/n", None),
        ("spBv1.0/G/NBIRT/n", None),
        ("spBv1.0/G/öBIRTH/n", None),
        ("spBv1.0/G//n", None),
        ("spAv1.0/G/NBIRTH/n", None),
        ("STATE/host", None),
        ("$sparkplug/certificates/spBv1.0/G/NBIRTH/n", None),
    ] {
        assert_eq!(Topic::parse(topic), expected, "{topic}");
        assert!(expected.is_none() || concerns(topic), "{topic}");
    }
    assert_eq!(node_key("G", "n"), "G/n".into());
    let kept = certificate_topic("spBv1.0/G/NBIRTH/n");
    assert_eq!(kept, "$sparkplug/certificates/spBv1.0/G/NBIRTH/n");
    assert!(is_certificate(&kept) && !is_certificate("$sparkplug/#"));
}

#[test]
fn what_is_read_of_payloads() {
    let outline = |timestamp, seq, metrics, bd_seq| Outline {
        timestamp,
        seq,
        metrics,
        bd_seq,
        asks_rebirth: false,
    };
    for (payload, expected) in [
        (
            NBIRTH_NPM,
            outline(Some(1_795_975_328_848), Some(0), 2, Some(0)),
        ),
        (
            NDEATH_NPM,
            outline(Some(1_795_975_329_348), None, 1, Some(0)),
        ),
        (
            NDEATH_PIP,
            outline(Some(1_795_975_807_759), None, 1, Some(1)),
        ),
        (
            DDEATH_PIP,
            outline(Some(1_795_975_807_558), Some(4), 0, None),
        ),
        ("", Outline::default()),
        // Unknown fields, also a group; the last of a field counts.
        (
            "1807 d23e00 a301 1001 a401 1808",
            Outline {
                seq: Some(8),
                ..Outline::default()
            },
        ),
    ] {
        assert_eq!(Outline::read(&hex(payload)), Ok(expected), "{payload}");
    }
    // Node Control/Rebirth
    let name = "0a144e6f646520436f6e74726f6c2f52656269727468";
    for (value, asks) in [("01", true), ("00", false)] {
        let command = hex(&format!("121a {name} 200b 70{value}"));
        assert_eq!(Outline::read(&command).unwrap().asks_rebirth, asks);
    }
}

#[test]
fn what_is_no_payload() {
    for payload in [
        "0a0101",                   // timestamp with a length
        "12",                       // no length
        "1205 0a",                  // cut
        "12ffffffffffffffffff01",   // a length of 2^64 - 1
        "08ffffffffffffffffffff01", // a varint of eleven octets
        "0b",                       // a group without an end
        "0b 14",                    // the end of another group
        "1801 00",                  // tag 0
        "1f",                       // wire type 7
        "1203 0a0561",              // cut within a metric
        "1a0101",                   // seq with a length
        "120108",                   // a metric of a key alone
        "7b22",                     // JSON
    ] {
        let payload = hex(payload);
        assert_eq!(Outline::read(&payload), Err(NotSparkplug), "{payload:02x?}");
    }
    // Groups within groups end at the limit of the crate.
    let deep = [0x2b; 100_000];
    assert_eq!(Outline::read(&deep), Err(NotSparkplug));
    assert_eq!(stamped(&deep, 1), Err(NotSparkplug));
}

#[test]
fn a_payload_with_another_timestamp() {
    let at = 1_800_000_000_000;
    let stamp = "08 80a0f1c2b134";
    for (payload, expected) in [
        (NDEATH_NPM, "120b 0a056264536571 2008 5800"),
        // That of the metric stays.
        (NDEATH_PIP, "1212 0a056264536571 18a6feffc3a234 2004 5801"),
        ("1800", "1800"),           // it had none
        ("1800 0801", "1800"),      // behind others
        ("0801 1800 0802", "1800"), // twice
        ("", ""),
        ("3a01ff 7501020304", "3a01ff 7501020304"), // unknown ones stay
    ] {
        let expected = hex(&format!("{stamp}{expected}"));
        let own = stamped(&hex(payload), at).unwrap();
        assert_eq!(own, expected, "{payload}");
        assert_eq!(Outline::read(&own).unwrap().timestamp, Some(at));
    }
    assert_eq!(stamped(&hex("0a0101"), at), Err(NotSparkplug));
}

#[test]
fn states_of_hosts() {
    let state = |online, timestamp| Ok(HostState { online, timestamp });
    for (text, expected) in [
        (
            r#"{"timestamp": 1795975808189, "online": false}"#,
            state(false, 1_795_975_808_189),
        ),
        (
            r#"{"online":true,"timestamp":7,"more":[{}]}"#,
            state(true, 7),
        ),
        ("ONLINE", Err(NotSparkplug)),
        (r#"{"online":1,"timestamp":7}"#, Err(NotSparkplug)),
        (r#"{"online":true}"#, Err(NotSparkplug)),
        (r#"{"online":true,"timestamp":-7}"#, Err(NotSparkplug)),
        (r#"[true, 7]"#, Err(NotSparkplug)),
        ("", Err(NotSparkplug)),
    ] {
        assert_eq!(HostState::read(text.as_bytes()), expected, "{text}");
    }
    let deep = "[".repeat(1_000);
    assert_eq!(HostState::read(deep.as_bytes()), Err(NotSparkplug));
    let long = format!(
        r#"{{"online":true,"timestamp":7,"x":"{}"}}"#,
        "x".repeat(1_024)
    );
    assert_eq!(HostState::read(long.as_bytes()), Err(NotSparkplug));
}

/// An installation and its clock.
struct Plant {
    own: Installation,
    at: u64,
}

impl Plant {
    fn new(states_max: u32) -> Self {
        let own = Installation::new(states_max);
        Self { own, at: 0 }
    }

    fn see(&mut self, key: &str, seen: Seen) -> Option<Finding> {
        self.at += 1;
        let sighting = Sighting {
            key: key.into(),
            at: WallTime(self.at),
            seen,
        };
        let finding = self.own.take(&sighting);
        self.own.audit().unwrap();
        finding
    }

    /// `name` is `GROUP/NODE` or `GROUP/NODE/DEVICE`.
    fn edge(&mut self, kind: Kind, name: &str, seq: u64, bd_seq: Option<u64>) -> Option<Finding> {
        let mut levels = name.splitn(3, '/');
        let (group, node) = (levels.next().unwrap(), levels.next().unwrap());
        let seen = Seen::Edge {
            kind,
            device: levels.next().map(Into::into),
            outline: Outline {
                seq: Some(seq),
                bd_seq,
                ..Outline::default()
            },
        };
        self.see(&node_key(group, node), seen)
    }

    fn node(&self) -> NodeRow {
        self.own.node("g/n").unwrap()
    }
}

#[test]
fn a_sequence_and_its_gaps() {
    let mut plant = Plant::new(100);
    assert_eq!(
        plant.edge(Kind::Data, "g/n", 7, None),
        Some(Finding::BeforeBirth)
    );
    assert!(!plant.node().online);
    assert_eq!(plant.edge(Kind::Birth, "g/n", 0, Some(3)), None);
    assert_eq!(plant.edge(Kind::Birth, "g/n/d", 1, None), None);
    for seq in (2..=255).chain(0..=4) {
        assert_eq!(plant.edge(Kind::Data, "g/n/d", seq, None), None, "{seq}");
    }
    let gap = |expected, seq| Some(Finding::Gap { expected, seq });
    assert_eq!(plant.edge(Kind::Data, "g/n", 7, None), gap(5, 7));
    assert_eq!(plant.edge(Kind::Data, "g/n", 8, None), None);
    assert_eq!(plant.edge(Kind::Data, "g/n", 2, None), gap(9, 2));
    let row = plant.node();
    assert_eq!((row.gaps, row.missing, row.next_seq), (2, 2 + 249, Some(3)));
    // A rebirth begins anew, and so does whatever a node calls its first number.
    assert_eq!(plant.edge(Kind::Birth, "g/n", 200, Some(3)), None);
    assert_eq!(plant.edge(Kind::Data, "g/n", 201, None), None);
    let row = plant.node();
    assert_eq!(
        (row.births, row.rebirths, row.gaps, row.before_birth),
        (2, 1, 2, 1)
    );
    assert_eq!((row.born_at, row.bd_seq), (Some(WallTime(266)), Some(3)));
}

#[test]
fn births_and_deaths() {
    let mut plant = Plant::new(100);
    // Nothing is known of it: neither a death nor a command makes a node.
    assert_eq!(plant.edge(Kind::Death, "g/n", 0, Some(1)), None);
    assert_eq!(plant.edge(Kind::Command, "g/n", 0, None), None);
    assert_eq!(plant.own.counts(), Counts::default());
    plant.edge(Kind::Birth, "g/n", 0, Some(1));
    plant.edge(Kind::Birth, "g/n/a", 1, None);
    plant.edge(Kind::Birth, "g/n/b", 2, None);
    plant.edge(Kind::Death, "g/n/b", 3, None);
    assert_eq!(plant.own.counts().devices_online, 1);
    // The will of the connection before comes late.
    let stale = Some(Finding::StaleDeath { of: 0, now: 1 });
    assert_eq!(plant.edge(Kind::Death, "g/n", 0, Some(0)), stale);
    assert!(plant.node().online);
    // The node says so, and then its will.
    assert_eq!(plant.edge(Kind::Death, "g/n", 0, Some(1)), None);
    assert_eq!(plant.edge(Kind::Death, "g/n", 0, Some(1)), None);
    let row = plant.node();
    assert_eq!((row.online, row.deaths, row.devices_online), (false, 1, 0));
    assert_eq!(
        plant.edge(Kind::Data, "g/n/a", 4, None),
        Some(Finding::BeforeBirth)
    );
    // Its next session, and one after it without a death between.
    assert_eq!(plant.edge(Kind::Birth, "g/n", 0, Some(2)), None);
    assert_eq!(
        plant.edge(Kind::Data, "g/n/a", 1, None),
        Some(Finding::BeforeBirth)
    );
    let missed = Some(Finding::BirthWithoutDeath { before: 2, now: 3 });
    assert_eq!(plant.edge(Kind::Birth, "g/n", 0, Some(3)), missed);
    let row = plant.node();
    assert_eq!(
        (row.births, row.births_without_death, row.stale_deaths),
        (3, 1, 1)
    );
    let (devices, next) = plant.own.devices("g/n", None, 9).unwrap();
    let lives: Vec<_> = devices
        .iter()
        .map(|row| (&*row.name, row.online, row.births, row.deaths))
        .collect();
    assert_eq!(
        (lives, next),
        (vec![("a", false, 1, 0), ("b", false, 1, 1)], None)
    );
    let counts = plant.own.counts();
    assert_eq!(
        (counts.nodes_online, counts.devices, counts.devices_online),
        (1, 2, 0)
    );
}

#[test]
fn hosts_by_their_timestamps() {
    let mut plant = Plant::new(1);
    let state = |online, timestamp| Seen::Host(Some(HostState { online, timestamp }));
    let online = |plant: &Plant| plant.own.hosts(None, 9).0[0].online;
    plant.see("h", state(true, 5));
    plant.see("h", state(false, 4)); // the will of an earlier connection
    assert!(online(&plant));
    plant.see("h", state(false, 5));
    assert!(!online(&plant));
    assert_eq!(plant.see("i", state(true, 5)), Some(Finding::NoRoom));
    plant.see("h", Seen::Host(None));
    assert_eq!(plant.see("i", state(true, 5)), None);
    assert_eq!(plant.own.counts().hosts_online, 1);
}

#[test]
fn room_is_made_of_nodes_that_are_not_online() {
    let mut plant = Plant::new(4);
    plant.edge(Kind::Birth, "g/a", 0, Some(0));
    plant.edge(Kind::Birth, "g/b", 0, Some(0));
    plant.edge(Kind::Birth, "g/b/1", 1, None);
    plant.edge(Kind::Birth, "g/b/2", 2, None);
    assert_eq!(
        plant.edge(Kind::Birth, "g/c", 0, None),
        Some(Finding::NoRoom)
    );
    assert_eq!(
        plant.edge(Kind::Birth, "g/a/1", 1, None),
        Some(Finding::NoRoom)
    );
    // What has no room changes nothing else: the sequence counts on.
    assert_eq!(plant.edge(Kind::Data, "g/a", 2, None), None);
    plant.edge(Kind::Death, "g/b", 0, Some(0));
    assert_eq!(plant.edge(Kind::Birth, "g/c", 0, None), None);
    let counts = plant.own.counts();
    assert_eq!(
        (counts.nodes, counts.nodes_online, counts.devices),
        (2, 2, 0)
    );
    assert!(plant.own.node("g/b").is_none());
    // In bytes, too.
    let long = format!("g/{}", "x".repeat(4 * STATE_BYTES as usize));
    assert_eq!(
        plant.edge(Kind::Birth, &long, 0, None),
        Some(Finding::NoRoom)
    );
}

#[test]
fn pages() {
    let mut plant = Plant::new(100);
    for name in ["g/a", "g/b", "g/c", "g/b/1", "g/b/2", "g/b/3"] {
        plant.edge(Kind::Birth, name, 0, None);
    }
    let names = |(rows, next): (Vec<NodeRow>, _)| {
        let names: Vec<_> = rows.into_iter().map(|row| String::from(row.key)).collect();
        (names.join(" "), next)
    };
    assert_eq!(
        names(plant.own.nodes(None, 2)),
        ("g/a g/b".into(), Some("g/b".into()))
    );
    assert_eq!(names(plant.own.nodes(Some("g/b"), 2)), ("g/c".into(), None));
    let (devices, next) = plant.own.devices("g/b", Some("1"), 1).unwrap();
    assert_eq!((&*devices[0].name, next), ("2", Some("2".into())));
    assert!(plant.own.devices("g/x", None, 1).is_none());
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Birth, Kind::Data, Kind::Death, Kind::Command])
}

proptest! {
    /// Nothing panics, and a payload that is one stays the same but for its timestamp.
    #[test]
    fn any_bytes(payload in prop::collection::vec(any::<u8>(), 0..64), at: u64) {
        let read = Outline::read(&payload);
        if let Ok(outline) = read {
            let own = stamped(&payload, at).unwrap();
            let expected = Outline { timestamp: Some(at), ..outline };
            prop_assert_eq!(Outline::read(&own), Ok(expected));
            prop_assert_eq!(stamped(&own, at), Ok(own));
        }
        let _ = HostState::read(&payload);
    }

    /// Counts and bounds hold whatever comes.
    #[test]
    fn any_messages(
        states_max in 0..12_u32,
        steps in prop::collection::vec((kind(), 0..4_u8, prop::option::of(0..4_u8), prop_oneof![0..300_u64, Just(u64::MAX)], prop::option::of(0..3_u64)), 0..80),
    ) {
        let mut plant = Plant::new(states_max);
        for (kind, node, device, seq, bd_seq) in steps {
            let device = device.map_or(String::new(), |device| format!("/{device}"));
            plant.edge(kind, &format!("g/{node}{device}"), seq, bd_seq);
            let counts = plant.own.counts();
            prop_assert!(counts.nodes + counts.devices <= states_max.into());
            prop_assert!(counts.devices_online <= counts.devices);
        }
    }
}
