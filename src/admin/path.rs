//! Paths and queries of requests: segments against a pattern, and names with values.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Values of the `{name}` segments of a path.
pub(super) type Params = Vec<(&'static str, String)>;

/// `None`: the path does not fit the pattern.
pub(super) fn params(pattern: &'static str, path: &str) -> Option<Params> {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    let mut params = Vec::new();
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return Some(params),
            (Some(pattern), Some(segment)) => {
                let name = pattern
                    .strip_prefix('{')
                    .and_then(|name| name.strip_suffix('}'));
                match name {
                    Some(name) if !segment.is_empty() => params.push((name, decoded(segment)?)),
                    None if pattern == segment => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment)
        .decode_utf8()
        .ok()
        .map(Cow::into_owned)
}

/// Names and values behind the `?`; `+` is a blank, as forms write it. What is not UTF-8 is `None`.
#[must_use]
pub(super) fn query(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decoded(&text.replace('+', " "));
            Some((plain(name)?, plain(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_pairs() {
        let pairs = query("a=1&b=x+y%26&c&&=").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x y&"), ("c", ""), ("", "")]);
        assert_eq!(query("a=%FF"), None);
    }
}
