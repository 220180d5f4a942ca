use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{
    EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, RsaKeyPair, ECDSA_P256_SHA256_FIXED_SIGNING,
    RSA_PKCS1_SHA256, RSA_PSS_SHA512,
};
use ring::{hmac, rand};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;

use super::*;
use crate::auth::acl::Names;

/// Keys made for these tests with openssl; they open nothing.
const RSA_PRIVATE: &str = include_str!("testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
const EC_PRIVATE: &str = include_str!("testdata/ec.pem");
const EC_PUBLIC: &str = include_str!("testdata/ec.pub.pem");
const ED_PRIVATE: &str = include_str!("testdata/ed.pem");
const ED_PUBLIC: &str = include_str!("testdata/ed.pub.pem");
const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
const NOW_S: u64 = 1_700_000_000;

/// A private key, with which an issuer signs.
enum EncodingKey {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl EncodingKey {
    fn from_secret(secret: &[u8]) -> Self {
        Self::Secret(secret.into())
    }

    fn from_pem(text: &str) -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).unwrap();
        let der = der.secret_pkcs8_der();
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            return Self::Rsa(Box::new(key));
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::Ed(key);
        }
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
        Self::Ec(key.unwrap())
    }

    fn sign(&self, name: &str, message: &[u8]) -> Vec<u8> {
        let random: &dyn rand::SecureRandom = &SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let how = match name {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(how, secret);
                hmac::sign(&key, message).as_ref().into()
            }
            Self::Rsa(key) => {
                let how: &dyn RsaEncoding = match name {
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(how, random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(random, message).unwrap().as_ref().into(),
            Self::Ed(key) => key.sign(message).as_ref().into(),
        }
    }
}

/// A token with this header, whose `alg` says how it is signed.
fn token(header: &Value, key: &EncodingKey, claims: &Value) -> Vec<u8> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let name = header["alg"].as_str().unwrap();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(name, signed.as_bytes()));
    format!("{signed}.{signature}").into_bytes()
}

fn sign(name: &str, key: &EncodingKey, claims: &Value) -> Vec<u8> {
    token(&json!({"alg": name, "typ": "JWT"}), key, claims)
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 60})
}

fn of_pem(text: &str) -> Tokens {
    Tokens::parse(Some(("key", text)), None, JwtTerms::default()).unwrap()
}

fn of_secret(terms: JwtTerms) -> Tokens {
    Tokens::parse(None, Some(("secret", SECRET)), terms).unwrap()
}

fn hs256(claims: &Value) -> Vec<u8> {
    sign("HS256", &EncodingKey::from_secret(SECRET), claims)
}

#[test]
fn every_kind_of_key() {
    let [rsa, ec, ed] = [RSA_PRIVATE, EC_PRIVATE, ED_PRIVATE].map(EncodingKey::from_pem);
    let hmac = EncodingKey::from_secret(SECRET);
    let rows = [
        (of_pem(RSA_PUBLIC), "RS256", &rsa),
        (of_pem(RSA_PUBLIC), "PS512", &rsa),
        (of_pem(EC_PUBLIC), "ES256", &ec),
        (of_pem(ED_PUBLIC), "EdDSA", &ed),
        (of_secret(JwtTerms::default()), "HS512", &hmac),
    ];
    for (tokens, algorithm, key) in &rows {
        let token = sign(algorithm, key, &claims());
        assert!(Tokens::looks_like_token(&token));
        let found = tokens.verify(&token, NOW_S).unwrap();
        assert_eq!((&*found.user, found.acl), ("ann", None), "{algorithm:?}");
        // Any other kind of key refuses it, and so is a changed token refused.
        let family = |algorithm: &str| algorithm.replace("PS", "RS")[..2].to_owned();
        for (other, name, _) in &rows {
            if family(name) != family(algorithm) {
                assert_eq!(other.verify(&token, NOW_S), Err(TokenError::NoKey));
            }
        }
        let mut changed = token.clone();
        let last = changed.len() - 20;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(tokens.verify(&changed, NOW_S), Err(TokenError::Signature));
    }
}

#[test]
fn no_algorithm_and_key_confusion() {
    // {"alg":"none"} . {"sub":"ann","exp":9999999999} .
    let none = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTl9.";
    for tokens in [of_pem(RSA_PUBLIC), of_secret(JwtTerms::default())] {
        assert_eq!(tokens.verify(none, NOW_S), Err(TokenError::Header));
    }
    // Signed with the public key as if it were a secret.
    for public in [RSA_PUBLIC, EC_PUBLIC, ED_PUBLIC] {
        let forged = EncodingKey::from_secret(public.as_bytes());
        let token = sign("HS256", &forged, &claims());
        assert_eq!(of_pem(public).verify(&token, NOW_S), Err(TokenError::NoKey));
        let problems =
            Tokens::parse(None, Some(("s", public.as_bytes())), JwtTerms::default()).unwrap_err();
        assert!(problems[0].to_string().contains("lets everybody sign"));
    }
    for garbage in [&b"eyJ.."[..], b"eyJhbGciOiJIUzI1NiJ9..", b"eyJ\xff.a.b"] {
        assert!(of_secret(JwtTerms::default())
            .verify(garbage, NOW_S)
            .is_err());
    }
}

#[test]
fn what_a_token_must_say() {
    let terms = JwtTerms {
        issuer: Some("me".into()),
        audience: Some("broker".into()),
        user_claim: "name".into(),
        ..JwtTerms::default()
    };
    let tokens = of_secret(terms);
    let good = json!({"name": "ann", "exp": NOW_S + 60, "nbf": NOW_S, "iss": "me",
                      "aud": ["other", "broker"]});
    assert_eq!(tokens.verify(&hs256(&good), NOW_S).unwrap().user, "ann");
    let claim = |name: &str| TokenError::Claim(name.into());
    let rows = [
        ("exp", json!(NOW_S - LEEWAY_S), TokenError::Expired),
        ("exp", json!(null), claim("exp")),
        ("exp", json!("tomorrow"), claim("exp")),
        ("exp", json!(-1), claim("exp")),
        ("exp", json!([NOW_S + 60]), claim("exp")),
        ("nbf", json!(NOW_S + LEEWAY_S + 1), TokenError::NotYet),
        ("nbf", json!((NOW_S - 60).to_string()), claim("nbf")),
        ("nbf", json!(null), claim("nbf")),
        ("iss", json!("you"), claim("iss")),
        ("iss", json!(null), claim("iss")),
        ("aud", json!("other"), claim("aud")),
        ("aud", json!(null), claim("aud")),
        ("name", json!(""), claim("name")),
        ("name", json!(7), claim("name")),
        ("acl", json!(["#"]), claim("acl")),
        ("acl", json!({"subscribe": ["a#"]}), claim("acl")),
        ("acl", json!({"all": ["#"]}), claim("acl")),
    ];
    for (name, value, error) in rows {
        let mut changed = good.clone();
        changed[name] = value;
        assert_eq!(
            tokens.verify(&hs256(&changed), NOW_S),
            Err(error),
            "{changed}"
        );
    }
    let mut missing = good.clone();
    missing.as_object_mut().unwrap().remove("exp");
    assert_eq!(tokens.verify(&hs256(&missing), NOW_S), Err(claim("exp")));
}

#[test]
fn claims_to_acl() {
    let claims = json!({"sub": "ann", "exp": NOW_S + 60,
        "acl": {"publish": ["up/%u/%c"], "subscribe": ["down/%u/#"]}});
    let found = of_secret(JwtTerms::default())
        .verify(&hs256(&claims), NOW_S)
        .unwrap();
    assert_eq!(found.valid_for, Span::from_secs(60 + LEEWAY_S));
    let acl = found.acl.unwrap();
    let names = Names {
        client: "c",
        user: Some("ann"),
    };
    assert!(acl.may_publish(names, "up/ann/c") && !acl.may_publish(names, "down/ann/x"));
    assert!(acl.may_subscribe(names, "down/ann/+") && !acl.may_subscribe(names, "up/ann/c"));
}

#[test]
fn key_sets() {
    let rsa = "\"kty\":\"RSA\",\"n\":\"sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw\",\"e\":\"AQAB\"";
    // 40 bytes, base64url.
    let oct = "\"kty\":\"oct\",\"k\":\"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ\"";
    let key = EncodingKey::from_secret(&[b'a'; 40]);
    let parse = |text: &str| Tokens::parse(Some(("jwks", text)), None, JwtTerms::default());
    let with_id = |id: &str| token(&json!({"alg": "HS256", "kid": id}), &key, &claims());
    let two = format!(
        "{{\"keys\":[{{{rsa},\"kid\":\"one\"}},{{{oct},\"kid\":\"two\",\"alg\":\"HS256\"}}]}}"
    );
    let tokens = parse(&two).unwrap();
    assert!(tokens.verify(&with_id("two"), NOW_S).is_ok());
    assert_eq!(
        tokens.verify(&with_id("one"), NOW_S),
        Err(TokenError::NoKey)
    );
    assert_eq!(
        tokens.verify(&with_id("three"), NOW_S),
        Err(TokenError::NoKey)
    );
    let other = sign("HS384", &key, &claims());
    assert_eq!(
        tokens.verify(&other, NOW_S),
        Err(TokenError::NoKey),
        "bound to HS256"
    );
    let rows = [
        ("{", "is not a JWKS"),
        ("{\"keys\":[]}", "no key"),
        ("{}", "no list `keys`"),
        ("{\"keys\":[7]}", "key 1: is no JSON object"),
        (
            "{\"keys\":[{\"kty\":\"oct\"}]}",
            "a part of the key is missing",
        ),
        (
            "{\"keys\":[{\"kty\":\"oct\",\"k\":\"YWFh\"}]}",
            "shorter than 32 bytes",
        ),
        (
            "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"YWFh\",\"e\":\"AQAB\"}]}",
            "2048 to 8192 bits",
        ),
        (
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"YWFh\",\"y\":\"YWFh\"}]}",
            "not one of its curve",
        ),
        // Kinds that are not known are passed over, RFC 7517 5.
        (
            "{\"keys\":[{\"kty\":\"AKP\"},{\"kty\":\"OKP\",\"crv\":\"X25519\"}]}",
            "no key",
        ),
        (
            &format!("{{\"keys\":[{{{rsa},\"use\":\"enc\"}}]}}"),
            "no key",
        ),
        (
            &format!("{{\"keys\":[{{{rsa},\"alg\":\"HS256\"}}]}}"),
            "does not go with",
        ),
        (
            &format!("{{\"keys\":[{{{oct},\"alg\":\"RS256\"}}]}}"),
            "does not go with",
        ),
        (RSA_PRIVATE, "private key"),
        ("hello", "neither a JWKS nor a PEM"),
    ];
    for (text, part) in rows {
        let problems = parse(text).unwrap_err();
        assert!(
            problems[0].to_string().contains(part),
            "{text}: {problems:?}"
        );
    }
    let short = Tokens::parse(None, Some(("s", b"short")), JwtTerms::default()).unwrap_err();
    assert!(short[0].to_string().contains("shorter than 32 bytes"));
}

/// RFC 7515 4.1.11: extensions that are not understood make a token invalid, and ones that are none at
/// all are no excuse.
#[test]
fn critical_extensions_are_refused() {
    let tokens = of_secret(JwtTerms::default());
    let key = EncodingKey::from_secret(SECRET);
    let rows = [
        json!({"alg": "HS256", "crit": ["exp-hard"], "exp-hard": true}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        json!({"alg": "HS256", "crit": []}),
    ];
    for header in rows {
        let found = tokens.verify(&token(&header, &key, &claims()), NOW_S);
        assert_eq!(found, Err(TokenError::Critical), "{header}");
    }
    let no_list = json!({"alg": "HS256", "crit": "x"});
    let found = tokens.verify(&token(&no_list, &key, &claims()), NOW_S);
    assert_eq!(found, Err(TokenError::Header));
    let harmless = json!({"alg": "HS256", "b64": true, "x": 1});
    assert!(tokens
        .verify(&token(&harmless, &key, &claims()), NOW_S)
        .is_ok());
}

#[test]
fn malformed_tokens() {
    let tokens = of_secret(JwtTerms::default());
    let key = EncodingKey::from_secret(SECRET);
    let header = |text: &str| {
        let first = URL_SAFE_NO_PAD.encode(text);
        tokens.verify(format!("{first}.e30.e30").as_bytes(), NOW_S)
    };
    for text in [
        "[]",
        "7",
        "{",
        "{\"alg\":7}",
        "{\"alg\":\"HS256\",\"kid\":7}",
    ] {
        assert_eq!(header(text), Err(TokenError::Header), "{text}");
    }
    assert_eq!(header("{\"alg\":\"HS256\"}"), Err(TokenError::Signature));
    let no_object = sign("HS256", &key, &json!(["ann"]));
    assert_eq!(tokens.verify(&no_object, NOW_S), Err(TokenError::Claims));
    let good = String::from_utf8(hs256(&claims())).unwrap();
    for bent in [
        format!("{good}="),
        format!("{good}."),
        good.replacen('.', "", 1),
    ] {
        assert!(tokens.verify(bent.as_bytes(), NOW_S).is_err(), "{bent}");
    }
    // A time far beyond all clocks.
    let long = hs256(&json!({"sub": "ann", "exp": 1e300}));
    assert!(tokens.verify(&long, NOW_S).is_ok());
}

#[test]
fn a_certificate_and_a_bare_rsa_key_are_public_keys_too() {
    let key = EncodingKey::from_pem(EC_PRIVATE);
    let own = rcgen::KeyPair::from_pem(EC_PRIVATE).unwrap();
    let params = rcgen::CertificateParams::new(vec!["issuer.example".into()]).unwrap();
    let certificate = params.self_signed(&own).unwrap().pem();
    let token = sign("ES256", &key, &claims());
    assert!(of_pem(&certificate).verify(&token, NOW_S).is_ok());
    let EncodingKey::Rsa(rsa) = EncodingKey::from_pem(RSA_PRIVATE) else {
        panic!("it is one of RSA");
    };
    let der = base64::engine::general_purpose::STANDARD.encode(rsa.public().as_ref());
    let bare = format!("-----BEGIN RSA PUBLIC KEY-----\n{der}\n-----END RSA PUBLIC KEY-----\n");
    let token = sign("RS256", &EncodingKey::Rsa(rsa), &claims());
    assert!(of_pem(&bare).verify(&token, NOW_S).is_ok());
}
