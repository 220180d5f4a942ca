//! The verb that replaces the process.

use serde_json::Value;

use super::client::Failure;
use super::table::plain;
use super::verbs::Verb;

pub(super) const UPGRADE: &[Verb] = &[Verb {
    name: "upgrade",
    about: "Has a new process take over all clients without a cut; fails when the old one goes on",
    args: Vec::new,
    run: |client, _, each| {
        let answer = client.request("POST", "/api/v1/upgrade", None)?;
        match answer["problem"].as_str() {
            None => each(&answer),
            Some(problem) => Err(Failure::Refused(problem.to_owned())),
        }
    },
    show,
}];

fn show(answer: &Value) -> String {
    let process = plain(&answer["process"]);
    let ms = |name: &str| answer["pauses"][name].as_f64().map(|us| us / 1_000.0);
    match (ms("median_us"), ms("p99_us"), ms("longest_us")) {
        (Some(median), Some(p99), Some(longest)) => format!(
            "process {process} serves; {} clients were not read for {median:.1} ms (median), {p99:.1} ms (p99), \
             {longest:.1} ms (at most)\n",
            plain(&answer["pauses"]["clients"]),
        ),
        _ => format!("process {process} serves\n"),
    }
}
