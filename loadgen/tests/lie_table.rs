//! Each lie of a broker with what mqload makes of it: exit status, counts and sentence. The table in the
//! README is made of these rows.

use std::sync::Mutex;

use crate::lies::{liar, run};

/// A lie, the scenario that meets it, and what mqload must say. All of them end with status 1.
struct Row {
    lies: &'static str,
    scenario: &'static str,
    /// The first is for the table.
    says: &'static [&'static str],
    /// What would be a false accusation.
    never: &'static [&'static str],
}

const fn row(
    lies: &'static str,
    scenario: &'static str,
    says: &'static [&'static str],
    never: &'static [&'static str],
) -> Row {
    Row {
        lies,
        scenario,
        says,
        never,
    }
}

const PAIRS: &str = "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --timeout 2s";
const QOS_1: &str = "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --timeout 2s --qos 1";
const QOS_2: &str = "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --timeout 2s --qos 2";
const V5: &str =
    "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --timeout 2s --qos 1 --protocol 5 \
                  --user-property a=b --content-type text";
/// A user who wants it so.
const UNLOOKED: &str =
    "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --qos 1 --protocol 5 --user-property a=b \
     --check-content 0";
const PUBLISH: &str =
    "publish --clients 2 --rate 2000 --duration 1500ms --drain 500ms --timeout 2s";
const LOSS: &str = "acknowledged messages were lost";
const MUTE: &str =
    "connections got no answer to PINGREQ within 2.0 s: the broker has stopped serving them";
/// What is altered leaves no doubt about everything else.
const WHOLE: &str = "expected 500, received 500, lost 0, duplicates 0, reordered 0";

const ROWS: &[Row] = &[
    row("freeze=500ms", QOS_1, &[MUTE, "lost 0,", "not arrived, and not lost: cut off", "not ended: at least that"], &[LOSS]),
    row("freeze=500ms", "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --timeout 2s --qos 1 --assert-p99-ms 50", &["assertion FAILED: p99_ms <= 50"], &[LOSS, "assertion passed"]),
    row("freeze=500ms", PAIRS, &[MUTE, "lost 0,", "cut off"], &[LOSS]),
    row("freeze=500ms", PUBLISH, &[MUTE], &[]),
    row("freeze", "connect-ramp --clients 3 --timeout 1s --hold 100ms", &["error (3): CONNACK did not come within 1.0 s"], &[]),
    row("half-freeze=500ms", QOS_1, &[LOSS], &["cut off"]),
    row("mute-subscribers=500ms", QOS_1, &[MUTE], &[]),
    row("read-rate=2000", PUBLISH, &[MUTE], &[]),
    row("deliver-rate=100", QOS_1, &["was still delivering", "lost 0,", "cut off"], &[LOSS]),
    row("withhold-connack=2", "pairs --clients 2 --rate 100 --duration 500ms --timeout 1s", &["CONNACK did not come within 1.0 s"], &[]),
    row("withhold-suback=2", QOS_1, &["SUBACK did not come within 2.0 s", "lost 0,"], &[LOSS]),
    row("withhold-unsuback=2", "churn --clients 2 --rounds 1 --timeout 1s", &["UNSUBACK did not come within 1.0 s"], &[]),
    row("withhold-pingresp=2", QOS_1, &["connections got no answer to PINGREQ"], &[LOSS]),
    row("withhold-puback=100", QOS_1, &["error (5): a PUBLISH had no answer when the run was over", "acknowledged 495", WHOLE], &[LOSS]),
    row("withhold-puback=100", "pairs --clients 2 --rate 500 --duration 2s --drain 2s --timeout 500ms --qos 1", &["error (10): PUBACK did not come within 0.5 s"], &[LOSS]),
    row("withhold-pubrec=100", QOS_2, &["error (5): a PUBLISH had no answer when the run was over"], &[LOSS]),
    row("withhold-pubcomp=100", QOS_2, &["error (5): a PUBLISH had no answer when the run was over"], &[LOSS]),
    row("refuse-connect", PAIRS, &["the broker refused CONNECT"], &[]),
    row("refuse-subscribe=2", QOS_1, &["a subscription was refused with code 0x80", "never subscribed to 250", "lost 0,"], &[LOSS]),
    row("refuse-publish=100", V5, &["error (5): the broker refused a PUBLISH", "refused by the broker 5", "lost 0,"], &[LOSS]),
    row("session-present", PAIRS, &["4 clients asked for a clean session and were answered that one was present", WHOLE], &[]),
    row("session-present", V5, &["4 clients asked for a clean session and were answered that one was present"], &[]),
    row("shared-to-all", "shared-group --clients 2 --subscribers 3 --rate 100 --duration 500ms --drain 500ms", &["100 messages came to more than one member"], &[]),
    row("no-retained", "retained-storm --clients 2 --retained 50 --drain 500ms", &["nothing of what was published arrived", "lost 100"], &[]),
    row("forget-sessions", "backlog-drain --clients 2 --rate 100 --duration 500ms --drain 500ms --qos 1", &["QoS 1: 50 acknowledged messages were lost"], &[]),
    row("drop=100", QOS_1, &["QoS 1: 5 acknowledged messages were lost", "expected 500, received 495, lost 5"], &["cut off"]),
    row("drop=10", "pairs --clients 2 --rate 200 --duration 1s --drain 500ms --qos 1 --payload-size 8 --assert-loss 0", &["QoS 1: 20 acknowledged messages were lost", "assertion FAILED: loss <= 0 (measured 20)"], &[]),
    row("drop=10", "pairs --clients 2 --rate 200 --duration 1s --drain 500ms --payload-size 8 --assert-loss 0", &["assertion FAILED: loss <= 0 (measured 20)"], &[]),
    row("duplicate=100", QOS_2, &["QoS 2: 5 messages came more than once"], &[]),
    row("duplicate=100", PAIRS, &["QoS 0: 5 messages came more than once"], &[]),
    row("swap=90", QOS_1, &["QoS 1: 5 messages came after a later one"], &[]),
    row("corrupt=100", QOS_1, &["5 payloads were not those published", WHOLE], &[LOSS]),
    row("corrupt=5", "pairs --clients 2 --rate 20 --duration 1s --drain 500ms --payload-size 200k", &["4 payloads were not those published", "lost 0"], &[]),
    row("corrupt=1", "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --check-content 10", &["49 payloads were not those published", "compared in one of 10 messages", WHOLE], &[LOSS]),
    row("corrupt-head=100", "pairs --clients 2 --rate 500 --duration 1s --drain 500ms --qos 1 --check-content 0", &["5 payloads were not those published", WHOLE], &[LOSS]),
    row("corrupt-head=100", QOS_1, &["5 payloads were not those published", WHOLE], &[LOSS]),
    row("truncate=100", QOS_1, &["5 payloads were not those published", WHOLE], &[LOSS]),
    row("extend=100", QOS_1, &["5 payloads were not those published", WHOLE], &[LOSS]),
    row("mix-payloads=100", "fan-in --clients 2 --rate 500 --duration 1s --drain 500ms --qos 1", &["messages came under another topic name"], &[]),
    row("invent=100", QOS_1, &["5 payloads came that were not published", WHOLE], &[]),
    row("wrong-topic=100", "fan-in --clients 2 --rate 500 --duration 1s --drain 500ms", &["5 messages came under another topic name", WHOLE], &[]),
    row("raise-qos=100", QOS_1, &["5 messages came with a QoS above that granted", WHOLE], &[]),
    row("lower-qos=100", QOS_1, &["5 messages came with a QoS below that granted", WHOLE], &[]),
    row("set-retain=100", QOS_1, &["5 messages came with RETAIN where they were live", WHOLE], &[]),
    row("set-dup=100", QOS_1, &["5 messages came with DUP the first time", WHOLE], &[]),
    row("strip-properties=100", V5, &["5 messages came without the properties", WHOLE], &[]),
    row("add-identifier=100", V5, &["5 messages came with a subscription identifier", WHOLE], &[]),
    row("no-takeover", "takeover-storm --clients 20 --timeout 1s", &["20 of 20 old connections were not closed"], &[]),
    row("die=250", QOS_1, &["all connections were lost"], &[LOSS]),
];

/// What is wrong with the answer to a lie; `None` when mqload has seen through it.
fn fault(row: &Row) -> Option<String> {
    let (text, success) = run(&liar(row.lies), row.scenario);
    let lacking = row.says.iter().find(|says| !text.contains(**says));
    let accused = row.never.iter().find(|never| text.contains(**never));
    let why = match (success, lacking, accused) {
        (true, ..) => "it passed".to_string(),
        (_, Some(says), _) => format!("it does not say {says:?}"),
        (_, _, Some(never)) => format!("it says {never:?}"),
        _ => return None,
    };
    Some(format!("{}, {}: {why}\n{text}", row.lies, row.scenario))
}

#[test]
fn every_lie_is_seen_through() {
    let (rows, faults) = (Mutex::new(ROWS.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| loop {
                let Some(row) = rows.lock().unwrap().next() else {
                    return;
                };
                faults.lock().unwrap().extend(fault(row));
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}: {}", faults.len(), faults.join("\n"));
}

/// Legal, if not nice: none of these is an error.
#[test]
fn what_is_no_lie_passes() {
    for (lies, scenario, says) in [
        ("", QOS_2, WHOLE),
        ("", V5, WHOLE),
        ("duplicate=100", QOS_1, "duplicates 5"),
        ("grant-less", QOS_1, WHOLE),
        ("grant-less drop=100", QOS_1, "lost 5"),
        ("drop=100", PAIRS, "lost 5"),
        ("stall=600", QOS_1, WHOLE),
        (
            "corrupt=10",
            UNLOOKED,
            "were not compared (--check-content 0)",
        ),
        ("wrong-topic=10", UNLOOKED, WHOLE),
        ("strip-properties=10", UNLOOKED, WHOLE),
        (
            "swap=100",
            "pairs --clients 2 --rate 500 --duration 1s --topics 500 --drain 500ms",
            WHOLE,
        ),
    ] {
        let (text, success) = run(&liar(lies), scenario);
        assert!(success && text.contains(says), "{lies}, {scenario}: {text}");
    }
}

/// README's table is what the rows say; `BLESS=1` writes it.
#[test]
fn the_table_of_lies_is_in_the_readme() {
    let mut table = String::from(
        "| `liar --lie` | against | exit status 1, and mqload says |\n| --- | --- | --- |\n",
    );
    for row in ROWS {
        let scenario = row.scenario.split_whitespace().next().unwrap();
        let words: Vec<&str> = row.scenario.split_whitespace().collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            Some(format!(" {name} {}", words[at + 1]))
        };
        let options: String = ["--qos", "--protocol", "--payload-size", "--check-content"]
            .iter()
            .filter_map(|name| value(name))
            .collect();
        table += &format!(
            "| `{}` | `{scenario}{options}` | {} |\n",
            row.lies, row.says[0]
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- lies -->\n", "<!-- end of lies -->\n");
    let (head, rest) = readme.split_once(begin).expect("a place for the table");
    let (old, tail) = rest.split_once(end).expect("an end of the table");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
    } else {
        assert_eq!(old, table, "write it with BLESS=1");
    }
}
