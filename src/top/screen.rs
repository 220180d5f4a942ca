//! The screen: figures drawn into a frame of any size.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};
use ratatui::Frame;

use super::figures::Figures;
use super::text::{clients, headline, latencies, short, totals, CLIENT_HEADS, LATENCY_HEADS};

/// Rates that are kept to be plotted: more than a screen is wide.
const POINTS_MAX: usize = 512;
/// Rows of shards beside the latencies, at most; of more the busiest.
const SHARDS_MAX: usize = 8;
const BAR_CELLS: usize = 10;

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
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(42), Constraint::Percentage(58)])
                .areas(measures);
        draw_shards(frame, left, figures);
        let wide = [Constraint::Length(12), Constraint::Length(7)].into_iter();
        let widths = wide.chain([Constraint::Length(8); 5]).collect::<Vec<_>>();
        draw_table(frame, right, (&LATENCY_HEADS, &latencies(figures)), &widths);
        draw_refused(frame, refused, figures);
        let widths = [18, 10, 21, 9, 9, 9, 7, 8].map(Constraint::Length);
        let mut widths = widths.to_vec();
        widths[0] = Constraint::Min(12);
        draw_table(frame, rows, (&CLIENT_HEADS, &clients(figures)), &widths);
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
fn draw_shards(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let mut shards: Vec<usize> = (0..figures.shards.len()).collect();
    if shards.len() > SHARDS_MAX {
        let busy = |shard: &usize| std::cmp::Reverse((figures.shards[*shard].busy * 1e6) as u64);
        shards.sort_by_key(busy);
        shards.truncate(SHARDS_MAX);
    }
    let rows = shards.into_iter().map(|shard| {
        let load = &figures.shards[shard];
        let full = ((load.busy * BAR_CELLS as f64).round() as usize).min(BAR_CELLS);
        let bar = format!(
            "{}{} {:>3.0}%",
            "█".repeat(full),
            "░".repeat(BAR_CELLS - full),
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
    let widths = [5, 15, 6, 6].map(Constraint::Length);
    draw_table(
        frame,
        area,
        (&["SHARD", "BUSY", "IN/S", "OUT/S"], &rows),
        &widths,
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

fn draw_table<const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    (heads, rows): (&[&str; N], &[[String; N]]),
    widths: &[Constraint],
) {
    let style = Style::new().add_modifier(Modifier::BOLD);
    let head = Row::new(heads.map(Cell::from)).style(style);
    let rows = rows
        .iter()
        .map(|row| Row::new(row.iter().map(String::as_str)));
    let table = Table::new(rows, widths.iter().copied()).header(head);
    frame.render_widget(table.block(Block::new().borders(Borders::NONE)), area);
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
            "█████░░░░░  50%",
            "1.5 ms",
            "dropped queue full 60 (+50/s)",
            "a\\u{1b}[2J",
            "q ends  s order: rate",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
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
