//! Keys about people's own data: payloads from templates and files, clients from tables.

use std::path::Path;
use std::sync::Arc;

use super::section::{At, Section};
use crate::feed::Feed;
use crate::options::check_rows;
use crate::payload_template::PayloadTemplate;

/// The clients of a group, and the table that they come from: `clients` and `clients_from`.
pub(super) fn clients(section: &mut Section<'_>, most: u32) -> (u32, Option<At<Arc<Feed>>>) {
    let clients = section.count("clients", 1, u64::from(most));
    let has_table = section.has("clients_from");
    let feed = section.parsed("clients_from", |path| {
        Feed::read(Path::new(path)).map(Arc::new)
    });
    if clients.is_none() && !section.has("clients") && !has_table {
        section.lacks("clients", "how many clients? give clients = 10");
    }
    let Some(At { value: feed, line }) = feed else {
        return (clients.map_or(1, |clients| clients.value as u32), None);
    };
    let rows = feed.rows().min(most as usize) as u32;
    let clients = clients.map_or(rows, |clients| clients.value as u32);
    if let Err(why) = check_rows(&feed, clients, "clients") {
        section.mistake(line, "clients_from", why);
    }
    (clients, Some(At { value: feed, line }))
}

/// `payload`, `payload_file` and `verified` of what a group publishes.
pub(super) fn payload(section: &mut Section<'_>) -> Option<Arc<PayloadTemplate>> {
    let text = section.parsed("payload", PayloadTemplate::parse);
    let file = section.parsed("payload_file", |path| {
        PayloadTemplate::read(Path::new(path))
    });
    let verified = section.flag("verified");
    let keys = ["payload", "payload_file", "payload_size"];
    let given: Vec<&str> = keys.into_iter().filter(|key| section.has(key)).collect();
    if let [first, second, ..] = given[..] {
        section.lacks(first, format!("and {second}: give one of them"));
    }
    if let Some(verified) = &verified {
        if !section.has("payload") && !section.has("payload_file") {
            section.mistake(
                verified.line,
                "verified",
                "is about payload and payload_file",
            );
        }
    }
    let mut own = text.or(file)?.value;
    own.is_unverified = verified.is_some_and(|verified| !verified.value) && !own.has_proof();
    Some(Arc::new(own))
}
