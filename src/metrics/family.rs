//! A family of metrics: one name with its kind, unit, help and series.

use super::report::{BridgeReport, BrokerReport, HookReport, ListenerReport, ShardReport};
use crate::histogram::Histogram;

/// One row of the table of metrics.
pub struct Family {
    /// Without `_total`, which the texts of counters add.
    pub name: &'static str,
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    pub series: Series,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Name and value.
pub(super) type Label = (&'static str, &'static str);

/// One number of a report.
pub struct Row<T: 'static> {
    pub labels: &'static [Label],
    /// Its name in the line of SIGUSR1, if it is there.
    pub logged: Option<&'static str>,
    pub read: fn(&T) -> f64,
}

/// Where a family's numbers come from.
pub enum Series {
    /// For each shard, with the label `shard`.
    Shard(&'static [Row<ShardReport>]),
    /// Of each shard, with the label `shard`.
    Histogram(Scale, fn(&ShardReport) -> &Histogram),
    /// For each listener, with the label `listener`.
    Listener(&'static [Row<ListenerReport>]),
    /// For each reason a listener has, with the labels `listener` and `reason`.
    ListenerRefusals,
    /// Of each listener with TLS, with the labels `listener` and `result`.
    Handshakes,
    /// Of each listener with certificates, with the label `listener`.
    Certificates,
    /// Of each hook, with the label `hook`.
    Hook(&'static [Row<HookReport>]),
    HookHistogram(Scale),
    /// For each bridge, with the label `bridge`.
    Bridge(&'static [Row<BridgeReport>]),
    /// For each reason not to pass a message on, with the labels `bridge` and `reason`.
    BridgeDrops,
    /// For each rule of the protocol that was broken, with the labels `shard` and `rule`.
    Violations,
    /// For each type of packet, with the labels `shard`, `direction` and `type`.
    Packets,
    /// Once.
    Broker(&'static [Row<BrokerReport>]),
    /// Once, with the labels `version` and `commit`.
    Build,
}

/// Buckets of a histogram, and what its values are divided by to be in base units.
pub struct Scale {
    pub bounds: &'static [u64],
    pub divisor: f64,
}

/// Microseconds: factor about three from 10 us to 10 s.
pub(super) const LATENCY: Scale = Scale {
    bounds: &[
        10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000,
        10_000_000,
    ],
    divisor: 1e6,
};
/// Things that wait.
pub(super) const DEPTH: Scale = Scale {
    bounds: &[1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000],
    divisor: 1.0,
};

impl Family {
    pub(super) const fn shard(
        (kind, name): (Kind, &'static str),
        help: &'static str,
        rows: &'static [Row<ShardReport>],
    ) -> Self {
        Self {
            name,
            kind,
            help,
            series: Series::Shard(rows),
        }
    }

    pub(super) const fn histogram(
        name: &'static str,
        help: &'static str,
        scale: Scale,
        of: fn(&ShardReport) -> &Histogram,
    ) -> Self {
        Self {
            name,
            kind: Kind::Histogram,
            help,
            series: Series::Histogram(scale, of),
        }
    }

    /// The name of its samples.
    #[must_use]
    pub fn sample_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.into(),
        }
    }

    /// The names of its labels.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        let of = |first: &[&'static str], labels: &[Label]| {
            let own = labels.iter().map(|(name, _)| *name);
            first.iter().copied().chain(own).collect()
        };
        match &self.series {
            Series::Shard(rows) => of(&["shard"], rows[0].labels),
            Series::Histogram(..) => vec!["shard"],
            Series::Listener(rows) => of(&["listener"], rows[0].labels),
            Series::ListenerRefusals => vec!["listener", "reason"],
            Series::Handshakes => vec!["listener", "result"],
            Series::Certificates => vec!["listener"],
            Series::Hook(rows) => of(&["hook"], rows[0].labels),
            Series::HookHistogram(_) => vec!["hook"],
            Series::Bridge(rows) => of(&["bridge"], rows[0].labels),
            Series::BridgeDrops => vec!["bridge", "reason"],
            Series::Violations => vec!["shard", "rule"],
            Series::Packets => vec!["shard", "direction", "type"],
            Series::Broker(rows) => of(&[], rows[0].labels),
            Series::Build => vec!["version", "commit"],
        }
    }
}
