//! Values of options and their bounds, the same on the command line and in scenario files.

use std::time::Duration;

use ringmq::mqtt::{Qos, Version};

/// PUBLISH packets unacknowledged per client, unless --window says.
pub(crate) const IN_FLIGHT: u16 = 1_000;

/// Identifiers above are used for SUBSCRIBE.
pub(crate) const WINDOW_MAX: u16 = 65_000;
/// Window of a closed loop that does not say.
pub(crate) const CLOSED_WINDOW: u16 = 64;

pub(crate) fn version(text: &str) -> Result<Version, String> {
    match text {
        "3.1" => Ok(Version::V31),
        "3.1.1" | "3" | "4" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("give 3.1, 3.1.1 or 5".into()),
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    if name.len().max(value.len()) > usize::from(u16::MAX) {
        return Err("MQTT text has 65535 bytes at most".into());
    }
    Ok((name.to_string(), value.to_string()))
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let value = text.parse().ok();
    value
        .filter(|value: &f64| *value > 0.0 && value.is_finite())
        .ok_or_else(|| "give a number above 0 per second".into())
}

pub(super) fn qos(text: &str) -> Result<Qos, String> {
    let bits = text.parse().ok();
    bits.and_then(Qos::from_bits)
        .ok_or_else(|| "give 0, 1 or 2".into())
}

/// 10s, 500ms, 2m, 1h, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit {unit:?}: give ms, s, m or h")),
    };
    let value: f64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is no duration: give something like 10s"))?;
    Duration::try_from_secs_f64(value * factor).map_err(|_| format!("{text:?} is out of range"))
}
