//! Reads the files of accounts and rules: the only input of this module.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::CertificateDer;

use super::acl::Acl;
use super::hook::HookTerms;
use super::jwt::{JwtTerms, Tokens};
use super::password::Passwords;
use super::problem::{without_mark, FileProblem};
use super::rules::Rules;
use super::scram::ScramFile;
use crate::own_files::OwnFiles;

/// Two hundred thousand accounts take 30 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Where rules come from, and what is not in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub password_file: Option<String>,
    pub acl_file: Option<String>,
    pub scram_file: Option<String>,
    pub jwt_key_file: Option<String>,
    pub jwt_secret_file: Option<String>,
    pub jwt: JwtTerms,
    /// Without authorities: those come from the file.
    pub hook: Option<HookTerms>,
    /// A service that is asked what clients may do.
    pub acl_hook: Option<HookTerms>,
    /// Authorities of the hooks.
    pub hook_ca_file: Option<String>,
    /// Of listeners that have their own.
    pub of_listeners: Vec<OwnFiles>,
    pub allow_anonymous: bool,
    pub acl_disconnect: bool,
    pub acl_check_delivery: bool,
}

impl Files {
    /// Those that are read again.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let files = [
            &self.password_file,
            &self.acl_file,
            &self.scram_file,
            &self.jwt_key_file,
            &self.jwt_secret_file,
            &self.hook_ca_file,
        ];
        let own = self.own_password_files().chain(self.own_acl_files());
        files
            .into_iter()
            .filter_map(Option::as_deref)
            .chain(own.map(|name| &**name))
    }

    fn own_password_files(&self) -> impl Iterator<Item = &Arc<str>> {
        let own = self.of_listeners.iter();
        own.filter_map(|own| own.password_file.as_ref())
    }

    fn own_acl_files(&self) -> impl Iterator<Item = &Arc<str>> {
        let own = self.of_listeners.iter();
        own.filter_map(|own| own.acl_file.as_ref())
    }

    /// Whether any authentication is configured.
    #[must_use]
    pub fn has_logins(&self) -> bool {
        let files = [
            &self.password_file,
            &self.scram_file,
            &self.jwt_key_file,
            &self.jwt_secret_file,
        ];
        files.iter().any(|file| file.is_some()) || self.hook.is_some()
    }
}

/// Reads all files. `secret` is random; it stays the same when files are read again, so that the
/// decoys of unknown users do not change.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn load(files: &Files, secret: [u8; 32]) -> Result<Rules, Vec<FileProblem>> {
    let mut problems = Vec::new();
    let mut text = |file: &Option<String>| {
        let name = file.as_deref()?;
        Some((name.to_owned(), keep(open(name), &mut problems)?))
    };
    let password_file = text(&files.password_file);
    let acl_file = text(&files.acl_file);
    let scram_file = text(&files.scram_file);
    let key_file = text(&files.jwt_key_file);
    let hook_ca = text(&files.hook_ca_file);
    let secret_file = files
        .jwt_secret_file
        .as_deref()
        .and_then(|name| match read(name) {
            Ok(bytes) => Some((name, bytes)),
            Err(problem) => {
                problems.push(problem);
                None
            }
        });
    let seed = u64::from_le_bytes(secret[..8].try_into().unwrap_or_default());
    let mut rules = Rules {
        hook: files.hook.clone(),
        acl_hook: files.acl_hook.clone(),
        allow_anonymous: files.allow_anonymous,
        acl_disconnect: files.acl_disconnect,
        acl_check_delivery: files.acl_check_delivery,
        ..Rules::default()
    };
    if let Some((name, text)) = &hook_ca {
        let authorities = keep(certificates(name, text), &mut problems).unwrap_or_default();
        for hook in [&mut rules.hook, &mut rules.acl_hook].into_iter().flatten() {
            hook.authorities.clone_from(&authorities);
        }
    }
    if let Some((name, text)) = &password_file {
        rules.passwords = keep(Passwords::parse(name, text, seed), &mut problems);
    }
    if let Some((name, text)) = &acl_file {
        rules.acl = keep(Acl::parse(name, text), &mut problems).map(Arc::new);
    }
    load_own(files, seed, &mut rules, &mut problems);
    if let Some((name, text)) = &scram_file {
        rules.scram = keep(ScramFile::parse(name, text, secret), &mut problems);
    }
    if key_file.is_some() || secret_file.is_some() {
        let keys = key_file.as_ref().map(|(name, text)| (&**name, &**text));
        let secret = secret_file.as_ref().map(|(name, bytes)| (*name, &**bytes));
        rules.tokens = keep(
            Tokens::parse(keys, secret, files.jwt.clone()),
            &mut problems,
        );
    }
    if problems.is_empty() {
        Ok(rules)
    } else {
        Err(problems)
    }
}

/// Those of listeners that have their own.
fn load_own(files: &Files, seed: u64, rules: &mut Rules, problems: &mut Vec<FileProblem>) {
    for name in files.own_password_files() {
        let parsed = open(name).and_then(|text| Passwords::parse(name, &text, seed));
        let parsed = keep(parsed, problems);
        rules
            .own_passwords
            .extend(parsed.map(|own| (Arc::clone(name), own)));
    }
    for name in files.own_acl_files() {
        let parsed = keep(
            open(name).and_then(|text| Acl::parse(name, &text)),
            problems,
        );
        let parsed = parsed.map(|own| (Arc::clone(name), Arc::new(own)));
        rules.own_acls.extend(parsed);
    }
}

fn open(name: &str) -> Result<String, Vec<FileProblem>> {
    let text = read(name).and_then(|bytes| utf8(name, bytes));
    text.map(|text| without_mark(&text).to_owned())
        .map_err(|problem| vec![problem])
}

fn keep<T>(read: Result<T, Vec<FileProblem>>, problems: &mut Vec<FileProblem>) -> Option<T> {
    read.map_err(|found| problems.extend(found)).ok()
}

fn read(name: &str) -> Result<Vec<u8>, FileProblem> {
    let cannot =
        |error: std::io::Error| FileProblem::new(name, 0, format!("cannot be read: {error}"));
    let file = File::open(name).map_err(cannot)?;
    let mut bytes = Vec::new();
    let taken = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    if taken.map_err(cannot)? as u64 > FILE_BYTES_MAX {
        return Err(FileProblem::new(
            name,
            0,
            format!("is larger than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes)
}

/// Certificates in PEM.
fn certificates(name: &str, text: &str) -> Result<Vec<Vec<u8>>, Vec<FileProblem>> {
    let wrong = |text: &str| vec![FileProblem::new(name, 0, text)];
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong("holds no certificate in PEM form")),
        Ok(found) => Ok(found.into_iter().map(|one| one.to_vec()).collect()),
        Err(_) => Err(wrong("holds a certificate that is damaged")),
    }
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, FileProblem> {
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count();
        FileProblem::new(name, line, "is not UTF-8 text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_a_file_is_among_the_names() {
        let file = |name: &str| Some(name.to_owned());
        // Every field, so that a new one is thought of here.
        let files = Files {
            password_file: file("passwords"),
            acl_file: file("acl"),
            scram_file: file("scram"),
            jwt_key_file: file("key"),
            jwt_secret_file: file("secret"),
            jwt: JwtTerms::default(),
            hook: None,
            acl_hook: None,
            hook_ca_file: file("ca"),
            of_listeners: vec![OwnFiles {
                password_file: Some("own passwords".into()),
                acl_file: Some("own acl".into()),
            }],
            allow_anonymous: false,
            acl_disconnect: false,
            acl_check_delivery: false,
        };
        let names: Vec<&str> = files.names().collect();
        let broker = ["passwords", "acl", "scram", "key", "secret", "ca"];
        assert_eq!(names[..6], broker);
        assert_eq!(names[6..], ["own passwords", "own acl"]);
    }
}
