//! Topic lines: which topics a bridge carries, in which direction, and what they are called at the other end.

use std::fmt;

use crate::mqtt::topic::{check_filter, is_valid_name, matches, share};
use crate::mqtt::Qos;

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From here to the remote.
    Out,
    /// From the remote to here.
    In,
    Both,
}

/// One line, as `pattern direction qos local-prefix remote-prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub direction: Direction,
    /// Messages of a higher QoS are carried with this one.
    pub qos: Qos,
    /// As written.
    text: String,
    local_prefix: String,
    remote_prefix: String,
    /// What is subscribed to here, and there.
    local_filter: String,
    remote_filter: String,
    /// Name of the shared group that subscribes.
    group: Option<String>,
}

impl Line {
    /// Reads a line in the order of Mosquitto's `topic`; a word with blanks in it, or an empty one, is quoted.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        if words.is_empty() || words.len() > 5 {
            return Err(format!(
                "{} words, and a line is: pattern direction qos local-prefix remote-prefix",
                words.len()
            ));
        }
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let direction = match word(1) {
            "out" | "" => Direction::Out,
            "in" => Direction::In,
            "both" => Direction::Both,
            other => return Err(format!("\"{other}\" is no direction: out, in or both")),
        };
        let qos = match word(2) {
            "0" | "" => Qos::AtMostOnce,
            "1" => Qos::AtLeastOnce,
            "2" => Qos::ExactlyOnce,
            other => return Err(format!("\"{other}\" is no QoS: 0, 1 or 2")),
        };
        let (pattern, group) = match share(word(0)) {
            Ok(Some(share)) => (share.filter, Some(share.name.to_owned())),
            Ok(None) => (word(0), None),
            Err(error) => return Err(error.to_string()),
        };
        if group.is_some() && direction == Direction::Both {
            return Err(
                "a shared subscription cannot be without its own messages (No Local): use one line out and one in \
                 for different topics"
                    .into(),
            );
        }
        let (local_prefix, remote_prefix) = (word(3), word(4));
        if pattern.is_empty() && (local_prefix.is_empty() || remote_prefix.is_empty()) {
            return Err(
                "an empty pattern needs both prefixes: they are the two topics then".into(),
            );
        }
        let line = Self {
            direction,
            qos,
            text: text.trim().to_owned(),
            local_filter: format!("{local_prefix}{pattern}"),
            remote_filter: format!("{remote_prefix}{pattern}"),
            local_prefix: local_prefix.to_owned(),
            remote_prefix: remote_prefix.to_owned(),
            group,
        };
        line.check()?;
        Ok(line)
    }

    fn check(&self) -> Result<(), String> {
        for (side, prefix, filter) in [
            ("local", &self.local_prefix, &self.local_filter),
            ("remote", &self.remote_prefix, &self.remote_filter),
        ] {
            if !prefix.is_empty() && !is_valid_name(prefix) {
                return Err(format!("the {side} prefix \"{prefix}\" has a wildcard"));
            }
            check_filter(filter).map_err(|error| {
                format!("\"{filter}\", which it subscribes to on the {side} side: {error}")
            })?;
        }
        Ok(())
    }

    #[must_use]
    pub fn goes_out(&self) -> bool {
        self.direction != Direction::In
    }

    #[must_use]
    pub fn comes_in(&self) -> bool {
        self.direction != Direction::Out
    }

    /// What is subscribed to at our own broker.
    #[must_use]
    pub fn local_filter(&self) -> &str {
        &self.local_filter
    }

    /// What is subscribed to at the remote.
    #[must_use]
    pub fn remote_filter(&self) -> &str {
        &self.remote_filter
    }

    /// A filter as SUBSCRIBE has it.
    #[must_use]
    pub fn subscribed(&self, filter: &str) -> String {
        match &self.group {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.to_owned(),
        }
    }

    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.group.is_some()
    }

    /// The name at the remote of a local topic, if the line is about it.
    #[must_use]
    pub fn to_remote(&self, topic: &str) -> Option<String> {
        let prefixes = [&self.local_prefix, &self.remote_prefix];
        renamed(topic, &self.local_filter, prefixes)
    }

    /// The local name of a topic of the remote, if the line is about it.
    #[must_use]
    pub fn to_local(&self, topic: &str) -> Option<String> {
        let prefixes = [&self.remote_prefix, &self.local_prefix];
        renamed(topic, &self.remote_filter, prefixes)
    }

    /// What it does, for an operator.
    #[must_use]
    pub fn in_words(&self) -> String {
        let arrow = match self.direction {
            Direction::Out => "->",
            Direction::In => "<-",
            Direction::Both => "<->",
        };
        let (local, remote) = (&self.local_filter, &self.remote_filter);
        format!(
            "here {local} {arrow} {remote} there, QoS {} at most",
            self.qos as u8
        )
    }

    /// Bytes by which a name may become longer on its way out.
    #[must_use]
    pub fn growth(&self) -> usize {
        self.remote_prefix
            .len()
            .saturating_sub(self.local_prefix.len())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn renamed(topic: &str, filter: &str, [from, to]: [&String; 2]) -> Option<String> {
    // The filter begins with the prefix, in which there is no wildcard, so the topic does, too: but for
    // `a/#`, which `a` matches, with the prefix `a/`.
    let rest = topic.strip_prefix(from.as_str())?;
    matches(filter, topic).then(|| format!("{to}{rest}"))
}

/// Words between blanks; quotes of either kind keep blanks together.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' | '\'' => rest[1..]
                .split_once(first)
                .ok_or_else(|| format!("a quote is not closed: {rest}"))?,
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    Ok(words)
}
