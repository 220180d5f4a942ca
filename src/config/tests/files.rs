//! Configuration files, good and bad.

use super::*;

#[test]
fn bad_files_name_line_key_fault_and_remedy() {
    let cases: &[(&str, &[&str])] = &[
        ("shards = 0", &["f:1: shards: 0 is too small; allowed: 1 to 128, or \"auto\""]),
        ("shards = 129", &["f:1: shards: 129 is too large; allowed: 1 to 128, or \"auto\""]),
        ("shards = -1", &["f:1: shards: -1 is too small; allowed: 1 to 128, or \"auto\""]),
        ("shards = \"two\"", &["f:1: shards: \"two\" is not a whole number; allowed: 1 to 128, or \"auto\""]),
        // A quoted number is another type: the file has one form for it.
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
            &["f:1: limits: no such section: there are only [[listener]] and [[bridge]], every other option is `name = value`"],
        ),
        (
            "limits.shards = 1",
            &["f:1: limits: no such section: there are only [[listener]] and [[bridge]], every other option is `name = value`"],
        ),
        (
            "shards.max = 1",
            &["f:1: shards: a section is not a whole number; allowed: 1 to 128, or \"auto\""],
        ),
        (
            "shards = 1\n# between\nshards = 2",
            &["f:3: shards: given twice, first in line 1; give it once"],
        ),
        // One line is one problem, and what a broken line would have meant is not checked.
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
            &["f:1: listen: the list is empty and there is no [[listener]]: nobody could connect; allowed: IP addresses with a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\""],
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
        (
            "durability = \"interval:5s\"",
            &["f:1: durability: means something only with data-dir, without which all is kept in memory"],
        ),
        (
            "data-dir = \"d\"\ndurability = \"5s\"",
            &["f:2: durability: \"5s\" is not a way to commit; allowed: \"commit\", or \"interval:\" and 1 to 60 seconds; s, m, h and d are understood"],
        ),
        (
            "data-dir = \"d\"\ndurability = \"interval:2m\"",
            &["f:2: durability: \"2m\" is too large; allowed: \"commit\", or \"interval:\" and 1 to 60 seconds; s, m, h and d are understood"],
        ),
        // A relation with a wrong value is not checked.
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
        retained_by_memory: false,
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
