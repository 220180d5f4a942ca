//! The coordinator: takes agents through a plan as if they were workers of its own.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use super::link::{Channels, Link};
use super::{AgentOptions, AGENTS_MAX};
use crate::engine::control::Control;
use crate::engine::{Delays, Workers};
use crate::live::duration;
use crate::plan::{Options, Plan, Share};
use crate::results::{AgentResult, RunResult};
use crate::run::carry_out;

/// Least time from an order to its start.
const START_NS: u64 = 100_000_000;
/// An agent sends its counters every 20 ms and its timings 10 ms after a second: twice that, and the way.
const FIGURES_NS: u64 = 50_000_000;
/// Options that are the coordinator's; each has a value.
const OWN_OPTIONS: [&str; 11] = [
    "--agents",
    "--token",
    "--json",
    "--csv",
    "--hdr",
    "--html",
    "--label",
    "--password",
    "--password-file",
    "--broker-pid",
    "--seed",
];

/// Runs a plan on agents, which read it from the command line as the coordinator did.
///
/// # Errors
/// A sentence when it cannot begin. What goes wrong later is in the result.
pub(crate) fn run(
    plan: Plan,
    options: &Options,
    agents: &AgentOptions,
) -> Result<RunResult, String> {
    let token = agents.token.as_ref().ok_or("--agents needs --token")?;
    if agents.agents.len() > AGENTS_MAX {
        return Err(format!("--agents takes {AGENTS_MAX} at most"));
    }
    let mut links = Vec::new();
    for address in &agents.agents {
        links.push(Link::connect(address, token)?);
    }
    let count = links.len() as u32;
    let shares: Vec<Share> = (0..count).map(|index| Share { index, count }).collect();
    let mut arguments = arguments_of_agents(std::env::args().skip(1), plan.seed);
    let text = options.file_text.as_ref();
    arguments.extend(text.map(|text| format!("--text={text}")));
    // From wherever it came: agents have neither this environment nor these files.
    let password = plan.connection.password.as_ref();
    arguments.extend(password.map(|password| format!("--password={password}")));
    let control =
        Control::new(plan, links.len()).map_err(|error| format!("cannot begin: {error}"))?;
    let control = Arc::new(control);
    for (link, share) in links.iter().zip(&shares) {
        link.hand_out(&arguments, *share, control.began_ns)?;
    }
    for link in &mut links {
        link.await_ready()?;
    }
    let way_ns = links.iter().map(|link| 2 * link.result.uncertainty_ns);
    let way_ns = way_ns.max().unwrap_or(0);
    let (lost_way, lost) = channel();
    let (full, intervals) = channel();
    let results = Arc::new(Mutex::new(Vec::new()));
    let mut ends = Vec::new();
    for (link, share) in links.into_iter().zip(&shares) {
        let channels = Channels {
            lost: lost_way.clone(),
            intervals: full.clone(),
        };
        ends.push(link.start(&control, *share, channels, &results)?);
    }
    let workers = Workers {
        delays: Delays {
            start_ns: START_NS + 2 * way_ns,
            second_ns: FIGURES_NS + way_ns,
            settle_ns: FIGURES_NS + way_ns,
        },
        // Agents make their own; these have no other end.
        empties: ends.iter().map(|_| channel().0).collect(),
        ends,
        lost,
        intervals,
        remark: None,
    };
    let mut result = carry_out(control, workers, options, None)?;
    result.agents = std::mem::take(&mut *results.lock().unwrap_or_else(PoisonError::into_inner));
    result.notes.extend(clocks(&result.agents));
    Ok(result)
}

/// What is to be known about latencies from host to host.
fn clocks(agents: &[AgentResult]) -> Option<String> {
    let mut errors: Vec<u64> = agents
        .iter()
        .map(|agent| {
            agent
                .uncertainty_ns
                .saturating_add(agent.clock_drift_ns.unsigned_abs())
        })
        .collect();
    errors.sort_unstable();
    let [.., second, first] = errors[..] else {
        return None;
    };
    let most_us = first.saturating_add(second) as f64 / 1e3;
    Some(format!(
        "the clocks of {} agents were brought together by their estimated offsets: latencies between \
         two of them are right to within {} (half of the shortest round trips, and the drift until the end)",
        agents.len(),
        duration(most_us)
    ))
}

/// The command line for agents: the scenario without what is the coordinator's, and with the run's seed.
fn arguments_of_agents(arguments: impl Iterator<Item = String>, seed: u64) -> Vec<String> {
    let (mut kept, mut is_value) = (Vec::new(), false);
    for argument in arguments {
        if std::mem::take(&mut is_value) {
            continue;
        }
        let name = argument.split('=').next().unwrap_or(&argument);
        if OWN_OPTIONS.contains(&name) {
            is_value = name == argument;
        } else {
            kept.push(argument);
        }
    }
    kept.push(format!("--seed={seed}"));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_get_the_scenario_and_the_seed() {
        let given = "pairs --agents a:1,b:2 --qos 1 --token=x --password-file p --seed 3 --json out.json --max";
        let words = given.split(' ').map(str::to_string);
        let arguments = arguments_of_agents(words, 9);
        assert_eq!(arguments.join(" "), "pairs --qos 1 --max --seed=9");
    }

    #[test]
    fn the_two_worst_clocks_bound_the_error() {
        let agent = |uncertainty_ns, clock_drift_ns| AgentResult {
            uncertainty_ns,
            clock_drift_ns,
            ..AgentResult::default()
        };
        let agents = [agent(10_000, -5_000), agent(1_000, 0), agent(20_000, 0)];
        let note = clocks(&agents).unwrap();
        assert!(note.contains("right to within 35 us"), "{note}");
        assert_eq!(clocks(&agents[..1]), None);
    }
}
