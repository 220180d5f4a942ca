//! Validity dates in a listener's files: expired, not yet valid, or about to expire.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::context::{Material, Named};
use super::day::day;

/// Before its end a certificate is reported for so long, but not for more than this part of its life: some
/// live for a day.
const SOON_S: i64 = 30 * 86_400;
const SOON_PART: i64 = 3;
/// Most sentences about the files of one listener: a bundle may hold thousands.
const SENTENCES_MAX: usize = 10;

/// Sentences for the log about what is in these files, at this time (seconds since 1970).
#[must_use]
pub fn warnings(material: &Material, now_s: u64) -> Vec<String> {
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for (file, _) in &material.certificates {
        let refuse = "clients refuse it";
        certificates(
            file,
            now_s,
            "is refused by clients from then on",
            refuse,
            &mut found,
        );
    }
    for file in &material.client_ca {
        let text = "the clients it has signed are refused";
        certificates(file, now_s, "lets nobody in from then on", text, &mut found);
    }
    for file in &material.revocation_lists {
        revocation_lists(file, now_s, &mut found);
    }
    if found.len() > SENTENCES_MAX {
        let more = found.len() - SENTENCES_MAX;
        found.truncate(SENTENCES_MAX);
        found.push(format!("{more} more certificates or lists have such dates"));
    }
    found
}

/// When the first of the certificates that are shown to clients ends, in seconds since 1970.
#[must_use]
pub fn ends_s(material: &Material) -> Option<i64> {
    let files = material.certificates.iter().map(|(file, _)| file);
    let ends = files.flat_map(|file| {
        let all = CertificateDer::pem_slice_iter(&file.bytes).flatten();
        all.filter_map(|der| {
            let (_, parsed) = X509Certificate::from_der(&der).ok()?;
            Some(parsed.validity().not_after.timestamp())
        })
    });
    ends.min()
}

/// Sentences about certificates that come alone although their authority is no root: clients that know only the root
/// cannot follow them.
#[must_use]
pub fn incomplete_chains(material: &Material) -> Vec<String> {
    let alone = material.certificates.iter().filter_map(|(file, _)| {
        let mut chain = CertificateDer::pem_slice_iter(&file.bytes).flatten();
        let first = chain.next()?;
        if chain.next().is_some() {
            return None;
        }
        let (_, parsed) = X509Certificate::from_der(&first).ok()?;
        let is_root = parsed.issuer() == parsed.subject();
        (!is_root).then(|| {
            format!(
                "{}: comes without the certificate of who signed it ({}): clients that know only the root of that \
                 authority refuse it; put the chain behind it in the same file, unless it is a root itself",
                file.name,
                parsed.issuer()
            )
        })
    });
    alone.collect()
}

fn certificates(file: &Named, now_s: i64, soon: &str, now: &str, found: &mut Vec<String>) {
    // What cannot be read was refused, or is served as it is.
    for der in CertificateDer::pem_slice_iter(&file.bytes).flatten() {
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
            continue;
        };
        let validity = parsed.validity();
        let from_s = validity.not_before.timestamp();
        let until_s = validity.not_after.timestamp();
        let text = if until_s < now_s {
            format!(
                "has expired on {}: {now}; put a new one there and send SIGHUP",
                day(until_s)
            )
        } else if from_s > now_s {
            format!(
                "is not valid before {}: {now} until then; compare the clocks",
                day(from_s)
            )
        } else if until_s - now_s < SOON_S.min((until_s - from_s) / SOON_PART) {
            format!(
                "expires on {} and {soon}: renew it and send SIGHUP",
                day(until_s)
            )
        } else {
            continue;
        };
        let mut names = parsed.subject().iter_common_name();
        let name = names
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or("");
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        found.push(format!("{}: the certificate of {name:?} {text}", file.name));
    }
}

fn revocation_lists(file: &Named, now_s: i64, found: &mut Vec<String>) {
    for der in CertificateRevocationListDer::pem_slice_iter(&file.bytes).flatten() {
        let Ok((_, list)) = CertificateRevocationList::from_der(&der) else {
            continue;
        };
        let Some(until_s) = list.next_update().map(|time| time.timestamp()) else {
            continue;
        };
        let text = if until_s < now_s {
            format!(
                "has expired on {}: every client of its authority is refused",
                day(until_s)
            )
        } else {
            // Many live for a day or a week: that one ends soon is no news.
            continue;
        };
        found.push(format!(
            "{}: a revocation list {text}; fetch a new one and send SIGHUP",
            file.name
        ));
    }
}
