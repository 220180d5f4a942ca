//! Results as one HTML page that needs nothing else: plots are SVG inside it.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::text::main_latency;
use crate::live::duration;
use crate::results::RunResult;

const SIZE: (u32, u32) = (760, 340);

/// A line of a plot.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// The page for one result, or for several side by side.
///
/// # Errors
/// A sentence when a plot cannot be drawn.
pub fn page(results: &[RunResult]) -> Result<String, String> {
    let title = results.first().map_or("nothing", |result| &result.scenario);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>mqload: {}</title><style>{STYLE}</style></head><body>\
         <h1>mqload: {}</h1>",
        escape(title),
        escape(title)
    );
    summary(&mut html, results);
    let plots = [
        (
            "Received per second",
            "seconds",
            "messages per second",
            series(results, |second| second.received as f64),
        ),
        (
            "Published per second",
            "seconds",
            "messages per second",
            series(results, |second| second.published as f64),
        ),
        (
            "Latency p99 over time",
            "seconds",
            "microseconds",
            series(results, |second| second.p99_us),
        ),
        (
            "Latency by percentile",
            "nines (1: 90 %, 2: 99 %, 3: 99.9 %)",
            "microseconds",
            curves(results),
        ),
    ];
    for (caption, x, y, lines) in plots {
        let drawn =
            plot(x, y, &lines).map_err(|error| format!("cannot draw {caption:?}: {error}"))?;
        let _ = write!(
            html,
            "<figure><figcaption>{caption}</figcaption>{drawn}</figure>"
        );
    }
    for result in results {
        details(&mut html, result);
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child,td:nth-child(2){text-align:left}figure{margin:2em 0}figcaption{font-weight:600}svg{max-width:100%;height:auto}\
.bad{color:#b00020}code{background:#f4f4f4;padding:.1em .3em;overflow-wrap:anywhere}";

fn summary(html: &mut String, results: &[RunResult]) {
    html.push_str(
        "<table id=\"summary\"><tr><th>scenario</th><th>label</th><th>published/s</th><th>received/s</th><th>ratio</th>\
         <th>p50</th><th>p99</th><th>p99.9</th><th>max</th><th>lost</th></tr>",
    );
    for result in results {
        let first = results
            .iter()
            .find(|other| other.scenario == result.scenario)
            .unwrap_or(result);
        let ratio = result.totals.received_per_s / first.totals.received_per_s.max(1e-9);
        let times = main_latency(result).map_or([0.0; 4], |own| {
            [own.p50_us, own.p99_us, own.p999_us, own.max_us]
        });
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{ratio:.2}</td>",
            escape(&result.scenario),
            escape(&result.label),
            result.totals.published_per_s,
            result.totals.received_per_s
        );
        for time in times {
            let _ = write!(html, "<td>{}</td>", duration(time));
        }
        let _ = write!(
            html,
            "<td>{}</td></tr>",
            result.truth.lost.iter().sum::<u64>()
        );
    }
    html.push_str("</table>");
}

fn details(html: &mut String, result: &RunResult) {
    let _ = write!(
        html,
        "<h2>{}: {}</h2><p><code>{}</code><br>mqload {}, Linux {}, {}, {} cores, {} threads, seed {}</p>",
        escape(&result.scenario),
        escape(&result.label),
        escape(&result.command),
        escape(&result.mqload_version),
        escape(&result.kernel),
        escape(&result.cpu_model),
        result.cores,
        result.threads,
        result.seed
    );
    let bad = result
        .truth
        .broken_promises
        .iter()
        .chain(&result.generator.reasons)
        .chain(result.errors.keys());
    for sentence in bad {
        let _ = write!(html, "<p class=\"bad\">{}</p>", escape(sentence));
    }
    for note in &result.notes {
        let _ = write!(html, "<p>{}</p>", escape(note));
    }
}

fn label(result: &RunResult) -> String {
    format!("{} {}", result.scenario, result.label)
}

fn series(results: &[RunResult], value: fn(&crate::results::Second) -> f64) -> Vec<Line> {
    let line = |result: &RunResult| Line {
        name: label(result),
        points: result
            .series
            .iter()
            .map(|second| (second.at_s, value(second)))
            .collect(),
    };
    results.iter().map(line).collect()
}

/// Percentiles spread so that each nine takes the same room.
fn curves(results: &[RunResult]) -> Vec<Line> {
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-6).log10();
    let line = |result: &RunResult| Line {
        name: label(result),
        points: main_latency(result).map_or(Vec::new(), |own| {
            own.curve.iter().map(|(at, us)| (nines(*at), *us)).collect()
        }),
    };
    results.iter().map(line).collect()
}

fn plot(x: &str, y: &str, lines: &[Line]) -> Result<String, String> {
    let mut svg = String::new();
    let points = || lines.iter().flat_map(|line| &line.points);
    let most =
        |part: fn(&(f64, f64)) -> f64| points().map(part).fold(0.0, f64::max).max(1e-3) * 1.05;
    let (x_max, y_max) = (most(|point| point.0), most(|point| point.1));
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let draw = || -> Result<(), Box<dyn std::error::Error>> {
            root.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&root)
                .margin(10)
                .x_label_area_size(40)
                .y_label_area_size(80)
                .build_cartesian_2d(0.0..x_max, 0.0..y_max)?;
            chart
                .configure_mesh()
                .x_desc(x)
                .y_desc(y)
                .light_line_style(WHITE)
                .draw()?;
            for (index, line) in lines.iter().enumerate() {
                let color = Palette99::pick(index).stroke_width(2);
                chart
                    .draw_series(LineSeries::new(line.points.iter().copied(), color))?
                    .label(&line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
            }
            if lines.len() > 1 {
                chart
                    .configure_series_labels()
                    .background_style(WHITE.mix(0.8))
                    .border_style(BLACK.mix(0.3))
                    .draw()?;
            }
            root.present()?;
            Ok(())
        };
        draw().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

/// Text that cannot become markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Second;

    #[test]
    fn a_page_is_whole_and_names_no_other_place() {
        let mut result = RunResult {
            scenario: "pairs".into(),
            label: "<b>&\"".into(),
            ..RunResult::default()
        };
        for at in 0..5 {
            result.series.push(Second {
                at_s: f64::from(at),
                received: 100,
                ..Second::default()
            });
        }
        let html = page(&[result.clone(), result]).unwrap();
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
        assert_eq!(html.matches("<svg").count(), 4);
        assert_eq!(html.matches("</svg>").count(), 4);
        assert!(!html.contains("<b>"), "text must be escaped");
        assert!(!html.contains("<script") && !html.contains("src="));
    }

    #[test]
    fn an_empty_result_is_a_page_too() {
        assert!(page(&[RunResult::default()]).is_ok());
    }
}
