//! Figures on their way from an agent: histograms and the reports of its workers, in parts that fit
//! into frames.

use base64::prelude::{Engine as _, BASE64_STANDARD};

use super::frame::{FromAgent, Head};
use crate::engine::Report;
use crate::flows::Flow;
use crate::histogram::{decode, encode};
use crate::meter::{Counts, Meter, Timing, Timings, COUNTS};

/// Rows of one frame: well below its bound, whatever their numbers are.
const ROWS: usize = 20_000;
/// Rows taken of one agent, so that a mad one does not fill the memory.
const ROWS_MAX: usize = 64 << 20;
/// Workers of one agent.
const WORKERS_MAX: usize = 4_096;

/// Histograms that hold anything, and the counters of the same moment, as a frame.
pub(super) fn timings_frame(timings: &mut Timings, counts: &Counts) -> FromAgent {
    let mut kinds = Vec::new();
    for timing in Timing::ALL {
        let histogram = timings.of(timing);
        if !histogram.is_empty() {
            kinds.push((timing as usize, BASE64_STANDARD.encode(encode(histogram))));
        }
    }
    FromAgent::Timings(kinds, counts.0.to_vec())
}

/// The histograms of a frame.
pub(super) fn timings(kinds: &[(usize, String)]) -> Result<Timings, String> {
    let mut timings = Timings::default();
    for (kind, text) in kinds {
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(|error| format!("a histogram is damaged: {error}"))?;
        let timing = Timing::ALL.get(*kind).ok_or("a histogram of no kind")?;
        timings.add(*timing, &decode(&bytes)?)?;
    }
    Ok(timings)
}

/// Counters of a frame.
pub(super) fn counts(counts: &[u64]) -> Result<Counts, String> {
    let counts: [u64; COUNTS] = counts
        .try_into()
        .map_err(|_| format!("{} counters instead of {COUNTS}", counts.len()))?;
    Ok(Counts(counts))
}

/// Hands a report to `send`, frame by frame.
pub(super) fn send<E>(
    report: &Report,
    mut send: impl FnMut(&FromAgent) -> Result<(), E>,
) -> Result<(), E> {
    send(&FromAgent::Report(Box::new(Head {
        counts: report.meter.counts.0.to_vec(),
        errors: report.meter.errors.clone(),
        interruptions: report.meter.interruptions.clone(),
        away: report.away,
        load_cpu_ns: report.load_cpu_ns,
        load_wall_ns: report.load_wall_ns,
        load_asleep_ns: report.load_asleep_ns,
    })))?;
    for rows in report.published.chunks(ROWS) {
        send(&FromAgent::Published(rows.to_vec()))?;
    }
    for rows in report.missed.chunks(ROWS) {
        send(&FromAgent::Missed(rows.to_vec()))?;
    }
    for rows in report.remarks.chunks(ROWS) {
        send(&FromAgent::Remarks(rows.to_vec()))?;
    }
    let mut rows = Vec::new();
    for (receiver, flows) in &report.flows {
        for flow in flows {
            rows.push((*receiver, flow.publisher, flow.counts()));
            if rows.len() == ROWS {
                send(&FromAgent::Flows(std::mem::take(&mut rows)))?;
            }
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    send(&FromAgent::Flows(rows))
}

/// Reports put together again.
#[derive(Default)]
pub(super) struct Reports {
    reports: Vec<Report>,
    rows: usize,
}

impl Reports {
    /// Takes a frame of a report.
    pub(super) fn take(&mut self, frame: FromAgent) -> Result<(), String> {
        if let FromAgent::Report(head) = frame {
            return self.begin(*head);
        }
        let report = self.reports.last_mut().ok_or("a part of no report")?;
        self.rows += match frame {
            FromAgent::Published(rows) => {
                report.published.extend(&rows);
                rows.len()
            }
            FromAgent::Missed(rows) => {
                report.missed.extend(&rows);
                rows.len()
            }
            FromAgent::Remarks(rows) => {
                report.remarks.extend(&rows);
                rows.len()
            }
            FromAgent::Flows(rows) => {
                for (receiver, publisher, counts) in &rows {
                    let flow = Flow::of_counts(*publisher, *counts);
                    match report.flows.last_mut() {
                        Some((last, flows)) if last == receiver => flows.push(flow),
                        _ => report.flows.push((*receiver, vec![flow])),
                    }
                }
                rows.len()
            }
            _ => return Err("a frame that does not belong here".into()),
        };
        if self.rows > ROWS_MAX {
            return Err(format!("a report of more than {ROWS_MAX} rows"));
        }
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Result<(), String> {
        if self.reports.len() == WORKERS_MAX {
            return Err(format!("more than {WORKERS_MAX} workers"));
        }
        self.reports.push(Report {
            meter: Meter {
                counts: counts(&head.counts)?,
                timings: Timings(Vec::new()),
                errors: head.errors,
                interruptions: head.interruptions,
            },
            away: head.away,
            load_cpu_ns: head.load_cpu_ns,
            load_wall_ns: head.load_wall_ns,
            load_asleep_ns: head.load_asleep_ns,
            ..Report::default()
        });
        Ok(())
    }

    pub(super) fn into_reports(self) -> Vec<Report> {
        self.reports
    }
}

/// What is left of the workers of a lost agent: their counters as they were last heard. That they
/// slept says nothing about the load, and must not look like a limit.
pub(super) fn remains(counts: Counts, workers: usize) -> Vec<Report> {
    let mut counts = Some(counts);
    let report = || Report {
        meter: Meter {
            counts: counts.take().unwrap_or_default(),
            ..Meter::default()
        },
        load_wall_ns: 1,
        load_asleep_ns: 1,
        ..Report::default()
    };
    std::iter::repeat_with(report)
        .take(workers.clamp(1, WORKERS_MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Count;

    #[test]
    fn merged_histograms_are_the_sum() {
        let (mut one, mut other, mut all) = (Meter::default(), Meter::default(), Meter::default());
        for value in 1..5_000_u64 {
            let ns = value * value * 40;
            let part = if value % 3 == 0 { &mut one } else { &mut other };
            part.time(Timing::EndToEnd, ns);
            all.time(Timing::EndToEnd, ns);
        }
        one.time(Timing::Connect, 77);
        all.time(Timing::Connect, 77);
        let mut merged = Timings::default();
        for part in [&mut one.timings, &mut other.timings] {
            let frame = timings_frame(part, &Counts::default());
            let frame = serde_json::to_vec(&frame).unwrap();
            let FromAgent::Timings(kinds, _) = serde_json::from_slice(&frame).unwrap() else {
                panic!("another frame");
            };
            merged.merge(&mut timings(&kinds).unwrap());
        }
        for timing in Timing::ALL {
            assert_eq!(merged.of(timing), all.timings.of(timing), "{timing:?}");
        }
    }

    #[test]
    fn damaged_figures_are_sentences() {
        assert!(timings(&[(0, "!".into())]).is_err());
        assert!(timings(&[(0, "AAAA".into())]).is_err());
        let histogram = BASE64_STANDARD.encode(encode(Timings::default().of(Timing::Connect)));
        assert!(timings(&[(99, histogram)]).is_err());
        // Above the range of the histograms.
        let mut long = hdrhistogram::Histogram::<u64>::new(3).unwrap();
        long.record(u64::MAX >> 4).unwrap();
        assert!(timings(&[(0, BASE64_STANDARD.encode(encode(&long)))]).is_err());
        assert!(counts(&[1, 2]).is_err());
        assert!(Reports::default().take(FromAgent::Missed(vec![1])).is_err());
    }

    #[test]
    fn reports_come_together_again() {
        let mut report = Report::default();
        report.meter.counts.add(Count::Published, 9);
        report.meter.errors.insert("trouble".into(), 2);
        report.published = (0..50_000).map(|client| (client, 3, 1)).collect();
        report.missed = vec![4, 5];
        let remark = crate::engine::Remark {
            altered: 3,
            ..Default::default()
        };
        report.remarks = vec![(4, remark)];
        let flow = |publisher| Flow::of_counts(publisher, [7, 2, 1, 3]);
        let many = |receiver| (receiver, (0..30_000).map(flow).collect());
        report.flows = vec![many(1), (2, vec![flow(8)])];
        report.load_cpu_ns = 6;
        let mut reports = Reports::default();
        let taken: Result<(), String> = send(&report, |frame| {
            let bytes = serde_json::to_vec(frame).unwrap();
            assert!(bytes.len() < super::super::frame::FRAME_MAX);
            reports.take(serde_json::from_slice(&bytes).unwrap())
        });
        taken.unwrap();
        let back = &reports.into_reports()[0];
        assert_eq!(back.meter.counts.0, report.meter.counts.0);
        assert_eq!(back.meter.errors, report.meter.errors);
        assert_eq!(back.published, report.published);
        assert_eq!(back.missed, report.missed);
        assert_eq!(back.remarks, report.remarks);
        assert_eq!(back.flows, report.flows);
        assert_eq!(back.load_cpu_ns, 6);
    }
}
