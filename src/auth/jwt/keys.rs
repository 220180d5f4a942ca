//! Reading keys: a PEM public key, a JWKS (RFC 7517), or a secret.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{JwtTerms, Key, Tokens};
use crate::auth::problem::FileProblem;

/// A shorter secret can be found by trying.
const SECRET_BYTES_MIN: usize = 32;
/// Of the modulus of an RSA key.
const RSA_BYTES_MIN: usize = 2048 / 8;
const RSA_BYTES_MAX: usize = 8192 / 8;
/// Bytes of one coordinate of a curve.
const P256_BYTES: usize = 32;
const P384_BYTES: usize = 48;
const ED25519_BYTES: usize = 32;

const ED25519_OID: &str = "1.3.101.112";
const P256_OID: &str = "1.2.840.10045.3.1.7";
const P384_OID: &str = "1.3.132.0.34";

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

impl Key {
    /// A key without a name, for what its kind may be used with and nothing else: so a public key is
    /// never taken for a secret.
    fn of(material: Material) -> Self {
        Self {
            id: None,
            algorithms: material.algorithms.into(),
            key: material.key,
        }
    }
}

/// A key and the algorithms of its kind; a point goes with the algorithm of its curve only.
struct Material {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

impl Material {
    fn p256(point: &[u8]) -> Self {
        let key = DecodingKey::from_ec_der(point);
        let algorithms = &[Algorithm::ES256];
        Self { key, algorithms }
    }

    fn p384(point: &[u8]) -> Self {
        let key = DecodingKey::from_ec_der(point);
        let algorithms = &[Algorithm::ES384];
        Self { key, algorithms }
    }

    fn ed25519(point: &[u8]) -> Self {
        let key = DecodingKey::from_ed_der(point);
        let algorithms = &[Algorithm::EdDSA];
        Self { key, algorithms }
    }
}

fn hmac_key(bytes: &[u8]) -> Result<Key, &'static str> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.starts_with(b"-----BEGIN") {
        return Err(
            "is a PEM file, not a secret: a public key as HMAC secret lets everybody sign; \
                    give it as jwt-key-file",
        );
    }
    secret(bytes).map(Key::of)
}

fn secret(bytes: &[u8]) -> Result<Material, &'static str> {
    use Algorithm::{HS256, HS384, HS512};
    let short = "the secret is shorter than 32 bytes and can be found by trying";
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(short);
    }
    let key = DecodingKey::from_secret(bytes).map_err(|_| short)?;
    let algorithms = &[HS256, HS384, HS512];
    Ok(Material { key, algorithms })
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, &'static str> {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    // ring wants numbers without zeros in front, which DER needs now and then and some issuers write.
    let bare = |number: &[u8]| -> Vec<u8> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].into()
    };
    let (modulus, exponent) = (bare(modulus), bare(exponent));
    if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&modulus.len()) || exponent.is_empty() {
        return Err("an RSA key for tokens has 2048 to 8192 bits");
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    let algorithms = &[RS256, RS384, RS512, PS256, PS384, PS512];
    Ok(Material { key, algorithms })
}

/// First byte of a point that is not compressed.
const UNCOMPRESSED: u8 = 4;

fn point(bytes: &[u8], coordinate: usize) -> Option<Vec<u8>> {
    let is_whole = bytes.len() == 1 + 2 * coordinate && bytes[0] == UNCOMPRESSED;
    is_whole.then(|| bytes.into())
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
    let unknown = "is neither a JWKS nor a PEM public key (RSA, EC of P-256 or P-384, or Ed25519)";
    let unknown = || (0, unknown.to_owned());
    let (_, section) = parse_x509_pem(text.as_bytes()).map_err(|_| unknown())?;
    let der = &section.contents;
    let material = match section.label.as_str() {
        "PUBLIC KEY" => {
            let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| unknown())?;
            of_info(&info)
        }
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unknown())?;
            of_info(certificate.public_key())
        }
        "RSA PUBLIC KEY" => {
            let (_, key) = RSAPublicKey::from_der(der).map_err(|_| unknown())?;
            Some(rsa(key.modulus, key.exponent))
        }
        _ => None,
    };
    match material {
        Some(Ok(material)) => Ok(Key::of(material)),
        Some(Err(text)) => Err((0, text.into())),
        None => Err(unknown()),
    }
}

/// `None`: of a kind that signs no tokens.
fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Option<Result<Material, &'static str>> {
    let bytes: &[u8] = &info.subject_public_key.data;
    match info.parsed().ok()? {
        PublicKey::RSA(key) => Some(rsa(key.modulus, key.exponent)),
        PublicKey::EC(_) => {
            let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
            match curve.to_id_string().as_str() {
                P256_OID => point(bytes, P256_BYTES).map(|key| Ok(Material::p256(&key))),
                P384_OID => point(bytes, P384_BYTES).map(|key| Ok(Material::p384(&key))),
                _ => None,
            }
        }
        _ => {
            let is_ed = info.algorithm.algorithm.to_id_string() == ED25519_OID;
            let is_whole = bytes.len() == ED25519_BYTES;
            (is_ed && is_whole).then(|| Ok(Material::ed25519(bytes)))
        }
    }
}

fn jwks(text: &str) -> Result<Vec<Key>, Wrong> {
    let set: Value = serde_json::from_str(text).map_err(|error| {
        let column = error.column();
        let text = format!("is not a JWKS: at column {column} it is no JSON any more");
        (error.line(), text)
    })?;
    let listed = set.get("keys").and_then(Value::as_array);
    let listed = listed.ok_or_else(|| (0, "is not a JWKS: it has no list `keys`".to_owned()))?;
    let mut keys = Vec::new();
    for (index, jwk) in listed.iter().enumerate() {
        let wrong = |text: &str| (0, format!("key {}: {text}", index + 1));
        let jwk = jwk.as_object().ok_or_else(|| wrong("is no JSON object"))?;
        keys.extend(jwk_key(jwk).map_err(wrong)?);
    }
    if keys.is_empty() {
        let text =
            "the JWKS has no key for signatures: RSA, EC of P-256 or P-384, OKP of Ed25519, oct";
        return Err((0, text.into()));
    }
    Ok(keys)
}

/// `None`: for something else, or of a kind that is not known here, which is to be passed over (RFC 7517
/// section 5).
fn jwk_key(jwk: &Map<String, Value>) -> Result<Option<Key>, &'static str> {
    let text = |name: &str| match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("a member that must be text is none"),
    };
    let ops = jwk.get("key_ops").and_then(Value::as_array);
    let is_for_others = text("use")?.is_some_and(|purpose| purpose != "sig")
        || ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify"));
    if is_for_others {
        return Ok(None);
    }
    let bytes = |name: &str| {
        let text = text(name)?.ok_or("a part of the key is missing")?;
        let decoded = URL_SAFE_NO_PAD.decode(text);
        decoded.map_err(|_| "a part of the key is not base64url")
    };
    let coordinates = |size: usize| {
        let joined = [vec![UNCOMPRESSED], bytes("x")?, bytes("y")?].concat();
        point(&joined, size).ok_or("its point is not one of its curve")
    };
    let material = match (text("kty")?, text("crv")?) {
        (Some("RSA"), _) => rsa(&bytes("n")?, &bytes("e")?)?,
        (Some("EC"), Some("P-256")) => Material::p256(&coordinates(P256_BYTES)?),
        (Some("EC"), Some("P-384")) => Material::p384(&coordinates(P384_BYTES)?),
        (Some("OKP"), Some("Ed25519")) => match bytes("x")? {
            key if key.len() == ED25519_BYTES => Material::ed25519(&key),
            _ => return Err("its point is not one of its curve"),
        },
        (Some("oct"), _) => secret(&bytes("k")?)?,
        (Some(_), _) => return Ok(None),
        (None, _) => return Err("it has no `kty`"),
    };
    let algorithms = match text("alg")? {
        None => material.algorithms.into(),
        Some(named) => {
            let named = named.parse();
            let named = named.map_err(|_| "its `alg` is not for signatures")?;
            if !material.algorithms.contains(&named) {
                return Err("its `alg` does not go with its `kty`");
            }
            vec![named]
        }
    };
    Ok(Some(Key {
        id: text("kid")?.map(Into::into),
        algorithms,
        key: material.key,
    }))
}
