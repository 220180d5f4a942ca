//! Comparisons of made results.

use super::*;
use crate::results::{DescribedPlan, Latency, Reason};

fn round(received_per_s: f64, p99_us: f64) -> Round {
    let mut result = RunResult {
        scenario: "pairs".into(),
        label: "a".into(),
        ..RunResult::default()
    };
    result.totals.received = 1_000;
    result.totals.received_per_s = received_per_s;
    let latency = Latency {
        p50_us: p99_us / 3.0,
        p99_us,
        p999_us: p99_us * 2.0,
        ..Latency::default()
    };
    result.latencies.insert("end_to_end".into(), latency);
    let file = "a.json".into();
    Round { file, result }
}

/// Rounds around these figures, some 1 % apart.
fn rounds(count: usize, received_per_s: f64, p99_us: f64) -> Vec<Round> {
    let factor = |at: usize| 1.0 + (at % 3) as f64 / 100.0;
    let each = (0..count).map(|at| round(received_per_s * factor(at), p99_us * factor(at)));
    each.collect()
}

fn of(base: Vec<Round>, new: Vec<Round>, bounds: &[&str]) -> Comparison {
    let bounds: Vec<Bound> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
    compare(&pairs(base, new).unwrap(), &bounds, 1)
}

fn judgements(found: &Comparison) -> Vec<(&str, Judgement)> {
    let rows = found.rows.iter();
    rows.map(|row| (&row.figure[..], row.judgement)).collect()
}

#[test]
fn what_is_worse_for_sure_is_a_regression() {
    use Judgement::{Held, Regression, Shown};
    let found = of(rounds(5, 1e5, 900.0), rounds(5, 9e4, 900.0), &["5%"]);
    assert_eq!(found.judgement, Regression);
    let expected = [
        ("received/s", Regression),
        ("p50", Held),
        ("p99", Held),
        ("p99.9", Shown),
    ];
    assert_eq!(judgements(&found), expected);
    let row = &found.rows[0];
    assert!((row.change.unwrap() + 0.1).abs() < 1e-9, "{row:?}");
    assert!(row.change_low.unwrap() < -0.1 && row.change_high.unwrap() > -0.1);
    // The other way it is better, and latencies count the other way.
    let found = of(rounds(5, 9e4, 900.0), rounds(5, 1e5, 900.0), &["5%"]);
    assert_eq!(found.judgement, Held);
    let found = of(rounds(5, 1e5, 900.0), rounds(5, 1e5, 2_700.0), &["5%"]);
    let expected = [
        ("received/s", Held),
        ("p50", Regression),
        ("p99", Regression),
    ];
    assert_eq!(judgements(&found)[..3], expected);
    let found = of(rounds(5, 1e5, 900.0), rounds(5, 1e5, 300.0), &["5%"]);
    assert_eq!(found.judgement, Held);
}

#[test]
fn what_cannot_be_known_is_inconclusive() {
    let reason = |found: &Comparison| found.rows[0].reason.clone().unwrap();
    let found = of(rounds(1, 1e5, 900.0), rounds(1, 5e4, 900.0), &["5%"]);
    assert_eq!(found.judgement, Judgement::Inconclusive);
    assert!(reason(&found).contains("1 and 1 rounds show no spread"));
    // 5 % worse, give or take 3 %.
    let found = of(rounds(3, 1e5, 900.0), rounds(3, 9.5e4, 900.0), &["5%"]);
    assert_eq!(found.rows[0].judgement, Judgement::Inconclusive);
    assert!(reason(&found).contains("more rounds"));
    let found = of(rounds(5, 1e5, 900.0), rounds(5, 5e4, 900.0), &[]);
    assert_eq!(found.judgement, Judgement::Shown);
}

/// Figures that are the generator's own say nothing about the broker, neither good nor bad.
#[test]
fn a_figure_of_the_generator_decides_nothing() {
    use Judgement::{Held, Inconclusive};
    let spoiled = |about: About| {
        let mut new = rounds(5, 5e4, 900.0);
        new[0].result.generator.is_bottleneck = true;
        let sentence = "why".to_string();
        new[0]
            .result
            .generator
            .reasons
            .push(Reason { about, sentence });
        of(rounds(5, 1e5, 900.0), new, &["5%", "cpu=1%"])
    };
    let found = spoiled(About::Rate);
    let all = [
        ("received/s", Inconclusive),
        ("p50", Inconclusive),
        ("p99", Inconclusive),
    ];
    assert_eq!(judgements(&found)[..3], all);
    let found = spoiled(About::Latency);
    let tail = [
        ("received/s", Judgement::Regression),
        ("p50", Held),
        ("p99", Inconclusive),
    ];
    assert_eq!(judgements(&found)[..3], tail);
}

#[test]
fn bounds_of_one_figure_come_before_that_of_all() {
    let found = of(
        rounds(5, 1e5, 900.0),
        rounds(5, 9e4, 1_000.0),
        &["5%", "rate=15%", "p99.9=50%"],
    );
    use Judgement::{Held, Regression};
    let expected = [
        ("received/s", Held),
        ("p50", Regression),
        ("p99", Regression),
        ("p99.9", Held),
    ];
    assert_eq!(judgements(&found), expected);
    for wrong in ["5", "x%", "-1%", "p98=5%", "%"] {
        assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
    }
}

#[test]
fn new_failures_and_losses_are_regressions_whatever_the_figures() {
    let mut new = rounds(3, 1e5, 900.0);
    new[1].result.verdict = Verdict::Failed;
    new[1].result.interrupted = Some("all connections were lost".into());
    new[1]
        .result
        .errors
        .insert("all connections were lost".into(), 1);
    let found = of(rounds(3, 1e5, 900.0), new.clone(), &[]);
    assert_eq!(found.judgement, Judgement::Regression);
    assert_eq!(
        found.regressions,
        ["pairs: a.json has failed: all connections were lost"]
    );
    let mut base = rounds(3, 1e5, 900.0);
    base[0].result.verdict = Verdict::Failed;
    let found = of(base, new, &[]);
    assert!(
        found.regressions.is_empty() && !found.notes.is_empty(),
        "{found:?}"
    );
    let mut new = rounds(3, 1e5, 900.0);
    new[2].result.truth.lost[0] = 7;
    let found = of(rounds(3, 1e5, 900.0), new, &["5%"]);
    assert_eq!(
        found.regressions,
        ["pairs: 7 messages were lost, none before"]
    );
}

/// What ended early has figures of another load, and what was lost before is not the new version's.
#[test]
fn rounds_that_ended_early_have_no_figures_and_old_losses_are_not_new() {
    let mut new = rounds(4, 1e5, 900.0);
    let mut short = round(1e3, 900.0);
    short.result.interrupted = Some("all connections were lost".into());
    new.push(short);
    let found = of(rounds(4, 1e5, 900.0), new, &["5%"]);
    assert_eq!(found.rows[0].judgement, Judgement::Held);
    let (mut base, mut new) = (rounds(3, 1e5, 900.0), rounds(3, 1e5, 900.0));
    base[0].result.truth.lost[0] = 3;
    new[0].result.truth.lost[0] = 7;
    assert_eq!(of(base, new, &[]).regressions, [""; 0]);
}

#[test]
fn a_failed_assertion_is_named() {
    let mut new = rounds(3, 1e5, 900.0);
    new[2].result.verdict = Verdict::Failed;
    new[2].result.assertions = [("loss <= 0", true), ("p99_ms <= 1", false)]
        .map(|(text, passed)| crate::results::Assertion {
            text: text.into(),
            metric: "p99_ms".into(),
            measured: Some(2.5),
            passed,
            ..Default::default()
        })
        .into();
    let found = of(rounds(3, 1e5, 900.0), new, &[]);
    assert_eq!(
        found.regressions,
        ["pairs: a.json has failed: p99_ms <= 1 (measured 2.500)"]
    );
}

/// What makes the sides differ besides the broker is a note and no judgement.
#[test]
fn what_else_differs_is_noted() {
    type Change = fn(&mut RunResult);
    let noted = |change: Change| {
        let mut new = rounds(3, 1e5, 900.0);
        change(&mut new[1].result);
        let found = of(rounds(3, 1e5, 900.0), new, &[]);
        assert!(found.regressions.is_empty());
        found.notes.join("; ")
    };
    assert_eq!(noted(|_| ()), "");
    let rows: [(Change, &str); 5] = [
        (|run| run.mqload_version = "9".into(), "the same mqload: "),
        (|run| run.cores = 3, "the same machines: "),
        (|run| run.threads = 3, "the same workers: 0; 3"),
        (|run| run.closed_loop = true, "closed loop: "),
        (
            |run| {
                let (about, sentence) = (About::Latency, "late".into());
                run.generator.reasons.push(Reason { about, sentence });
            },
            "in 1 of 6 rounds the tail",
        ),
    ];
    for (change, sentence) in rows {
        assert!(noted(change).contains(sentence), "{}", noted(change));
    }
    let mut base = rounds(3, 1e5, 900.0);
    base[0].result.verdict = Verdict::Failed;
    let notes = of(base, rounds(3, 1e5, 900.0), &[]).notes;
    assert!(notes[0].contains("1 of 3 rounds of the base have failed"));
}

#[test]
fn what_is_not_alike_is_refused() {
    let refused = |change: fn(&mut RunResult)| {
        let mut new = rounds(2, 1e5, 900.0);
        change(&mut new[1].result);
        new[1].file = "b.json".into();
        pairs(rounds(2, 1e5, 900.0), new).unwrap_err()
    };
    let sentence = refused(|run| run.plan.keep_alive_s = 7);
    assert_eq!(
        sentence,
        "a.json and b.json cannot be compared: plan.keep_alive_s is 0 in one, 7 in the other"
    );
    let sentence = refused(|run| {
        run.plan
            .groups
            .push(crate::results::DescribedGroup::default())
    });
    assert!(sentence.contains("plan.groups is 0 long in one, 1 long in the other"));
    let sentence = refused(|run| run.scenario = "fan-in".into());
    assert!(
        sentence.contains("fan-in was run on one side only (new)"),
        "{sentence}"
    );
    let sentence = refused(|run| run.interrupted = Some("interrupted".into()));
    assert!(sentence.contains("b.json is of a run that was interrupted"));
    let sentence = refused(|run| run.found = Some(crate::results::FoundRate::default()));
    assert!(sentence.contains("highest rate"));
    let same = refused_nothing(|run| run.plan = DescribedPlan::default());
    assert_eq!(same.len(), 1);
}

fn refused_nothing(change: fn(&mut RunResult)) -> Vec<Pair> {
    let mut new = rounds(2, 1e5, 900.0);
    change(&mut new[0].result);
    pairs(rounds(2, 1e5, 900.0), new).unwrap()
}

#[test]
fn sides_are_told_apart_by_their_labels() {
    let mut all = rounds(4, 1e5, 900.0);
    assert!(by_label(all.clone()).unwrap_err().contains("behind --to"));
    all[1].result.label = "b".into();
    let (base, new) = by_label(all).unwrap();
    assert_eq!((base.len(), new.len()), (3, 1));
}

#[test]
fn text_fits_a_terminal_and_markdown_is_none_of_others() {
    let mut base = rounds(5, 123_456_789.0, 9_000_000.0);
    let new = rounds(5, 12_345_678.0, 90_000_000.0);
    base[0].result.label = "v1|<b>@everyone".into();
    let found = of(base, new, &["5%"]);
    let text = found.text();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(text.contains("REGRESSION: 3 things are worse"), "{text}");
    let markdown = found.markdown();
    assert!(
        markdown.contains("v1\\|\\<b\\>@\u{200B}everyone"),
        "{markdown}"
    );
    let table: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert_eq!(table.len(), 2 + 4, "{markdown}");
}
