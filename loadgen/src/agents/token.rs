//! The secret that coordinator and agents share.

use std::fmt;

use subtle::ConstantTimeEq;

/// Characters of a token: enough not to be guessed, and no more than a first frame holds.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// A token, which is never shown.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl std::str::FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if LENGTH.contains(&text.len()) {
            return Ok(Self(text.to_string()));
        }
        Err(format!(
            "a token has {} to {} bytes",
            LENGTH.start(),
            LENGTH.end()
        ))
    }
}

impl Token {
    /// True when `text` is the token; takes the same time wherever they differ.
    pub(super) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Options whose values are not shown.
const SECRET: [&str; 2] = ["--token", "--password"];

/// A command line without token and password, for results.
pub(crate) fn redacted(arguments: impl Iterator<Item = String>) -> String {
    let mut is_token = false;
    let shown = arguments.map(|argument| {
        if std::mem::replace(&mut is_token, SECRET.contains(&&argument[..])) {
            is_token = false;
            return "***".to_string();
        }
        let secret = argument.split_once('=').map(|(name, _)| name);
        if let Some(name) = secret.filter(|name| SECRET.contains(name)) {
            return format!("{name}=***");
        }
        argument
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_is_the_token() {
        let token: Token = "a long secret".parse().unwrap();
        assert!(token.is("a long secret"));
        for other in ["", "a long secreT", "a long secret ", "a long secre"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "***");
        assert!("short".parse::<Token>().is_err());
        assert!("x".repeat(257).parse::<Token>().is_err());
    }

    #[test]
    fn command_lines_are_shown_without_it() {
        for (given, shown) in [
            ("pairs --token abc --qos 1", "pairs --token *** --qos 1"),
            ("pairs --token=abc --qos 1", "pairs --token=*** --qos 1"),
            ("pairs --token --token", "pairs --token ***"),
            ("pairs --qos 1", "pairs --qos 1"),
            ("pairs --password p --x", "pairs --password *** --x"),
            ("pairs --password=p", "pairs --password=***"),
            ("pairs --user-property a=b", "pairs --user-property a=b"),
        ] {
            let words = given.split(' ').map(str::to_string);
            assert_eq!(redacted(words), shown);
        }
    }
}
