//! Line plots as SVG that takes its colours from the page: text and axes follow the light or dark
//! scheme, lines differ on both.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

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

/// Draws the lines.
///
/// # Errors
/// A sentence of plotters'.
pub(super) fn plot(x: &Axis, y: &Axis, lines: &[Line]) -> Result<String, String> {
    let mut svg = String::new();
    draw(&mut svg, x, y, lines).map_err(|error| error.to_string())?;
    let described = format!(
        "<svg role=\"img\" aria-label=\"{} over {}\" ",
        y.title, x.title
    );
    Ok(svg
        .replacen("<svg ", &described, 1)
        .replace("\"#000000\"", "\"currentColor\""))
}

fn draw(
    svg: &mut String,
    x: &Axis,
    y: &Axis,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let drawn = points().filter(|point| y.scale != Scale::Logarithmic || point.1 > 0.0);
    let spans = (
        // Of all, so that plots over the same seconds have the same axis.
        span(x.scale, points().map(|point| point.0)),
        span(y.scale, drawn.map(|point| point.1)),
    );
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
    root.present()?;
    drop(chart);
    drop(root);
    Ok(())
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
        };
        let line = Line {
            name: "l".into(),
            points: vec![(0.0, 1.0), (1.0, 0.0), (2.0, 10.0)],
        };
        let svg = plot(&axis(Scale::Linear), &axis(Scale::Logarithmic), &[line]).unwrap();
        assert!(
            svg.contains("currentColor") && !svg.contains("#000000"),
            "{svg}"
        );
        assert!(svg.contains(&color(0)), "{svg}");
    }
}
