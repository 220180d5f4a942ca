//! Percentiles of what shards measure: since the start, and since earlier reports.

use serde_json::{json, Map, Value};

use crate::histogram::Histogram;
use crate::metrics::ShardReport;

type Read = fn(&ShardReport) -> &Histogram;

/// What is measured, in microseconds, by the names of /metrics.
const MEASURED: [(&str, Read); 5] = [
    ("delivery", |one| &one.shard.delivery),
    ("publish_ack", |one| &one.shard.publish_ack),
    ("connack", |one| &one.shard.connack),
    ("turn", |one| &one.driver.turn_length),
    ("commit", |one| &one.driver.commit),
];

/// Median and 99th percentile, in microseconds.
pub(super) type Pair = [u64; 2];

pub(super) fn names() -> Vec<&'static str> {
    MEASURED.iter().map(|(name, _)| *name).collect()
}

/// All measures of one shard or of all, in the order of their names.
type Measures = Vec<Histogram>;

fn percentiles(measure: &Histogram) -> Value {
    match measure.count() {
        0 => Value::Null,
        count => json!({
            "count": count,
            "p50_us": measure.quantile(0.5),
            "p90_us": measure.quantile(0.9),
            "p99_us": measure.quantile(0.99),
            "p999_us": measure.quantile(0.999),
            "max_us": measure.quantile(1.0),
        }),
    }
}

fn named(measures: &Measures) -> Value {
    let named = MEASURED.iter().zip(measures);
    let named = named.map(|((name, _), measure)| ((*name).to_owned(), percentiles(measure)));
    Value::Object(named.collect::<Map<_, _>>())
}

fn of(report: &ShardReport) -> Measures {
    let measures = MEASURED.iter().map(|(_, read)| read(report).clone());
    measures.collect()
}

/// What each shard has measured since earlier reports; there are none at the start.
fn recent(reports: &[ShardReport], before: &[ShardReport]) -> Vec<Measures> {
    let recent = reports.iter().enumerate().map(|(shard, report)| {
        let measures = MEASURED.iter().map(|(_, read)| match before.get(shard) {
            Some(before) => read(report).since(read(before)),
            None => read(report).clone(),
        });
        measures.collect()
    });
    recent.collect()
}

fn sum(shards: &[Measures]) -> Measures {
    let mut all = vec![Histogram::default(); MEASURED.len()];
    for one in shards {
        for (sum, measure) in all.iter_mut().zip(one) {
            sum.add(measure);
        }
    }
    all
}

/// For the history: of all shards since earlier reports; `None` where nothing was measured.
pub(super) fn pairs(reports: &[ShardReport], before: &[ShardReport]) -> Vec<Option<Pair>> {
    let measures = sum(&recent(reports, before));
    let pairs = measures.iter().map(|measure| {
        let pair = [measure.quantile(0.5), measure.quantile(0.99)];
        (measure.count() > 0).then_some(pair)
    });
    pairs.collect()
}

pub(super) fn to_json(reports: &[ShardReport], before: &[ShardReport]) -> Value {
    let recent = recent(reports, before);
    let since_start: Vec<Measures> = reports.iter().map(of).collect();
    let shards = recent.iter().enumerate();
    let shards = shards.map(|(shard, one)| json!({ "shard": shard, "recent": named(one) }));
    json!({
        "recent": named(&sum(&recent)),
        "since_start": named(&sum(&since_start)),
        "shards": shards.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recent_is_what_came_since_the_sample_before() {
        let mut one = ShardReport::default();
        for _ in 0..100 {
            one.shard.delivery.record(5);
        }
        let first = vec![one.clone(), ShardReport::default()];
        assert_eq!(pairs(&first, &[]), [Some([5, 5]), None, None, None, None]);
        one.shard.delivery.record(90);
        one.driver.turn_length.record(7);
        let second = [one, ShardReport::default()];
        let recent = pairs(&second, &first);
        assert_eq!(recent, [Some([90, 90]), None, None, Some([7, 7]), None]);
        let shown = to_json(&second, &first);
        assert_eq!(shown["recent"]["delivery"]["count"], 1);
        assert_eq!(shown["since_start"]["delivery"]["count"], 101);
        assert_eq!(shown["since_start"]["delivery"]["p50_us"], 5);
        assert_eq!(shown["shards"][1]["recent"]["delivery"], Value::Null);
    }
}
