//! docs/how-to-load-test.md, word by word: its commands are run with smaller numbers, with its files.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::broker::Broker;

const GUIDE: &str = include_str!("../../docs/how-to-load-test.md");

/// Blocks of the guide in one language, with the line each begins at.
fn blocks(language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (line, number) in GUIDE.lines().zip(1..) {
        if inside && line == "```" {
            inside = false;
        } else if inside {
            let block = &mut found.last_mut().unwrap().1;
            *block += line;
            *block += "\n";
        } else if line == format!("```{language}") {
            found.push((number, String::new()));
            inside = true;
        }
    }
    found
}

/// The same with numbers that a test has time for.
fn small(line: &str) -> String {
    let mut before = "";
    let words = line.split(' ').map(|word| {
        let most = |most: u64| {
            word.parse()
                .map_or(word.into(), |own: u64| own.min(most).to_string())
        };
        let own = match before {
            "--clients" => most(20),
            "--rate" => most(200),
            "--retained" => most(50),
            "--duration" => "500ms".to_string(),
            "--hold" => "200ms".to_string(),
            _ => word.to_string(),
        };
        before = word;
        own
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A block as a program for bash: whatever a line starts in the background has to listen first, and a line
/// that is to fail must.
fn program(block: &str, port: u16) -> String {
    let mut program = String::from("set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for line in block.lines() {
        let line = small(
            &line
                .replace("1899", &port.to_string())
                .replace("7883", &port.to_string()),
        );
        if let Some((command, why)) = line.split_once("   # fails: ") {
            let (_, sentence) = why.split_once(": ").unwrap_or(("", why));
            let lost = sentence.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
            program +=
                &format!("! {command} >failed || exit 9\ngrep 'were lost' failed # {lost}\n");
        } else if let Some(command) = line.strip_suffix(" &") {
            program += &format!("{command} &\nuntil (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.02; done\n");
        } else if line.contains("--find-max") || line.starts_with("mqload compare") {
            // On a busy machine that may be all that is known.
            program += &format!("{line} || [ $? -ge 3 ]\n");
        } else {
            program += &line;
            program += "\n";
        }
    }
    program
}

fn run(folder: &Path, text: &str) -> (String, bool) {
    let programs = Path::new(env!("CARGO_BIN_EXE_mqload")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", text])
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    )
}

#[test]
fn every_command_of_the_guide_works() {
    let broker = Broker::mosquitto("");
    let folder = tempfile::tempdir().unwrap();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(tree, folder.path().join("loadgen")).unwrap();
    let (_, table) = &blocks("csv")[0];
    std::fs::write(folder.path().join("devices.csv"), table).unwrap();
    let (_, scenario) = &blocks("toml")[0];
    let scenario = scenario
        .replace("1000000", "30")
        .replace("clients = 1000", "clients = 10")
        .replace("\"10m\"", "\"1s\"")
        .replace("5000", "200")
        .replace("500 ", "10 ")
        .replace("p99_ms = 10", "p99_ms = 500");
    std::fs::write(folder.path().join("million.toml"), scenario).unwrap();
    let all = blocks("sh");
    assert!(all.len() >= 10, "{all:?}");
    for (line, block) in all {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let text = program(&block.replace("broker:1883", &broker.target), free.port());
        let (output, success) = run(folder.path(), &text);
        assert!(success, "line {line} of the guide:\n{text}\n{output}");
    }
}

/// What the guide names is there.
#[test]
fn links_of_the_guide_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let links = GUIDE
        .split("](")
        .skip(1)
        .map(|rest| rest.split_once(')').unwrap().0);
    let mut count = 0;
    for link in links {
        assert!(docs.join(link).exists(), "{link}");
        count += 1;
    }
    assert!(count >= 2);
}
