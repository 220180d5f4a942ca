//! Arguments of verbs, and the targets that are made of them.

use clap::{Arg, ArgAction, ArgMatches};
use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};
use serde_json::{json, Value};

use super::client::{Client, Failure};

/// Characters that mean nothing else in a path or query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Rows of one page.
const PAGE: usize = 1_000;

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

pub(super) fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(|text| &text[..])
}

pub(super) fn needed<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    text(matches, name).unwrap_or_default()
}

pub(super) fn number(matches: &ArgMatches, name: &str) -> Option<u64> {
    matches.get_one::<u64>(name).copied()
}

pub(super) fn word(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .required(true)
        .value_name(name.to_uppercase())
        .help(help)
}

pub(super) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub(super) fn count(name: &'static str, help: &'static str) -> Arg {
    option(name, "NUMBER", help).value_parser(clap::value_parser!(u64))
}

pub(super) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// A target with what is given behind the `?`.
pub(super) fn with(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let given = given.map(|(name, value)| format!("{name}={}", encoded(value)));
    let query = given.collect::<Vec<_>>().join("&");
    match query.is_empty() {
        true => path.into(),
        false => format!("{path}?{query}"),
    }
}

/// All pages of a listing as one, with at most `max` rows.
pub(super) fn pages(
    client: &Client,
    path: &str,
    pairs: &[(&str, Option<String>)],
    (rows_of, max): (&str, u64),
) -> Result<Value, Failure> {
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = max.saturating_sub(rows.len() as u64);
        let mut own = pairs.to_vec();
        own.push(("limit", Some(left.min(PAGE as u64).max(1).to_string())));
        own.push(("cursor", cursor.take()));
        let mut answer = client.get(&with(path, &own))?;
        if let Some(page) = answer[rows_of].as_array_mut() {
            rows.append(page);
        }
        cursor = answer["next"].as_str().map(Into::into);
        if cursor.is_none() || rows.len() as u64 >= max {
            answer[rows_of] = Value::Array(rows);
            answer["next"] = json!(cursor);
            return Ok(answer);
        }
    }
}

pub(super) fn limit_arg() -> Arg {
    count("limit", "At most so many rows; all unless given")
}

pub(super) fn limit(matches: &ArgMatches) -> u64 {
    number(matches, "limit").unwrap_or(u64::MAX)
}

pub(super) fn whom_args() -> Vec<Arg> {
    vec![
        option("client", "ID", "A client id"),
        option("user", "NAME", "An authenticated user"),
        option("address", "IP", "An address"),
    ]
}
