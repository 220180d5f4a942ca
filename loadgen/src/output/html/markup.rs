//! Text and figures as markup.

use std::fmt::Write as _;

use crate::live;
use crate::output::columns::{Column, Figure};
pub(super) use crate::output::escape::escape;

/// 1.5 M, 20 k, 300.
pub(super) fn thousands(value: f64) -> String {
    let digits = |value: f64| {
        let text = format!("{value:.1}");
        text.strip_suffix(".0").map_or(text.clone(), str::to_string)
    };
    match value {
        _ if value >= 1e6 => format!("{} M", digits(value / 1e6)),
        _ if value >= 1e3 => format!("{} k", digits(value / 1e3)),
        _ => digits(value),
    }
}

/// Microseconds for a table.
pub(super) fn duration(us: f64) -> String {
    live::duration(us).replace(" us", " µs")
}

/// Microseconds as a mark of an axis.
pub(super) fn short_duration(us: f64) -> String {
    match us {
        _ if us >= 999_999.0 => format!("{:.0} s", us / 1e6),
        _ if us >= 999.0 => format!("{:.0} ms", us / 1e3),
        _ if us >= 0.999 => format!("{us:.0} µs"),
        _ => format!("{:.0} ns", us * 1e3),
    }
}

/// Day and time of day, UTC. (The civil calendar by days, H. Hinnant, "chrono-compatible low-level date algorithms".)
pub(super) fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (days, second) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153; // months from March on
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// A count with its thousands apart.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push('\u{202F}'); // a narrow space that does not break
        }
        text.push(digit);
    }
    text
}

/// A table of these columns.
pub(super) fn figures<'a, T: 'a>(
    html: &mut String,
    columns: &[&Column<T>],
    rows: impl Iterator<Item = &'a T>,
) {
    let rows: Vec<_> = rows.map(|row| cells(columns, row)).collect();
    let headings: Vec<_> = columns.iter().map(|column| column.heading).collect();
    table(html, &headings, &rows);
}

/// Cells of a row.
pub(super) fn cells<T>(columns: &[&Column<T>], row: &T) -> Vec<String> {
    columns
        .iter()
        .map(|column| cell((column.figure)(row)))
        .collect()
}

fn cell(figure: Figure) -> String {
    let missing = || "–".to_string();
    match figure {
        Figure::Text(text) => escape(text),
        Figure::Name(name) => escape(&name),
        Figure::Rate(value) => count(value),
        Figure::Latency(us) => us.map_or_else(missing, duration),
        Figure::Nanoseconds(ns) => ns.map_or_else(missing, |ns| format!("{} ns", count(ns))),
        Figure::Time(seconds) => format!("{seconds:.1} s"),
        Figure::Ratio(ratio) => ratio.map_or_else(missing, |ratio| format!("{ratio:.2}")),
        Figure::Count(value) => count(value as f64),
    }
}

/// A table of figures; its cells are markup already. Nothing when it has no rows.
pub(super) fn table(html: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    html.push_str("<div class=\"wide\"><table class=\"figures\"><thead><tr>");
    for head in heads {
        let _ = write!(html, "<th>{head}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_short() {
        assert_eq!(thousands(1_500_000.0), "1.5 M");
        assert_eq!(thousands(20_000.0), "20 k");
        assert_eq!(short_duration(1_000.0), "1 ms");
        assert_eq!(short_duration(100.0), "100 µs");
        assert_eq!(count(1_234_567.0), "1\u{202F}234\u{202F}567");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (unix_s, day) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(unix_s * 1_000), day);
        }
    }
}
