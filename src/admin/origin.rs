//! Requests of other sites: a page that a browser of this machine has open must not reach the broker
//! through it.
//!
//! A request is taken when nothing says that it comes from another site, and one that changes something
//! only with a header that no other site can send (a form cannot, and a script must ask first by
//! OPTIONS, which is not answered). A listener that asks for no login takes names of this machine only as
//! Host: another name that leads here (DNS rebinding) is another site's.

use hyper::header::{HeaderMap, HeaderName, HOST, ORIGIN};
use hyper::Method;

/// Must come with a request that changes something, unless a bearer token does; its value is free.
pub(super) const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-ringmq-request");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether a method only reads.
#[must_use]
pub(super) fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// What a request's headers say about where it comes from.
///
/// # Errors
/// A sentence why it is not taken.
pub(super) fn check(
    method: &Method,
    headers: &HeaderMap,
    is_bearer: bool,
    needs_login: bool,
) -> Result<(), &'static str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(&HOST);
    if !needs_login && !host.is_some_and(is_of_this_machine) {
        return Err(
            "Host must be localhost or a loopback address: this listener asks for no login",
        );
    }
    let is_own = |origin: &str| {
        let name = origin.split_once("://").map(|(_, name)| name);
        name.is_some() && name == host
    };
    if text(&ORIGIN).is_some_and(|origin| !is_own(origin)) {
        return Err("Origin is another site");
    }
    let may_link = only_reads(method) && text(&FETCH_MODE) == Some("navigate");
    match text(&FETCH_SITE) {
        None | Some("same-origin" | "none") => {}
        Some(_) if may_link => {}
        Some(_) => return Err("Sec-Fetch-Site says that it comes from another site"),
    }
    if !only_reads(method) && !is_bearer && !headers.contains_key(REQUEST_HEADER) {
        return Err("a request that changes something needs the header X-Ringmq-Request: 1, or a bearer token");
    }
    Ok(())
}

/// A name by which only this machine is reached; with or without a port.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = name
        .parse()
        .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    is_loopback || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(
        method: Method,
        lines: &[(&'static str, &str)],
        is_bearer: bool,
        needs_login: bool,
    ) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        check(&method, &headers, is_bearer, needs_login).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_where_nobody_logs_in() {
        for host in [
            "localhost",
            "LocalHost:9183",
            "127.0.0.1:9183",
            "127.9.9.9",
            "[::1]:9183",
        ] {
            assert!(
                taken(Method::GET, &[("host", host)], false, false),
                "{host}"
            );
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:9183",
            "192.0.2.1",
            "[::2]",
            "127.0.0.1.evil.example",
        ] {
            assert!(
                !taken(Method::GET, &[("host", host)], false, false),
                "{host}"
            );
            assert!(taken(Method::GET, &[("host", host)], false, true), "{host}");
        }
        assert!(!taken(Method::GET, &[], false, false));
    }

    #[test]
    fn no_other_site_changes_anything() {
        let host = ("host", "localhost:9183");
        let own = ("x-ringmq-request", "1");
        // What a form of another site can send.
        assert!(!taken(Method::POST, &[host], false, false));
        assert!(!taken(
            Method::POST,
            &[host, ("content-type", "text/plain")],
            false,
            true
        ));
        assert!(taken(Method::POST, &[host, own], false, false));
        assert!(taken(Method::POST, &[host], true, true));
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost",
            "http://localhost:9184",
            "?",
        ] {
            let lines = [host, own, ("origin", origin)];
            assert!(!taken(Method::DELETE, &lines, true, true), "{origin}");
        }
        assert!(taken(
            Method::DELETE,
            &[host, own, ("origin", "http://localhost:9183")],
            false,
            false
        ));
        for site in ["cross-site", "same-site"] {
            assert!(!taken(
                Method::POST,
                &[host, own, ("sec-fetch-site", site)],
                false,
                false
            ));
            assert!(!taken(
                Method::GET,
                &[host, ("sec-fetch-site", site)],
                false,
                false
            ));
            let link = [
                host,
                ("sec-fetch-site", site),
                ("sec-fetch-mode", "navigate"),
            ];
            assert!(taken(Method::GET, &link, false, false));
            assert!(!taken(Method::POST, &link, false, false));
        }
    }
}
