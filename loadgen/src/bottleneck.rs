//! Bottleneck detection: figures that the generator limits are not the broker's.

use crate::live::duration;
use crate::results::{About, Reason};

/// A worker busier than this cannot be trusted to keep its schedule or to read in time.
const BUSY_MAX: f64 = 0.9;
/// A message handled later than this after its time is late. Wake-ups and the 50 us between sends
/// are well below it.
pub const LATE_NS: u64 = 1_000_000;
/// Lateness is part of every latency: above this share of the 99th percentile it is most of the figure.
const LAG_SHARE_MAX: f64 = 0.5;
/// Without a latency to compare with, the load was not the one described when more are late.
const LATE_SHARE_MAX: f64 = 0.1;

/// Beginning of the sentence about a latency that the generator has made.
pub const MOSTLY_OWN: &str = "the latency is mostly this machine's scheduling";

/// The rate that a run measured, and what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rate {
    /// None was.
    #[default]
    None,
    /// Of an open loop that was kept: as much as was asked for, whether more could be taken or not.
    Kept(f64),
    /// As much as went through: more was there to be sent.
    Most(f64),
}

/// What the generator says of itself.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Share of the time each worker had a core.
    pub worker_cpu: Vec<f64>,
    /// Share of the time each worker had something to do: at least `worker_cpu`, and more when it had
    /// to wait for a core.
    pub worker_awake: Vec<f64>,
    /// 99th percentile of the delay from a message's time to the moment the generator got to it.
    pub lag_p99_us: f64,
    /// Share of the messages handled later than [`LATE_NS`].
    pub late_share: f64,
    /// 99th percentile of the latency the run is about, when one was measured.
    pub latency_p99_us: Option<f64>,
    pub rate: Rate,
}

impl Evidence {
    /// Which figures are the generator's and what that means; empty when all are the broker's.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let workers = self.worker_cpu.iter().zip(&self.worker_awake);
        for (worker, (cpu, awake)) in workers.enumerate() {
            let percent = |share: &f64| (share * 100.0).round();
            let busy = if *cpu > BUSY_MAX {
                format!("worker {worker} was busy {} % of the time", percent(cpu))
            } else if *awake > BUSY_MAX {
                format!(
                    "worker {worker} had work {} % of the time and a core only {} %",
                    percent(awake),
                    percent(cpu)
                )
            } else {
                continue;
            };
            let mend = if *cpu > BUSY_MAX {
                "give more with --threads"
            } else {
                "give it one of its own with --cores"
            };
            reasons.push(self.busy(&busy, mend));
        }
        reasons.extend(self.lateness());
        reasons
    }

    /// What a busy worker means for the figures at hand.
    fn busy(&self, busy: &str, mend: &str) -> Reason {
        let (about, meaning) = match self.rate {
            Rate::Kept(rate) => (
                About::Latency,
                format!(
                    "the {rate:.0} per second are what was asked for, and latencies hold what messages waited for \
                     mqload: the broker's own are lower"
                ),
            ),
            Rate::Most(rate) => (
                About::Rate,
                format!("{rate:.0} per second are what mqload could do, the broker may take more"),
            ),
            Rate::None => (About::Rate, "the broker may take more".to_string()),
        };
        Reason {
            about,
            sentence: format!("{busy}: {meaning}; {mend}"),
        }
    }

    fn lateness(&self) -> Option<Reason> {
        if self.lag_p99_us * 1e3 <= LATE_NS as f64 {
            return None;
        }
        let lag = duration(self.lag_p99_us);
        match self.latency_p99_us {
            Some(latency) => (self.lag_p99_us > latency * LAG_SHARE_MAX).then(|| Reason {
                about: About::Latency,
                sentence: format!(
                    "{MOSTLY_OWN}: mqload itself was {lag} late, of the {} measured (p99 of both). The broker's \
                     own p99 is lower; the rate is not touched by this",
                    duration(latency)
                ),
            }),
            None => (self.late_share > LATE_SHARE_MAX).then(|| Reason {
                about: About::Rate,
                sentence: format!(
                    "{:.0} % of the messages were handled over 1 ms after their time (1 % of them {lag} \
                     or more): the load came in bursts and was not the one asked for",
                    self.late_share * 100.0
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(lag_p99_us: f64, late_share: f64, latency_p99_us: Option<f64>) -> Evidence {
        Evidence {
            worker_cpu: vec![0.5],
            worker_awake: vec![0.6],
            lag_p99_us,
            late_share,
            latency_p99_us,
            rate: Rate::Kept(1_000.0),
        }
    }

    #[test]
    fn a_busy_worker_is_the_limit() {
        let busy = Evidence {
            worker_cpu: vec![0.2, 0.95, 0.5],
            worker_awake: vec![0.2, 0.95, 1.0],
            rate: Rate::Most(5_000.0),
            ..Evidence::default()
        };
        let reasons = busy.reasons();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        let begins = |at: usize, begin: &str| reasons[at].sentence.starts_with(begin);
        assert!(begins(0, "worker 1 was busy 95 %"));
        assert!(begins(
            1,
            "worker 2 had work 100 % of the time and a core only 50 %"
        ));
        assert!(reasons[0]
            .sentence
            .contains("5000 per second are what mqload could do"));
        assert_eq!(reasons[0].about, About::Rate);
        // Where the rate was what had been asked for, it is the latency that suffers.
        let kept = Evidence {
            rate: Rate::Kept(1_000.0),
            ..busy
        };
        let reason = &kept.reasons()[0];
        assert_eq!(reason.about, About::Latency);
        assert!(reason
            .sentence
            .contains("the 1000 per second are what was asked for"));
        assert!(evidence(0.0, 0.0, None).reasons().is_empty());
    }

    #[test]
    fn lateness_counts_where_it_makes_the_figure() {
        let rows = [
            // Lag below a millisecond is the pace of sending.
            (900.0, 0.0, Some(1_000.0), false),
            // A busy machine: 2 ms late of 10 ms measured.
            (2_000.0, 0.02, Some(10_000.0), false),
            (2_000.0, 0.02, Some(3_900.0), true),
            // The broker was flooded: what it took is far above the generator's delay.
            (50_000.0, 0.5, Some(900_000.0), false),
            // Nothing was timed.
            (2_000.0, 0.02, None, false),
            (2_000.0, 0.11, None, true),
        ];
        for (lag, late, latency, is_late) in rows {
            let reasons = evidence(lag, late, latency).reasons();
            assert_eq!(!reasons.is_empty(), is_late, "{lag} {late} {latency:?}");
        }
    }
}
