//! A run that is watched: OpenMetrics, the live page, and clients that hang.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::lies::liar;

/// A run that serves its figures; ends with its test.
struct Watched {
    run: Child,
    address: String,
    lines: Option<BufReader<std::process::ChildStderr>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.run.kill(); // it may have ended
        let _ = self.run.wait();
    }
}

impl Watched {
    /// Has had its first second when this returns.
    fn start(words: &str) -> Self {
        let mut run = Command::new(env!("CARGO_BIN_EXE_mqload"))
            .args(words.split_whitespace())
            .args(["--unpinned", "--metrics", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(run.stderr.take().unwrap());
        let mut address = String::new();
        for at in 0..3 {
            // Where it is, the heading, and the first second.
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            if at == 0 {
                let rest = line.split_once("http://").expect(&line).1;
                address = rest.split('/').next().unwrap().to_string();
            }
        }
        Self {
            run,
            address,
            lines: Some(lines),
        }
    }

    fn ask(&self, path: &str, more: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_string(), body.to_string())
    }

    /// Asks until this is in the answer: what is measured is there once it is.
    fn ask_until(&self, path: &str, text: &str) -> (String, String) {
        for _ in 0..300 {
            let answer = self.ask(path, "");
            if answer.1.contains(text) {
                return answer;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("no {text:?} in {:?}", self.ask(path, ""));
    }

    /// Waits for the end; what it has printed.
    fn end(mut self) -> String {
        let mut lines = self.lines.take().unwrap();
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new())); // it must go somewhere
        let mut text = String::new();
        let mut out = self.run.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        assert!(self.run.wait().unwrap().success(), "{text}");
        text
    }
}

fn pairs(liar: &mqload::liar::Running, time: &str) -> Watched {
    let target = liar.address;
    Watched::start(&format!(
        "pairs --clients 2 --rate 200 --qos 1 --duration {time} --target {target}"
    ))
}

#[test]
fn prometheus_reads_what_is_served() {
    let liar = liar("");
    let run = pairs(&liar, "60s");
    let (head, text) = run.ask_until("/metrics", "end_to_end");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: apt-get install prometheus");
    check
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = check.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|own| String::from_utf8(own).unwrap());
    assert!(
        output.status.success() && said.concat().is_empty(),
        "{said:?}\n{text}"
    );
    assert!(
        text.contains("mqload_latency_seconds_bucket{latency=\"end_to_end\",le="),
        "{text}"
    );
    let (head, open) = run.ask(
        "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0\r\n",
    );
    assert!(
        head.contains("application/openmetrics-text") && open.ends_with("# EOF\n"),
        "{head}"
    );
    let (_, json) = run.ask("/live.json", "");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["scenario"], "pairs");
    let seconds = json["seconds"].as_array().unwrap();
    assert!(seconds.iter().any(|own| own["connected"] == 4), "{json}");
}

/// As many as it takes at a time, and more, say nothing: the run ends by itself and has lost nothing.
#[test]
fn who_hangs_costs_the_run_nothing() {
    let liar = liar("");
    let run = pairs(&liar, "3s");
    let hung: Vec<TcpStream> = (0..80)
        .map(|at| {
            let mut stream = TcpStream::connect(&run.address).unwrap();
            let half = if at % 2 == 0 { "GET /met" } else { "" };
            let _ = stream.write_all(half.as_bytes()); // it may have been sent away
            stream
        })
        .collect();
    let (head, _) = run.ask("/metrics", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let text = run.end();
    assert!(
        text.contains("expected 600, received 600, lost 0"),
        "{text}"
    );
    drop(hung);
}

#[test]
fn an_address_that_is_taken_is_told_before_the_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (text, success) = crate::mqload(&["pairs", "--duration", "60s", "--metrics", &address]);
    assert!(
        !success && text.contains(&format!("--metrics {address}: cannot listen")),
        "{text}"
    );
}
