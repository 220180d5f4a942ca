//! The cryptography of tokens (RFC 7518 section 3): jsonwebtoken asks ring, as rustls does.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{new_error, ErrorKind, Result};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)), // a broker signs nothing
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(), // of private keys, for those who publish a JWKS
};

/// Makes ring what tokens of this process are checked with. To call it again changes nothing.
pub(super) fn install() {
    // The error says that it was installed already.
    let _ = PROVIDER.install_default();
}

/// How signatures of an algorithm are checked.
#[derive(Clone, Copy)]
enum Method {
    Secret(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    Point(&'static EcdsaVerificationAlgorithm),
    Ed25519,
}

impl Method {
    fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HS256 => Self::Secret(hmac::HMAC_SHA256),
            Algorithm::HS384 => Self::Secret(hmac::HMAC_SHA384),
            Algorithm::HS512 => Self::Secret(hmac::HMAC_SHA512),
            Algorithm::RS256 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::Point(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::Point(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Self::Ed25519,
            _ => return None, // algorithms of later versions of the library
        })
    }
}

/// One key, for one algorithm.
struct RingVerifier {
    algorithm: Algorithm,
    method: Method,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    // A public key is never taken for a secret.
    let method = Method::of(*algorithm).filter(|_| key.family() == algorithm.family());
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        method: method.ok_or_else(|| new_error(ErrorKind::InvalidAlgorithm))?,
        key: key.clone(),
    }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let verified = match (self.method, self.key.kind()) {
            (Method::Secret(how), SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(how, secret), message, signature)
            }
            (Method::Rsa(how), RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(how, message, signature)
            }
            (Method::Point(how), SecretOrDer(point)) => {
                UnparsedPublicKey::new(how, point).verify(message, signature)
            }
            (Method::Ed25519, SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
