//! One coordinator and agents, all on this machine, against real brokers.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use mqload::results::RunResult;
use rustix::process::{kill_process, Pid, Signal};

use crate::broker::Broker;
use crate::mqload;

const TOKEN: &str = "a secret of tests";

/// `mqload agent` on a port of its own; ends with its test.
struct Agent {
    child: Child,
    address: String,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Agent {
    fn start() -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_mqload")))
    }

    /// Its clock is ahead of this machine's by so much.
    fn start_ahead(seconds: u32) -> Self {
        let mut command = ahead(seconds);
        command.arg(env!("CARGO_BIN_EXE_mqload"));
        Self::start_as(command)
    }

    fn start_as(mut command: Command) -> Self {
        let mut child = command
            .args(["agent", "--listen", "127.0.0.1:0"])
            .env("MQLOAD_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_string();
        Self { child, address }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs what follows in a time namespace, as another machine with another uptime.
fn ahead(seconds: u32) -> Command {
    let mut command = Command::new("unshare");
    let seconds = seconds.to_string();
    let options = [
        "--user",
        "--map-root-user",
        "--time",
        "--fork",
        "--kill-child",
    ];
    command.args(options).args(["--monotonic", &seconds]);
    command
}

fn addresses(agents: &[Agent]) -> String {
    let addresses: Vec<&str> = agents.iter().map(|agent| &agent.address[..]).collect();
    addresses.join(",")
}

/// Runs a scenario on agents; what was printed, whether it succeeded, and the result.
fn run(scenario: &str, broker: &Broker, agents: &[Agent]) -> (String, bool, RunResult) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let addresses = addresses(agents);
    let mut arguments: Vec<&str> = scenario.split_whitespace().collect();
    arguments.extend(["--target", &broker.target, "--agents", &addresses]);
    arguments.extend(["--token", TOKEN, "--json", file.to_str().unwrap()]);
    let (text, success) = mqload(&arguments);
    let result = mqload::output::read(&file).unwrap_or_else(|error| panic!("{error}: {text}"));
    (text, success, result)
}

/// Scenarios whose flows begin on one agent and end on the other, one after the other on the same two.
fn nothing_is_lost(broker: &Broker) {
    let agents = [Agent::start(), Agent::start()];
    for (scenario, expected, qos) in [
        // One subscriber, on the first agent; publishers on both.
        (
            "fan-in --clients 4 --rate 800 --duration 1s --qos 1",
            800,
            1,
        ),
        // An odd number of pairs: each has its ends on different agents.
        (
            "pairs --clients 3 --rate 300 --duration 1s --qos 1 --threads 2",
            300,
            1,
        ),
        ("pairs --clients 3 --max --messages 100 --qos 1", 300, 1),
        (
            "round-trip --clients 3 --rate 100 --duration 500ms --qos 1",
            100,
            1,
        ),
        (
            "shared-group --clients 2 --rate 400 --duration 500ms",
            200,
            0,
        ),
        (
            "fan-out --clients 5 --rate 100 --duration 500ms --qos 2",
            250,
            2,
        ),
    ] {
        let (text, success, result) = run(scenario, broker, &agents);
        assert!(success, "{scenario}: {text}");
        let truth = &result.truth;
        let counts = (truth.expected[qos], truth.received[qos], truth.lost[qos]);
        assert_eq!(counts, (expected, expected, 0), "{scenario}: {text}");
        assert_eq!(truth.duplicates[2] + truth.reordered[1], 0, "{text}");
        check_agents(&agents, &result);
    }
}

/// The agents' parts make up the whole.
fn check_agents(agents: &[Agent], result: &RunResult) {
    let sum = |part: fn(&mqload::results::AgentResult) -> u64| {
        result.agents.iter().map(part).sum::<u64>()
    };
    assert_eq!(sum(|agent| agent.clients), result.clients);
    assert_eq!(sum(|agent| agent.published), result.totals.published);
    assert_eq!(sum(|agent| agent.received), result.totals.received);
    assert!(result.agents.iter().all(|agent| agent.clients > 0));
    let workers: usize = result.agents.iter().map(|agent| agent.workers).sum();
    assert_eq!(workers, result.generator.worker_cpu.len());
    for (agent, found) in agents.iter().zip(&result.agents) {
        assert_eq!(found.address, agent.address);
        assert_eq!(found.lost, None);
        // One machine has one clock.
        let offset_ns = found.clock_offset_ns.unsigned_abs();
        assert!(offset_ns <= found.uncertainty_ns, "{found:?}");
    }
    if let Some(latency) = result.latencies.get("end_to_end") {
        assert_eq!(latency.count, result.totals.received);
    }
    assert!(!result.command.contains(TOKEN), "{}", result.command);
    let note = result
        .notes
        .iter()
        .any(|note| note.contains("the clocks of 2 agents"));
    assert!(note, "{:?}", result.notes);
}

#[test]
fn two_agents_lose_nothing_against_mosquitto() {
    nothing_is_lost(&Broker::mosquitto(""));
}

#[test]
fn two_agents_lose_nothing_against_ringmq() {
    nothing_is_lost(&Broker::ringmq(&[]));
}

/// Without the offsets, latencies would be of hours, or 0, and schedules would not begin.
#[test]
fn clocks_of_hosts_are_brought_together() {
    let may = ahead(1).arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        return eprintln!("not tested: no time namespaces here (unshare --time)");
    }
    let broker = Broker::mosquitto("");
    let agents = [Agent::start_ahead(50_000), Agent::start_ahead(5_000)];
    let scenario = "pairs --clients 3 --rate 300 --duration 1s --qos 1";
    let (text, success, result) = run(scenario, &broker, &agents);
    assert!(success, "{text}");
    assert_eq!((result.truth.expected[1], result.truth.lost[1]), (300, 0));
    for (agent, seconds) in result.agents.iter().zip([50_000, 5_000]) {
        let error_ns = agent.clock_offset_ns - seconds * 1_000_000_000;
        assert!(error_ns.unsigned_abs() <= agent.uncertainty_ns, "{agent:?}");
    }
    let latency = &result.latencies["end_to_end"];
    assert_eq!(latency.count, 300);
    assert!(
        latency.max_us < 1_000e6,
        "hours where it was less than minutes: {text}"
    );
    // Every pair has its ends on two hosts: were their clocks apart, half would be cut to 0.
    assert!(latency.p50_us > 1.0, "{text}");
}

/// Agents do not have the file: its text comes with the run.
#[test]
fn a_scenario_file_runs_on_agents() {
    let broker = Broker::mosquitto("");
    let agents = [Agent::start(), Agent::start()];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.toml");
    let scenario = "[groups.p]\nclients = 3\npublish = { topic = \"own/{r}/{i}\", qos = 1 }\n\
                    [groups.s]\nclients = 3\nsubscribe = { filter = \"own/{r}/{i}\", qos = 1 }\n\
                    [[stages]]\ntime = \"1s\"\nload.p = { rate = 300 }\n\
                    [[stages]]\ntime = \"9s\"\nmessages = 5\nload.p = { think = \"1ms-9ms\" }\n\
                    [assert]\nloss = 0\n";
    std::fs::write(&file, scenario).unwrap();
    let (text, success, result) = run(&format!("run {}", file.display()), &broker, &agents);
    assert!(success, "{text}");
    assert_eq!(
        (result.truth.expected[1], result.truth.lost[1]),
        (315, 0),
        "{text}"
    );
    assert_eq!(result.stages.len(), 2, "{text}");
    assert!(
        result.agents.iter().all(|agent| agent.clients == 3),
        "{text}"
    );
}

#[test]
fn strangers_are_refused() {
    let agent = Agent::start();
    let with_token = |token: &str| {
        let options = ["pairs", "--agents", &agent.address, "--token", token];
        mqload(&options)
    };
    let (text, success) = with_token("another secret");
    assert!(!success);
    assert!(text.contains("refused: the token is wrong"), "{text}");
    assert!(text.contains(&agent.address), "{text}");
    let (text, success) = with_token("short");
    assert!(!success);
    assert!(text.contains("a token has 8 to 256 bytes"), "{text}");
    let (text, success) = mqload(&["pairs", "--agents", &agent.address]);
    assert!(!success);
    assert!(text.contains("--token"), "{text}");
}

#[test]
fn what_agents_cannot_do_is_said() {
    let agent = Agent::start();
    let with = |more: &[&str]| {
        let options = ["pairs", "--agents", &agent.address, "--token", TOKEN];
        mqload(&[&options[..], more].concat())
    };
    let (text, success) = with(&["--find-max"]);
    assert!(!success);
    assert!(text.contains("leave --agents out"), "{text}");
    // The agent's machine has no such core; the coordinator's may be another.
    let output = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args(["pairs", "--cores", "4095", "--agents", &agent.address])
        .args(["--token", TOKEN])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("refused: --cores"), "{text}");
    // The one agent twice.
    let twice = format!("{0},{0}", agent.address);
    let (text, success) = mqload(&["pairs", "--agents", &twice, "--token", TOKEN]);
    assert!(!success);
    assert!(text.contains("it has a run already"), "{text}");
}

#[test]
fn nonsense_and_silence_do_not_hold_an_agent_up() {
    use std::io::Write;
    let broker = Broker::mosquitto("");
    let agents = [Agent::start()];
    let silent = TcpStream::connect(&agents[0].address).unwrap();
    let mut mad = TcpStream::connect(&agents[0].address).unwrap();
    mad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let scenario = "pairs --clients 2 --rate 100 --duration 200ms --qos 1";
    let (text, success, result) = run(scenario, &broker, &agents);
    assert!(success, "{text}");
    assert_eq!(result.truth.received[1], 20, "{text}");
    drop(silent);
}

/// Starts a long run and returns when its load has begun.
fn start_long(
    broker: &Broker,
    agents: &[Agent],
    more: &[&str],
) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args(["pairs", "--clients", "7", "--qos", "1", "--rate", "500"])
        .args([
            "--duration",
            "10m",
            "--unpinned",
            "--target",
            &broker.target,
        ])
        .args(["--agents", &addresses(agents), "--token", TOKEN])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let mut loads = 0;
    while loads < 2 {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the run ended");
        loads += u32::from(line.contains(" s load "));
    }
    assert_eq!(
        line.split_whitespace().nth(3),
        Some("14"),
        "clients: {line}"
    );
    (child, lines)
}

#[test]
fn a_dead_agent_leaves_partial_results() {
    let broker = Broker::mosquitto("");
    let mut agents = [Agent::start(), Agent::start()];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let json = ["--json", file.to_str().unwrap()];
    let (child, _lines) = start_long(&broker, &agents, &json);
    agents[1].kill();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sentence = format!(
        "PARTIAL: the run ended early (agent {} closed",
        agents[1].address
    );
    assert!(text.contains(&sentence), "{text}");
    let result = mqload::output::read(&file).unwrap();
    assert!(result.totals.published >= 250, "{text}");
    assert!(result.agents[0].lost.is_none() && result.agents[1].lost.is_some());
    assert!(result.agents[1].published > 0, "as last heard: {text}");
    assert!(result.latencies["end_to_end"].count > 0, "{text}");
    // No promise is called broken for want of a witness: all pairs have one end there.
    assert_eq!(result.truth.broken_promises, [""; 0], "{text}");
    assert_eq!(result.truth.expected[1], 0, "{text}");
    // The other agent takes the next run.
    let next = "pairs --clients 2 --rate 100 --duration 200ms --qos 1";
    let (text, success, _) = run(next, &broker, &agents[..1]);
    assert!(success, "{text}");
}

#[test]
fn an_interrupted_coordinator_stops_its_agents() {
    let broker = Broker::mosquitto("");
    let agents = [Agent::start(), Agent::start()];
    let (child, _lines) = start_long(&broker, &agents, &[]);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("PARTIAL: the run ended early (interrupted"),
        "{text}"
    );
    let next = "pairs --clients 2 --rate 100 --duration 200ms --qos 1";
    let (text, success, _) = run(next, &broker, &agents);
    assert!(success, "{text}");
}

/// As `ps` shows it.
fn command_line(id: u32) -> String {
    loop {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap();
        if !line.is_empty() {
            return String::from_utf8_lossy(&line).into_owned(); // it is empty until it is there
        }
    }
}

/// Agents get the password with the run, wherever it came from: it is in no command line of theirs, in that of the
/// coordinator no longer than until it has been read, and in no result.
#[test]
fn agents_get_the_password() {
    let (_folder, broker) = crate::own_data::with_passwords();
    let agents = [Agent::start(), Agent::start()];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "apple\n").unwrap();
    let json = folder.path().join("result.json");
    for way in ["environment", "file", "option", "url"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqload"));
        let load = "pairs --clients 2 --rate 200 --duration 1s --qos 1 --quiet";
        let who = match way {
            "url" => "alice:apple",
            _ => "alice",
        };
        let target = format!("mqtt://{who}@{}", broker.target);
        command.args(load.split(' ')).args(["--target", &target]);
        let addresses = format!("{},{}", agents[0].address, agents[1].address);
        command.args(["--agents", &addresses, "--json"]).arg(&json);
        command.env("MQLOAD_TOKEN", TOKEN).stdout(Stdio::null());
        match way {
            "file" => command.arg("--password-file").arg(&file),
            "environment" => command.env("MQLOAD_PASSWORD", "apple"),
            "option" => command.arg("--password=apple"),
            _ => &mut command,
        };
        let mut run = command.spawn().unwrap();
        let is_given = ["option", "url"].contains(&way);
        while is_given && command_line(run.id()).contains("apple") {
            assert!(run.try_wait().unwrap().is_none(), "{way}: all the time");
        }
        for id in agents
            .iter()
            .map(|agent| agent.child.id())
            .chain([run.id()])
        {
            let line = command_line(id);
            assert!(line.contains("mqload") && !line.contains("apple"), "{line}");
        }
        assert!(run.wait().unwrap().success(), "{way}");
        let result = std::fs::read_to_string(&json).unwrap();
        assert!(!result.contains("apple"), "{result}");
        let result: RunResult = serde_json::from_str(&result).unwrap();
        assert_eq!((result.truth.received[1], result.agents.len()), (200, 2));
    }
}
