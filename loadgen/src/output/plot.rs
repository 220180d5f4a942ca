//! Line plots as SVG that takes its colours from the page: text and axes follow the light or dark
//! scheme, lines differ on both.

use std::fmt::Write as _;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use super::escape::escape;

/// Two of them stand side by side on a wide page.
const SIZE: (u32, u32) = (660, 320);
/// Colours of lines, legible on white and on black.
const COLORS: [(u8, u8, u8); 8] = [
    (0x3B, 0x82, 0xF6),
    (0xF9, 0x73, 0x16),
    (0x10, 0xB9, 0x81),
    (0xEF, 0x44, 0x44),
    (0x8B, 0x5C, 0xF6),
    (0xCA, 0x8A, 0x04),
    (0x08, 0x91, 0xB2),
    (0xEC, 0x48, 0x99),
];
/// Drawn in black and then given the page's own colour.
const INK: RGBColor = BLACK;
const GRID: RGBColor = RGBColor(0x80, 0x80, 0x80);
/// Decades a latency plot shows at most.
const DECADES_MAX: f64 = 6.0;

/// A plot with what is to be drawn in it.
pub(super) struct Plot {
    pub(super) caption: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Stretches of the x axis with a name, such as stages.
    pub(super) spans: Vec<Stretch>,
    /// Instead of lines.
    pub(super) cells: Vec<Cell>,
}

/// From where to where on the x axis.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// A coloured place of a heat map.
pub(super) struct Cell {
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
    /// Values in it.
    pub(super) count: u64,
    /// Of the deepest colour, from 0 to 1.
    pub(super) depth: f64,
}

/// Where a drawing's axes lie, in its own units, and what they span, by their scales.
pub(super) struct Frame {
    pub(super) x_px: (i32, i32),
    /// Bottom and top.
    pub(super) y_px: (i32, i32),
    pub(super) x_span: (f64, f64),
    pub(super) y_span: (f64, f64),
}

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Places to mark on an axis, from its lowest to its highest value.
type Marks = fn(f64, f64) -> Vec<f64>;

/// What an axis shows.
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) format: fn(f64) -> String,
    pub(super) scale: Scale,
    /// How values are shown when they are pointed at.
    pub(super) unit: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// From zero, marked at whole numbers.
    Whole,
    /// By powers of ten: values are drawn by their logarithm.
    Logarithmic,
}

impl Scale {
    /// As the page's script calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Linear | Self::Whole => "linear",
            Self::Logarithmic => "log",
        }
    }

    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear | Self::Whole => value,
            Self::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear | Self::Whole => place,
            Self::Logarithmic => 10_f64.powf(place),
        }
    }

    /// First and last place of an axis with these values on it.
    fn range(self, places: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) = places.fold((f64::MAX, f64::MIN), |(low, high), place| {
            (low.min(place), high.max(place))
        });
        match self {
            _ if low > high => (0.0, 1.0),
            Self::Linear => (0.0, (high * 1.05).max(1e-9)),
            Self::Whole => (0.0, high.ceil().max(1.0)),
            Self::Logarithmic => {
                let high = high.ceil().max(low.floor() + 1.0);
                (low.floor().max(high - DECADES_MAX), high)
            }
        }
    }

    fn marks(self) -> Marks {
        match self {
            Self::Linear => round_marks,
            Self::Whole | Self::Logarithmic => whole_marks,
        }
    }
}

/// Five or so round numbers: 1, 2 or 5 times a power of ten apart.
fn round_marks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = ((high - low) / step) as usize;
    (0..=count).map(|at| low + at as f64 * step).collect()
}

fn whole_marks(low: f64, high: f64) -> Vec<f64> {
    (low.ceil() as i64..=high.floor() as i64)
        .map(|at| at as f64)
        .collect()
}

/// An axis of plotters with marks of our own.
#[derive(Clone)]
struct Span {
    low: f64,
    high: f64,
    marks: Marks,
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        (self.marks)(self.low, self.high)
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

fn span(scale: Scale, values: impl Iterator<Item = f64>) -> Span {
    let (low, high) = scale.range(values.map(|value| scale.place(value)));
    Span {
        low,
        high,
        marks: scale.marks(),
    }
}

/// Colour of a line, as CSS.
pub(super) fn color(line: usize) -> String {
    let (red, green, blue) = COLORS[line % COLORS.len()];
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// True for lines beyond the number of colours, which are dashed.
pub(super) fn is_dashed(line: usize) -> bool {
    line >= COLORS.len()
}

/// Draws lines and cells; where the axes lie in the drawing, too.
///
/// # Errors
/// A sentence of plotters'.
pub(super) fn draw_plot(plot: &Plot) -> Result<(String, Frame), String> {
    let mut svg = String::new();
    let frame = draw(&mut svg, plot).map_err(|error| error.to_string())?;
    let described = format!(
        "<svg role=\"img\" aria-label=\"{} over {}\" ",
        plot.y.title, plot.x.title
    );
    let svg = svg
        .replacen("<svg ", &described, 1)
        .replace("\"#000000\"", "\"currentColor\"");
    let (head, rest) = svg.split_once('>').ok_or("no drawing")?;
    Ok((format!("{head}>{}{rest}", behind(plot, &frame)), frame))
}

impl Frame {
    fn x(&self, scale: Scale, value: f64) -> f64 {
        between(self.x_px, self.x_span, scale.place(value))
    }

    fn y(&self, scale: Scale, value: f64) -> f64 {
        between(self.y_px, self.y_span, scale.place(value))
    }
}

fn between(px: (i32, i32), span: (f64, f64), place: f64) -> f64 {
    let share = ((place - span.0) / (span.1 - span.0)).clamp(0.0, 1.0);
    f64::from(px.0) + f64::from(px.1 - px.0) * share
}

/// What lies behind axes and lines: every other stage shaded, and cells.
fn behind(plot: &Plot, frame: &Frame) -> String {
    let mut svg = String::new();
    let (bottom, top) = frame.y_px;
    for (at, stage) in plot.spans.iter().enumerate() {
        let from = frame.x(plot.x.scale, stage.from);
        let to = frame.x(plot.x.scale, stage.to);
        let class = if at % 2 == 0 {
            "stage even"
        } else {
            "stage odd"
        };
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"><title>{}</title></rect>",
            (to - from).max(0.5),
            bottom - top,
            escape(&stage.name)
        );
    }
    for cell in &plot.cells {
        let (from, to) = (
            frame.x(plot.x.scale, cell.x.0),
            frame.x(plot.x.scale, cell.x.1),
        );
        let (low, high) = (
            frame.y(plot.y.scale, cell.y.0),
            frame.y(plot.y.scale, cell.y.1),
        );
        let _ = write!(
            svg,
            "<rect class=\"heat\" x=\"{from:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             fill-opacity=\"{:.2}\"/>",
            to - from,
            low - high,
            cell.depth
        );
    }
    svg
}

fn draw(svg: &mut String, plot: &Plot) -> Result<Frame, Box<dyn std::error::Error>> {
    let Plot { x, y, lines, .. } = plot;
    let corners: Vec<(f64, f64)> = plot
        .cells
        .iter()
        .flat_map(|cell| [(cell.x.0, cell.y.0), (cell.x.1, cell.y.1)])
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points).chain(&corners);
    let drawn = points().filter(|point| y.scale != Scale::Logarithmic || point.1 > 0.0);
    let spans = (
        // Of all, so that plots over the same seconds have the same axis.
        span(x.scale, points().map(|point| point.0)),
        span(y.scale, drawn.map(|point| point.1)),
    );
    let (x_span, y_span) = ((spans.0.low, spans.0.high), (spans.1.low, spans.1.high));
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .margin_right(44)
        .x_label_area_size(46)
        .y_label_area_size(80)
        .build_cartesian_2d(spans.0, spans.1)?;
    let text = |size: i32| ("system-ui, sans-serif", size).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc(x.title)
        .y_desc(y.title)
        .axis_desc_style(text(15))
        .label_style(text(14))
        .x_label_formatter(&|place| (x.format)(x.scale.value(*place)))
        .y_label_formatter(&|place| (y.format)(y.scale.value(*place)))
        .axis_style(GRID)
        .bold_line_style(GRID.mix(0.25))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let (red, green, blue) = COLORS[index % COLORS.len()];
        let style = RGBColor(red, green, blue).stroke_width(2);
        let places = line
            .points
            .iter()
            .filter(|point| y.scale != Scale::Logarithmic || point.1 > 0.0)
            .map(|point| (x.scale.place(point.0), y.scale.place(point.1)));
        if is_dashed(index) {
            chart.draw_series(DashedLineSeries::new(places, 7, 5, style))?;
        } else {
            chart.draw_series(LineSeries::new(places, style))?;
        }
        let first = line.points.first();
        if let Some(point) =
            first.filter(|first| line.points.iter().all(|other| other.0 == first.0))
        {
            // What is all in one place would not be seen as a line.
            let place = (x.scale.place(point.0), y.scale.place(point.1));
            chart.draw_series([Circle::new(place, 4, style.filled())])?;
        }
    }
    let (across, down) = chart.plotting_area().get_pixel_range();
    root.present()?;
    drop(chart);
    drop(root);
    Ok(Frame {
        x_px: (across.start, across.end - 1),
        y_px: (down.end - 1, down.start),
        x_span,
        y_span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round() {
        assert_eq!(round_marks(0.0, 10.5), [0.0, 5.0, 10.0]);
        assert_eq!(round_marks(0.0, 9.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(whole_marks(0.0, 3.0), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_logarithmic_axis_spans_whole_decades() {
        let range = |values: &[f64]| {
            let places = values.iter().map(|value| Scale::Logarithmic.place(*value));
            Scale::Logarithmic.range(places)
        };
        assert_eq!(range(&[30.0, 2_000.0]), (1.0, 4.0));
        assert_eq!(range(&[100.0]), (2.0, 3.0));
        assert_eq!(range(&[1e-9, 1e3]), (-3.0, 3.0));
        assert_eq!(range(&[]), (0.0, 1.0));
    }

    #[test]
    fn colours_are_the_page_s() {
        let axis = |scale| Axis {
            title: "t",
            format: |value| format!("{value}"),
            scale,
            unit: "",
        };
        let line = Line {
            name: "l".into(),
            points: vec![(0.0, 1.0), (1.0, 0.0), (2.0, 10.0)],
        };
        let stage = Stretch {
            from: 0.0,
            to: 1.0,
            name: "<b>".into(),
        };
        let cell = Cell {
            x: (0.0, 2.0),
            y: (1.0, 10.0),
            count: 1,
            depth: 1.0,
        };
        let plot = Plot {
            caption: String::new(),
            x: axis(Scale::Linear),
            y: axis(Scale::Logarithmic),
            lines: vec![line],
            spans: vec![stage],
            cells: vec![cell],
        };
        let (svg, frame) = draw_plot(&plot).unwrap();
        // The cell covers all of the second axis, from the bottom to the top.
        let (bottom, top) = frame.y_px;
        let height = format!("y=\"{top}.0\" width");
        assert!(bottom > top && svg.contains(&height), "{svg}");
        assert!(svg.contains("<title>&lt;b&gt;</title>"), "{svg}");
        assert!(
            svg.contains("currentColor") && !svg.contains("#000000"),
            "{svg}"
        );
        assert!(svg.contains(&color(0)), "{svg}");
    }
}
