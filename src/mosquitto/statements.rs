//! Lines of a mosquitto.conf, with the files it includes in their places.

use super::File;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// File and line.
    pub(super) place: String,
    pub(super) word: String,
    /// The rest of the line; may be empty.
    pub(super) value: String,
}

/// Words whose values are not shown.
const SECRET: [&str; 4] = [
    "password",
    "remote_password",
    "local_password",
    "bridge_psk",
];

impl Statement {
    /// As a message shows it.
    pub(super) fn shown(&self) -> String {
        match (SECRET.contains(&self.word.as_str()), self.value.is_empty()) {
            (true, _) => format!("{} (not shown)", self.word),
            (false, true) => self.word.clone(),
            (false, false) => format!("{} {}", self.word, self.value),
        }
    }

    /// Its value as a switch, as Mosquitto reads it.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.value.to_lowercase().as_str(), "true" | "1")
    }

    /// Its value as a number.
    pub(super) fn number(&self) -> Option<i64> {
        self.value.parse().ok()
    }

    /// Words of its value.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.value.split_whitespace()
    }
}

/// Files in the order in which Mosquitto comes by their lines; what is behind an `include_dir` begins anew, as a file.
pub(super) fn read(
    main: &File,
    folder: &dyn Fn(&str) -> Result<Vec<File>, String>,
) -> Result<Vec<Vec<Statement>>, String> {
    let mut files = vec![Vec::new()];
    for statement in lines(main) {
        if statement.word != "include_dir" {
            if let Some(own) = files.first_mut() {
                own.push(statement);
            }
            continue;
        }
        let included = folder(&statement.value).map_err(|text| {
            format!(
                "{}: include_dir {}: {text}",
                statement.place, statement.value
            )
        })?;
        for file in included {
            // Within a file that is included the word means nothing.
            let own = lines(&file).filter(|statement| statement.word != "include_dir");
            files.push(own.collect());
        }
    }
    // Lines of the main file do not depend on those of others, except that the last of several counts.
    Ok(files)
}

fn lines((name, text): &File) -> impl Iterator<Item = Statement> + '_ {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (word, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        Some(Statement {
            place: format!("{name}:{}", index + 1),
            word: word.to_owned(),
            value: value.trim().to_owned(),
        })
    })
}
