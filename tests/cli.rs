//! The built program, run as an operator runs it: what it prints where, and its exit code.
//! Nothing here starts a broker.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Exit code, stdout and stderr of `ringmq words...`.
fn ringmq(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmq"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn shipped() -> String {
    format!("{}/ringmq.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn help_and_version_go_to_stdout() {
    let (code, help, errors) = ringmq(&["--help"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for expected in [
        "Usage: ringmq",
        "--config <FILE>",
        "Sessions:",
        "--queue-policy <WORD>",
    ] {
        assert!(help.contains(expected), "{expected} is not in:\n{help}");
    }
    assert!(!help.contains("print-config-example"), "{help}");
    let version = format!("ringmq {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(ringmq(&["-V"]), (Some(0), version.clone(), String::new()));
    let (code, shown, errors) = ringmq(&["--version"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(shown.starts_with(&version), "{shown}");
    for expected in [
        "\ncommit: ",
        "\nfeatures: ",
        "\nplatform: ",
        "\nprotocols: ",
    ] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
}

#[test]
fn good_configuration_is_shown_and_nothing_starts() {
    let (code, shown, errors) = ringmq(&["--config", &shipped(), "--check-config", "--shards=2"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(shown.starts_with("configuration ok\n"), "{shown}");
    assert!(
        shown.contains("\nshards = 2  # on the command line (restart)\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\nqueue-bytes-max = \"1MiB\"  # default (reload)\n"),
        "{shown}"
    );
}

#[test]
fn bad_configuration_is_all_named_on_stderr_with_exit_code_2() {
    let name = format!("ringmq-cli-{}.toml", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(name);
    std::fs::write(&path, "shards = 0\n\ncolour = \"red\"\n").unwrap();
    let file = path.to_str().unwrap();
    let checked = ringmq(&["--config", file, "--check-config", "--listen", "0.0.0.0:0"]);
    // Without --check-config the same is refused before anything starts.
    let started = ringmq(&["--config", file, "--listen", "0.0.0.0:0"]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(checked, started);

    let (code, shown, errors) = checked;
    assert_eq!((code, shown.as_str()), (Some(2), ""));
    let starts = [
        "--listen: 0.0.0.0:0 can be reached from other machines".to_owned(),
        format!("{file}:1: shards: 0 is too small; allowed: "),
        format!("{file}:3: colour: no such option"),
    ];
    assert_eq!(errors.lines().count(), starts.len(), "{errors}");
    for (line, start) in errors.lines().zip(&starts) {
        assert!(
            line.starts_with(start),
            "{line}\nshould start with\n{start}"
        );
    }
}

#[test]
fn example_is_the_shipped_file() {
    let (code, example, _) = ringmq(&["--print-config-example"]);
    assert_eq!(code, Some(0));
    assert_eq!(example, std::fs::read_to_string(shipped()).unwrap());
}
