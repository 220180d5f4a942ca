//! The screen: figures drawn into a frame of any size.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use ratatui::Frame;

use super::figures::Figures;
use super::text::{clients, headline, latencies, short, totals, CLIENT_HEADS, LATENCY_HEADS};

/// Rates that are kept to be plotted: more than a screen is wide.
const POINTS_MAX: usize = 512;
/// Rows of shards beside the latencies, at most; of more the busiest.
const SHARDS_MAX: usize = 8;
/// From this width on all columns are shown.
const WIDE: u16 = 104;

/// The number of a column and how wide it is; 0: as wide as there is room.
type Column = (usize, u16);

/// What is on the screen. Lives on: the thread that draws.
#[derive(Default)]
pub(super) struct Screen {
    pub(super) figures: Option<Figures>,
    /// Messages per second in and out, the newest last.
    flows: Vec<[u64; 2]>,
    pub(super) is_paused: bool,
    /// Why there is nothing new.
    pub(super) problem: Option<String>,
}

impl Screen {
    pub(super) fn take(&mut self, figures: Figures) {
        if self.flows.len() == POINTS_MAX {
            self.flows.remove(0);
        }
        let Figures { total, .. } = &figures;
        let flow = [total.messages_in, total.messages_out];
        self.flows.push(flow.map(|rate| rate.round() as u64));
        self.figures = Some(figures);
        self.problem = None;
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let Some(figures) = &self.figures else {
            let text = self
                .problem
                .as_deref()
                .unwrap_or("Two readings are needed for rates …");
            frame.render_widget(Paragraph::new(text), frame.area());
            return;
        };
        let shards = figures.shards.len().min(SHARDS_MAX) as u16;
        let middle = (shards + 1).max(latencies(figures).len() as u16 + 1) + 1;
        let plots = if frame.area().height >= 24 { 4 } else { 0 };
        let [head, flows, measures, refused, rows, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(plots),
            Constraint::Length(middle),
            Constraint::Length(1),
            Constraint::Min(2),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        draw_head(frame, head, figures);
        self.draw_flows(frame, flows);
        let is_narrow = frame.area().width < WIDE;
        let bar = if is_narrow { 4 } else { 10 };
        let [left, right] =
            Layout::horizontal([Constraint::Length(bar + 27), Constraint::Min(20)]).areas(measures);
        draw_shards(frame, left, figures, bar);
        let cells: &[Column] = match is_narrow {
            true => &[(0, 12), (2, 8), (3, 8), (4, 8), (6, 8)],
            false => &[(0, 12), (1, 7), (2, 8), (3, 8), (4, 8), (5, 8), (6, 8)],
        };
        draw_table(frame, right, (&LATENCY_HEADS, &latencies(figures)), cells);
        draw_refused(frame, refused, figures);
        let cells: &[Column] = match is_narrow {
            true => &[(0, 0), (2, 21), (3, 8), (4, 8), (6, 6), (7, 7)],
            false => &[
                (0, 0),
                (1, 12),
                (2, 21),
                (3, 9),
                (4, 9),
                (5, 9),
                (6, 7),
                (7, 8),
            ],
        };
        draw_table(frame, rows, (&CLIENT_HEADS, &clients(figures)), cells);
        self.draw_foot(frame, foot, figures);
    }

    fn draw_flows(&self, frame: &mut Frame<'_>, area: Rect) {
        let halves = Layout::horizontal([Constraint::Percentage(50); 2]).spacing(1);
        let sides: [Rect; 2] = halves.areas(area);
        for ((side, name), at) in sides.into_iter().zip(["in", "out"]).zip(0..) {
            let fit = self.flows.len().saturating_sub(side.width.into());
            let points: Vec<u64> = self.flows[fit..].iter().map(|flow| flow[at]).collect();
            let most = points.iter().copied().max().unwrap_or(0);
            let title = format!("messages {name}, at most {}/s", short(most as f64));
            let plot = Sparkline::default()
                .data(points)
                .style(Style::new().fg(Color::Cyan))
                .block(Block::new().title(title.dim()));
            frame.render_widget(plot, side);
        }
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
        let keys = format!("q ends  s order: {}  p pauses", figures.sort);
        let line = match (&self.problem, self.is_paused) {
            (Some(problem), _) => Line::from(problem.as_str()).red().bold(),
            (None, true) => Line::from(format!("paused  {keys}")).reversed(),
            (None, false) => Line::from(keys).dim(),
        };
        frame.render_widget(Paragraph::new(line), area);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let mut spans = Vec::new();
    for (name, value) in totals(figures) {
        let is_bad = name == "dropped" && figures.total.dropped > 0.0;
        let value = Span::from(value).bold();
        spans.push(Span::from(format!("{name} ")).dim());
        spans.push(if is_bad { value.red() } else { value });
        spans.push(Span::from("  "));
    }
    let lines = vec![Line::from(headline(figures)), Line::from(spans)];
    let text = Paragraph::new(lines).wrap(ratatui::widgets::Wrap { trim: true });
    frame.render_widget(text, area);
}

/// The busiest of many.
fn draw_shards(frame: &mut Frame<'_>, area: Rect, figures: &Figures, cells: u16) {
    let cells = usize::from(cells);
    let mut shards: Vec<usize> = (0..figures.shards.len()).collect();
    if shards.len() > SHARDS_MAX {
        let busy = |shard: &usize| std::cmp::Reverse((figures.shards[*shard].busy * 1e6) as u64);
        shards.sort_by_key(busy);
        shards.truncate(SHARDS_MAX);
    }
    let rows = shards.into_iter().map(|shard| {
        let load = &figures.shards[shard];
        let full = ((load.busy * cells as f64).round() as usize).min(cells);
        let bar = format!(
            "{}{} {:>3.0}%",
            "█".repeat(full),
            "░".repeat(cells - full),
            load.busy * 100.0
        );
        [
            shard.to_string(),
            bar,
            short(load.messages_in),
            short(load.messages_out),
        ]
    });
    let rows: Vec<[String; 4]> = rows.collect();
    let columns = [(0, 5), (1, cells as u16 + 5), (2, 6), (3, 6)];
    draw_table(
        frame,
        area,
        (&["SHARD", "BUSY", "IN/S", "OUT/S"], &rows),
        &columns,
    );
}

fn draw_refused(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let spans = figures.refused.iter().flat_map(|one| {
        let text = format!("{} {}", one.name.replace('_', " "), one.count);
        let text = match one.per_s > 0.0 {
            true => Span::from(format!("{text} (+{}/s)", short(one.per_s))).red(),
            false => Span::from(text).dim(),
        };
        [text, Span::from("  ")]
    });
    let line = Line::from(spans.collect::<Vec<_>>());
    frame.render_widget(Paragraph::new(line), area);
}

/// Some columns of a table.
fn draw_table<const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    (heads, rows): (&[&str; N], &[[String; N]]),
    columns: &[Column],
) {
    let style = Style::new().add_modifier(Modifier::BOLD);
    let head = columns.iter().map(|(at, _)| heads[*at]);
    let head = Row::new(head).style(style);
    let rows = rows
        .iter()
        .map(|row| Row::new(columns.iter().map(|(at, _)| row[*at].as_str())));
    let widths = columns.iter().map(|(_, width)| match width {
        0 => Constraint::Min(10),
        width => Constraint::Length(*width),
    });
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::backend::TestBackend;
    use ratatui::Terminal;

    use super::super::figures::tests::reading;
    use super::*;

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let lines = cells.chunks(width.into()).map(|line| line.concat());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn screen() -> Screen {
        let start = Instant::now();
        let mut screen = Screen::default();
        screen.take(Figures::between(
            &reading(start, 100),
            &reading(start + Duration::from_secs(1), 600),
        ));
        screen
    }

    #[test]
    fn it_fits_into_an_ordinary_terminal() {
        let text = drawn(&screen(), 80, 24);
        for part in [
            "ringmq 1, ready",
            "messages in 500/s",
            "██░░  50%",
            "400 us   1.5 ms   3.00 s",
            "dropped queue full 60 (+50/s)",
            "a\\u{1b}[2J",
            "q ends  s order: rate",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let wide = drawn(&screen(), 120, 30);
        for part in ["█████░░░░░  50%", "1.5 ms   20.0 ms  3.00 s", "BYTES/S"] {
            assert!(wide.contains(part), "no {part:?} in\n{wide}");
        }
    }

    #[test]
    fn any_size_is_drawn() {
        let screen = screen();
        for width in [1, 7, 40, 300] {
            for height in [1, 3, 10, 80] {
                drawn(&screen, width, height);
            }
        }
        let mut empty = Screen::default();
        assert!(drawn(&empty, 60, 2).contains("Two readings"));
        empty.problem = Some("unreachable".into());
        assert!(drawn(&empty, 60, 2).contains("unreachable"));
    }
}
