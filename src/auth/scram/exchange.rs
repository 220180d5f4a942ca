//! The conversation of one login: client first, server first, client final, server final.

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{hmac, prepare, Credential, Key, ScramFile};

/// Longest message of a client, in bytes: names and nonces are short.
const MESSAGE_BYTES_MAX: usize = 4_096;
const NONCE_BYTES_MAX: usize = 256;

/// Why a login fails. The client gets the same reason code for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("the SCRAM message is not well-formed")]
    Malformed,
    #[error("the SCRAM client asks for channel binding or an extension, which are not offered")]
    NotOffered,
    #[error("user name or password is wrong")]
    Wrong,
}

/// Between the server's first message and the client's final one. Lives on: the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    user: Box<str>,
    credential: Credential,
    is_known: bool,
    gs2_header: Box<str>,
    nonce: Box<str>,
    /// `client-first-message-bare,server-first-message`.
    auth_message: String,
}

impl Exchange {
    /// Takes the client's first message; returns the server's. `nonce` is fresh random bytes.
    ///
    /// # Errors
    /// The message is not one, or asks for more than there is. An unknown user is no error yet.
    pub fn start(
        file: &ScramFile,
        message: &[u8],
        nonce: [u8; 18],
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let message = text(message)?;
        let (gs2_header, bare) = split_gs2(message)?;
        let mut fields = bare.split(',');
        let name = match fields.next().and_then(|field| field.split_once('=')) {
            Some(("n", name)) => unescape(name)?,
            Some(("m", _)) => return Err(ScramError::NotOffered), // a mandatory extension
            _ => return Err(ScramError::Malformed),
        };
        let user = prepare(&name).ok_or(ScramError::Malformed)?;
        if let Some(authzid) = gs2_header[2..]
            .strip_suffix(',')
            .filter(|id| !id.is_empty())
        {
            let acts_as = authzid.strip_prefix("a=").ok_or(ScramError::Malformed)?;
            if unescape(acts_as)? != name {
                return Err(ScramError::NotOffered);
            }
        }
        let client_nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        let client_nonce = client_nonce
            .filter(|nonce| is_nonce(nonce))
            .ok_or(ScramError::Malformed)?;
        let (credential, is_known) = file.find(&user);
        let nonce = format!("{client_nonce}{}", BASE64.encode(nonce));
        let salt = BASE64.encode(&credential.salt);
        let server_first = format!("r={nonce},s={salt},i={}", credential.rounds);
        let exchange = Self {
            user,
            is_known,
            gs2_header: gs2_header.into(),
            nonce: nonce.into(),
            auth_message: format!("{bare},{server_first}"),
            credential,
        };
        Ok((exchange, server_first.into_bytes()))
    }

    /// Takes the client's final message; returns the user and the server's final message.
    ///
    /// # Errors
    /// The proof is wrong, or the message is not one.
    pub fn finish(&self, message: &[u8]) -> Result<(Box<str>, Vec<u8>), ScramError> {
        let message = text(message)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c="));
        let binding = binding.and_then(|text| BASE64.decode(text).ok());
        if binding.as_deref() != Some(self.gs2_header.as_bytes()) {
            return Err(ScramError::Malformed);
        }
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        if nonce != Some(&*self.nonce) {
            return Err(ScramError::Malformed);
        }
        let proof = BASE64
            .decode(proof)
            .ok()
            .and_then(|bytes| Key::try_from(bytes).ok());
        let proof = proof.ok_or(ScramError::Malformed)?;
        let Credential {
            stored_key,
            server_key,
            ..
        } = &self.credential;
        let signed = [self.auth_message.as_bytes(), b",", without_proof.as_bytes()];
        let client_signature = hmac(stored_key, &signed);
        let client_key: Vec<u8> = proof
            .iter()
            .zip(client_signature)
            .map(|(p, s)| p ^ s)
            .collect();
        let is_right = bool::from(Sha256::digest(&client_key).as_slice().ct_eq(stored_key));
        if !(is_right && self.is_known) {
            return Err(ScramError::Wrong);
        }
        let server_signature = BASE64.encode(hmac(server_key, &signed));
        Ok((
            self.user.clone(),
            format!("v={server_signature}").into_bytes(),
        ))
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed)
}

/// `n,,` or `y,,` or with an authorisation identity, and what follows.
fn split_gs2(message: &str) -> Result<(&str, &str), ScramError> {
    if message.starts_with("p=") {
        return Err(ScramError::NotOffered);
    }
    if !message.starts_with("n,") && !message.starts_with("y,") {
        return Err(ScramError::Malformed);
    }
    let end = message[2..].find(',').ok_or(ScramError::Malformed)? + 3;
    Ok(message.split_at(end))
}

/// `=2C` is a comma, `=3D` an equals sign.
fn unescape(name: &str) -> Result<String, ScramError> {
    let mut plain = String::new();
    let mut parts = name.split('=');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::Malformed),
        };
        plain.push(c);
        plain.push_str(rest);
    }
    Ok(plain)
}

fn is_nonce(nonce: &str) -> bool {
    let printable = |byte: u8| (0x21..=0x7E).contains(&byte) && byte != b',';
    (1..=NONCE_BYTES_MAX).contains(&nonce.len()) && nonce.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user `user`, password `pencil`.
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn file() -> ScramFile {
        let credential =
            Credential::create("pencil", &BASE64.decode(SALT).unwrap(), 4_096).unwrap();
        ScramFile::parse("scram", &format!("user:{credential}\n"), [9; 32]).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc() {
        let (mut exchange, _) = Exchange::start(&file(), CLIENT_FIRST.as_bytes(), [0; 18]).unwrap();
        // The nonce of the example is not base64, so it is put in by hand.
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        exchange.nonce = nonce.into();
        exchange.auth_message = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={SALT},i=4096");
        let (user, answer) = exchange.finish(CLIENT_FINAL.as_bytes()).unwrap();
        assert_eq!(&*user, "user");
        assert_eq!(String::from_utf8(answer).unwrap(), SERVER_FINAL);
        let other = CLIENT_FINAL.replace("dHzb", "dHza");
        assert_eq!(exchange.finish(other.as_bytes()), Err(ScramError::Wrong));
    }

    #[test]
    fn unknown_users_look_like_known_ones() {
        let start = |name: &str, nonce| {
            let message = format!("n,,n={name},r=abc");
            let (exchange, first) =
                Exchange::start(&file(), message.as_bytes(), [nonce; 18]).unwrap();
            (exchange, String::from_utf8(first).unwrap())
        };
        let salt_of = |first: &str| first.split(',').nth(1).unwrap().to_owned();
        let (exchange, first) = start("eve", 1);
        assert!(first.ends_with(",i=4096"), "{first}");
        assert_eq!(salt_of(&first), salt_of(&start("eve", 2).1));
        assert_ne!(salt_of(&first), salt_of(&start("mallory", 1).1));
        assert_eq!(salt_of(&first).len(), salt_of(&start("user", 1).1).len());
        let proof = BASE64.encode([0; 32]);
        let last = format!("c=biws,r={},p={proof}", exchange.nonce);
        assert_eq!(exchange.finish(last.as_bytes()), Err(ScramError::Wrong));
    }

    #[test]
    fn names_with_commas() {
        let credential = Credential::create("x", b"salt", 4_096).unwrap();
        let file = ScramFile::parse("f", &format!("a,b=c:{credential}"), [0; 32]).unwrap();
        let message = b"n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=n";
        let (exchange, _) = Exchange::start(&file, message, [0; 18]).unwrap();
        assert!(exchange.is_known);
    }

    #[test]
    fn refused_messages() {
        use ScramError::{Malformed, NotOffered};
        let long = format!("n,,n={},r=a", "x".repeat(5_000));
        let rows: [(&[u8], ScramError); 15] = [
            (b"", Malformed),
            (b"n", Malformed),
            (b"n,", Malformed),
            (b"n,,", Malformed),
            (b"n,,n=user", Malformed),
            (b"n,,n=,r=a", Malformed),
            (b"n,,n=user,r=", Malformed),
            (b"n,,n=us=er,r=a", Malformed),
            (b"n,,n=user,r=a b", Malformed),
            (b"n,x,n=user,r=a", Malformed),
            (b"n,a=root,n=user,r=a", NotOffered),
            (b"p=tls-unique,,n=user,r=a", NotOffered),
            (b"n,,m=x,n=user,r=a", NotOffered),
            (b"n,,n=\xff,r=a", Malformed),
            (long.as_bytes(), Malformed),
        ];
        for (message, error) in rows {
            let shown = String::from_utf8_lossy(message);
            assert_eq!(
                Exchange::start(&file(), message, [0; 18]).err(),
                Some(error),
                "{shown}"
            );
        }
        let (exchange, _) = Exchange::start(&file(), CLIENT_FIRST.as_bytes(), [0; 18]).unwrap();
        let nonce = exchange.nonce.clone();
        let proof = BASE64.encode([0; 32]);
        for message in [
            String::new(),
            format!("c=biws,r={nonce}"),
            format!("c=biws,r={nonce}x,p={proof}"),
            format!("c=eSws,r={nonce},p={proof}"),
            format!("c=biws,r={nonce},p=short"),
            format!("c=biws,p={proof}"),
        ] {
            assert_eq!(
                exchange.finish(message.as_bytes()),
                Err(Malformed),
                "{message}"
            );
        }
    }

    #[test]
    fn broken_files() {
        let problems = ScramFile::parse(
            "f",
            "user\nuser:secret\nu:SCRAM-SHA-256$1:c2FsdA==$a:b\nv:SCRAM-SHA-256$4096:c2FsdA==$a:b\n\
             :x\n",
            [0; 32],
        );
        let shown: Vec<String> = problems
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        let parts = [
            "f:1: no colon",
            "f:2: user \"user\": it is not",
            "rounds",
            "32 bytes",
            "f:5: the user",
        ];
        assert_eq!(shown.len(), parts.len());
        for (shown, part) in shown.iter().zip(parts) {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.concat().contains("secret"));
    }
}
