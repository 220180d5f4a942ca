//! Clients from a table: a CSV file with a line for each client, and names of its columns in the first.
//!
//! `client_id`, `user`, `password`, `cert`, `key` and `topic` say who a client is; any column can be used in
//! templates as `{csv:NAME}`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ringmq::mqtt::topic;

/// Bytes of MQTT text.
const TEXT_MAX: usize = u16::MAX as usize;
/// Columns, of which one uses a handful.
const COLUMNS_MAX: usize = 256;

/// Columns that say who a client is; `username` is another name of `user`.
const KNOWN: [&str; 6] = ["client_id", "user", "password", "cert", "key", "topic"];

/// The table. Values lie one behind the other: there may be hundreds of thousands of clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Feed {
    /// The file, as it was named.
    pub name: String,
    columns: Vec<String>,
    text: String,
    /// Ends of the values in `text`, line by line.
    ends: Vec<u32>,
    /// Bytes of the longest value, by column.
    longest: Vec<usize>,
}

/// Without its values: passwords are among them.
impl std::fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Feed({}, {} rows)", self.name, self.rows())
    }
}

impl Feed {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence with file, line and column.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            format!("{name}:{line}: is not UTF-8 text")
        })?;
        Self::parse(&name, &text)
    }

    /// Reads a file's text; `name` is its name in sentences.
    ///
    /// # Errors
    /// A sentence with file, line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        if text.len() > u32::MAX as usize {
            return Err(format!("{name}: 4 GB at most"));
        }
        let mut reader = Reader {
            name,
            text,
            at: 0,
            line: 1,
            line_at: 0,
        };
        let mut own = Self {
            name: name.to_string(),
            columns: reader.columns()?,
            text: String::with_capacity(text.len()),
            ends: Vec::new(),
            longest: Vec::new(),
        };
        own.longest = vec![0; own.columns.len()];
        let mut first_lines: HashMap<String, usize> = HashMap::new();
        let client_id = own.column("client_id");
        while let Some((line, row)) = reader.row()? {
            let (found, wanted) = (row.len(), own.columns.len());
            if found != wanted {
                return Err(format!(
                    "{name}:{line}: {found} values, and the first line names {wanted} columns"
                ));
            }
            for (column, (value, at)) in row.iter().enumerate() {
                own.check(column, value)
                    .map_err(|why| format!("{name}:{line}:{at}: {}: {why}", own.columns[column]))?;
                own.text.push_str(value);
                own.ends.push(own.text.len() as u32);
                own.longest[column] = own.longest[column].max(value.len());
            }
            if let Some(column) = client_id {
                let (value, at) = &row[column];
                if let Some(other) = first_lines.insert(value.clone(), line) {
                    return Err(format!(
                        "{name}:{line}:{at}: client_id: {value} is that of line {other}, too"
                    ));
                }
            }
        }
        if own.rows() == 0 {
            return Err(format!("{name}: has no line of a client"));
        }
        own.text.shrink_to_fit();
        Ok(own)
    }

    /// Clients.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ends.len() / self.columns.len()
    }

    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.column(column).is_some()
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|own| own == name)
    }

    /// Names of all columns, for sentences.
    #[must_use]
    pub fn names(&self) -> String {
        self.columns.join(", ")
    }

    /// Bytes of a column's longest value.
    #[must_use]
    pub fn bytes_max(&self, column: &str) -> usize {
        self.column(column).map_or(0, |column| self.longest[column])
    }

    /// A client's value; an empty one is none.
    #[must_use]
    pub fn value(&self, column: &str, client: u32) -> Option<&str> {
        let place = client as usize * self.columns.len() + self.column(column)?;
        let end = *self.ends.get(place)? as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start as usize..end]).filter(|value| !value.is_empty())
    }

    /// Files of a client's certificate and key.
    #[must_use]
    pub fn certificate(&self, client: u32) -> Option<(PathBuf, PathBuf)> {
        let file = |column| self.value(column, client).map(PathBuf::from);
        file("cert").zip(file("key"))
    }

    /// The filter of all topics: the levels that all begin with, and everything below.
    #[must_use]
    pub fn filter_of_topics(&self) -> String {
        let topics = (0..self.rows() as u32).filter_map(|client| self.value("topic", client));
        let mut common: Option<Vec<&str>> = None;
        for topic in topics {
            let levels = topic.split('/');
            let Some(common) = &mut common else {
                common = Some(levels.collect());
                continue;
            };
            let same = common
                .iter()
                .zip(levels)
                .take_while(|(own, other)| **own == *other);
            let same = same.count();
            common.truncate(same);
        }
        let common = common.unwrap_or_default();
        if self.rows() == 1 {
            return common.join("/");
        }
        let levels = common.into_iter().chain(["#"]);
        levels.collect::<Vec<_>>().join("/")
    }

    fn check(&self, column: usize, value: &str) -> Result<(), String> {
        if value.len() > TEXT_MAX {
            return Err(format!("MQTT text has {TEXT_MAX} bytes at most"));
        }
        match &self.columns[column][..] {
            "topic" if !topic::is_valid_name(value) => Err(format!(
                "{value:?} is no topic: it must not be empty nor have + or # in it"
            )),
            "client_id" if value.is_empty() => Err("a client identifier is missing".into()),
            _ => Ok(()),
        }
    }
}

/// Lines of CSV (RFC 4180): values may be in quotes, and then hold commas, line ends and quotes written twice.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    at: usize,
    line: usize,
    line_at: usize,
}

impl Reader<'_> {
    fn columns(&mut self) -> Result<Vec<String>, String> {
        let name = self.name;
        let Some((line, row)) = self.row()? else {
            return Err(format!(
                "{name}: is empty: its first line names the columns"
            ));
        };
        let mut columns: Vec<String> = Vec::new();
        for (value, at) in row {
            let value = value.trim();
            let column = match value {
                "username" => "user",
                other => other,
            };
            if column.is_empty() {
                return Err(format!("{name}:{line}:{at}: a column without a name"));
            }
            if columns.iter().any(|other| other == column) {
                return Err(format!(
                    "{name}:{line}:{at}: two columns are named {column}"
                ));
            }
            columns.push(column.to_string());
        }
        let has = |column: &str| columns.iter().any(|own| own == column);
        if !KNOWN.iter().any(|column| has(column)) {
            return Err(format!(
                "{name}:{line}: the first line must name the columns, at least one of {}",
                KNOWN.join(", ")
            ));
        }
        for (own, needed) in [("cert", "key"), ("key", "cert"), ("password", "user")] {
            if has(own) && !has(needed) {
                return Err(format!(
                    "{name}:{line}: the column {own} needs {needed} beside it"
                ));
            }
        }
        if columns.len() > COLUMNS_MAX {
            return Err(format!("{name}:{line}: {COLUMNS_MAX} columns at most"));
        }
        Ok(columns)
    }

    /// The next line that is not empty: its number, its values and the column of each.
    #[allow(clippy::type_complexity)]
    fn row(&mut self) -> Result<Option<(usize, Vec<(String, usize)>)>, String> {
        let bytes = self.text.as_bytes();
        while let Some(byte @ (b'\n' | b'\r')) = bytes.get(self.at) {
            self.at += 1;
            if *byte == b'\n' {
                (self.line, self.line_at) = (self.line + 1, self.at);
            }
        }
        if self.rest().is_none() {
            return Ok(None);
        }
        let (line, mut row) = (self.line, Vec::new());
        loop {
            let at = self.column_of(self.at);
            row.push((self.value()?, at));
            match self.rest().and_then(|rest| rest.chars().next()) {
                Some(',') => self.at += 1,
                _ => return Ok(Some((line, row))),
            }
        }
    }

    fn rest(&self) -> Option<&str> {
        Some(&self.text[self.at..]).filter(|rest| !rest.is_empty())
    }

    fn column_of(&self, at: usize) -> usize {
        1 + self.text[self.line_at..at].chars().count()
    }

    fn value(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        if !rest.starts_with('"') {
            let end = rest.find([',', '\n', '\r']).unwrap_or(rest.len());
            self.at += end;
            return Ok(rest[..end].to_string());
        }
        let (line, column) = (self.line, self.column_of(self.at));
        let mut value = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find('"') else {
                return Err(format!(
                    "{}:{line}:{column}: a quote without its end",
                    self.name
                ));
            };
            value.push_str(&rest[..end]);
            self.line += rest[..end].matches('\n').count();
            if let Some(last) = rest[..end].rfind('\n') {
                self.line_at = self.at + last + 1;
            }
            self.at += end + 1;
            let after = &self.text[self.at..];
            if after.starts_with('"') {
                value.push('"');
                self.at += 1;
                continue;
            }
            if after.is_empty() || after.starts_with([',', '\n', '\r']) {
                return Ok(value);
            }
            return Err(format!(
                "{}:{}:{}: a comma or the end of the line must follow the quote",
                self.name,
                self.line,
                self.column_of(self.at)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_quotes_and_line_ends() {
        let text =
            "\u{FEFF}client_id,username,password,note\r\na,u,\"p,\"\"x\",\r\n\n\"b\nc\",,,n\n";
        let feed = Feed::parse("f.csv", text).unwrap();
        assert_eq!(feed.rows(), 2);
        assert_eq!(feed.value("client_id", 0), Some("a"));
        assert_eq!(feed.value("user", 0), Some("u"));
        assert_eq!(feed.value("password", 0), Some("p,\"x"));
        assert_eq!(feed.value("client_id", 1), Some("b\nc"));
        assert_eq!(
            (feed.value("user", 1), feed.value("note", 1)),
            (None, Some("n"))
        );
        assert_eq!((feed.value("note", 2), feed.value("x", 0)), (None, None));
        assert_eq!(feed.bytes_max("password"), 4);
        assert!(!format!("{feed:?}").contains('p'), "{feed:?}");
    }

    #[test]
    fn the_filter_of_all_topics_is_as_narrow_as_they_are_alike() {
        for (topics, filter) in [
            ("a/b/1\na/b/2\n", "a/b/#"),
            ("a/b\na/b/c\n", "a/b/#"),
            ("x\ny\n", "#"),
            ("a/b\n", "a/b"),
        ] {
            let feed = Feed::parse("f", &format!("topic\n{topics}")).unwrap();
            assert_eq!(feed.filter_of_topics(), filter);
        }
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        for (text, sentence) in [
            ("", "f.csv: is empty"),
            ("client_id\n", "f.csv: has no line of a client"),
            (
                "a,b\n1,2\n",
                "f.csv:1: the first line must name the columns",
            ),
            ("user,user\n", "f.csv:1:6: two columns are named user"),
            ("user,\n", "f.csv:1:6: a column without a name"),
            (
                "password\nx\n",
                "f.csv:1: the column password needs user beside it",
            ),
            ("cert\nx\n", "f.csv:1: the column cert needs key beside it"),
            (
                "user,topic\na,b\nc\n",
                "f.csv:3: 1 values, and the first line names 2 columns",
            ),
            (
                "user,topic\na,b/#\n",
                "f.csv:2:3: topic: \"b/#\" is no topic",
            ),
            (
                "client_id\na\nb\na\n",
                "f.csv:4:1: client_id: a is that of line 2, too",
            ),
            (
                "client_id,user\n,b\n",
                "f.csv:2:1: client_id: a client identifier is missing",
            ),
            ("user\n\"a\n\n", "f.csv:2:1: a quote without its end"),
            (
                "user\n\"a\"b\n",
                "f.csv:2:4: a comma or the end of the line",
            ),
        ] {
            let found = Feed::parse("f.csv", text).unwrap_err();
            assert!(found.starts_with(sentence), "{text:?}: {found}");
        }
        let found = Feed::read(Path::new("/nonexistent.csv")).unwrap_err();
        assert!(
            found.starts_with("/nonexistent.csv: cannot be read"),
            "{found}"
        );
    }
}
