//! Reading keys: a PEM public key, a JWKS, or a secret.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{JwtTerms, Key, Tokens};
use crate::auth::problem::FileProblem;

/// A shorter secret can be found by trying.
const SECRET_BYTES_MIN: usize = 32;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const HMAC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

impl Tokens {
    /// `keys`: name and text of a file with a PEM public key or a JWKS. `secret`: of a file whose
    /// bytes, without a line break at the end, are an HMAC secret.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn parse(
        keys: Option<(&str, &str)>,
        secret: Option<(&str, &[u8])>,
        terms: JwtTerms,
    ) -> Result<Self, Vec<FileProblem>> {
        let mut found = Vec::new();
        let mut problems = Vec::new();
        if let Some((file, text)) = keys {
            let read = if text.trim_start().starts_with('{') {
                jwks(text)
            } else {
                pem(text).map(|key| vec![key])
            };
            match read {
                Ok(keys) => found.extend(keys),
                Err((line, text)) => problems.push(FileProblem::new(file, line, text)),
            }
        }
        if let Some((file, bytes)) = secret {
            match hmac_key(bytes) {
                Ok(key) => found.push(key),
                Err(text) => problems.push(FileProblem::new(file, 0, text)),
            }
        }
        if problems.is_empty() {
            Ok(Self { keys: found, terms })
        } else {
            Err(problems)
        }
    }
}

type Wrong = (usize, String);

fn hmac_key(bytes: &[u8]) -> Result<Key, &'static str> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.starts_with(b"-----BEGIN") {
        return Err(
            "is a PEM file, not a secret: a public key as HMAC secret lets everybody sign; \
                    give it as jwt-key-file",
        );
    }
    if bytes.len() < SECRET_BYTES_MIN {
        return Err("the secret is shorter than 32 bytes and can be found by trying");
    }
    Ok(Key {
        id: None,
        algorithms: HMAC.into(),
        key: DecodingKey::from_secret(bytes),
    })
}

fn pem(text: &str) -> Result<Key, Wrong> {
    if text.contains("PRIVATE KEY") {
        let line = 1 + text
            .lines()
            .take_while(|line| !line.contains("PRIVATE KEY"))
            .count();
        return Err((
            line,
            "is a private key; the broker needs the public one only".into(),
        ));
    }
    let bytes = text.as_bytes();
    let (algorithms, key) = if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
        (RSA.to_vec(), key)
    } else if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        (vec![Algorithm::ES256, Algorithm::ES384], key)
    } else if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        (vec![Algorithm::EdDSA], key)
    } else {
        return Err((
            0,
            "is neither a JWKS nor a PEM public key (RSA, EC or Ed25519)".into(),
        ));
    };
    Ok(Key {
        id: None,
        algorithms,
        key,
    })
}

fn jwks(text: &str) -> Result<Vec<Key>, Wrong> {
    let set: JwkSet = serde_json::from_str(text)
        .map_err(|error| (error.line(), format!("is not a JWKS: {error}")))?;
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            continue;
        }
        let key = jwk_key(jwk).map_err(|text| (0, format!("key {}: {text}", index + 1)))?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err((0, "the JWKS has no key for signatures".into()));
    }
    Ok(keys)
}

fn jwk_key(jwk: &Jwk) -> Result<Key, String> {
    let possible: Vec<Algorithm> = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA.into(),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return Err("of the curves only P-256 and P-384 are known".into()),
        },
        AlgorithmParameters::OctetKeyPair(_) => vec![Algorithm::EdDSA],
        AlgorithmParameters::OctetKey(_) => HMAC.into(),
    };
    let algorithms = match jwk.common.key_algorithm {
        None => possible,
        Some(named) => {
            let named = algorithm(named).ok_or("its `alg` is not for signatures")?;
            if !possible.contains(&named) {
                return Err("its `alg` does not go with its `kty`".into());
            }
            vec![named]
        }
    };
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    Ok(Key {
        id: jwk.common.key_id.clone(),
        algorithms,
        key,
    })
}

fn algorithm(named: KeyAlgorithm) -> Option<Algorithm> {
    named.to_string().parse().ok()
}
