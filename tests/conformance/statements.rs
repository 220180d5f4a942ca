//! Statements, their ids, and the reasons why some have no test.

use std::fmt;

/// A specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spec {
    V311,
    V5,
    /// Statements of MQTT-SN 1.2 and of what it leaves open, numbered by us.
    Sn,
    Sparkplug,
}

impl Spec {
    /// As ids name it: `5:MQTT-1.5.4-1`.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
            Self::Sn => "SN",
            Self::Sparkplug => "sparkplug",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
            Self::Sn => "MQTT-SN 1.2",
            Self::Sparkplug => "Sparkplug 3.0",
        }
    }
}

/// A statement's id; ids sort as the specification has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) spec: Spec,
    section: Vec<u32>,
    number: u32,
    /// Sparkplug has words in place of numbers.
    words: String,
}

impl Id {
    /// Reads `MQTT-3.1.2-5`, `SN-17`, or `tck-id-conformance-mqtt-qos0`.
    pub(super) fn parse(spec: Spec, text: &str) -> Option<Self> {
        let (section, number, words) = match spec {
            Spec::Sn => (Vec::new(), text.strip_prefix("SN-")?.parse().ok()?, ""),
            Spec::Sparkplug => (Vec::new(), 0, text.strip_prefix("tck-id-")?),
            Spec::V311 | Spec::V5 => {
                let (section, number) = text.strip_prefix("MQTT-")?.rsplit_once('-')?;
                let section: Result<Vec<u32>, _> = section.split('.').map(str::parse).collect();
                let section = section.ok().filter(|section| section.len() >= 2)?;
                (section, number.parse().ok()?, "")
            }
        };
        Some(Self {
            spec,
            section,
            number,
            words: words.to_owned(),
        })
    }

    /// Without version and `MQTT-` or `tck-id-`.
    pub(super) fn bare(&self) -> String {
        match self.spec {
            Spec::Sn => return format!("SN-{}", self.number),
            Spec::Sparkplug => return self.words.clone(),
            Spec::V311 | Spec::V5 => {}
        }
        let section: Vec<String> = self.section.iter().map(ToString::to_string).collect();
        format!("{}-{}", section.join("."), self.number)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spec {
            Spec::Sn => f.write_str(&self.bare()),
            Spec::Sparkplug => write!(f, "sparkplug:tck-id-{}", self.words),
            spec => write!(f, "{}:MQTT-{}", spec.prefix(), self.bare()),
        }
    }
}

/// Whom a statement binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binds {
    Both,
    Server,
    Client,
}

pub(super) struct Statement {
    pub(super) id: Id,
    pub(super) binds: Binds,
    pub(super) text: String,
}

/// Reads lines `[MQTT-x.y.z-n] TAB S TAB text`; a wrong line panics with itself.
pub(super) fn parse(spec: Spec, text: &str) -> Vec<Statement> {
    text.lines()
        .map(|line| parse_line(spec, line).unwrap_or_else(|| panic!("not a statement: {line}")))
        .collect()
}

fn parse_line(spec: Spec, line: &str) -> Option<Statement> {
    let mut fields = line.splitn(3, '\t');
    let id = fields.next()?.strip_prefix('[')?.strip_suffix(']')?;
    let binds = match fields.next()? {
        "B" => Binds::Both,
        "S" => Binds::Server,
        "C" => Binds::Client,
        _ => return None,
    };
    Some(Statement {
        id: Id::parse(spec, id)?,
        binds,
        text: fields.next()?.to_owned(),
    })
}

/// Why a statement has no test.
pub(super) struct Reason {
    pub(super) id: Id,
    pub(super) text: String,
    pub(super) shown_by: ShownBy,
}

/// What shows that a reason is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShownBy {
    /// This text is nowhere in this file, or in the sources of this folder.
    Absent { text: String, path: String },
    /// Nothing that a client can see would be otherwise.
    Unobservable,
}

impl ShownBy {
    fn parse(words: &str) -> Option<Self> {
        if words == "unobservable" {
            return Some(Self::Unobservable);
        }
        let rest = words.strip_prefix("absent \"")?;
        let (text, path) = rest.split_once("\" in ")?;
        Some(Self::Absent {
            text: Some(text.to_owned()).filter(|text| !text.is_empty())?,
            path: path.to_owned(),
        })
    }
}

/// Reads lines `5:MQTT-x.y.z-n | reason | what shows it`; `#` starts a comment line.
pub(super) fn parse_reasons(text: &str) -> Vec<Reason> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse_reason(line).unwrap_or_else(|| panic!("not a reason: {line}")))
        .collect()
}

fn parse_reason(line: &str) -> Option<Reason> {
    let (id, rest) = line.split_once('|')?;
    let (text, shown_by) = rest.split_once('|')?;
    Some(Reason {
        id: parse_full_id(id.trim())?,
        text: Some(text.trim().to_owned()).filter(|text| !text.is_empty())?,
        shown_by: ShownBy::parse(shown_by.trim())?,
    })
}

/// Reads `5:MQTT-x.y.z-n`, `3.1.1:MQTT-x.y.z-n`, `SN-n` or `sparkplug:tck-id-words`.
pub(super) fn parse_full_id(text: &str) -> Option<Id> {
    if text.starts_with("SN-") {
        return Id::parse(Spec::Sn, text);
    }
    let (prefix, id) = text.split_once(':')?;
    let spec = [Spec::V311, Spec::V5, Spec::Sparkplug]
        .into_iter()
        .find(|spec| spec.prefix() == prefix)?;
    Id::parse(spec, id)
}
