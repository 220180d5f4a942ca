//! Ids in the comments and messages of the program.

use std::collections::BTreeSet;

/// Ids named in a text (`MQTT-3.1.2-5`) that no specification has, without their `MQTT-`.
pub(super) fn unknown<'a>(text: &'a str, known: &BTreeSet<String>) -> Vec<&'a str> {
    text.split("MQTT-")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
            rest[..end.unwrap_or(rest.len())].trim_end_matches(['.', '-'])
        })
        // `MQTT-5.0` and the like name a specification, not a statement.
        .filter(|id| id.contains('-') && !known.contains(*id))
        .collect()
}
