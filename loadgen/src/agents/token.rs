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
}
