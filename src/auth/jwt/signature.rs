//! Signatures of tokens (RFC 7518 section 3), checked by ring.

use std::str::FromStr;

use ring::hmac;
use ring::signature::{
    EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
};

/// How a token is signed. There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Ok(match name {
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa, // RFC 9864 names the curve
            _ => return Err(()),
        })
    }
}

/// What checks signatures.
pub(super) enum Material {
    Secret(Vec<u8>),
    /// Modulus and exponent, without zeros in front.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// Points, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Material {
    /// The algorithms this kind of key may be used with, and no others: so a public key is never
    /// taken for a secret.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm as A;
        match self {
            Self::Secret(_) => &[A::Hs256, A::Hs384, A::Hs512],
            Self::Rsa(_) => &[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512],
            Self::P256(_) => &[A::Es256],
            Self::P384(_) => &[A::Es384],
            Self::Ed25519(_) => &[A::EdDsa],
        }
    }

    /// True when this key has signed `message` so.
    pub(super) fn has_signed(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        use Algorithm as A;
        let rsa = |how: &'static RsaParameters| match self {
            Self::Rsa(key) => key.verify(how, message, signature).is_ok(),
            _ => false,
        };
        let secret = |how: hmac::Algorithm| match self {
            Self::Secret(secret) => {
                hmac::verify(&hmac::Key::new(how, secret), message, signature).is_ok()
            }
            _ => false,
        };
        let point = |how: &'static EcdsaVerificationAlgorithm, point: &[u8]| {
            let key = UnparsedPublicKey::new(how, point);
            key.verify(message, signature).is_ok()
        };
        match algorithm {
            A::Hs256 => secret(hmac::HMAC_SHA256),
            A::Hs384 => secret(hmac::HMAC_SHA384),
            A::Hs512 => secret(hmac::HMAC_SHA512),
            A::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            A::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            A::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            A::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            A::Ps384 => rsa(&RSA_PSS_2048_8192_SHA384),
            A::Ps512 => rsa(&RSA_PSS_2048_8192_SHA512),
            A::Es256 => matches!(self, Self::P256(key) if point(&ECDSA_P256_SHA256_FIXED, key)),
            A::Es384 => matches!(self, Self::P384(key) if point(&ECDSA_P384_SHA384_FIXED, key)),
            A::EdDsa => match self {
                Self::Ed25519(key) => {
                    let key = UnparsedPublicKey::new(&ED25519, key);
                    key.verify(message, signature).is_ok()
                }
                _ => false,
            },
        }
    }
}
