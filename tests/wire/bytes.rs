//! The notation for bytes.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

use ringmq::mqtt::Version;

/// One byte of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Byte(u8),
    Any,
    /// High (0) or low (1) byte of a named number.
    Variable {
        name: String,
        half: usize,
        /// The numbers whose values it must not have.
        unlike: Vec<String>,
    },
}

/// Numbers taken from received packets.
pub(super) type Variables = HashMap<String, [u8; 2]>;

/// Reads the notation for one version.
pub(super) fn parse(text: &str, version: Version) -> Result<Vec<Element>, String> {
    let mut chars = text.chars().peekable();
    let elements = sequence(&mut chars, version, None)?;
    Ok(elements)
}

/// The bytes to send: every variable has a value.
pub(super) fn to_send(
    text: &str,
    version: Version,
    variables: &Variables,
) -> Result<Vec<u8>, String> {
    parse(text, version)?
        .into_iter()
        .map(|element| match element {
            Element::Byte(byte) => Ok(byte),
            Element::Any => Err("a wildcard cannot be sent".to_owned()),
            Element::Variable { name, half, .. } => variables
                .get(&name)
                .map(|value| value[half])
                .ok_or(format!("${name} has no value yet")),
        })
        .collect()
}

/// A length as variable byte integer [MQTT-1.5.5-1].
pub(super) fn variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

fn plain(bytes: impl IntoIterator<Item = u8>) -> impl Iterator<Item = Element> {
    bytes.into_iter().map(Element::Byte)
}

fn sequence(
    chars: &mut Peekable<Chars<'_>>,
    version: Version,
    end: Option<char>,
) -> Result<Vec<Element>, String> {
    let mut out = Vec::new();
    while let Some(c) = chars.next() {
        if Some(c) == end {
            return Ok(out);
        }
        match c {
            c if c.is_whitespace() => {}
            '*' => out.push(Element::Any),
            '"' => {
                let text = until(chars, '"')?;
                out.extend(plain((text.len() as u16).to_be_bytes()));
                out.extend(plain(text.into_bytes()));
            }
            '\'' => out.extend(plain(until(chars, '\'')?.into_bytes())),
            '$' => {
                let name = word(chars);
                let mut unlike = Vec::new();
                while chars.next_if_eq(&'!').is_some() {
                    unlike.push(word(chars));
                }
                out.extend([0, 1].map(|half| Element::Variable {
                    name: name.clone(),
                    half,
                    unlike: unlike.clone(),
                }));
            }
            '[' => {
                let content = sequence(chars, version, Some(']'))?;
                out.extend(plain(variable_byte_integer(content.len())));
                out.extend(content);
            }
            '{' => {
                let content = sequence(chars, version, Some('}'))?;
                if version.is_v5() {
                    out.extend(plain(variable_byte_integer(content.len())));
                    out.extend(content);
                }
            }
            '(' => {
                let content = sequence(chars, version, Some(')'))?;
                if chars.next_if_eq(&'*').is_none() {
                    return Err("a repetition ends with *COUNT".to_owned());
                }
                let count: usize = word(chars).parse().map_err(|_| "a count after *")?;
                for _ in 0..count {
                    out.extend_from_slice(&content);
                }
            }
            'v' => {
                let number = chars.next();
                if chars.next() != Some('(') {
                    return Err("v3( or v5(".to_owned());
                }
                let content = sequence(chars, version, Some(')'))?;
                match number {
                    Some('3') if !version.is_v5() => out.extend(content),
                    Some('5') if version.is_v5() => out.extend(content),
                    Some('3' | '5') => {}
                    _ => return Err("v3( or v5(".to_owned()),
                }
            }
            'N' => {
                if word(chars) != "AME" {
                    return Err("NAME".to_owned());
                }
                out.extend(plain(protocol_name(version).iter().copied()));
            }
            c => {
                let high = c.to_digit(16);
                let low = chars.next().and_then(|c| c.to_digit(16));
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(format!("{c:?} is no byte"));
                };
                out.push(Element::Byte((high * 16 + low) as u8));
            }
        }
    }
    match end {
        None => Ok(out),
        Some(end) => Err(format!("{end:?} is missing")),
    }
}

fn until(chars: &mut Peekable<Chars<'_>>, end: char) -> Result<String, String> {
    let mut text = String::new();
    for c in chars {
        if c == end {
            return Ok(text);
        }
        text.push(c);
    }
    Err(format!("{end:?} is missing"))
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next_if(char::is_ascii_alphanumeric) {
        text.push(c);
    }
    text
}

/// Protocol name and level as CONNECT has them.
pub(super) fn protocol_name(version: Version) -> &'static [u8] {
    match version {
        Version::V31 => b"\0\x06MQIsdp\x03",
        Version::V311 => b"\0\x04MQTT\x04",
        Version::V5 => b"\0\x04MQTT\x05",
    }
}
