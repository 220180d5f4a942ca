//! What tests say they check.

use std::path::{Path, PathBuf};

use ringmq::mqtt::Version;

use super::statements::{parse_full_id, Id, Spec};
use crate::mqtt_sn::conversation::Conversation;
use crate::wire::row::Row;

/// A test and the statements it checks.
pub(super) struct Claim {
    pub(super) ids: Vec<Id>,
    pub(super) file: String,
    /// Name of the function, or the row's description.
    pub(super) test: String,
}

/// Reads ids between spaces. Ids without version are those of `spec`; sections are left out.
pub(super) fn parse_ids(text: &str, spec: Option<Spec>) -> Result<Vec<Id>, String> {
    if text.trim().is_empty() {
        return Err("no id".to_owned());
    }
    let mut ids = Vec::new();
    for word in text.split_whitespace() {
        let is_section = word.split('.').all(|part| part.parse::<u32>().is_ok());
        if is_section {
            continue;
        }
        let id = match spec {
            Some(spec) if word.starts_with("MQTT-") => Id::parse(spec, word),
            _ => parse_full_id(word),
        };
        ids.push(id.ok_or(format!("{word:?} is no id of a statement"))?);
    }
    Ok(ids)
}

pub(super) fn of_wire_rows(rows: &[Row]) -> Vec<Claim> {
    rows.iter().map(of_wire_row).collect()
}

fn of_wire_row(row: &Row) -> Claim {
    let spec = if row.versions.contains(&Version::V5) {
        Spec::V5
    } else {
        Spec::V311
    };
    let ids = parse_ids(&row.clause, Some(spec)).unwrap_or_else(|e| panic!("{}: {e}", row.title()));
    for id in &ids {
        // 3.1 has no statements of its own; those of 3.1.1 stand for it.
        let runs = (id.spec == Spec::V5) == row.versions.contains(&Version::V5)
            || (id.spec == Spec::V311 && row.versions.iter().any(|v| *v != Version::V5));
        assert!(
            runs,
            "{}: does not run for the version of {id}",
            row.title()
        );
    }
    let name = row.place.split(':').next().expect("a file");
    Claim {
        ids,
        file: format!("tests/wire/{name}"),
        test: row.description.clone(),
    }
}

pub(super) fn of_conversations(conversations: &[Conversation]) -> Vec<Claim> {
    let claim = |one: &Conversation| Claim {
        ids: parse_ids(&one.ids, None).unwrap_or_else(|e| panic!("{}: {e}", one.name)),
        file: one.file.clone(),
        test: one.name.clone(),
    };
    conversations.iter().map(claim).collect()
}

/// Claims in comments of the broker's own tests and of the tests with clients of other makers.
pub(super) fn of_sources(root: &Path) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (name, text) in sources(root, &["src", "tests"]) {
        if !name.starts_with("tests/conformance") {
            claims.extend(of_source(&name, &text).unwrap_or_else(|e| panic!("{name}:{e}")));
        }
    }
    claims
}

/// Path below the root and text of every source below these folders.
pub(super) fn sources(root: &Path, folders: &[&str]) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below the root");
        let name = name.to_str().expect("a plain name").to_owned();
        (
            name,
            std::fs::read_to_string(&path).expect("source can be read"),
        )
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder can be read") {
        let path = entry.expect("folder can be read").path();
        if path.is_dir() {
            if !path.ends_with("node_modules") && !path.ends_with("target") {
                collect(&path, paths);
            }
        } else if path
            .extension()
            .is_some_and(|e| e == "rs" || e == "py" || e == "js")
        {
            paths.push(path);
        }
    }
}

/// Claims of one file; the error starts with the line.
pub(super) fn of_source(path: &str, text: &str) -> Result<Vec<Claim>, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut claims = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let comment = line.trim_start_matches(['/', '#']);
        if comment.len() == line.len() {
            continue;
        }
        let Some(ids) = comment.trim_start().strip_prefix("conformance:") else {
            continue;
        };
        let wrong = |problem: String| format!("{}: {problem}", index + 1);
        claims.push(Claim {
            ids: parse_ids(ids, None).map_err(wrong)?,
            file: path.to_owned(),
            test: test_below(&lines[index + 1..])
                .ok_or_else(|| wrong("no test directly below".to_owned()))?,
        });
    }
    Ok(claims)
}

/// The name of the test that follows comments and attributes.
fn test_below(lines: &[&str]) -> Option<String> {
    let is_between = |line: &&&str| line.starts_with("//") || line.starts_with(['#', '@']);
    let between = lines.iter().take_while(is_between).count();
    let line = lines.get(between)?;
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    if let Some((_, rest)) = line.split_once("fn ") {
        let has_attribute = lines[..between]
            .iter()
            .any(|line| line.starts_with("#[test"));
        return has_attribute.then(|| word(rest));
    }
    if let Some(rest) = line.strip_prefix("def ") {
        return Some(word(rest)).filter(|name| name.starts_with("test_"));
    }
    let rest = line.strip_prefix("test(")?;
    let quote = rest.chars().next().filter(|c| "'\"`".contains(*c))?;
    rest[1..].split_once(quote).map(|(name, _)| name.to_owned())
}
