//! JSON web tokens (RFC 7519) in the password field of CONNECT.
//!
//! Each key is bound to the algorithms of its kind when it is loaded, and a token is only checked
//! with a key that is bound to the algorithm it names. So a public key is never used as an HMAC
//! secret, and `none` is no algorithm at all.

mod keys;
mod ring_provider;
#[cfg(test)]
mod tests;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{decode, decode_header, Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::acl::Acl;
use crate::time::Span;

/// Clocks of issuer and broker may differ by so many seconds.
const LEEWAY_S: u64 = 30;

/// Claims that a token must have, and which of them are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtTerms {
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be or contain this.
    pub audience: Option<String>,
    /// The claim that is the user name.
    pub user_claim: String,
    /// The claim with the client's ACL.
    pub acl_claim: String,
}

impl Default for JwtTerms {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            user_claim: "sub".into(),
            acl_claim: "acl".into(),
        }
    }
}

/// Why a token is refused. For the log; the client gets the same reason code as for a wrong password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has no readable header with a known algorithm")]
    Header,
    #[error(
        "the token's header has extensions that must be understood (crit) and are not known here"
    )]
    Critical,
    #[error("no key is for the token's algorithm and key id")]
    NoKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token's claims are no JSON object")]
    Claims,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token's claim `{0}` is missing or not as required")]
    Claim(String),
}

/// The claims of a valid token.
#[derive(Debug, PartialEq)]
pub struct Claims {
    pub user: String,
    pub acl: Option<Acl>,
    /// Until it expires.
    pub valid_for: Span,
}

/// A key and the algorithms it may be used with.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Keys of issuers, and the claims that their tokens must have.
pub struct Tokens {
    keys: Vec<Key>,
    terms: JwtTerms,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tokens({} keys, {:?})", self.keys.len(), self.terms)
    }
}

impl Tokens {
    /// Whether a password is to be read as a token: three parts in base64url, of which the first is
    /// a JSON object.
    #[must_use]
    pub fn looks_like_token(password: &[u8]) -> bool {
        password.starts_with(b"eyJ") && password.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// `now_s` is in seconds since 1970.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &[u8], now_s: u64) -> Result<Claims, TokenError> {
        ring_provider::install();
        let header = decode_header(token).map_err(|_| TokenError::Header)?;
        // RFC 7515 4.1.11: a recipient that does not understand all of them MUST refuse; we understand none.
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let mut validation = Validation::new(header.alg);
        // Dates and names are checked here, with the caller's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let fitting = self.keys.iter().filter(|key| {
            let same_id = match (&key.id, &header.kid) {
                (Some(own), Some(named)) => own == named,
                _ => true,
            };
            same_id && key.algorithms.contains(&header.alg)
        });
        let mut refused = TokenError::NoKey;
        for key in fitting {
            let error = match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(token) => return self.check(&token.claims, now_s),
                Err(error) => error,
            };
            refused = match error.kind() {
                // The signature is right, so no other key has made it.
                ErrorKind::Json(_) => return Err(self.unreadable_claim(token, now_s)),
                _ => TokenError::Signature,
            };
        }
        Err(refused)
    }

    /// Which claim the library cannot read: a date that is no number, say.
    fn unreadable_claim(&self, token: &[u8], now_s: u64) -> TokenError {
        let claims = insecure_decode_claims::<Map<String, Value>>(token);
        let named = claims.map(|claims| self.check(&claims, now_s));
        named
            .ok()
            .and_then(Result::err)
            .unwrap_or(TokenError::Claims)
    }

    fn check(&self, claims: &Map<String, Value>, now_s: u64) -> Result<Claims, TokenError> {
        let wrong = |name: &str| TokenError::Claim(name.into());
        let expires_s = date(claims, "exp")?.ok_or_else(|| wrong("exp"))?;
        let valid_s = expires_s.saturating_add(LEEWAY_S).saturating_sub(now_s);
        if valid_s == 0 {
            return Err(TokenError::Expired);
        }
        if date(claims, "nbf")?.is_some_and(|from_s| from_s > now_s.saturating_add(LEEWAY_S)) {
            return Err(TokenError::NotYet);
        }
        let JwtTerms {
            issuer,
            audience,
            user_claim,
            acl_claim,
        } = &self.terms;
        let issued_by = claims.get("iss").and_then(Value::as_str);
        if issuer
            .as_deref()
            .is_some_and(|issuer| issued_by != Some(issuer))
        {
            return Err(wrong("iss"));
        }
        let is_meant = |wanted: &str| match claims.get("aud") {
            Some(Value::String(one)) => one == wanted,
            Some(Value::Array(many)) => many.iter().any(|one| one == wanted),
            _ => false,
        };
        if audience
            .as_deref()
            .is_some_and(|audience| !is_meant(audience))
        {
            return Err(wrong("aud"));
        }
        let user = claims
            .get(user_claim)
            .and_then(Value::as_str)
            .filter(|user| !user.is_empty());
        let acl = match claims.get(acl_claim).filter(|_| !acl_claim.is_empty()) {
            None => None,
            Some(value) => Some(acl_of(value).ok_or_else(|| wrong(acl_claim))?),
        };
        Ok(Claims {
            user: user.ok_or_else(|| wrong(user_claim))?.to_owned(),
            acl,
            valid_for: Span::from_secs(valid_s),
        })
    }
}

/// A NumericDate: seconds since 1970, maybe with a fraction.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if seconds >= 0.0 => Ok(Some(seconds as u64)),
            _ => Err(TokenError::Claim(name.into())),
        },
    }
}

/// `{"publish": [..], "subscribe": [..]}`, filters in which `%c` and `%u` stand for names. Both may
/// be missing; anything else in it is a mistake that must not pass for a permission.
pub(super) fn acl_of(value: &Value) -> Option<Acl> {
    let object = value.as_object()?;
    let list = |name: &str| -> Option<Vec<&str>> {
        match object.get(name) {
            None => Some(Vec::new()),
            Some(filters) => filters.as_array()?.iter().map(Value::as_str).collect(),
        }
    };
    let known = |name: &String| matches!(name.as_str(), "publish" | "subscribe");
    if !object.keys().all(known) {
        return None;
    }
    Acl::of_filters(list("publish")?, list("subscribe")?).ok()
}
