//! The ACL file, in Mosquitto's format:
//!
//! ```text
//! topic read public/#            # before the first `user`: for clients without a user name
//!
//! user ann
//! topic readwrite ann/#
//! topic deny ann/secret
//!
//! pattern write sensors/%u/%c    # for all clients, wherever it stands
//! ```
//!
//! (In the file itself a comment is a line of its own.) Without a word of access, `topic` and
//! `pattern` mean `readwrite`.

use std::sync::Arc;

use super::tree::{Access, Node};
use super::Acl;
use crate::auth::problem::{lines, FileProblem};
use crate::mqtt::topic;

impl Acl {
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<FileProblem>> {
        let mut acl = Self {
            users: std::collections::HashMap::with_hasher(ahash::RandomState::with_seeds(
                1, 2, 3, 4,
            )),
            ..Self::default()
        };
        let mut user: Option<Box<str>> = None;
        let mut problems = Vec::new();
        for (number, line) in lines(text) {
            match Line::parse(line) {
                Ok(Line::User(name)) => user = Some(name.into()),
                Ok(Line::Topic(access, filter)) => {
                    let tree = match &user {
                        None => &mut acl.anonymous,
                        Some(user) => tree_of(&mut acl, user),
                    };
                    tree.insert(filter, access, false);
                }
                Ok(Line::Pattern(access, filter)) => acl.patterns.insert(filter, access, true),
                Err(text) => problems.push(FileProblem::new(file, number, text)),
            }
        }
        if problems.is_empty() {
            Ok(acl)
        } else {
            Err(problems)
        }
    }
}

fn tree_of<'a>(acl: &'a mut Acl, user: &str) -> &'a mut Node {
    let tree = acl.users.entry(user.into()).or_default();
    Arc::make_mut(tree) // not shared yet
}

enum Line<'a> {
    User(&'a str),
    Topic(Access, &'a str),
    Pattern(Access, &'a str),
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Result<Self, String> {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let rest = rest.trim_start();
        match word {
            "user" if rest.is_empty() => Err("user is without a name".into()),
            "user" => Ok(Self::User(rest)),
            "topic" => rule(rest).map(|(access, filter)| Self::Topic(access, filter)),
            "pattern" => rule(rest).map(|(access, filter)| Self::Pattern(access, filter)),
            _ => Err(format!(
                "\"{}\" is none of user, topic and pattern",
                word.escape_debug()
            )),
        }
    }
}

/// `[read|write|readwrite|deny] filter`; a filter with spaces needs the word.
fn rule(text: &str) -> Result<(Access, &str), String> {
    let (access, filter) = match text.split_once([' ', '\t']) {
        None => (Access::READ_WRITE, text),
        Some((word, filter)) => {
            let access = match word {
                "read" => Access::READ,
                "write" => Access::WRITE,
                "readwrite" => Access::READ_WRITE,
                "deny" => Access::DENY,
                _ => {
                    return Err(format!(
                        "\"{}\" is none of read, write, readwrite and deny",
                        word.escape_debug()
                    ))
                }
            };
            (access, filter.trim_start())
        }
    };
    if matches!(filter, "" | "read" | "write" | "readwrite" | "deny") {
        return Err("the topic is missing".into());
    }
    check_filter(filter)?;
    Ok((access, filter))
}

pub(super) fn check_filter(filter: &str) -> Result<(), String> {
    if topic::is_shared(filter) {
        return Err(
            "shared subscriptions are allowed by the filter behind $share/name/: give that alone"
                .into(),
        );
    }
    topic::check_filter(filter).map_err(|error| error.to_string())
}
