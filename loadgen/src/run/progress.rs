//! Progress of a run: a bar where there is a terminal, a line each second where there is none.

use std::io::Write;

use crate::live::{self, short};
use crate::results::Second;
use crate::terminal::Terminal;

/// Lines between two headings.
const HEADED: u64 = 30;
const BAR_MAX: usize = 60;
const BAR_MIN: usize = 8;

/// Where a run shows its progress.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: Terminal,
    is_quiet: bool,
    lines: u64,
}

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self {
            terminal: Terminal::of(&std::io::stderr()),
            is_quiet,
            lines: 0,
        }
    }

    /// A second is over; `left_s` is what the plan has left, if that is known.
    pub(crate) fn show(&mut self, step: &str, second: &Second, left_s: Option<f64>) {
        if self.is_quiet {
            return;
        }
        let mut text = String::new();
        match self.terminal.width {
            Some(width) => {
                text += "\r";
                text += &bar(step, second, left_s, width);
                text += "\x1b[K"; // what an earlier one has left behind it
            }
            None => {
                if self.lines.is_multiple_of(HEADED) {
                    text += &live::heading();
                    text += "\n";
                }
                text += &live::line(step, second, left_s);
                text += "\n";
            }
        }
        self.lines += 1;
        let mut out = std::io::stderr();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush()); // the terminal has closed
    }

    /// Leaves an empty line to what comes next.
    pub(crate) fn end(&mut self) {
        if self.terminal.width.is_some() && self.lines > 0 {
            eprint!("\r\x1b[K");
            self.lines = 0;
        }
    }
}

/// One line of at most `width` columns: with more of them it has more figures.
fn bar(step: &str, second: &Second, left_s: Option<f64>, width: usize) -> String {
    let share = left_s.map(|left| second.at_s / (second.at_s + left).max(1e-9));
    let percent = share.map_or("    ".into(), |share| format!("{:>3.0}%", share * 100.0));
    let left = left_s.map_or("       ".into(), |left| format!("{:>7}", live::clock(left)));
    let latency = |us: f64| {
        if second.timed.is_some() {
            live::duration(us)
        } else {
            "-".into()
        }
    };
    let mut told = format!(
        "  out {:>6}/s  in {:>6}/s  p99 {:>8}",
        short(second.published as f64),
        short(second.received as f64),
        latency(second.p99_us)
    );
    let more = [
        (90, format!("  errors {}", second.errors)),
        (110, format!("  p50 {:>8}", latency(second.p50_us))),
        (
            130,
            format!("  clients {:>6}", short(second.connected as f64)),
        ),
        (150, format!("  max {:>8}", latency(second.max_us))),
    ];
    for (least, text) in more {
        if width >= least || (least == 90 && second.errors > 0) {
            told += &text;
        }
    }
    let name: String = step.chars().take(10).collect();
    // The last column stays free: some terminals go to the next line when it is written to.
    let besides = 10 + 2 + 1 + 4 + 1 + 7 + told.chars().count() + 1;
    let room = width.saturating_sub(besides).min(BAR_MAX);
    let bar = if room < BAR_MIN {
        String::new()
    } else {
        let full = (share.unwrap_or(0.0) * room as f64).round() as usize;
        format!("{}{}", "█".repeat(full), "░".repeat(room - full))
    };
    let line = format!("{name:<10} {bar} {percent} {left}{told}");
    line.chars().take(width - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_every_terminal() {
        let second = Second {
            at_s: 30.0,
            published: 123_456_789,
            received: 1_234_567_890,
            connected: 1_000_000,
            errors: 99_999,
            timed: Some("end_to_end".into()),
            p50_us: 999_999.0,
            p99_us: 99_999_999.0,
            max_us: 1e9,
            ..Second::default()
        };
        for width in [40, 80, 100, 120, 200, 300] {
            let bar = bar("a stage with a long name", &second, Some(90.0), width);
            assert!(bar.chars().count() < width, "{width}: {bar}");
        }
        let wide = bar("load", &second, Some(90.0), 200);
        assert!(wide.contains(" 25%") && wide.contains("1:30"), "{wide}");
        assert_eq!(
            wide.matches('█').count() * 3,
            wide.matches('░').count(),
            "{wide}"
        );
        assert!(bar("drain", &second, None, 80).contains("in   1.2G/s"));
    }
}
