//! Several runs of the same scenario and label: the one in the middle stands for them.

use super::main_latency;
use crate::results::RunResult;

/// Rates no further apart than this are the same, and latency decides which run is in the middle.
const SAME_RATE: f64 = 0.01;

/// Of each scenario and label the median run, in the order of their first runs; its label has their number
/// there were and how far they lie apart.
#[must_use]
pub fn medians(results: Vec<RunResult>) -> Vec<RunResult> {
    let mut groups: Vec<Vec<RunResult>> = Vec::new();
    for result in results {
        let is_same = |group: &&mut Vec<RunResult>| {
            group[0].scenario == result.scenario && group[0].label == result.label
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(result),
            None => groups.push(vec![result]),
        }
    }
    groups.into_iter().map(median).collect()
}

fn median(mut runs: Vec<RunResult>) -> RunResult {
    let rate = |run: &RunResult| run.totals.received_per_s;
    runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let (least, most) = (rate(&runs[0]), rate(&runs[runs.len() - 1]));
    if most - least <= most * SAME_RATE {
        // The slower run comes first, as with rates.
        let p99 = |run: &RunResult| main_latency(run).map_or(0.0, |latency| latency.p99_us);
        runs.sort_by(|a, b| p99(b).total_cmp(&p99(a)));
    }
    let (count, middle) = (runs.len(), (runs.len() - 1) / 2);
    let partial = runs.iter().filter(|run| run.interrupted.is_some()).count();
    let mut result = runs.swap_remove(middle);
    if count > 1 {
        result.notes.push(format!(
            "the median of {count} runs, which received {least:.0} to {most:.0} per second; {partial} were partial"
        ));
        result.label = format!("{} (median of {count})", result.label);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Latency;

    fn run(scenario: &str, label: &str, received_per_s: f64, p99_us: f64) -> RunResult {
        let mut result = RunResult {
            scenario: scenario.into(),
            label: label.into(),
            ..RunResult::default()
        };
        result.totals.received_per_s = received_per_s;
        let latency = Latency {
            p99_us,
            ..Latency::default()
        };
        result.latencies.insert("end_to_end".into(), latency);
        result
    }

    #[test]
    fn the_run_in_the_middle_stands_for_all() {
        let runs = vec![
            run("max", "a", 300.0, 1.0),
            run("max", "b", 50.0, 1.0),
            run("max", "a", 100.0, 1.0),
            run("light", "a", 100.0, 9.0),
            run("max", "a", 200.0, 1.0),
            run("light", "a", 100.1, 5.0),
            run("light", "a", 100.2, 7.0),
        ];
        let medians = medians(runs);
        let rows: Vec<_> = medians
            .iter()
            .map(|run| {
                (
                    &run.label[..],
                    run.totals.received_per_s,
                    run.latencies["end_to_end"].p99_us,
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("a (median of 3)", 200.0, 1.0),
                ("b", 50.0, 1.0),
                ("a (median of 3)", 100.2, 7.0),
            ]
        );
        assert!(medians[0].notes[0].contains("100 to 300 per second; 0 were partial"));
    }
}
