//! Results of real runs, good, failed and cut off, held against `schema/result-2.json`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use crate::lies::liar;
use crate::mqload;

/// The schema as it is shipped, but for one thing: readers must pass over fields that they do not know,
/// and here there may be none.
fn strict() -> jsonschema::Validator {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/result-2.json");
    let mut schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    close(&mut schema);
    jsonschema::validator_for(&schema).expect("the schema is one")
}

fn close(schema: &mut Value) {
    if let Value::Object(fields) = schema {
        if fields.contains_key("properties") {
            fields.insert("additionalProperties".into(), false.into());
        }
        fields.values_mut().for_each(close);
    }
}

/// What is wrong with a result.
fn faults(validator: &jsonschema::Validator, result: &Value) -> Vec<String> {
    let errors = validator.iter_errors(result);
    let mut faults: Vec<String> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    // Numbers that are none would be null.
    let text = result.to_string();
    faults.extend(
        text.contains("\"measured\":\"")
            .then(|| "words for numbers".into()),
    );
    faults
}

/// Lies, scenario, whether it succeeds.
const RUNS: &[(&str, &str, bool)] = &[
    ("", "fan-in --clients 2 --rate 200 --duration 300ms --topics 2", true),
    ("", "fan-out --clients 2 --rate 200 --duration 300ms --payload-size 16:1,32-64:2", true),
    ("", "pairs --clients 2 --max --qos 1 --duration 300ms --assert-p99-ms 1000 --assert-loss 0", true),
    ("", "pairs --clients 2 --rate 200 --duration 300ms --qos 2 --protocol 5 --user-property a=b --poisson", true),
    ("", "pairs --clients 2 --sweep 100:200:100 --step-duration 300ms", true),
    ("", "pairs --clients 2 --rate 200 --duration 200ms --payload-size 8 --assert-rate-min 1e9", false),
    ("", "listen --clients 1 --duration 300ms", true),
    ("", "publish --clients 2 --max --duration 300ms", true),
    ("", "round-trip --clients 2 --rate 200 --duration 300ms --protocol 5", true),
    ("", "connect-ramp --clients 5 --hold 100ms", true),
    ("", "connect-storm --clients 5 --rounds 2", true),
    ("", "reconnect-storm --clients 5 --rounds 2", true),
    ("", "large-payloads --clients 1 --rate 5 --duration 500ms", true),
    ("", "will-storm --clients 5", true),
    ("", "backlog-drain --clients 2 --rate 200 --duration 300ms --qos 1 --drain 500ms", true),
    ("", "shared-group --clients 2 --rate 200 --duration 300ms", true),
    ("", "retained-storm --clients 2 --retained 20 --drain 500ms", true),
    ("", "slow-consumer --clients 2 --rate 200 --duration 300ms", true),
    ("", "churn --clients 2 --rounds 2", true),
    ("", "takeover-storm --clients 5", true),
    ("", "wildcard-mix --clients 2 --rate 200 --duration 300ms", true),
    ("", "run FOLDER/stages.toml", false),
    ("capacity=400", "pairs --clients 2 --rate 100 --duration 500ms --find-max --p99 100ms --drain 500ms", true),
    ("capacity=200", "pairs --clients 2 --rate 1000 --duration 1s --drain 1s", true),
    ("freeze=200ms", "pairs --qos 1 --clients 2 --rate 200 --duration 1s --timeout 1s --drain 1s", false),
    ("die=50", "pairs --clients 2 --rate 200 --duration 1s", false),
    ("refuse-connect", "pairs --clients 2 --rate 200 --duration 300ms", false),
    ("withhold-puback=10", "pairs --clients 2 --rate 200 --duration 300ms --qos 1 --drain 500ms --timeout 1s", false),
    ("corrupt=10 drop=7", "pairs --clients 2 --rate 200 --duration 300ms --qos 1 --drain 500ms", false),
];

/// One stage is not reached, and one has nothing to measure.
const STAGES: &str = "
    [groups.a]
    clients = 3
    publish = { topic = \"s/{r}/{i}\", qos = 1 }
    [groups.b]
    clients = 2
    subscribe = { filter = \"s/{r}/+\", qos = 1 }
    [[stages]]
    name = \"rise\"
    time = \"300ms\"
    load.a = { rate = 50, rate_to = 200 }
    connect.b = 1000
    assert = { p99_ms = 1000 }
    [[stages]]
    name = \"rest\"
    time = \"100ms\"
    assert = { p99_ms = 1, rate_min = 1 }
    ";

#[test]
fn results_of_every_kind_keep_to_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stages.toml"), STAGES).unwrap();
    let (validator, faulty) = (strict(), Mutex::new(Vec::new()));
    let runs = Mutex::new(RUNS.iter().enumerate());
    let one = |at: usize, (lies, scenario, succeeds): (&str, &str, bool)| {
        let liar = liar(lies);
        let json = folder.path().join(format!("{at}.json"));
        let scenario = scenario.replace("FOLDER", folder.path().to_str().unwrap());
        let words = format!(
            "{scenario} --target {} --json {}",
            liar.address,
            json.display()
        );
        let (text, success) = mqload(&words.split_whitespace().collect::<Vec<_>>());
        let result: Value = match std::fs::read_to_string(&json) {
            Ok(json) if !json.is_empty() => serde_json::from_str(&json).unwrap(),
            _ => return vec![format!("no result: {text}")],
        };
        let mut found = faults(&validator, &result);
        let verdict = if succeeds { "passed" } else { "failed" };
        // A busy machine may keep the search from an answer.
        if result["verdict"] != verdict && result["verdict"] != "inconclusive" {
            found.push(format!("{}: {text}", result["verdict"]));
        }
        found.extend((success != (result["verdict"] == "passed")).then(|| "exit status".into()));
        found
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| loop {
                let Some((at, run)) = runs.lock().unwrap().next() else {
                    return;
                };
                for fault in one(at, *run) {
                    faulty.lock().unwrap().push(format!("{run:?}: {fault}"));
                }
            });
        }
    });
    let faulty = faulty.into_inner().unwrap();
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}

#[test]
fn an_interrupted_run_keeps_to_the_schema() {
    let liar = liar("");
    let mut run = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .args("pairs --clients 1 --duration 60s --unpinned --json - --target".split(' '))
        .arg(liar.address.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap());
    lines.read_line(&mut String::new()).unwrap(); // its first second
    let id = run.id().to_string();
    assert!(Command::new("kill")
        .args(["-INT", &id])
        .status()
        .unwrap()
        .success());
    std::thread::spawn(move || lines.lines().count()); // what else it says must go somewhere
    let output = run.wait_with_output().unwrap();
    let result = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(faults(&strict(), &result), Vec::<String>::new());
    assert_eq!(result["verdict"], "failed");
}
