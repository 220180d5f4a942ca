//! The file of bans in the data directory: JSON, as the API lists them.

use serde_json::{json, Value};

use super::ban::Ban;
use crate::io::Broker;

const NAME: &str = "bans.json";

/// Bans of the process before; none without a data directory.
///
/// # Errors
/// The file cannot be read, or is not what [`keep`] writes; a sentence.
pub(super) fn kept(broker: &Broker) -> Result<Vec<Ban>, String> {
    let Some(text) = broker.read_kept(NAME)? else {
        return Ok(Vec::new());
    };
    parse(&text).map_err(|wrong| {
        format!(
            "{NAME} in the data directory {wrong}: nobody who is banned is to get in by that, so ringmq does not start; \
             mend the file, or remove it to begin without bans"
        )
    })
}

/// Returns when they are on the disk.
///
/// # Errors
/// They are not, and those that were kept before still are; a sentence.
pub(super) fn keep<'a>(broker: &Broker, bans: impl Iterator<Item = &'a Ban>) -> Result<(), String> {
    let bans: Vec<Value> = bans.map(Ban::to_json).collect();
    let text = format!("{:#}\n", json!({ "bans": bans }));
    broker.keep(NAME, &text)
}

fn parse(text: &str) -> Result<Vec<Ban>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("is not JSON, from line {line}, column {column} on")
    })?;
    let bans = value["bans"].as_array().ok_or("has no list \"bans\"")?;
    let bans = (1..).zip(bans);
    bans.map(|(number, ban)| {
        Ban::of_json(ban).ok_or_else(|| format!("has a ban, number {number}, that is none: {ban}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::ban::Banned;

    fn ban(whom: Banned, until_s: Option<u64>) -> Ban {
        Ban {
            whom,
            until_s,
            by: "ann".into(),
            reason: "a \"reason\"\n".into(),
        }
    }

    #[test]
    fn bans_come_back_as_they_were() {
        let bans = [
            ban(Banned::Client("c".into()), None),
            ban(Banned::User("u".into()), Some(17)),
            ban(Banned::Address("2001:db8::1".parse().unwrap()), None),
        ];
        let written: Vec<Value> = bans.iter().map(Ban::to_json).collect();
        let text = json!({ "bans": written }).to_string();
        assert_eq!(parse(&text).unwrap(), bans);
    }

    #[test]
    fn what_is_no_file_of_bans_is_named() {
        for (text, wrong) in [
            ("{\n\"bans\": [", "line 2"),
            ("{}", "no list"),
            (
                r#"{"bans": [{"client": "a", "until_s": null, "by": "", "reason": ""}, {"client": 1}]}"#,
                "number 2",
            ),
            (
                r#"{"bans": [{"address": "a", "until_s": null, "by": "", "reason": ""}]}"#,
                "number 1",
            ),
        ] {
            let text = parse(text).unwrap_err();
            assert!(text.contains(wrong), "{text}");
        }
    }
}
