//! Values of options and their bounds, the same on the command line and in scenario files.

use std::time::Duration;

use ringmq::mqtt::{Qos, Version};

use crate::plan::Template;

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

pub(crate) fn at_least_one(text: &str) -> Result<u32, String> {
    let value = text.parse().ok().filter(|value| *value > 0);
    value.ok_or_else(|| format!("give a number from 1 to {}", u32::MAX))
}

/// A topic name with places; it has no wildcards [MQTT-3.3.2-2].
pub(super) fn topic(text: &str) -> Result<Template, String> {
    if text.is_empty() || text.len() > usize::from(u16::MAX) {
        return Err("a topic name has 1 to 65535 bytes".into());
    }
    if text.contains(['+', '#', '\0']) {
        return Err("a topic name has no wildcards (+ and #) and no null character".into());
    }
    Ok(Template(text.to_string()))
}

/// A duration that is one.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(Duration::ZERO) => Err("give more than 0, like 500ms or 10s".into()),
        other => other,
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    if name.len().max(value.len()) > usize::from(u16::MAX) {
        return Err("MQTT text has 65535 bytes at most".into());
    }
    Ok((name.to_string(), value.to_string()))
}

/// A number, maybe in thousands or millions: 500, 1k, 2.5M.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let value = digits.parse::<f64>().map(|value| value * factor);
    value.map_err(|_| format!("{text:?} is no number: give something like 500, 1k or 2.5M"))
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let value = number(text).ok();
    value
        .filter(|value: &f64| *value > 0.0 && value.is_finite())
        .ok_or_else(|| "give a number above 0 per second".into())
}

pub(super) fn qos(text: &str) -> Result<Qos, String> {
    let bits = text.parse().ok();
    bits.and_then(Qos::from_bits)
        .ok_or_else(|| "give 0, 1 or 2".into())
}

/// 10s, 500ms, 2m, 1h, several of these (1m30s), or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut seconds = 0.0;
    let mut rest = text;
    loop {
        let digits =
            rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let number = &rest[..rest.len() - digits.len()];
        let after = digits.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        let factor = match &digits[..digits.len() - after.len()] {
            "" | "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            unit => return Err(format!("unknown unit {unit:?}: give ms, s, m or h")),
        };
        let value: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is no duration: give something like 10s or 1m30s"))?;
        seconds += value * factor;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text:?} is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        for (text, seconds) in [
            ("10s", 10.0),
            ("1m30s", 90.0),
            ("1h2m3s", 3_723.0),
            ("500ms", 0.5),
            ("2", 2.0),
            ("1.5m", 90.0),
        ] {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for wrong in ["", "s", "1x", "1m30x", "-1s", "1m s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_have_bounds() {
        assert_eq!(at_least_one("1"), Ok(1));
        for wrong in ["0", "-1", "x", "4294967296"] {
            assert!(at_least_one(wrong).is_err(), "{wrong}");
        }
        assert!(topic("a/{i}").is_ok());
        for wrong in ["", "a/#", "+/a", "a\0b"] {
            assert!(topic(wrong).is_err(), "{wrong}");
        }
        assert!(time("0s").is_err() && time("1ms").is_ok());
    }

    #[test]
    fn rates_may_be_in_thousands() {
        for (text, value) in [("500", 500.0), ("1k", 1e3), ("2.5M", 2.5e6), ("0.5", 0.5)] {
            assert_eq!(number(text), Ok(value));
        }
        for wrong in ["", "k", "1x", "one"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
