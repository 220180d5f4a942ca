//! Tables of good and bad configurations.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::check::check;
use super::kind::{Kind, Value};
use super::options::{self, Opt};
use super::raw::Typed;
use super::*;
use crate::limits::{OwnQuotas, OwnRates};
use crate::listener::{
    Address, Authentication, Listener, ListenerPolicy, TlsFiles, Transport, Versions,
};
use crate::mqtt::Qos;
use crate::transport::tls::{ClientCertificate, IdentitySource, Settings, VersionMin};

/// What `load` makes of these words, without a file.
fn line(words: &[&str]) -> Result<Command, String> {
    let args = std::iter::once("ringmq").chain(words.iter().copied());
    load(args.map(OsString::from)).map_err(|problems| problems.to_string())
}

fn run(words: &[&str]) -> Checked {
    match line(words) {
        Ok(Command::Run(checked)) => *checked,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// What a file of this text makes, or its problem lines.
fn file(text: &str) -> Result<Checked, Vec<String>> {
    let name: Arc<str> = "f".into();
    let mut problems = Vec::new();
    let content = file::parse(&name, text, &mut problems);
    let outcome = check(&content.given, &content.listeners, &mut problems);
    if problems.is_empty() {
        return Ok(outcome.checked);
    }
    let problems = Problems::new(problems);
    Err(problems.iter().map(ToString::to_string).collect())
}

fn root(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file in the temporary directory, removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = std::env::temp_dir().join(format!("ringmq-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn bad_files_name_line_key_fault_and_remedy() {
    let cases: &[(&str, &[&str])] = &[
        ("shards = 0", &["f:1: shards: 0 is too small; allowed: 1 to 128, or \"auto\""]),
        ("shards = 129", &["f:1: shards: 129 is too large; allowed: 1 to 128, or \"auto\""]),
        ("shards = -1", &["f:1: shards: -1 is too small; allowed: 1 to 128, or \"auto\""]),
        ("shards = \"two\"", &["f:1: shards: \"two\" is not a whole number; allowed: 1 to 128, or \"auto\""]),
        // A quoted number is another type: the file has one way to say it.
        ("shards = \"2\"", &["f:1: shards: \"2\" is not a whole number; allowed: 1 to 128, or \"auto\""]),
        ("shards = [2]", &["f:1: shards: a list is not a whole number; allowed: 1 to 128, or \"auto\""]),
        ("shards = 0x10", &["f:1: shards: 0x10 is not a whole number; allowed: 1 to 128, or \"auto\""]),
        (
            "receive-maximum = 99999999999999999999999999999999999999999999",
            &["f:1: receive-maximum: 99999999999999999999999999999999999999999999 is too large; allowed: 1 to 65535"],
        ),
        (
            "\n\nqueue-bytes-max = \"lots\"",
            &["f:3: queue-bytes-max: \"lots\" is not a number of bytes; allowed: 256 to 1125899906842624 bytes; KiB, MiB and GiB are understood"],
        ),
        (
            "packet-size-max = \"1GiB\"",
            &["f:1: packet-size-max: \"1GiB\" is too large; allowed: 256 to 268435460 bytes; KiB, MiB and GiB are understood"],
        ),
        (
            "connect-timeout = 1.5",
            &["f:1: connect-timeout: 1.5 is not a span of time; allowed: 1 to 65535 seconds; s, m, h and d are understood"],
        ),
        (
            "connect-timeout = \"500ms\"",
            &["f:1: connect-timeout: \"500ms\" is not a span of time; allowed: 1 to 65535 seconds; s, m, h and d are understood"],
        ),
        ("queue-qos0 = \"yes\"", &["f:1: queue-qos0: \"yes\" is not true or false; allowed: true or false"]),
        (
            "log-level = \"loud\"",
            &["f:1: log-level: \"loud\" is not one of the words; allowed: \"error\", \"warn\", \"info\", \"debug\", \"trace\""],
        ),
        (
            "pin-shards = true",
            &["f:1: pin-shards: true is not one of the words; allowed: \"auto\", \"off\""],
        ),
        ("colour = 1", &["f:1: colour: no such option (ringmq --help names them all)"]),
        (
            "queue_messages_max = 1",
            &["f:1: queue_messages_max: no such option (did you mean queue-messages-max?)"],
        ),
        (
            "[limits]\nqueue-messages-max = 1",
            &["f:1: limits: no such section: there is only [[listener]], every other option is `name = value`"],
        ),
        (
            "limits.shards = 1",
            &["f:1: limits: no such section: there is only [[listener]], every other option is `name = value`"],
        ),
        (
            "shards.max = 1",
            &["f:1: shards: a section is not a whole number; allowed: 1 to 128, or \"auto\""],
        ),
        (
            "shards = 1\n# between\nshards = 2",
            &["f:3: shards: given twice, first in line 1; give it once"],
        ),
        // One line is one problem, and what a broken line would have meant is not judged.
        (
            "shards = 1 2\nreceive-maximum = 0",
            &[
                "f:1: shards: syntax: string values must be quoted, expected literal string; allowed: 1 to 128, or \"auto\"",
                "f:2: receive-maximum: 0 is too small; allowed: 1 to 65535",
            ],
        ),
        ("= 1", &["f:1: syntax: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`"]),
        (
            "listen = []",
            &["f:1: listen: the list is empty; allowed: IP addresses with a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\""],
        ),
        (
            "listen = [\n  \"127.0.0.1:1\",\n  \"127.0.0.1\",\n  7,\n  \"127.0.0.1:1\",\n]",
            &[
                "f:3: listen: \"127.0.0.1\" has no port (did you mean \"127.0.0.1:1883\"?); allowed: IP addresses with a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"",
                "f:4: listen: 7 is not an IP address with a port; allowed: IP addresses with a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"",
                "f:5: listen: 127.0.0.1:1 is given twice; give it once",
            ],
        ),
        (
            "listen = \"localhost:1883\"",
            &["f:1: listen: \"localhost:1883\" is not an IP address with a port (names are not looked up); allowed: IP addresses with a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\""],
        ),
        (
            "listen = [\n\"127.0.0.1:1883\",\n\"[::]:1883\"]",
            &["f:3: listen: [::]:1883 can be reached from other machines and clients have no way to log in: set password-file (see `ringmq passwd --help`), listen on a loopback address (127.0.0.1 or [::1]), or set allow-anonymous = true (--allow-anonymous) to let anybody in"],
        ),
        (
            "packet-size-max = \"2MiB\"",
            &[
                "f:1: packet-size-max: queue-bytes-max (\"1MiB\" by default) is less than packet-size-max (\"2MiB\"): raise queue-bytes-max or lower packet-size-max",
                "f:1: packet-size-max: outgoing-bytes-max (\"1MiB\" by default) is less than packet-size-max (\"2MiB\"): raise outgoing-bytes-max or lower packet-size-max",
            ],
        ),
        (
            "retained-bytes-max = 1000",
            &["f:1: retained-bytes-max: retained-bytes-max (1000) is less than packet-size-max (\"1MiB\" by default): raise retained-bytes-max or lower packet-size-max"],
        ),
        // A relation with a wrong value is not judged.
        (
            "packet-size-max = \"2MiB\"\nqueue-bytes-max = 1\noutgoing-bytes-max = \"2MiB\"",
            &["f:2: queue-bytes-max: 1 is too small; allowed: 256 to 1125899906842624 bytes; KiB, MiB and GiB are understood"],
        ),
        (
            "listen = \"0.0.0.0:1\"\nallow-anonymous = 1",
            &["f:2: allow-anonymous: 1 is not true or false; allowed: true or false"],
        ),
    ];
    for (text, expected) in cases {
        let found = file(text).expect_err(text);
        assert_eq!(found, *expected, "file:\n{text}");
    }
}

#[test]
fn good_files_are_understood() {
    let checked = file(
        "listen = [\"0.0.0.0:1883\", \"[::1]:1884\"]\nallow-anonymous = true\nshards = 4\n\
         pin-shards = \"off\"\nkeep-alive-max = \"10m\"\nsession-expiry-max = \"none\"\n\
         connect-timeout = 3\nqueue-bytes-max = \"8 MiB\"\nqueue-messages-max = 1_000_000\n\
         retained-bytes-max = 0\nqueue-policy = \"disconnect\"\n",
    )
    .unwrap();
    let listeners = ["0.0.0.0:1883", "[::1]:1884"].map(|text| text.parse().unwrap());
    let expected = Checked {
        listen: listeners.to_vec(),
        allow_anonymous: true,
        shards: Some(4),
        pin: false,
        limits: Limits {
            keep_alive_max_s: Some(600),
            session_expiry_max_s: u32::MAX,
            connect_timeout_s: 3,
            queue_bytes_max: 8 << 20,
            queue_messages_max: 1_000_000,
            retained_bytes_max: 0,
            queue_policy: crate::limits::QueuePolicy::Disconnect,
            ..Limits::default()
        },
        ..Checked::default()
    };
    assert_eq!(checked, expected);
    assert_eq!(file(""), Ok(Checked::default()));
    // Loopback in the clothes of IPv6 is loopback.
    assert!(file("listen = \"[::ffff:127.0.0.1]:1883\"").is_ok());
    assert!(file("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").is_ok());
    // One address of the machine is as open as all of them.
    for open in ["192.0.2.1:1883", "[2001:db8::1]:1883", "0.0.0.0:1883"] {
        assert!(file(&format!("listen = \"{open}\"")).is_err(), "{open}");
    }
}

#[test]
fn bad_command_lines_name_every_fault() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--shards", "200"], &["--shards: \"200\" is too large; allowed: 1 to 128, or \"auto\""]),
        (&["--shards", "-1"], &["--shards: \"-1\" is too small; allowed: 1 to 128, or \"auto\""]),
        (&["--shards="], &["--shards: \"\" is not a whole number; allowed: 1 to 128, or \"auto\""]),
        (&["--shards"], &["--shards: needs a value; allowed: 1 to 128, or \"auto\""]),
        (&["--shards", "1", "--shards", "2"], &["--shards: given 2 times; give it once"]),
        (&["--bogus", "5", "--shard=4"], &[
            "--bogus: no such option (ringmq --help names them all)",
            "--shard: no such option (did you mean --shards?)",
        ]),
        (&["stray", "-x", "-yz"], &[
            "\"stray\" is no option; options start with -- (see --help)",
            "\"-x\" is no option; options start with -- (see --help)",
            "\"-y\" is no option; options start with -- (see --help)",
        ]),
        (&["--", "stray"], &["\"stray\" is no option; options start with -- (see --help)"]),
        (&["--check-config=1"], &["--check-config: takes no value"]),
        (&["--bogus", "--help"], &["--bogus: no such option (ringmq --help names them all)"]),
        (&["--port", "65536"], &["--port: \"65536\" is too large; allowed: 0 to 65535"]),
        (&["--config"], &["--config: needs a value"]),
        (&["--config", "/nonexistent/f.toml", "--shards=0"], &[
            "--shards: \"0\" is too small; allowed: 1 to 128, or \"auto\"",
            "/nonexistent/f.toml: cannot be read: No such file or directory (os error 2)",
        ]),
        (&["--listen", "0.0.0.0:1883"], &[
            "--listen: 0.0.0.0:1883 can be reached from other machines and clients have no way to log in: set password-file (see `ringmq passwd --help`), listen on a loopback address (127.0.0.1 or [::1]), or set allow-anonymous = true (--allow-anonymous) to let anybody in",
        ]),
        (&["--listen", "127.0.0.1:7", "--port", "7"], &["--listen: 127.0.0.1:7 is given twice; give it once"]),
        (&["--allow-anonymous=maybe"], &["--allow-anonymous: \"maybe\" is not true or false; allowed: true or false"]),
    ];
    for (words, expected) in cases {
        let found = line(words).expect_err(&words.join(" "));
        assert_eq!(found.lines().collect::<Vec<_>>(), *expected, "{words:?}");
    }
}

#[test]
fn command_lines_are_understood() {
    assert_eq!(run(&[]), Checked::default());
    let addresses = |words: &[&str]| -> Vec<String> {
        run(words).listen.iter().map(ToString::to_string).collect()
    };
    assert_eq!(addresses(&["-p", "1884"]), ["127.0.0.1:1884"]);
    assert_eq!(
        addresses(&["--listen", "[::1]:1", "--listen=127.0.0.1:2", "--port", "3"]),
        ["[::1]:1", "127.0.0.1:2", "127.0.0.1:3"]
    );
    assert!(run(&["--allow-anonymous", "--listen", "0.0.0.0:1"]).allow_anonymous);
    assert!(run(&["--allow-anonymous", "true"]).allow_anonymous);
    assert!(!run(&["--allow-anonymous=false"]).allow_anonymous);
    assert_eq!(run(&["--connect-timeout", "7"]).limits.connect_timeout_s, 7);
    assert!(
        matches!(line(&["--help"]), Ok(Command::Help(text)) if text.contains("--queue-policy"))
    );
    assert!(matches!(line(&["-V"]), Ok(Command::Version(text)) if text.starts_with("ringmq ")));
}

#[test]
fn command_line_overrides_file() {
    let given = Temporary::new("merge.toml", "shards = 2\nreceive-maximum = 5\n");
    let both = run(&["--config", given.path(), "--shards", "auto"]);
    assert_eq!((both.shards, both.limits.receive_maximum), (None, 5));

    let Ok(Command::CheckOk(text)) = line(&["-c", given.path(), "--check-config", "--shards", "3"])
    else {
        panic!("a good configuration is refused");
    };
    assert!(text.starts_with("configuration ok\n"), "{text}");
    assert!(
        text.contains("\nshards = 3  # on the command line\n"),
        "{text}"
    );
    let from_file = format!("\nreceive-maximum = 5  # in {}:2\n", given.path());
    assert!(text.contains(&from_file), "{text}");
    assert!(
        text.contains("\nqueue-messages-max = 1000  # default\n"),
        "{text}"
    );
    assert!(text.contains("3 shard(s)"), "{text}");

    // What the command line overrides is still wrong in the file; both are said, in order.
    let bad = Temporary::new("bad.toml", "\nshards = 0\n");
    let problems = line(&["--config", bad.path(), "--shards", "2", "--log-level", "x"]);
    let problems = problems.expect_err("line 2 is wrong");
    let places: Vec<_> = problems
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(places, ["--log-level", &format!("{}:2", bad.path())]);
}

#[test]
fn unreadable_files_are_refused() {
    let binary = Temporary::new("binary.toml", b"shards = 1\n\xff\n");
    let found = line(&["--config", binary.path()]).unwrap_err();
    assert_eq!(
        found,
        format!("{}: line 2 is not UTF-8 text", binary.path())
    );

    let large = Temporary::new("large.toml", vec![b'\n'; (1 << 20) + 1]);
    let found = line(&["--config", large.path()]).unwrap_err();
    assert!(
        found.ends_with("is larger than 1048576 bytes: not a configuration file"),
        "{found}"
    );
}

/// Two values of a kind, as different as can be: at least one is not the default.
fn ends(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Number { min, max, word } | Kind::Seconds { min, max, word } => {
            let word = word.map(|_| Value::Word);
            [Value::Number(min), Value::Number(max)]
                .into_iter()
                .chain(word)
                .collect()
        }
        Kind::Bytes { min, max } => vec![Value::Number(min), Value::Number(max)],
        Kind::Boolean => vec![Value::Boolean(true), Value::Boolean(false)],
        Kind::Choice(words) => words.iter().map(|word| Value::Choice(word)).collect(),
        Kind::Text(_) => ["", "a b's ü"].map(|text| Value::Text(text.into())).into(),
        Kind::Addresses => {
            let addresses = ["127.0.0.1:7", "[::1]:8"].map(|text| text.parse().unwrap());
            vec![Value::Addresses(addresses.to_vec())]
        }
        _ => Vec::new(), // only listeners have them
    }
}

/// Ranges fit their fields, and every value comes back from its text as it was.
#[test]
fn every_value_of_every_option_survives_set_get_and_text() {
    for Opt {
        name,
        kind,
        get,
        set,
        ..
    } in options::all()
    {
        for value in ends(*kind) {
            let mut checked = Checked::default();
            set(&mut checked, value.clone());
            assert_eq!(get(&checked), value, "{name}");

            let text = kind.write(&value);
            let mut problems = Vec::new();
            let given = file::parse(&"f".into(), &format!("{name} = {text}"), &mut problems);
            assert_eq!(problems, [], "{name} = {text}");
            assert_eq!(
                kind.read(&given.given[0].value),
                Ok(value),
                "{name} = {text}"
            );
        }
    }
}

/// The first value of each option that is not its default.
fn changed(option: &Opt) -> Value {
    let default = (option.get)(&Checked::default());
    ends(option.kind)
        .into_iter()
        .find(|value| *value != default)
        .unwrap()
}

#[test]
fn every_option_can_be_set_from_both_sides() {
    for option in options::all() {
        let text = option.kind.write(&changed(option));
        let value = |checked: &Checked| (option.get)(checked);
        let mut problems = Vec::new();
        let given = file::parse(
            &"f".into(),
            &format!("{} = {text}", option.name),
            &mut problems,
        );
        let from_file = check(&given.given, &[], &mut Vec::new()).checked;
        assert_eq!(value(&from_file), changed(option), "{}", option.name);

        let words = text.trim_matches(['[', ']']).split(", ");
        let args = words.map(|word| format!("--{}={}", option.name, word.trim_matches('"')));
        let args = std::iter::once("ringmq".to_owned())
            .chain(args)
            .map(OsString::from);
        let cli::Parsed::Options(from_line) = cli::parse(args, &mut problems) else {
            panic!("{}", option.name);
        };
        assert_eq!(problems, [], "{}", option.name);
        let from_line = check(&from_line.given, &[], &mut Vec::new()).checked;
        assert_eq!(value(&from_line), changed(option), "{}", option.name);
    }
}

/// A field added to `Limits` does not compile here until it is named, and fails until it can be set.
#[test]
fn every_limit_is_an_option() {
    let mut checked = Checked::default();
    for option in options::all() {
        (option.set)(&mut checked, changed(option));
    }
    let default = Limits::default();
    macro_rules! all_differ {
        ($($field:ident),+) => {
            let Limits { $($field),+ } = checked.limits;
            $(assert_ne!($field, default.$field, stringify!($field));)+
        };
    }
    all_differ!(
        packet_size_max,
        connect_timeout_s,
        keep_alive_max_s,
        outgoing_window_max,
        receive_maximum,
        queue_messages_max,
        queue_bytes_max,
        queue_policy,
        queue_qos0,
        topic_levels_max,
        topic_alias_maximum,
        topic_alias_outgoing_max,
        subscriptions_max,
        client_id_bytes_max,
        session_expiry_max_s,
        connections_max,
        sessions_max,
        retained_messages_max,
        retained_bytes_max,
        outgoing_bytes_max,
        client_rates,
        listener_rates,
        rate_burst_s,
        half_open_max
    );
}

#[test]
fn table_is_orderly() {
    let names: BTreeSet<_> = options::all().map(|option| option.name).collect();
    assert_eq!(names.len(), options::all().count(), "a name is used twice");
    let mut groups: Vec<_> = options::all().map(|option| option.group).collect();
    groups.dedup();
    let distinct: BTreeSet<_> = groups.iter().collect();
    assert_eq!(distinct.len(), groups.len(), "a group is in two places");
    for Opt {
        name,
        help,
        reason,
        kind,
        get,
        ..
    } in options::all()
    {
        assert!(!help.ends_with('.') && help.len() <= 70, "{name}: help");
        assert!(reason.ends_with('.'), "{name}: reason");
        let default = Typed::Word(kind.write(&get(&Checked::default())).replace('"', ""));
        let list = matches!(kind, Kind::Addresses);
        assert!(
            list || kind.read(&default).is_ok(),
            "{name}: the default is not allowed"
        );
    }
}

#[test]
fn shipped_file_is_the_rendered_table() {
    let shipped = std::fs::read_to_string(root("ringmq.toml")).unwrap();
    assert!(
        shipped == render::example(),
        "ringmq.toml is out of date; run: cargo run -- --print-config-example > ringmq.toml"
    );
    assert!(shipped.lines().all(|line| line.len() <= 90));
    // As it ships, and with every line turned on, it says the defaults.
    assert_eq!(file(&shipped), Ok(Checked::default()));
    let turned_on: String = shipped
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(turned_on.matches("\nshards = ").count(), 1);
    assert_eq!(file(&turned_on), Ok(Checked::default()));
}

#[test]
fn memory_bound_grows_with_limits_and_shards() {
    let checked = Checked::default();
    let one = checked.memory_bound(1).total();
    assert!(one < checked.memory_bound(2).total());
    for option in options::all() {
        let Some(Value::Number(max)) = ends(option.kind)
            .into_iter()
            .rev()
            .find(|v| *v != Value::Word)
        else {
            continue;
        };
        let counts = ["-max", "-maximum"]
            .iter()
            .any(|end| option.name.ends_with(end));
        if !counts
            || [
                "session-expiry-max",
                "keep-alive-max",
                "half-open-max",
                "memory-max",
            ]
            .contains(&option.name)
        {
            continue;
        }
        let mut more = checked.clone();
        (option.set)(&mut more, Value::Number(max));
        let grows = more.memory_bound(1).total() > one;
        let at_max = (option.get)(&checked) == Value::Number(max);
        assert!(grows || at_max, "{} is not in the sum", option.name);
    }
    // Nothing overflows at the ends of all ranges.
    let mut most = checked.clone();
    for option in options::all() {
        if let Some(value) = ends(option.kind)
            .into_iter()
            .rev()
            .find(|v| *v != Value::Word)
        {
            (option.set)(&mut most, value);
        }
    }
    assert!(most.memory_bound(128).to_string().lines().count() > 5);
}

#[test]
fn memory_bound_of_a_small_broker_by_hand() {
    let mut checked = Checked::default();
    checked.limits = Limits {
        packet_size_max: 1_000,
        connections_max: 10,
        outgoing_bytes_max: 5_000,
        ..checked.limits
    };
    let bound = checked.memory_bound(1);
    let bytes = |what: &str| {
        bound
            .lines
            .iter()
            .find(|line| line.what == what)
            .unwrap()
            .bytes()
    };
    assert_eq!(bytes("connections"), 10 * (2_048 + 1_000));
    assert_eq!(bytes("bytes to send"), 10 * (5_000 + 1_000));
    assert_eq!(bytes("publications between shards"), 0);
    assert_eq!(
        bound.total(),
        bound.lines.iter().map(MemoryLine::bytes).sum::<u128>()
    );
    let shown = bound.to_string();
    assert!(
        shown.contains("connections                   29.7 KiB  connections-max"),
        "{shown}"
    );
}

const TLS: &str =
    "address = \"127.0.0.1:8883\"\ntransport = \"tls\"\ntls-certificate = \"c\"\ntls-key = \"k\"\n";

#[test]
fn tables_of_listeners_are_understood() {
    let checked = file(&format!(
        "[[listener]]\n{TLS}versions = [\"5.0\"]\nqos-max = 1\nconnections-max = 7\n\
         connect-rate = 8\nconnect-rate-source = 9\npacket-size-max = \"1KiB\"\n\
         tls-version-min = \"1.3\"\ntls-client-certificate = \"required\"\n\
         tls-client-ca = [\"a\", \"b\"]\ntls-crl = \"r\"\ntls-identity = \"san-uri\"\n\
         [[listener]]\naddress = \"unix:/run/ringmq.sock\"\nowner = \"iot:iot\"\nmode = \"0660\"\n"
    ))
    .unwrap();
    assert_eq!(checked.listen, [], "the default is for those who name none");
    let [tls, unix] = &checked.all_listeners()[..] else {
        panic!("{checked:?}");
    };
    let expected = Listener {
        address: Address::Ip("127.0.0.1:8883".parse().unwrap()),
        transport: Transport::Tls,
        authentication: None,
        policy: ListenerPolicy {
            versions: Versions {
                v31: false,
                v311: false,
                v5: true,
            },
            packet_size_max: Some(1_024),
            qos_max: Qos::AtLeastOnce,
            authentication: Authentication::Required,
            layered: true,
            ..ListenerPolicy::default()
        },
        connections_max: Some(7),
        connect_rate: Some(8),
        connect_rate_source: Some(9),
        owner: None,
        mode: None,
        tls: TlsFiles {
            settings: Settings {
                version_min: VersionMin::Tls13,
                client_certificate: ClientCertificate::Required,
                identity: Some(IdentitySource::SanUri),
            },
            certificates: vec!["c".into()],
            keys: vec!["k".into()],
            client_ca: vec!["a".into(), "b".into()],
            revocation_lists: vec!["r".into()],
        },
        ..Listener::default()
    };
    assert_eq!(*tls, expected);
    assert_eq!(unix.address, Address::Unix("/run/ringmq.sock".into()));
    assert_eq!(
        (unix.owner.as_deref(), unix.mode),
        (Some("iot:iot"), Some(0o660))
    );
    assert_eq!(unix.policy, ListenerPolicy::default());

    let both = file("listen = \"[::1]:1\"\n[[listener]]\naddress = \"127.0.0.1:2\"").unwrap();
    let addresses = both.all_listeners();
    let addresses: Vec<_> = addresses.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(addresses, ["[::1]:1", "127.0.0.1:2"]);
    // Other machines may reach what asks for certificates.
    let open = TLS.replace("127.0.0.1", "0.0.0.0");
    let asks = "tls-client-ca = \"a\"\ntls-client-certificate = \"required\"\n";
    assert!(file(&format!("[[listener]]\n{open}{asks}")).is_ok());
    assert!(file(&format!("allow-anonymous = true\n[[listener]]\n{open}")).is_ok());
    assert!(file(&format!("[[listener]]\n{open}allow-anonymous = true")).is_ok());
}

#[test]
fn quotas_of_a_listener_stand_in_place_of_the_brokers() {
    let checked = file(
        "allow-anonymous = true\nclient-in-messages-per-s = 10\n[[listener]]\naddress = \"127.0.0.1:1\"\n\
         [[listener]]\naddress = \"127.0.0.1:2\"\nallow-anonymous = false\nhalf-open-max = 7\n\
         client-in-messages-per-s = \"none\"\nclient-in-bytes-per-s = 1\nclient-out-messages-per-s = 2\n\
         client-out-bytes-per-s = 3\nlistener-in-messages-per-s = 4\nlistener-in-bytes-per-s = 5\n\
         listener-out-messages-per-s = 6\nlistener-out-bytes-per-s = 7\nrate-burst = \"1m\"",
    )
    .unwrap();
    let [as_the_broker, own] = &checked.listeners[..] else {
        panic!("{checked:?}");
    };
    assert_eq!(as_the_broker.policy, ListenerPolicy::default());
    assert_eq!(
        (own.policy.allow_anonymous, own.policy.half_open_max),
        (Some(false), Some(7))
    );
    let OwnQuotas {
        client,
        listener,
        burst_s,
    } = own.policy.quotas;
    let numbers = |rates: OwnRates| {
        let OwnRates { incoming, outgoing } = rates;
        [
            incoming.messages_per_s,
            incoming.bytes_per_s,
            outgoing.messages_per_s,
            outgoing.bytes_per_s,
        ]
    };
    assert_eq!(numbers(client), [None, Some(1), Some(2), Some(3)].map(Some));
    assert_eq!(numbers(listener), [4, 5, 6, 7].map(|n| Some(Some(n))));
    assert_eq!(burst_s, Some(60));
}

#[test]
fn bad_tables_of_listeners_name_every_fault() {
    const IS_OPEN: &str = "0.0.0.0:8883 can be reached from other machines and its clients need not authenticate: set password-file, listen on a loopback address or a Unix socket, require client certificates (tls-client-certificate = \"required\"), or set allow-anonymous = true, here or for the whole broker, to let anybody in";
    let open = TLS.replace("127.0.0.1", "0.0.0.0");
    let cases: &[(&str, &[&str])] = &[
        ("[listener]\naddress = \"127.0.0.1:1\"", &["f:1: listener: a listener is a table of its own: write [[listener]]"]),
        ("listener = [1]", &["f:1: listener: a listener is a table of its own: write [[listener]]"]),
        ("\n[[listener]]\n", &["f:2: address: is missing: a listener needs one, such as address = \"127.0.0.1:1883\""]),
        (
            "[[listener]]\naddress = \"unix:run\"\ncolour = 1\nadress = 1\nqos-max = 3\ntransport = \"udp\"\nmode = 660\nversions = [\"5.0\", \"4\"]",
            &[
                "f:2: address: \"unix:run\" is not \"unix:\" and an absolute path of at most 107 bytes; allowed: an IP address with a port, such as \"0.0.0.0:8883\" or \"[::]:8883\", or \"unix:\" and an absolute path",
                "f:3: colour: no such option of a listener (ringmq.toml names them all)",
                "f:4: adress: no such option of a listener (did you mean address?)",
                "f:5: qos-max: 3 is too large; allowed: 0 to 2",
                "f:6: transport: \"udp\" is not one of the words; allowed: \"tcp\", \"tls\", \"ws\", \"wss\"",
                "f:7: mode: 660 is not permission bits in octal, quoted; allowed: \"0000\" to \"0777\"",
                "f:8: versions: \"4\" is not one of the words; allowed: some of \"3.1\", \"3.1.1\", \"5.0\"",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"",
            &["f:4: address: 127.0.0.1:1 is given twice; give it once"],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nowner = \"me\"\ntls-key = \"k\"\npacket-size-max = \"2MiB\"",
            &[
                "f:3: owner: means something only with a Unix socket",
                "f:4: tls-key: means something only with transport = \"tls\" or \"wss\"",
                "f:5: packet-size-max: is more than packet-size-max of the whole broker (1048576 bytes)",
            ],
        ),
        (
            "[[listener]]\naddress = \"unix:/a\"\nconnect-rate-source = 1\ntransport = \"tls\"\ntls-certificate = [\"a\", \"b\"]\ntls-key = \"k\"\ntls-crl = \"r\"",
            &[
                "f:3: connect-rate-source: means something only with an IP address",
                "f:6: tls-key: names 1 keys for 2 certificates: give one for each",
                "f:7: tls-crl: means something only with tls-client-certificate = \"optional\" or \"required\"",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntransport = \"tls\"\ntls-client-certificate = \"required\"",
            &[
                "f:1: tls-certificate: is missing: TLS needs it",
                "f:1: tls-key: is missing: TLS needs it",
                "f:1: tls-client-ca: is missing: it names the authorities whose certificates clients may show",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nauthentication = \"required\"",
            &["f:3: authentication: nobody could connect: there is nothing to authenticate with; give password-file, or tls-client-certificate and tls-identity, or take \"anonymous\""],
        ),
        (&format!("[[listener]]\n{open}"), &[&format!("f:2: address: {IS_OPEN}")]),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nwebsocket-path = \"/a\"\nwebsocket-origins = \"null\"\ntrusted-proxies = \"::1\"",
            &[
                "f:3: websocket-path: means something only with transport = \"ws\" or \"wss\"",
                "f:4: websocket-origins: means something only with transport = \"ws\" or \"wss\"",
                "f:5: trusted-proxies: means something only with proxy-protocol = true, or transport = \"ws\" or \"wss\"",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntransport = \"ws\"\nwebsocket-path = \"/a?b\"\nwebsocket-origins = [\"null\", \"https://a/\"]\nproxy-protocol = true",
            &[
                "f:1: trusted-proxies: is missing: proxy-protocol = true needs it, or nobody could connect",
                "f:4: websocket-path: \"/a?b\" is not a path: it begins with \"/\" and has no query",
                "f:5: websocket-origins: \"https://a/\" is not an origin: that is scheme, host and port of a page, without a path",
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy-protocol = true\ntrusted-proxies = [\"::1\", \"10/8\"]",
            &["f:4: trusted-proxies: \"10/8\" is no address, no block of addresses like 10.0.0.0/8 or fd00::/8, and not \"unix\""],
        ),
        (
            &format!("allow-anonymous = true\n[[listener]]\n{open}allow-anonymous = false"),
            &[&format!("f:3: address: {IS_OPEN}")],
        ),
        (
            "password-file = \"p\"\n[[listener]]\naddress = \"127.0.0.1:1\"\nallow-anonymous = true\nauthentication = \"required\"\nclient-in-bytes-per-s = 0\nhalf-open-max = \"many\"",
            &[
                "f:4: allow-anonymous: means nothing here: the clients of this listener must say who they are",
                "f:6: client-in-bytes-per-s: 0 is too small; allowed: 1 to 4294967295, or \"none\"",
                "f:7: half-open-max: \"many\" is not a whole number; allowed: 1 to 4294967295, or \"none\"",
            ],
        ),
        (
            &format!("[[listener]]\n{open}tls-client-ca = \"a\"\ntls-client-certificate = \"optional\""),
            &[&format!("f:2: address: {IS_OPEN}")],
        ),
    ];
    for (text, expected) in cases {
        let found = file(text).expect_err(text);
        assert_eq!(found, *expected, "file:\n{text}");
    }
}

#[test]
fn listeners_of_websocket_and_behind_proxies() {
    let checked = file(
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntransport = \"ws\"\n\
         [[listener]]\naddress = \"127.0.0.1:2\"\ntransport = \"ws\"\nwebsocket-path = \"/a/b\"\n\
         websocket-origins = [\"https://a:1\", \"null\"]\ntrusted-proxies = \"unix\"\n\
         [[listener]]\naddress = \"127.0.0.1:3\"\nproxy-protocol = true\n\
         trusted-proxies = [\"::1\", \"10.0.0.0/8\"]\n",
    )
    .unwrap();
    let [plain, more, proxied] = &checked.all_listeners()[..] else {
        panic!("{checked:?}");
    };
    assert_eq!(
        (plain.transport, &*plain.websocket_path),
        (Transport::Ws, "/mqtt")
    );
    assert!(plain.websocket_origins.is_empty() && plain.policy.layered);
    assert_eq!(more.websocket_path, "/a/b");
    assert_eq!(more.websocket_origins, ["https://a:1", "null"]);
    assert_eq!(more.trusted_proxies, ["unix"]);
    assert!(proxied.proxy_protocol && proxied.policy.layered);
    assert_eq!(proxied.trusted_proxies, ["::1", "10.0.0.0/8"]);
}

#[test]
fn the_example_of_a_listener_names_each_option_once_and_is_good() {
    let example = render::example();
    let (_, section) = example.split_once("#[[listener]]").unwrap();
    let mut turned_on = String::from("[[listener]]\n");
    for line in section.lines().filter_map(|line| line.strip_prefix("#   ")) {
        let is_of_unix = ["owner", "mode"].iter().any(|name| line.starts_with(name));
        if !is_of_unix {
            turned_on += &format!("{line}\n");
        }
    }
    let checked = file(&turned_on).unwrap();
    assert_eq!(checked.listeners.len(), 1);
    for row in listener_options::all() {
        assert!(section.contains(&format!("#   {} = ", row.option.name)));
        assert!(row.option.reason.ends_with('.') && !row.option.help.ends_with('.'));
    }
}
