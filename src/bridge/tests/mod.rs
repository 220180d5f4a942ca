//! Tests of bridges as values.

mod relay;
mod scene;
mod terms;

use super::{Bridge, Line};

fn line(text: &str) -> Line {
    Line::parse(text).unwrap()
}

fn bridge(lines: &[&str]) -> Bridge {
    Bridge {
        name: "b".into(),
        addresses: vec!["far:1883".into()],
        lines: lines.iter().map(|text| line(text)).collect(),
        ..Bridge::default()
    }
}
