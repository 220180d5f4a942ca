//! Reading the table.

use std::path::Path;

use ringmq::mqtt::Version;

use super::run::VERSIONS;

/// One rule: where it stands, for which versions, and the steps that show it.
pub(crate) struct Row {
    pub(crate) place: String,
    pub(crate) clause: String,
    pub(crate) versions: Vec<Version>,
    pub(crate) description: String,
    pub(crate) steps: Vec<String>,
}

impl Row {
    pub(crate) fn title(&self) -> String {
        format!("{} {} {}", self.place, self.clause, self.description)
    }
}

/// All rows of `tests/wire/*.txt`, in the order of the files' names.
pub(crate) fn all() -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/wire is there")
        .map(|entry| entry.expect("folder can be read").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    paths.sort();
    paths.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Row> {
    let name = path.file_name().expect("a file").to_string_lossy();
    let text = std::fs::read_to_string(path).expect("table can be read");
    parse_table(&name, &text)
}

/// The rows of one table; `name` is for messages.
pub(crate) fn parse_table(name: &str, text: &str) -> Vec<Row> {
    let mut rows: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let (_, row) = rows
                .last_mut()
                .expect("a row comes before its continuation");
            row.push(if row.matches('|').count() < 3 {
                '|'
            } else {
                ';'
            });
            row.push_str(line);
        } else {
            rows.push((number + 1, line.to_owned()));
        }
    }
    rows.into_iter()
        .map(|(number, line)| parse(&format!("{name}:{number}"), &line))
        .collect()
}

fn parse(place: &str, line: &str) -> Row {
    let fields: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
    let &[clause, versions, description, script] = fields.as_slice() else {
        panic!("{place}: a row has four fields");
    };
    Row {
        place: place.to_owned(),
        clause: clause.to_owned(),
        versions: parse_versions(versions)
            .unwrap_or_else(|| panic!("{place}: versions {versions:?}")),
        description: description.to_owned(),
        steps: script
            .split(';')
            .map(str::trim)
            .filter(|step| !step.is_empty())
            .map(str::to_owned)
            .collect(),
    }
}

fn parse_versions(text: &str) -> Option<Vec<Version>> {
    let versions: &[Version] = match text {
        "all" => &VERSIONS,
        "v3" => &[Version::V31, Version::V311],
        "3.1" => &[Version::V31],
        "3.1.1" => &[Version::V311],
        "5" => &[Version::V5],
        "3.1.1,5" => &[Version::V311, Version::V5],
        _ => return None,
    };
    Some(versions.to_vec())
}
