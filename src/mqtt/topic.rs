//! Topic names, topic filters and share names, MQTT 5.0 sections 4.7 and 4.8.

/// Longest topic name or filter in bytes [MQTT-4.7.3-3].
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Marks a shared subscription, MQTT 5.0 section 4.8.2.
const SHARE_PREFIX: &str = "$share/";

/// Why a topic filter is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("topic filter is empty [MQTT-4.7.3-1]")]
    Empty,
    #[error("topic filter is longer than 65,535 bytes [MQTT-4.7.3-3]")]
    TooLong,
    #[error("topic filter has U+0000 [MQTT-4.7.3-2]")]
    Nul,
    #[error("# does not stand alone in the last level [MQTT-4.7.1-1]")]
    MultiLevelWildcard,
    #[error("+ does not fill a whole level [MQTT-4.7.1-2]")]
    SingleLevelWildcard,
    #[error("share name is empty [MQTT-4.8.2-1]")]
    ShareNameEmpty,
    #[error("share name has a wildcard [MQTT-4.8.2-2]")]
    ShareNameWildcard,
    #[error("share name is not followed by a topic filter [MQTT-4.8.2-2]")]
    ShareFilterMissing,
}

/// The parts of `$share/{name}/{filter}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    pub name: &'a str,
    /// What the group subscribes to; a valid plain filter.
    pub filter: &'a str,
}

/// Whether `name` can be published to: not empty, not too long, no wildcard, no U+0000.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= TOPIC_BYTES_MAX
        && !name.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
}

/// Checks a topic filter as a client sends it: plain, or `$share/{name}/{filter}`.
///
/// # Errors
/// Names the first rule broken.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    match share(filter)? {
        Some(_) => Ok(()),
        None => check_plain_filter(filter),
    }
}

fn check_plain_filter(filter: &str) -> Result<(), FilterError> {
    check_text(filter)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(FilterError::MultiLevelWildcard);
        }
        if level.contains('+') && level != "+" {
            return Err(FilterError::SingleLevelWildcard);
        }
    }
    Ok(())
}

fn check_text(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        Err(FilterError::Empty)
    } else if filter.len() > TOPIC_BYTES_MAX {
        Err(FilterError::TooLong)
    } else if filter.contains('\0') {
        Err(FilterError::Nul)
    } else {
        Ok(())
    }
}

/// Whether the filter asks for a shared subscription (rightly formed or not).
#[must_use]
#[inline]
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARE_PREFIX)
}

/// Takes a shared filter apart; `Ok(None)` for a filter that is not shared (and not checked here).
///
/// # Errors
/// The filter begins with `$share/` but breaks a rule of section 4.8.2 or its filter is not valid.
pub fn share(filter: &str) -> Result<Option<Share<'_>>, FilterError> {
    let Some(rest) = filter.strip_prefix(SHARE_PREFIX) else {
        return Ok(None);
    };
    check_text(filter)?;
    let (name, filter) = match rest.split_once('/') {
        Some(parts) => parts,
        None => (rest, ""),
    };
    if name.is_empty() {
        return Err(FilterError::ShareNameEmpty);
    }
    if name.contains(['+', '#']) {
        return Err(FilterError::ShareNameWildcard);
    }
    if filter.is_empty() {
        return Err(FilterError::ShareFilterMissing);
    }
    check_plain_filter(filter)?;
    Ok(Some(Share { name, filter }))
}

/// Whether a topic name is the server's: clients are not to exchange messages by names that begin with
/// `$` (section 4.7.2). The exception is the state that a bridge publishes of its connection.
#[must_use]
#[inline]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('$') && !is_bridge_state(name)
}

/// `$SYS/broker/connection/{name}/state`: 1, or 0 by will, retained.
fn is_bridge_state(name: &str) -> bool {
    let behind = name.strip_prefix("$SYS/broker/connection/");
    let bridge = behind.and_then(|behind| behind.strip_suffix("/state"));
    bridge.is_some_and(|bridge| !bridge.is_empty() && !bridge.contains('/'))
}

/// Levels of a topic name or filter: one more than it has separators.
#[must_use]
pub fn levels(topic: &str) -> usize {
    1 + topic.bytes().filter(|&byte| byte == b'/').count()
}

/// Whether a valid plain filter matches a valid topic name. The obvious way, level by level: for few filters, and the
/// oracle that the topic index is tested against.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            // Also the parent level: `a/#` matches `a`.
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Whether two valid plain filters have a topic in common.
#[must_use]
pub fn overlaps(one: &str, other: &str) -> bool {
    let hides = |wild: &str, named: &str| wild.starts_with(['+', '#']) && named.starts_with('$');
    if hides(one, other) || hides(other, one) {
        return false; // [MQTT-4.7.2-1]
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Topics of up to four levels, and the empty one: `+` and `/#` have only that in common.
    fn topics() -> Vec<String> {
        let levels = ["", "a", "b", "$"];
        let mut topics: Vec<String> = levels.map(String::from).into();
        for _ in 0..3 {
            let longer = topics
                .iter()
                .flat_map(|t| levels.map(|l| format!("{t}/{l}")));
            let longer: Vec<_> = longer.collect();
            topics.extend(longer);
        }
        topics
    }

    #[test]
    fn filters_overlap_when_a_topic_matches_both() {
        let topics = topics();
        let mut filters: Vec<String> = topics.iter().filter(|t| levels(t) < 3).cloned().collect();
        let wild: Vec<String> = (filters.iter())
            .flat_map(|f| [f.replace('a', "+"), f.replace("b", "#"), format!("{f}/#")])
            .collect();
        filters.extend(
            wild.into_iter()
                .chain(["#".into(), "+".into(), "+/#".into()]),
        );
        filters.retain(|filter| check_filter(filter).is_ok());
        for one in &filters {
            for other in &filters {
                let both = |topic: &String| matches(one, topic) && matches(other, topic);
                let expected = topics.iter().any(both);
                assert_eq!(overlaps(one, other), expected, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn names() {
        for good in ["a", "/", "//", "a/b", "$SYS/x", " ", "ä/€", "$share/g/a"] {
            assert!(is_valid_name(good), "{good:?}");
        }
        for bad in ["", "+", "a/+", "#", "a#", "a\0"] {
            assert!(!is_valid_name(bad), "{bad:?}");
        }
        assert!(is_valid_name(&"a".repeat(65_535)));
        assert!(!is_valid_name(&"a".repeat(65_536)));
    }

    #[test]
    fn filters() {
        for good in [
            "a",
            "#",
            "+",
            "+/+",
            "/",
            "a/#",
            "a/+/b/#",
            "/+",
            "$SYS/#",
            "$share",
            "$shared/a",
            "$share/g/a",
            "$share/g/#",
            "$share/g//",
            "$share/g/$SYS/+",
        ] {
            assert_eq!(check_filter(good), Ok(()), "{good:?}");
        }
        use FilterError as E;
        for (bad, error) in [
            ("", E::Empty),
            ("a\0", E::Nul),
            ("a#", E::MultiLevelWildcard),
            ("#/a", E::MultiLevelWildcard),
            ("a/#/b", E::MultiLevelWildcard),
            ("##", E::MultiLevelWildcard),
            ("a/#/", E::MultiLevelWildcard),
            ("a+", E::SingleLevelWildcard),
            ("+a/b", E::SingleLevelWildcard),
            ("a/++", E::SingleLevelWildcard),
            ("$share/", E::ShareNameEmpty),
            ("$share//a", E::ShareNameEmpty),
            ("$share/g", E::ShareFilterMissing),
            ("$share/g/", E::ShareFilterMissing),
            ("$share/+/a", E::ShareNameWildcard),
            ("$share/#", E::ShareNameWildcard),
            ("$share/g#/a", E::ShareNameWildcard),
            ("$share/g/a#", E::MultiLevelWildcard),
            ("$share/g/a\0", E::Nul),
        ] {
            assert_eq!(check_filter(bad), Err(error), "{bad:?}");
        }
        assert_eq!(check_filter(&"a".repeat(65_536)), Err(E::TooLong));
    }

    #[test]
    fn shares() {
        assert_eq!(
            share("$share/group/a/+"),
            Ok(Some(Share {
                name: "group",
                filter: "a/+"
            }))
        );
        assert_eq!(share("a/b"), Ok(None));
        assert_eq!(share("$share"), Ok(None));
        assert!(is_shared("$share/"));
        assert!(!is_shared("$shar"));
    }

    #[test]
    fn counts_levels() {
        for (topic, count) in [("a", 1), ("a/b", 2), ("/", 2), ("//", 3), ("a/", 2)] {
            assert_eq!(levels(topic), count);
        }
    }

    #[test]
    fn matching() {
        for (filter, topic) in [
            ("a", "a"),
            ("#", "a"),
            ("#", "a/b"),
            ("#", "/"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("a/+", "a/"),
            ("+", "a"),
            ("+/+", "/a"),
            ("/+", "/a"),
            ("+/b/#", "a/b"),
            ("$SYS/#", "$SYS/x"),
            ("$SYS/+", "$SYS/x"),
            ("a/+/c", "a//c"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a", "b"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("a/+", "a"),
            ("+", "/a"),
            ("+", "a/b"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
            ("a/#", "ab"),
            ("A", "a"),
            ("a/", "a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
