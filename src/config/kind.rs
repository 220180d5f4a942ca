//! Kinds of option: how a value is read, what is allowed, and how it is written back.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::raw::Typed;
use crate::listener::Address;

/// What the address of a Unix socket begins with.
const UNIX: &str = "unix:";
/// What the address of a socket begins with that the service manager hands over.
const INHERITED: &str = "fd:";
/// What the span of an interval begins with.
const INTERVAL: &str = "interval:";
/// Longest path of a Unix socket that the kernel takes, in bytes.
const UNIX_PATH_MAX: usize = 107;

/// What an option takes. Ranges include both ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number; `word` stands for a value outside the range ("auto").
    Number {
        min: u64,
        max: u64,
        word: Option<&'static str>,
    },
    /// A number of bytes.
    Bytes {
        min: u64,
        max: u64,
    },
    /// A number of bytes, or a word that stands for one that is found at start ("auto").
    BytesOr {
        min: u64,
        max: u64,
        word: &'static str,
    },
    /// A span in whole seconds; `word` stands for "without end".
    Seconds {
        min: u64,
        max: u64,
        word: Option<&'static str>,
    },
    /// A word, or every so many whole seconds (`interval:1s`).
    Interval {
        max: u64,
        word: &'static str,
    },
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// IP addresses with ports.
    Addresses,
    /// Where one listener is: an IP address with a port, or the path of a Unix socket.
    Place,
    /// Where several listeners are, maybe none.
    Places,
    /// Any texts, maybe none; what one of them is.
    Names(&'static str),
    /// Some of these words.
    Words(&'static [&'static str]),
    /// Names of files.
    Files,
    /// Permission bits, in octal.
    Mode,
    /// Any text; the empty one stands for none. What it is, for messages ("a file").
    Text(&'static str),
    /// Any text, also the empty one; what it is.
    Whole(&'static str),
    /// Any texts; what one of them is.
    Texts(&'static str),
}

/// A value that its kind allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// In the unit of the kind.
    Number(u64),
    /// The word of the kind.
    Word,
    Boolean(bool),
    Choice(&'static str),
    Addresses(Vec<SocketAddr>),
    Text(String),
    Place(Address),
    Places(Vec<Address>),
    Words(Vec<&'static str>),
    Texts(Vec<String>),
}

/// A suffix and what it multiplies by; the largest first.
type Unit = (&'static str, u64);
const BYTE_UNITS: [Unit; 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const SPAN_UNITS: [Unit; 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl Kind {
    /// Reads a value; the error is what is wrong (what is allowed is [`Kind::allowed`]).
    pub(super) fn read(self, typed: &Typed) -> Result<Value, String> {
        match self {
            Self::Number { min, max, word } => self.read_number(typed, min..=max, word, &[]),
            Self::Bytes { min, max } => self.read_number(typed, min..=max, None, &BYTE_UNITS),
            Self::BytesOr { min, max, word } => {
                self.read_number(typed, min..=max, Some(word), &BYTE_UNITS)
            }
            Self::Seconds { min, max, word } => {
                self.read_number(typed, min..=max, word, &SPAN_UNITS)
            }
            Self::Interval { max, word } => match typed {
                Typed::Word(text) | Typed::Text(text) if text == word => Ok(Value::Word),
                Typed::Word(text) | Typed::Text(text) if text.starts_with(INTERVAL) => {
                    let span = Typed::Word(text[INTERVAL.len()..].into());
                    self.read_number(&span, 1..=max, None, &SPAN_UNITS)
                }
                _ => Err(self.not_this(typed)),
            },
            Self::Boolean => match typed {
                Typed::Boolean(on) => Ok(Value::Boolean(*on)),
                Typed::Word(text) if text == "true" => Ok(Value::Boolean(true)),
                Typed::Word(text) if text == "false" => Ok(Value::Boolean(false)),
                _ => Err(self.not_this(typed)),
            },
            Self::Choice(words) => match typed {
                Typed::Word(text) | Typed::Text(text) => words
                    .iter()
                    .find(|word| **word == text)
                    .map(|word| Value::Choice(word))
                    .ok_or_else(|| self.not_this(typed)),
                _ => Err(self.not_this(typed)),
            },
            Self::Text(_) | Self::Whole(_) => match typed {
                Typed::Word(text) | Typed::Text(text) => Ok(Value::Text(text.clone())),
                _ => Err(self.not_this(typed)),
            },
            Self::Addresses => match typed {
                Typed::List(items) => items
                    .iter()
                    .map(|item| self.read_address(&item.value))
                    .collect::<Result<_, _>>()
                    .map(Value::Addresses),
                one => self
                    .read_address(one)
                    .map(|address| Value::Addresses(vec![address])),
            },
            Self::Place => self.read_place(typed).map(Value::Place),
            Self::Places => self
                .read_list(typed, |one| self.read_place(one))
                .map(Value::Places),
            Self::Names(_) => self
                .read_list(typed, |one| match one {
                    Typed::Word(text) | Typed::Text(text) if !text.is_empty() => Ok(text.clone()),
                    _ => Err(self.not_this(one)),
                })
                .map(Value::Texts),
            Self::Words(words) => self
                .read_each(typed, |text| {
                    words.iter().copied().find(|word| *word == text)
                })
                .map(Value::Words),
            Self::Files | Self::Texts(_) => self
                .read_each(typed, |text| (!text.is_empty()).then(|| text.to_owned()))
                .map(Value::Texts),
            Self::Mode => match typed {
                Typed::Word(text) | Typed::Text(text) => u16::from_str_radix(text, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o777)
                    .map(|mode| Value::Number(mode.into()))
                    .ok_or_else(|| self.not_this(typed)),
                _ => Err(self.not_this(typed)),
            },
        }
    }

    /// The command line gives it once for each item of a list.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Addresses | Self::Places | Self::Names(_))
    }

    fn read_place(self, typed: &Typed) -> Result<Address, String> {
        let path = match typed {
            Typed::Word(text) | Typed::Text(text) => text.strip_prefix(UNIX),
            _ => None,
        };
        let Some(path) = path else {
            return self.read_inherited_or_ip(typed);
        };
        if path.starts_with('/') && path.len() <= UNIX_PATH_MAX {
            return Ok(Address::Unix(path.into()));
        }
        Err(format!(
            "{} is not \"unix:\" and an absolute path of at most {UNIX_PATH_MAX} bytes",
            typed.shown()
        ))
    }

    fn read_inherited_or_ip(self, typed: &Typed) -> Result<Address, String> {
        let name = match typed {
            Typed::Word(text) | Typed::Text(text) => text.strip_prefix(INHERITED),
            _ => None,
        };
        let Some(name) = name else {
            return self.read_address(typed).map(Address::Ip);
        };
        // What systemd allows in FileDescriptorName=.
        let is_sound = |c: char| c.is_ascii_graphic() && c != ':';
        match (1..=255).contains(&name.len()) && name.chars().all(is_sound) {
            true => Ok(Address::Inherited(name.into())),
            false => Err(format!("{} is not \"fd:\" and a name", typed.shown())),
        }
    }

    /// One item or a list of them, maybe empty, none twice.
    fn read_list<T: PartialEq>(
        self,
        typed: &Typed,
        read: impl Fn(&Typed) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let Typed::List(items) = typed else {
            return read(typed).map(|item| vec![item]);
        };
        let mut values = Vec::new();
        for item in items {
            let value = read(&item.value)?;
            if values.contains(&value) {
                return Err(format!("{} is given twice", item.value.shown()));
            }
            values.push(value);
        }
        Ok(values)
    }

    /// One text or a list of them, none twice.
    fn read_each<T: PartialEq>(
        self,
        typed: &Typed,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let one = |typed: &Typed| match typed {
            Typed::Word(text) | Typed::Text(text) => read(text).ok_or_else(|| self.not_this(typed)),
            _ => Err(self.not_this(typed)),
        };
        let Typed::List(items) = typed else {
            return one(typed).map(|value| vec![value]);
        };
        if items.is_empty() {
            return Err("the list is empty".into());
        }
        let mut values = Vec::new();
        for item in items {
            let value = one(&item.value)?;
            if values.contains(&value) {
                return Err(format!("{} is given twice", item.value.shown()));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn read_number(
        self,
        typed: &Typed,
        range: RangeInclusive<u64>,
        word: Option<&str>,
        units: &[Unit],
    ) -> Result<Value, String> {
        let number = match typed {
            Typed::Word(text) | Typed::Text(text) if Some(text.as_str()) == word => {
                return Ok(Value::Word);
            }
            Typed::Word(text) | Typed::Integer(text) => parse_amount(text, units),
            // In the file a number without unit is not quoted.
            Typed::Text(text) if !units.is_empty() => parse_amount(text, units),
            _ => None,
        };
        match number {
            None => Err(self.not_this(typed)),
            Some(number) if number < i128::from(*range.start()) => {
                Err(format!("{} is too small", typed.shown()))
            }
            Some(number) if number > i128::from(*range.end()) => {
                Err(format!("{} is too large", typed.shown()))
            }
            Some(number) => Ok(Value::Number(number as u64)), // inside a range of u64
        }
    }

    fn read_address(self, typed: &Typed) -> Result<SocketAddr, String> {
        let (Typed::Word(text) | Typed::Text(text)) = typed else {
            return Err(self.not_this(typed));
        };
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        match text.parse::<IpAddr>() {
            Ok(ip) => Err(format!(
                "\"{ip}\" has no port (did you mean \"{}\"?)",
                SocketAddr::from((ip, 1883))
            )),
            Err(_) => Err(format!(
                "{} (names are not looked up)",
                self.not_this(typed)
            )),
        }
    }

    fn not_this(self, typed: &Typed) -> String {
        let noun = match self {
            Self::Number { .. } => "a whole number",
            Self::Bytes { .. } | Self::BytesOr { .. } => "a number of bytes",
            Self::Seconds { .. } => "a span of time",
            Self::Interval { .. } => "a way to commit",
            Self::Boolean => "true or false",
            Self::Choice(_) => "one of the words",
            Self::Addresses | Self::Place | Self::Places => "an IP address with a port",
            Self::Words(_) => "one of the words",
            Self::Files => "the name of a file",
            Self::Mode => "permission bits in octal, quoted",
            Self::Text(what) | Self::Whole(what) | Self::Texts(what) | Self::Names(what) => what,
        };
        format!("{} is not {noun}", typed.shown())
    }

    /// What may be given, for messages, help and the example file.
    pub(super) fn allowed(self) -> String {
        let or_word = |word: Option<&str>| match word {
            Some(word) => format!(", or \"{word}\""),
            None => String::new(),
        };
        match self {
            Self::Number { min, max, word } => format!("{min} to {max}{}", or_word(word)),
            Self::Bytes { min, max } => {
                format!("{min} to {max} bytes; KiB, MiB and GiB are understood")
            }
            Self::BytesOr { min, max, word } => {
                format!("{min} to {max} bytes, or \"{word}\"; KiB, MiB and GiB are understood")
            }
            Self::Seconds { min, max, word } => format!(
                "{min} to {max} seconds{}; s, m, h and d are understood",
                or_word(word)
            ),
            Self::Interval { max, word } => format!(
                "\"{word}\", or \"{INTERVAL}\" and 1 to {max} seconds; s, m, h and d are understood"
            ),
            Self::Boolean => "true or false".into(),
            Self::Choice(words) => quoted(words),
            Self::Text(what) => format!("{what}, or \"\" for none"),
            Self::Addresses => {
                "IP addresses with a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"".into()
            }
            Self::Place => {
                "an IP address with a port, such as \"0.0.0.0:8883\" or \"[::]:8883\", or \
                            \"unix:\" and an absolute path"
                    .into()
            }
            Self::Places => {
                "a list of IP addresses with a port and of \"unix:\" with an absolute path, \
                             or [] for none"
                    .into()
            }
            Self::Names(what) => format!("a list, each {what}, or [] for none"),
            Self::Words(words) => format!("some of {}", quoted(words)),
            Self::Files => "the name of a file, or a list of names".into(),
            Self::Mode => "\"0000\" to \"0777\"".into(),
            Self::Whole(what) => what.into(),
            Self::Texts(what) => format!("{what}, or a list of them"),
        }
    }

    /// What the help shows in place of the value.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Number { .. } => "NUMBER",
            Self::Bytes { .. } | Self::BytesOr { .. } => "BYTES",
            Self::Seconds { .. } => "SPAN",
            Self::Interval { .. } => "WORD",
            Self::Boolean => "true|false",
            Self::Choice(_) => "WORD",
            Self::Addresses | Self::Place | Self::Places => "ADDRESS:PORT",
            Self::Words(_) => "WORDS",
            Self::Files => "FILES",
            Self::Mode => "MODE",
            Self::Text(_) | Self::Whole(_) | Self::Names(_) => "TEXT",
            Self::Texts(_) => "TEXTS",
        }
    }

    /// The value in the syntax of the file; what the kind reads back as the same value.
    pub(super) fn write(self, value: &Value) -> String {
        match (self, value) {
            (Self::Bytes { .. } | Self::BytesOr { .. }, Value::Number(number)) => {
                write_amount(*number, &BYTE_UNITS)
            }
            (Self::BytesOr { word, .. }, Value::Word) => format!("\"{word}\""),
            (Self::Seconds { .. }, Value::Number(number)) => write_amount(*number, &SPAN_UNITS),
            (Self::Interval { .. }, Value::Number(seconds)) => {
                let span = write_amount(*seconds, &SPAN_UNITS);
                format!("\"{INTERVAL}{}\"", span.trim_matches('"'))
            }
            (Self::Interval { word, .. }, Value::Word) => format!("\"{word}\""),
            (Self::Mode, Value::Number(mode)) => format!("\"{mode:04o}\""),
            (_, Value::Number(number)) => number.to_string(),
            (Self::Number { word, .. } | Self::Seconds { word, .. }, Value::Word) => {
                format!("\"{}\"", word.unwrap_or_default())
            }
            (_, Value::Word) => String::new(), // the other kinds have no word
            (_, Value::Boolean(on)) => on.to_string(),
            (_, Value::Choice(word)) => format!("\"{word}\""),
            // What TOML and Rust escape differently is not printable.
            (_, Value::Text(text)) => format!("{text:?}"),
            (_, Value::Addresses(addresses)) => {
                format!("[{}]", quoted(addresses))
            }
            (_, Value::Place(address)) => format!("\"{address}\""),
            (_, Value::Words(words)) => format!("[{}]", quoted(words)),
            (_, Value::Places(places)) => format!("[{}]", quoted(places)),
            (Self::Names(_), Value::Texts(texts)) => format!("{texts:?}"),
            (_, Value::Texts(texts)) => match &texts[..] {
                [one] => format!("\"{one}\""),
                several => format!("[{}]", quoted(several)),
            },
        }
    }
}

/// Digits, `_` between them, maybe a sign before and a unit after; saturates far outside any range.
fn parse_amount(text: &str, units: &[Unit]) -> Option<i128> {
    let suffixed = units.iter().find_map(|(suffix, factor)| {
        let digits = text.strip_suffix(suffix)?;
        Some((digits.trim_end(), *factor))
    });
    let (digits, factor) = suffixed.unwrap_or((text, 1));
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit())
        || !digits.chars().all(|c| c.is_ascii_digit() || c == '_')
    {
        return None;
    }
    let number = digits.replace('_', "").parse().unwrap_or(i128::MAX);
    Some(number.saturating_mul(sign * i128::from(factor)))
}

/// With the largest unit that leaves a whole number.
fn write_amount(number: u64, units: &[Unit]) -> String {
    match units
        .iter()
        .find(|(_, factor)| number.is_multiple_of(*factor))
    {
        Some((suffix, factor)) if number > 0 => format!("\"{}{suffix}\"", number / factor),
        _ => number.to_string(),
    }
}

fn quoted(words: &[impl Display]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}
