//! The result of a run.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times in microseconds, as JSON has them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl Times {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SnResult {
    pub scenario: &'static str,
    pub clients: usize,
    pub connected: usize,
    /// Messages sent, repeats apart.
    pub sent: u64,
    pub acknowledged: u64,
    /// Messages that should have arrived: those that were acknowledged, and at QoS 0 and -1 all.
    pub expected: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicates: u64,
    /// Messages that arrived under the name of another topic, or that are none of this run.
    pub wrong: u64,
    /// PINGRESP that came before all that waited.
    pub too_early: u64,
    pub retransmitted: u64,
    pub seconds: f64,
    /// Messages received per second, or clients that connected.
    pub per_second: f64,
    /// CONNECT to CONNACK; publication to arrival; PINGREQ to PINGRESP.
    pub latency: Times,
    /// CPU time of the broker for each message received, in nanoseconds, where its process is known.
    pub broker_cpu_ns_each: Option<f64>,
    /// Losses count: at QoS 0 and -1 they are allowed.
    pub is_certain: bool,
    /// Not over in time.
    pub timed_out: bool,
}

impl SnResult {
    pub(super) fn took(&mut self, took: Duration, count: u64) {
        self.seconds = took.as_secs_f64();
        self.per_second = count as f64 / self.seconds.max(1e-9);
    }

    pub(super) fn is_good(&self) -> bool {
        let has_lost = self.is_certain && self.lost > 0;
        !has_lost && self.wrong == 0 && self.too_early == 0 && !self.timed_out
    }

    pub(super) fn text(&self) -> String {
        let Self {
            scenario,
            clients,
            connected,
            sent,
            acknowledged,
            expected,
            received,
            lost,
            duplicates,
            wrong,
            too_early,
            retransmitted,
            latency,
            ..
        } = self;
        let mut text = String::new();
        // A String takes everything.
        let _ = writeln!(
            text,
            "{scenario}: {connected} of {clients} clients, {:.2} s, {:.0} per second",
            self.seconds, self.per_second
        );
        if *sent > 0 {
            let _ = writeln!(
                text,
                "messages: {sent} sent, {acknowledged} acknowledged, {received} of {expected} received, {lost} lost, \
                 {duplicates} twice, {wrong} wrong"
            );
        }
        let Times {
            p50_us,
            p99_us,
            max_us,
        } = latency;
        if *max_us > 0 || *retransmitted > 0 {
            let _ = writeln!(
                text,
                "latency: p50 {p50_us} us, p99 {p99_us} us, at most {max_us} us; {retransmitted} repeats; {too_early} \
                 PINGRESP too early"
            );
        }
        if let Some(each) = self.broker_cpu_ns_each {
            let _ = writeln!(text, "broker: {each:.0} ns of CPU for each message");
        }
        let verdict = match (self.is_good(), self.timed_out) {
            (true, _) => "passed",
            (_, true) => "FAILED: not over in time (--timeout)",
            _ => "FAILED",
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}
