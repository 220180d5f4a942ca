//! The file of bearer tokens: for each its name, role, end and the hash of its secret.
//!
//! `name:role:expires:sha256` per line, as `ringmq token` writes it; `expires` is seconds since 1970 or
//! `never`. A token is random, so one round of a hash keeps it: there is nothing to guess.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::role::Role;

/// What a token begins with, so that one that has leaked is found by who looks for such.
pub const PREFIX: &str = "rmq_";
/// Random bytes of a token.
pub const SECRET_BYTES: usize = 32;
/// A file has at most so many: all are compared with each request.
const TOKENS_MAX: usize = 1_000;

/// Tokens of one file.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Token>);

#[derive(Debug)]
struct Token {
    name: Arc<str>,
    role: Role,
    /// Seconds since 1970.
    until_s: Option<u64>,
    hash: [u8; 32],
}

/// Why a token does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Unknown,
    Expired,
}

/// The hash by which a token is kept.
#[must_use]
pub fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// A line of the file.
#[must_use]
pub fn line(name: &str, role: Role, until_s: Option<u64>, token: &[u8]) -> String {
    let until = until_s.map_or("never".into(), |until| until.to_string());
    let hash: String = hash(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name}:{}:{until}:{hash}\n", role.word())
}

/// A name that fits a line of the file.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(fits)
}

impl Tokens {
    /// # Errors
    /// Line and fault of everything that is wrong, one sentence each.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let (mut tokens, mut wrong) = (Vec::<Token>::new(), Vec::new());
        let lines = (1..).zip(text.lines());
        for (number, line) in lines.map(|(number, line)| (number, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Ok(token) if tokens.iter().any(|other| other.name == token.name) => {
                    wrong.push(format!(
                        "{file}:{number}: \"{}\" is there already",
                        token.name
                    ));
                }
                Ok(token) => tokens.push(token),
                Err(text) => wrong.push(format!("{file}:{number}: {text}")),
            }
        }
        if tokens.len() > TOKENS_MAX {
            wrong.push(format!(
                "{file}: holds {} tokens, at most {TOKENS_MAX} may be there",
                tokens.len()
            ));
        }
        match wrong.is_empty() {
            true => Ok(Self(tokens)),
            false => Err(wrong.join("\n")),
        }
    }

    /// Whose token it is. Takes the same time for each: all are compared.
    ///
    /// # Errors
    /// It does not let in.
    pub fn find(&self, token: &[u8], now_s: u64) -> Result<(Arc<str>, Role), Unfit> {
        let hash = hash(token);
        let mut found = None;
        for one in &self.0 {
            if bool::from(one.hash.ct_eq(&hash)) {
                found = Some(one);
            }
        }
        let token = found.ok_or(Unfit::Unknown)?;
        match token.until_s.is_some_and(|until| now_s >= until) {
            true => Err(Unfit::Expired),
            false => Ok((Arc::clone(&token.name), token.role)),
        }
    }
}

fn parse_line(line: &str) -> Result<Token, String> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, role, until, hex] = fields[..] else {
        return Err("is not name:role:expires:hash, as `ringmq token` writes it".into());
    };
    if !is_name(name) {
        return Err(
            "the name is empty, too long or has other characters than letters, digits and -_.@"
                .into(),
        );
    }
    let role = Role::of_word(role);
    let role = role.ok_or("the role is not metrics, viewer or admin")?;
    let until_s = match until {
        "never" => None,
        seconds => Some(
            seconds
                .parse()
                .map_err(|_| "the end is not \"never\" or seconds since 1970")?,
        ),
    };
    let hash = bytes_of_hex(hex).ok_or("the hash is not 64 hexadecimal digits")?;
    Ok(Token {
        name: name.into(),
        role,
        until_s,
        hash,
    })
}

fn bytes_of_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lets_in_until_its_end_and_no_other_does() {
        let text = [
            "# who reads\n",
            &line("grafana", Role::Viewer, Some(2_000), b"rmq_one"),
            &line("ops@home", Role::Admin, None, b"rmq_two"),
        ];
        let tokens = Tokens::parse("f", &text.concat()).unwrap();
        let (name, role) = tokens.find(b"rmq_one", 1_999).unwrap();
        assert_eq!((&*name, role), ("grafana", Role::Viewer));
        assert_eq!(tokens.find(b"rmq_one", 2_000), Err(Unfit::Expired));
        assert_eq!(tokens.find(b"rmq_two", u64::MAX).unwrap().1, Role::Admin);
        for wrong in [&b""[..], b"rmq_", b"rmq_one ", b"rmq_On"] {
            assert_eq!(tokens.find(wrong, 0), Err(Unfit::Unknown));
        }
    }

    #[test]
    fn bad_lines_name_line_and_fault() {
        let hash = "0".repeat(64);
        for (line, fault) in [
            ("a:admin:never".to_owned(), "name:role:expires:hash"),
            (format!("a b:admin:never:{hash}"), "the name"),
            (format!("a:root:never:{hash}"), "the role"),
            (format!("a:admin:tomorrow:{hash}"), "the end"),
            (format!("a:admin:never:{}", &hash[1..]), "the hash"),
            (
                format!("a:admin:never:{hash}\na:admin:never:{hash}"),
                "already",
            ),
        ] {
            let text = Tokens::parse("f", &format!("\n{line}\n")).unwrap_err();
            let number = 1 + line.lines().count();
            assert!(
                text.starts_with(&format!("f:{number}: ")) && text.contains(fault),
                "{text}"
            );
        }
    }
}
