//! Comparing a received packet with what a row expects.

use ringmq::mqtt::Version;

use super::bytes::{self, Element, Variables};

/// A packet a row expects.
pub(super) enum Expected {
    Bytes {
        pattern: Vec<Element>,
        version: Version,
    },
    /// A packet named by what matters in it.
    Named {
        version: Version,
        first_byte: u8,
        session_present: Option<bool>,
        packet_id: Option<Vec<Element>>,
        /// For each code the values accepted; empty: not looked at.
        codes: Vec<Vec<u8>>,
        demanded: Vec<(u8, Option<Vec<u8>>)>,
        forbidden: Vec<u8>,
    },
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(200).map(|b| format!("{b:02x}")).collect();
    format!("<{}> ({} bytes)", shown.join(" "), bytes.len())
}

impl Expected {
    pub(super) fn parse(text: &str, version: Version) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let first_byte = match words.first().copied().unwrap_or_default() {
            "CONNACK" => 0x20,
            "PUBACK" => 0x40,
            "PUBREC" => 0x50,
            "PUBREL" => 0x62,
            "PUBCOMP" => 0x70,
            "SUBACK" => 0x90,
            "UNSUBACK" => 0xb0,
            "DISCONNECT" => 0xe0,
            _ => {
                let pattern = bytes::parse(text, version)?;
                return Ok(Self::Bytes { pattern, version });
            }
        };
        let mut words = words[1..].iter().copied().peekable();
        let mut packet_id = None;
        if matches!(first_byte, 0x40..=0xb0) {
            packet_id = Some(bytes::parse(words.next().ok_or("packet id")?, version)?);
        }
        let mut session_present = None;
        let (mut codes, mut demanded, mut forbidden) = (Vec::new(), Vec::new(), Vec::new());
        for word in words {
            if let Some(property) = word.strip_prefix('+') {
                let (id, value) = property.split_once('=').unwrap_or((property, ""));
                let value = bytes::to_send(value, version, &Variables::new())?;
                demanded.push((byte(id)?, (!value.is_empty()).then_some(value)));
            } else if let Some(id) = word.strip_prefix('-') {
                forbidden.push(byte(id)?);
            } else if word == "ok" || word == "resumed" {
                // 3.1 has no session present flag: the byte is reserved.
                session_present = (version != Version::V31).then_some(word == "resumed");
                codes.push(vec![0]);
            } else {
                let choice = match word.split_once('/') {
                    Some((v5, _)) if version.is_v5() => v5,
                    Some((_, v3)) => v3,
                    None => word,
                };
                codes.push(choice.split(',').map(byte).collect::<Result<_, _>>()?);
            }
        }
        if codes.is_empty() {
            match first_byte {
                0x40 | 0x50 => codes.push(vec![0x00, 0x10]),
                0x62 | 0x70 => codes.push(vec![0x00]),
                _ => {}
            }
        }
        if first_byte == 0x20 && codes.iter().all(|code| code != &[0]) {
            session_present = Some(false);
        }
        Ok(Self::Named {
            version,
            first_byte,
            session_present,
            packet_id,
            codes,
            demanded,
            forbidden,
        })
    }

    /// Equal in all that matters? Numbers met for the first time are stored.
    pub(super) fn compare(&self, packet: &[u8], variables: &mut Variables) -> Result<(), String> {
        match self {
            Self::Bytes { pattern, version } => compare_bytes(pattern, packet, *version, variables),
            Self::Named { .. } => self.compare_named(packet, variables),
        }
    }

    fn compare_named(&self, packet: &[u8], variables: &mut Variables) -> Result<(), String> {
        let Self::Named {
            version,
            first_byte,
            session_present,
            packet_id,
            codes,
            demanded,
            forbidden,
        } = self
        else {
            unreachable!("called for named packets");
        };
        let parts = Parts::of(packet, *version).ok_or("packet too short")?;
        if packet[0] != *first_byte {
            return Err(format!("first byte {first_byte:02x} expected"));
        }
        if let Some(expected) = session_present {
            if parts.flags != u8::from(*expected) {
                return Err(format!("session present {expected} expected"));
            }
        }
        let given = parts.codes;
        // A v3 UNSUBACK, PUBACK ... has no codes.
        let has_codes = version.is_v5() || matches!(first_byte, 0x20 | 0x90);
        let fits = |(given, accepted): (&u8, &Vec<u8>)| accepted.contains(given);
        if has_codes
            && !codes.is_empty()
            && (given.len() != codes.len() || !given.iter().zip(codes).all(fits))
        {
            return Err(format!("codes {codes:02x?} expected"));
        }
        if !version.is_v5() && *first_byte != 0x90 && parts.rest_len > 0 {
            return Err("packet too long".to_owned());
        }
        for (id, value) in demanded.iter().filter(|_| version.is_v5()) {
            let found = parts.properties.iter().find(|(given, _)| given == id);
            match (found, value) {
                (None, _) => return Err(format!("property {id:02x} expected")),
                (Some((_, found)), Some(value)) if found != value => {
                    return Err(format!("property {id:02x} with {value:02x?} expected"));
                }
                _ => {}
            }
        }
        if let Some(id) = forbidden
            .iter()
            .find(|id| parts.properties.iter().any(|(given, _)| given == *id))
        {
            return Err(format!("property {id:02x} not expected"));
        }
        match packet_id {
            Some(pattern) => compare_elements(pattern, &parts.packet_id, variables),
            None => Ok(()),
        }
    }
}

fn byte(text: &str) -> Result<u8, String> {
    u8::from_str_radix(text, 16).map_err(|_| format!("{text:?} is no byte"))
}

/// A server's packet other than PUBLISH, taken apart.
struct Parts {
    flags: u8,
    packet_id: Vec<u8>,
    codes: Vec<u8>,
    properties: Vec<(u8, Vec<u8>)>,
    /// Bytes beyond what v3 has in this packet.
    rest_len: usize,
}

impl Parts {
    fn of(packet: &[u8], version: Version) -> Option<Self> {
        let (_, header_len) = read_variable_byte_integer(&packet[1..])?;
        let mut body = &packet[1 + header_len..];
        let mut parts = Self {
            flags: 0,
            packet_id: Vec::new(),
            codes: Vec::new(),
            properties: Vec::new(),
            rest_len: 0,
        };
        let kind = packet[0] & 0xf0;
        if kind == 0x20 {
            parts.flags = *body.first()?;
            body = &body[1..];
        } else if kind != 0xe0 {
            parts.packet_id = body.get(..2)?.to_vec();
            body = &body[2..];
        }
        let list = matches!(kind, 0x90 | 0xb0);
        if !list {
            // The reason code is 0 when it is left out.
            let in_packet = version.is_v5() || kind == 0x20;
            parts.codes = match body.first() {
                Some(&code) if in_packet => {
                    body = &body[1..];
                    vec![code]
                }
                _ => vec![0],
            };
        }
        if version.is_v5() && !body.is_empty() {
            let (len, len_len) = read_variable_byte_integer(body)?;
            parts.properties = split_properties(body.get(len_len..len_len + len)?)?;
            body = &body[len_len + len..];
        }
        if list {
            parts.codes = body.to_vec();
        }
        parts.rest_len = body.len();
        Some(parts)
    }
}

fn read_variable_byte_integer(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Identifier and value of each property, in order (MQTT 5.0 section 2.2.2.2).
fn split_properties(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut properties = Vec::new();
    while let Some((&id, rest)) = bytes.split_first() {
        let text_len = |at: usize| {
            let len = rest.get(at..at + 2)?;
            Some(2 + usize::from(u16::from_be_bytes([len[0], len[1]])))
        };
        let len = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0b => read_variable_byte_integer(rest)?.1,
            0x26 => {
                let key = text_len(0)?;
                key + text_len(key)?
            }
            _ => text_len(0)?,
        };
        properties.push((id, rest.get(..len)?.to_vec()));
        bytes = &rest[len..];
    }
    Some(properties)
}

fn compare_bytes(
    pattern: &[Element],
    packet: &[u8],
    version: Version,
    variables: &mut Variables,
) -> Result<(), String> {
    let is_publish = matches!(pattern.first(), Some(Element::Byte(0x30..=0x3f)));
    if is_publish && version.is_v5() {
        let concrete = pattern.iter().map(|e| match e {
            Element::Byte(byte) => *byte,
            _ => 0,
        });
        let plain: Vec<u8> = concrete.collect();
        let (Some(ours), Some(theirs)) = (sorted_order(&plain), sorted_order(packet)) else {
            return Err("no PUBLISH".to_owned());
        };
        let pattern: Vec<Element> = ours.iter().map(|&at| pattern[at].clone()).collect();
        let packet: Vec<u8> = theirs.iter().map(|&at| packet[at]).collect();
        return compare_elements(&pattern, &packet, variables);
    }
    compare_elements(pattern, packet, variables)
}

/// Positions of the bytes of a v5 PUBLISH with its properties sorted by identifier, and
/// subscription identifiers also by value; user properties keep their order.
fn sorted_order(packet: &[u8]) -> Option<Vec<usize>> {
    let (_, header_len) = read_variable_byte_integer(packet.get(1..)?)?;
    let topic_at = 1 + header_len;
    let topic_len = packet.get(topic_at..topic_at + 2)?;
    let mut at = topic_at + 2 + usize::from(u16::from_be_bytes([topic_len[0], topic_len[1]]));
    if packet[0] & 0x06 != 0 {
        at += 2;
    }
    let (len, len_len) = read_variable_byte_integer(packet.get(at..)?)?;
    let start = at + len_len;
    let mut position = start;
    let mut properties: Vec<(u8, Vec<u8>, usize)> = Vec::new();
    for (id, value) in split_properties(packet.get(start..start + len)?)? {
        let value_len = value.len();
        let key = if id == 0x0b { value } else { Vec::new() };
        properties.push((id, key, position));
        position += 1 + value_len;
    }
    let mut ends: Vec<usize> = properties.iter().skip(1).map(|p| p.2).collect();
    ends.push(position);
    let mut ranges: Vec<_> = properties.into_iter().zip(ends).collect();
    ranges.sort_by(|(a, _), (b, _)| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let sorted = ranges.into_iter().flat_map(|((_, _, from), to)| from..to);
    Some(
        (0..start)
            .chain(sorted)
            .chain(position..packet.len())
            .collect(),
    )
}

fn compare_elements(
    pattern: &[Element],
    bytes: &[u8],
    variables: &mut Variables,
) -> Result<(), String> {
    let mut found = Variables::new();
    for (at, element) in pattern.iter().enumerate() {
        let &byte = bytes
            .get(at)
            .ok_or(format!("{} bytes expected", pattern.len()))?;
        match element {
            Element::Any => {}
            Element::Byte(expected) if *expected == byte => {}
            Element::Byte(expected) => {
                return Err(format!(
                    "byte {at}: {expected:02x} expected, not {byte:02x}"
                ));
            }
            Element::Variable { name, half, unlike } => {
                let stored = variables.get(name);
                if stored.is_some_and(|value| value[*half] != byte) {
                    return Err(format!("byte {at}: ${name} is {stored:02x?}"));
                }
                let value = found.entry(name.clone()).or_default();
                value[*half] = byte;
                let mut others = unlike.iter().map(|other| variables.get(other));
                if *half == 1 && others.any(|other| other == Some(&*value)) {
                    return Err(format!("${name} is {value:02x?}, which is in use"));
                }
            }
        }
    }
    if bytes.len() > pattern.len() {
        return Err(format!("{} bytes expected", pattern.len()));
    }
    variables.extend(found);
    Ok(())
}
