use jsonwebtoken::{encode, EncodingKey, Header};
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

fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> Vec<u8> {
    encode(&Header::new(algorithm), claims, key)
        .unwrap()
        .into_bytes()
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
    sign(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

#[test]
fn every_kind_of_key() {
    let rsa = EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap();
    let ec = EncodingKey::from_ec_pem(EC_PRIVATE.as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    let hmac = EncodingKey::from_secret(SECRET);
    let rows = [
        (of_pem(RSA_PUBLIC), Algorithm::RS256, &rsa),
        (of_pem(RSA_PUBLIC), Algorithm::PS512, &rsa),
        (of_pem(EC_PUBLIC), Algorithm::ES256, &ec),
        (of_pem(ED_PUBLIC), Algorithm::EdDSA, &ed),
        (of_secret(JwtTerms::default()), Algorithm::HS512, &hmac),
    ];
    for (tokens, algorithm, key) in &rows {
        let token = sign(*algorithm, key, &claims());
        assert!(Tokens::looks_like_token(&token));
        let found = tokens.verify(&token, NOW_S).unwrap();
        assert_eq!((&*found.user, found.acl), ("ann", None), "{algorithm:?}");
        // Any other kind of key refuses it, and so is a changed token refused.
        let family =
            |algorithm: &Algorithm| format!("{algorithm:?}").replace("PS", "RS")[..2].to_owned();
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
        let token = sign(Algorithm::HS256, &forged, &claims());
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
        ("nbf", json!(NOW_S + LEEWAY_S + 1), TokenError::NotYet),
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
    let with_id = |id: &str| {
        let header = Header {
            kid: Some(id.into()),
            ..Header::new(Algorithm::HS256)
        };
        encode(&header, &claims(), &key).unwrap().into_bytes()
    };
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
    let other = sign(Algorithm::HS384, &key, &claims());
    assert_eq!(
        tokens.verify(&other, NOW_S),
        Err(TokenError::NoKey),
        "bound to HS256"
    );
    let rows = [
        ("{", "is not a JWKS"),
        ("{\"keys\":[]}", "no key"),
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
