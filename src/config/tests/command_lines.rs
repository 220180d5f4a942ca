//! Command lines, good and bad, and which side wins.

use super::*;

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

    let Ok(Command::CheckOk(_, text)) =
        line(&["-c", given.path(), "--check-config", "--shards", "3"])
    else {
        panic!("a good configuration is refused");
    };
    assert!(text.starts_with("configuration ok\n"), "{text}");
    assert!(
        text.contains("\nshards = 3  # on the command line (restart)\n"),
        "{text}"
    );
    let from_file = format!(
        "\nreceive-maximum = 5  # in {}:2 (reload, new connections)\n",
        given.path()
    );
    assert!(text.contains(&from_file), "{text}");
    assert!(
        text.contains("\nqueue-messages-max = 1000  # default (reload)\n"),
        "{text}"
    );

    // What the command line overrides is still wrong in the file; both are reported, in order.
    let bad = Temporary::new("bad.toml", "\nshards = 0\n");
    let problems = line(&["--config", bad.path(), "--shards", "2", "--log-level", "x"]);
    let problems = problems.expect_err("line 2 is wrong");
    let places: Vec<_> = problems
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(places, ["--log-level", &format!("{}:2", bad.path())]);
}
