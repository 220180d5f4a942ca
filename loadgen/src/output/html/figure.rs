//! A plot in its place on the page, with what the script must know to let one point at it.

use std::fmt::Write as _;

use serde_json::json;

use super::markup::escape;
use super::plots::legend;
use crate::output::plot::{color, draw_plot, Cell, Frame, Plot};

/// Draws a plot, unless there is nothing in it.
///
/// # Errors
/// A sentence when it cannot be drawn.
pub(super) fn figure(html: &mut String, plot: &Plot) -> Result<(), String> {
    let is_empty = plot.lines.iter().all(|line| line.points.is_empty());
    if is_empty && plot.cells.is_empty() {
        return Ok(());
    }
    let caption = escape(&plot.caption);
    let (drawn, frame) =
        draw_plot(plot).map_err(|error| format!("cannot draw {caption:?}: {error}"))?;
    let _ = write!(
        html,
        "<figure tabindex=\"0\" aria-label=\"{caption}\" data-plot=\"{}\"><figcaption>{caption}</figcaption>",
        escape(&data(plot, &frame).to_string())
    );
    legend(html, &plot.lines);
    let _ = writeln!(
        html,
        "<div class=\"drawing\">{drawn}</div><p class=\"tip\" role=\"status\" hidden></p></figure>"
    );
    Ok(())
}

fn data(plot: &Plot, frame: &Frame) -> serde_json::Value {
    let lines: Vec<_> = plot
        .lines
        .iter()
        .enumerate()
        .map(|(at, line)| json!({"name": line.name, "color": color(at), "points": line.points}))
        .collect();
    let cell = |cell: &Cell| json!([cell.x.0, cell.x.1, cell.y.0, cell.y.1, cell.count]);
    let spans = plot.spans.iter();
    json!({
        "x": {"px": frame.x_px, "span": frame.x_span, "scale": plot.x.scale.name(), "unit": plot.x.unit},
        "y": {"px": frame.y_px, "span": frame.y_span, "scale": plot.y.scale.name(), "unit": plot.y.unit},
        "lines": lines,
        "cells": plot.cells.iter().map(cell).collect::<Vec<_>>(),
        "stages": spans.map(|own| json!([own.from, own.to, own.name])).collect::<Vec<_>>(),
    })
}
