//! Figures as text, for people who look once.

use serde_json::{json, Value};

use super::figures::{Figures, Load};
use crate::ctl::table::{plain, table};

/// Three or four digits and a unit: 1234567 is 1.23M.
pub(super) fn short(value: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut value, mut unit) = (value, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 && value.fract() == 0.0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", UNITS[unit])
}

/// Microseconds in the unit that fits.
pub(super) fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// Seconds as days, hours and minutes.
pub(super) fn up(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The line about the broker itself.
pub(super) fn headline(figures: &Figures) -> String {
    let broker = &figures.broker;
    let number = |name: &str| broker[name].as_u64().unwrap_or(0);
    let memory = match number("memory_limit_bytes") {
        0 => format!("{}B", short(number("memory_bytes") as f64)),
        limit => format!(
            "{}B of {}B",
            short(number("memory_bytes") as f64),
            short(limit as f64)
        ),
    };
    format!(
        "ringmq {}, {}, up {}, memory {memory}, cores in use {:.2}",
        plain(&broker["version"]),
        plain(&broker["stage"]),
        up(number("uptime_s")),
        figures.cpu,
    )
}

/// Connections, sessions and rates of all shards: names and values.
pub(super) fn totals(figures: &Figures) -> Vec<(&'static str, String)> {
    let Load {
        connections,
        sessions,
        retained,
        messages_in,
        messages_out,
        bytes_in,
        bytes_out,
        connects,
        dropped,
        busy: _,
    } = figures.total;
    vec![
        ("connections", short(connections as f64)),
        ("sessions", short(sessions as f64)),
        ("retained", short(retained as f64)),
        ("messages in", format!("{}/s", short(messages_in))),
        ("messages out", format!("{}/s", short(messages_out))),
        ("in", format!("{}B/s", short(bytes_in))),
        ("out", format!("{}B/s", short(bytes_out))),
        ("opened", format!("{}/s", short(connects))),
        ("dropped", format!("{}/s", short(dropped))),
    ]
}

pub(super) const LATENCY_HEADS: [&str; 7] =
    ["LATENCY", "COUNT", "P50", "P90", "P99", "P99.9", "MAX"];

/// Rows of what is measured, with as many cells as there are heads.
pub(super) fn latencies(figures: &Figures) -> Vec<[String; 7]> {
    let measures = figures.latency.as_object();
    let measures = measures.into_iter().flatten();
    let rows = measures.filter_map(|(name, measure)| {
        let at = |field: &str| span(measure[field].as_u64().unwrap_or(0));
        let count = measure["count"].as_u64()?;
        let count = short(count as f64);
        let name = name.replace('_', " ");
        Some([
            name,
            count,
            at("p50_us"),
            at("p90_us"),
            at("p99_us"),
            at("p999_us"),
            at("max_us"),
        ])
    });
    rows.collect()
}

/// Headings and cells of the clients, in the order that they came in.
pub(super) const CLIENT_HEADS: [&str; 8] = [
    "CLIENT", "USER", "ADDRESS", "IN", "OUT", "BYTES/S", "QUEUE", "DROPPED",
];

pub(super) fn clients(figures: &Figures) -> Vec<[String; 8]> {
    let rows = figures.clients.as_array().map_or(&[][..], |rows| rows);
    let row = |row: &Value| {
        let rate = |name: &str| row[name].as_f64();
        // With rates they are rates, else what has passed since the client connected.
        let flow = |per_s: &str, count: &str| match rate(per_s) {
            Some(rate) => format!("{}/s", short(rate)),
            None => row[count].as_f64().map_or("-".into(), short),
        };
        let bytes = rate("bytes_in_per_s").zip(rate("bytes_out_per_s"));
        [
            plain(&row["client_id"]),
            plain(&row["user"]),
            plain(&row["address"]),
            flow("publications_per_s", "publications"),
            flow("deliveries_per_s", "deliveries"),
            bytes.map_or("-".into(), |(one, other)| short(one + other)),
            plain(&row["queue_messages"]),
            plain(&row["dropped"]),
        ]
    };
    rows.iter().map(row).collect()
}

/// Everything, as lines.
pub(super) fn of(figures: &Figures) -> String {
    let totals = totals(figures).into_iter();
    let totals: Vec<String> = totals
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let shards = figures.shards.iter().enumerate().map(|(shard, load)| {
        [
            shard.to_string(),
            format!("{:.0}%", load.busy * 100.0),
            short(load.connections as f64),
            short(load.messages_in),
            short(load.messages_out),
            short(load.dropped),
        ]
    });
    let heads = ["SHARD", "BUSY", "CONNECTIONS", "IN/S", "OUT/S", "DROPPED/S"];
    let refused = figures.refused.iter().map(|one| {
        [
            one.name.replace('_', " "),
            short(one.per_s),
            one.count.to_string(),
        ]
    });
    let refused: Vec<_> = refused.collect();
    let mut parts = vec![
        format!("{}\n{}\n", headline(figures), totals.join(", ")),
        lines(&heads, &shards.collect::<Vec<_>>()),
        lines(&LATENCY_HEADS, &latencies(figures)),
    ];
    if !refused.is_empty() {
        parts.push(lines(&["DROPPED AND REFUSED", "PER S", "COUNT"], &refused));
    }
    parts.push(lines(&CLIENT_HEADS, &clients(figures)));
    parts.join("\n")
}

/// A table of cells that are texts.
fn lines<const N: usize>(heads: &[&str; N], rows: &[[String; N]]) -> String {
    let rows = rows.iter().map(|row| {
        let cells = heads.iter().zip(row);
        let cells = cells.map(|(head, cell)| ((*head).to_owned(), json!(cell)));
        Value::Object(cells.collect())
    });
    let columns = heads.map(|head| (head, head));
    table(&Value::Array(rows.collect()), &columns)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::figures::tests::reading;
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, shown) in [
            (0.0, "0"),
            (7.0, "7"),
            (7.25, "7.25"),
            (999.0, "999"),
            (1_234.0, "1.23k"),
            (999_900.0, "1.00M"),
            (12_345_678.0, "12.3M"),
        ] {
            assert_eq!(short(value), shown);
        }
        assert_eq!(
            [span(999), span(1_500), span(3_000_000)],
            ["999 us", "1.5 ms", "3.00 s"]
        );
        assert_eq!(
            [up(59), up(3_661), up(90_000)],
            ["0 min 59 s", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn everything_is_in_the_text_and_nothing_moves_the_cursor() {
        let start = Instant::now();
        let figures = Figures::between(
            &reading(start, 100),
            &reading(start + Duration::from_secs(1), 600),
        );
        let text = of(&figures);
        for part in [
            "ringmq 1, ready, up 1 h 1 min, memory 1.50MB, cores in use 0.50",
            "messages in 500/s",
            "delivery  9      120 us  400 us  1.5 ms  20.0 ms  3.00 s",
            "dropped queue full   50     60",
            "a\\u{1b}[2J",
            "5/s",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(!text.contains("commit") && !text.contains('\u{1b}'));
    }
}
