//! Payloads of the user's own: text with places that are filled in for each message, or bytes as they are.
//!
//! What a place becomes follows from publisher, sequence and intended time, so that a message that is sent
//! again is the same.

use std::fmt;

use crate::feed::Feed;
use crate::payload::{topic_hash, Header};
use crate::proof::{self, ContentHash, PROOF_BYTES};

/// Bytes of a payload file; larger ones hardly fit a broker's limits.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of a payload that has its proof within: receivers look at it when all of it has come.
const PROVED_BYTES_MAX: usize = 128 << 10;
/// Choices of one place.
const CHOICES_MAX: usize = 1_000;
/// Digits behind the point of a random number.
const DECIMALS_MAX: usize = 9;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Bytes(Box<[u8]>),
    /// `{i}`: the client's number in its group.
    Client,
    /// `{t}`: the topic's number.
    Topic,
    /// `{r}`: the run's number.
    Run,
    /// `{seq}`: the message's number at its publisher, from 0.
    Sequence,
    /// `{now}`: when it was due, since 1970, in units of so many nanoseconds.
    Now(u64),
    /// `{rand:a-b}`: in units of the last digit, of which so many are behind the point.
    Random(i64, i64, usize),
    /// `{choice:a,b,c}`.
    Choice(Box<[Box<str>]>),
    /// `{csv:NAME}`: the client's own value in its table.
    Column(Box<str>),
    /// `{proof}`: shows whose message it is and that nothing was altered.
    Proof,
}

/// A place that is none, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateMistake {
    /// From 1, as all.
    pub line: usize,
    pub column: usize,
    pub sentence: String,
}

impl fmt::Display for TemplateMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            sentence,
        } = self;
        write!(f, "line {line}, column {column}: {sentence}")
    }
}

/// A payload's text, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadTemplate {
    parts: Vec<Part>,
    /// Receivers need not find out which message one is.
    pub is_unverified: bool,
}

/// Of whom and when a message is.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    pub header: Header,
    /// The client's number in its group.
    pub index: u32,
    pub topic: u32,
    pub seed: u64,
    /// When it was due, in nanoseconds since 1970.
    pub unix_ns: u64,
    pub feed: Option<&'a Feed>,
}

impl PayloadTemplate {
    /// Its name in results.
    #[must_use]
    pub fn hash(&self) -> u32 {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Bytes(own) => bytes.extend_from_slice(own),
                place => bytes.extend(format!("{place:?}").into_bytes()),
            }
        }
        topic_hash(&bytes)
    }

    /// Takes text apart.
    ///
    /// # Errors
    /// The first place that is none.
    pub fn parse(text: &str) -> Result<Self, TemplateMistake> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('{') {
            let start = at + found;
            literal.push_str(&text[at..start]);
            let rest = &text[start + 1..];
            if rest.starts_with('{') {
                literal.push('{'); // written twice it is meant as it is
                at = start + 2;
                continue;
            }
            // Braces of JSON have quotes, spaces or nothing behind them.
            if !rest.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                literal.push('{');
                at = start + 1;
                continue;
            }
            let mistake = |sentence: String| TemplateMistake {
                line: 1 + text[..start].matches('\n').count(),
                column: 1 + text[..start]
                    .chars()
                    .rev()
                    .take_while(|c| *c != '\n')
                    .count(),
                sentence,
            };
            let Some(end) = rest.find('}') else {
                return Err(mistake("a place without its }".into()));
            };
            let part = part(&rest[..end]).map_err(mistake)?;
            if part == Part::Proof && parts.contains(&Part::Proof) {
                return Err(mistake("one {proof} is enough".into()));
            }
            if !literal.is_empty() {
                parts.push(Part::Bytes(
                    std::mem::take(&mut literal).into_bytes().into(),
                ));
            }
            parts.push(part);
            at = start + 1 + end + 1;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            parts.push(Part::Bytes(literal.into_bytes().into()));
        }
        Ok(Self {
            parts,
            is_unverified: false,
        })
    }

    /// The payload that a file holds: text is a template, anything else is sent as it is.
    ///
    /// # Errors
    /// A sentence with the file's name.
    pub fn read(path: &std::path::Path) -> Result<Self, String> {
        let name = path.display();
        let bytes =
            std::fs::read(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        if bytes.len() > BYTES_MAX {
            return Err(format!(
                "{name}: {} bytes: a payload has {BYTES_MAX} at most",
                bytes.len()
            ));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text).map_err(|mistake| {
                let TemplateMistake {
                    line,
                    column,
                    sentence,
                } = mistake;
                format!("{name}:{line}:{column}: {sentence}")
            }),
            Err(error) => Ok(Self {
                parts: vec![Part::Bytes(error.into_bytes().into())],
                is_unverified: false,
            }),
        }
    }

    /// It has its proof within.
    #[must_use]
    pub fn has_proof(&self) -> bool {
        self.parts.contains(&Part::Proof)
    }

    /// Its proof is to travel beside it.
    #[must_use]
    pub fn wants_proof_beside(&self) -> bool {
        !self.has_proof() && !self.is_unverified
    }

    /// Names of the columns that it wants of its clients' table.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Column(name) => Some(&**name),
            _ => None,
        })
    }

    /// Bytes of the longest payload.
    #[must_use]
    pub fn bytes_max(&self, feed: Option<&Feed>) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Client | Part::Topic => 10,
            Part::Run => 6,
            Part::Sequence => 11,
            Part::Now(_) => 19,
            Part::Random(..) => 21,
            Part::Choice(choices) => choices.iter().map(|own| own.len()).max().unwrap_or(0),
            Part::Column(name) => feed.map_or(0, |feed| feed.bytes_max(name)),
            Part::Proof => PROOF_BYTES,
        });
        parts.sum()
    }

    /// Bytes that each payload has at least.
    #[must_use]
    pub fn bytes_min(&self) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Proof => PROOF_BYTES,
            Part::Column(_) => 0,
            Part::Choice(choices) => choices.iter().map(|own| own.len()).min().unwrap_or(0),
            _ => 1,
        });
        parts.sum()
    }

    /// # Errors
    /// A sentence when it is too long to be proved from within.
    pub fn check_size(&self, feed: Option<&Feed>) -> Result<(), String> {
        let bytes = self.bytes_max(feed);
        if self.has_proof() && bytes > PROVED_BYTES_MAX {
            return Err(format!(
                "a payload with {{proof}} in it has {PROVED_BYTES_MAX} bytes at most and this one {bytes}: \
                 leave {{proof}} out and use MQTT 5, where it travels beside the payload"
            ));
        }
        Ok(())
    }

    /// Appends a payload. Its proof, when that is not within, is that of all bytes.
    pub fn put(&self, out: &mut Vec<u8>, of: &Occasion<'_>) {
        let start = out.len();
        let mut proof_at = None;
        let mut random = of.random();
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Client => number(out, u64::from(of.index)),
                Part::Topic => number(out, u64::from(of.topic)),
                Part::Run => out.extend(format!("{:06x}", of.seed & 0xFF_FFFF).bytes()),
                Part::Sequence => number(out, of.header.sequence),
                Part::Now(unit_ns) => number(out, of.unix_ns / unit_ns),
                Part::Random(least, most, decimals) => {
                    decimal(out, random.i64(*least..=*most), *decimals);
                }
                Part::Choice(choices) => {
                    let at = random.usize(..choices.len());
                    out.extend_from_slice(choices[at].as_bytes());
                }
                Part::Column(name) => {
                    let value = of.feed.and_then(|feed| feed.value(name, of.index));
                    out.extend_from_slice(value.unwrap_or_default().as_bytes());
                }
                Part::Proof => {
                    proof_at = Some(out.len());
                    out.resize(out.len() + PROOF_BYTES, 0);
                }
            }
        }
        if let Some(at) = proof_at {
            let mut hash = ContentHash::default();
            hash.add(&out[start..at]);
            hash.add(&out[at + PROOF_BYTES..]);
            let text = proof::text(of.header, out.len() - start, hash);
            out[at..at + PROOF_BYTES].copy_from_slice(&text);
        }
    }
}

impl Occasion<'_> {
    /// The same for the same message.
    fn random(&self) -> fastrand::Rng {
        let of = u64::from(self.header.publisher) << 36 ^ self.header.sequence;
        fastrand::Rng::with_seed(self.seed ^ of.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

const PLACES: [&str; 9] = [
    "i", "t", "r", "seq", "now", "rand", "choice", "csv", "proof",
];

fn part(text: &str) -> Result<Part, String> {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    match (name, value) {
        ("i", None) => Ok(Part::Client),
        ("t", None) => Ok(Part::Topic),
        ("r", None) => Ok(Part::Run),
        ("seq", None) => Ok(Part::Sequence),
        ("now", None | Some("ms")) => Ok(Part::Now(1_000_000)),
        ("now", Some("s")) => Ok(Part::Now(1_000_000_000)),
        ("now", Some("us")) => Ok(Part::Now(1_000)),
        ("now", Some(unit)) => Err(format!("{{now:{unit}}}: give s, ms or us")),
        ("rand", Some(range)) => random(range),
        ("rand", None) => Err("{rand} needs a range, like {rand:1-100}".into()),
        ("choice", Some(list)) => choice(list),
        ("choice", None) => Err("{choice} needs a list, like {choice:on,off}".into()),
        ("csv", Some(name)) if !name.is_empty() => Ok(Part::Column(name.into())),
        ("csv", _) => Err("{csv} needs a column, like {csv:model}".into()),
        ("proof", None) => Ok(Part::Proof),
        _ => {
            let near = PLACES
                .iter()
                .find(|place| strsim::jaro_winkler(place, name) > 0.8);
            let hint = near.map_or(String::new(), |near| format!(" (did you mean {{{near}}}?)"));
            Err(format!(
                "{{{text}}} is no place{hint}: there are {{i}}, {{t}}, {{r}}, {{seq}}, {{now}}, {{rand:a-b}}, \
                 {{choice:a,b}}, {{csv:COLUMN}} and {{proof}}; a brace that is meant as it is is written twice"
            ))
        }
    }
}

/// `1-100`, `-5-5`, `18.0-24.5`: as many digits behind the point as the longer of both has.
fn random(text: &str) -> Result<Part, String> {
    let wrong =
        || format!("{{rand:{text}}}: give two numbers, the smaller first, like 1-100 or 18.0-24.5");
    let dashes = text.match_indices('-').map(|(at, _)| at);
    let pairs = dashes.filter(|at| *at > 0).filter_map(|at| {
        let decimals = |text: &str| text.split_once('.').map_or(0, |(_, digits)| digits.len());
        let (least, most) = (&text[..at], &text[at + 1..]);
        let decimals = decimals(least).max(decimals(most));
        let scaled = |text: &str| scaled(text, decimals);
        Some((scaled(least)?, scaled(most)?, decimals))
    });
    let found = pairs.into_iter().find(|(least, most, _)| least <= most);
    let (least, most, decimals) = found.ok_or_else(wrong)?;
    Ok(Part::Random(least, most, decimals))
}

/// A decimal number in units of its last digit.
fn scaled(text: &str, decimals: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !is_number(digits) || !is_number(fraction) || decimals > DECIMALS_MAX {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

fn choice(text: &str) -> Result<Part, String> {
    let choices: Box<[Box<str>]> = text.split(',').map(Into::into).collect();
    if choices.len() > CHOICES_MAX {
        return Err(format!("{{choice}} takes {CHOICES_MAX} at most"));
    }
    Ok(Part::Choice(choices))
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_string().bytes());
}

fn decimal(out: &mut Vec<u8>, value: i64, decimals: usize) {
    if decimals == 0 {
        return out.extend(value.to_string().bytes());
    }
    let sign = if value < 0 { "-" } else { "" };
    let unit = 10_u64.pow(decimals as u32);
    let (whole, rest) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    out.extend(format!("{sign}{whole}.{rest:0decimals$}").bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Proof;

    fn filled(text: &str, sequence: u64) -> String {
        let mut out = Vec::new();
        let template = PayloadTemplate::parse(text).unwrap();
        let of = Occasion {
            header: Header::new(7, sequence, 99),
            index: 3,
            topic: 1,
            seed: 0xABCDEF,
            unix_ns: 1_700_000_000_123_456_789,
            feed: None,
        };
        template.put(&mut out, &of);
        assert!(out.len() <= template.bytes_max(None), "{text}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn places_are_filled_and_braces_of_json_are_not() {
        for (text, expected) in [
            ("{\"id\":{i},\"n\":{seq}}", "{\"id\":3,\"n\":5}"),
            ("{}{ {{i}", "{}{ {i}"),
            ("{t}/{r}/{now}", "1/abcdef/1700000000123"),
            ("{now:s} {now:us}", "1700000000 1700000000123456"),
            ("{rand:4-4}{choice:x}", "4x"),
            ("{rand:-5--5} {rand:-0.50--0.5}", "-5 -0.50"),
            ("", ""),
        ] {
            assert_eq!(filled(text, 5), expected, "{text}");
        }
    }

    #[test]
    fn random_values_are_the_messages_own() {
        let text = "{rand:18.0-24.5} {choice:a,b,c} {rand:0-999999}";
        assert_eq!(filled(text, 1), filled(text, 1));
        let all: Vec<String> = (0..1_000).map(|sequence| filled(text, sequence)).collect();
        for own in &all {
            let words: Vec<&str> = own.split(' ').collect();
            let value: f64 = words[0].parse().unwrap();
            assert!(
                (18.0..=24.5).contains(&value) && words[0].len() == 4,
                "{own}"
            );
            assert!(["a", "b", "c"].contains(&words[1]), "{own}");
        }
        let mut different = all;
        different.sort();
        different.dedup();
        assert!(different.len() > 990);
    }

    #[test]
    fn a_place_that_is_none_is_told_with_line_and_column() {
        for (text, place, sentence) in [
            ("ab{sec}", (1, 3), "did you mean {seq}?"),
            (
                "{\"a\":1,\n  \"ü\": {rand:9-1}}",
                (2, 8),
                "the smaller first",
            ),
            ("x{seq", (1, 2), "without its }"),
            ("{rand}", (1, 1), "{rand:1-100}"),
            ("{choice}", (1, 1), "{choice:on,off}"),
            ("{csv:}", (1, 1), "{csv:model}"),
            ("{now:h}", (1, 1), "give s, ms or us"),
            ("{rand:a-b}", (1, 1), "two numbers"),
            ("{proof} {proof}", (1, 9), "one {proof}"),
        ] {
            let mistake = PayloadTemplate::parse(text).unwrap_err();
            assert_eq!((mistake.line, mistake.column), place, "{text}");
            assert!(mistake.sentence.contains(sentence), "{text}: {mistake}");
        }
    }

    #[test]
    fn a_proof_within_notices_every_bit() {
        let text = filled("{\"v\":{rand:1-9},\"p\":\"{proof}\"}", 5).into_bytes();
        let proof = Proof::within(&text).unwrap();
        assert!(proof.holds(&text));
        for at in 0..text.len() * 8 {
            let mut text = text.clone();
            text[at / 8] ^= 1 << (at % 8);
            let is_sound = Proof::within(&text).is_some_and(|proof| proof.holds(&text));
            assert!(!is_sound, "bit {at}");
        }
    }
}
