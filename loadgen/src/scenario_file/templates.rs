//! Topics, filters and client identifiers of a file: text with places.

use ringmq::mqtt::topic;

use super::section::{At, Section};
use crate::plan::{Template, FED};

/// Bytes of MQTT text.
const TEXT_MAX: usize = u16::MAX as usize;

/// Places that are filled in, in any of these.
const PLACES: [&str; 3] = ["{i}", "{t}", "{r}"];

/// Text with places filled in, so that it can be looked at.
fn sample(text: &str) -> String {
    let number = "4294967295"; // the longest
    let filled = PLACES
        .iter()
        .fold(text.to_string(), |text, place| text.replace(place, number));
    without_columns(&filled, "x")
}

/// With `value` for each `{csv:NAME}`; what they stand for is looked at with the table.
fn without_columns(text: &str, value: &str) -> String {
    let mut parts = text.split(FED);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.split_once('}') {
            Some((_, rest)) => out.extend([value, rest]),
            None => out.extend([FED, part]),
        }
    }
    out
}

/// Client identifiers of the group `group`.
pub(super) fn client_id(section: &mut Section<'_>, group: &str) -> Option<At<Template>> {
    template(section, "client_id", |text| {
        let text = text.replace("{g}", group);
        check_places(&text)?;
        Ok(Template(text))
    })
}

/// A topic to publish to.
pub(super) fn topic(section: &mut Section<'_>) -> Option<At<Template>> {
    template(section, "topic", |text| {
        check_places(text)?;
        if !topic::is_valid_name(&sample(text)) {
            return Err("is no topic: it must not be empty nor have + or # in it".into());
        }
        Ok(Template(text.into()))
    })
}

/// A filter to subscribe to.
pub(super) fn filter(section: &mut Section<'_>) -> Option<At<Template>> {
    template(section, "filter", |text| {
        check_places(text)?;
        topic::check_filter(&sample(text)).map_err(|error| format!("is no filter: {error}"))?;
        Ok(Template(text.into()))
    })
}

fn template(
    section: &mut Section<'_>,
    key: &'static str,
    check: impl FnOnce(&str) -> Result<Template, String>,
) -> Option<At<Template>> {
    section.parsed(key, |text| {
        if sample(text).len() > TEXT_MAX {
            return Err(format!("MQTT text has {TEXT_MAX} bytes at most"));
        }
        check(text)
    })
}

fn check_places(text: &str) -> Result<(), String> {
    let rest = PLACES
        .iter()
        .fold(text.to_string(), |text, place| text.replace(place, ""));
    let rest = without_columns(&rest, "");
    if rest.contains(['{', '}']) {
        return Err(
            "only {i} (the client's number), {t} (the topic's) and {r} (the run's) are filled in, \
             {csv:NAME} (the client's value in its table), and {g} (the group) in client identifiers"
                .into(),
        );
    }
    Ok(())
}
