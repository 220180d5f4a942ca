//! Pages: how many rows a request wants, and where the next page begins.

use std::fmt;
use std::str::FromStr;

use crate::admin::{Problem, Request};

/// Rows of a page when the request does not say, and at most.
pub(super) const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// Questions to shards for one page, at most: a page of few that match among many may be short.
pub(super) const QUESTIONS_MAX: usize = 256;

/// Where a page begins: a shard, a place there, and a number within that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) shard: u16,
    pub(super) place: u32,
    pub(super) nth: u32,
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.shard, self.place, self.nth)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
        let (shard, place, nth) = (
            number().ok_or(())?,
            number().ok_or(())?,
            number().ok_or(())?,
        );
        let shard = u16::try_from(shard).map_err(|_| ())?;
        match parts.next() {
            None => Ok(Self { shard, place, nth }),
            Some(_) => Err(()),
        }
    }
}

impl Cursor {
    /// Of a request; without one the listing begins.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let Some(text) = request.query("cursor") else {
            return Ok(Self::default());
        };
        let wrong = || {
            let text = text.escape_debug();
            Problem::bad_request(format!(
                "cursor: \"{text}\" is not one that a page has given"
            ))
        };
        let cursor: Self = text.parse().map_err(|()| wrong())?;
        check_shard(request, text, cursor.shard)?;
        Ok(cursor)
    }

    /// The beginning of the next shard.
    pub(super) fn next_shard(self) -> Self {
        Self {
            shard: self.shard.saturating_add(1),
            place: 0,
            nth: 0,
        }
    }
}

/// A cursor that is a shard and a name behind which the next page begins.
pub(super) fn named_cursor(request: &Request) -> Result<(u16, Option<Box<str>>), Problem> {
    let Some(text) = request.query("cursor") else {
        return Ok((0, None));
    };
    let parts = text.split_once(':');
    let shard = parts.and_then(|(shard, _)| shard.parse().ok());
    let wrong = || {
        let text = text.escape_debug();
        Problem::bad_request(format!(
            "cursor: \"{text}\" is not one that a page has given"
        ))
    };
    let after = parts.map_or("", |(_, name)| name);
    let shard = shard.ok_or_else(wrong)?;
    check_shard(request, text, shard)?;
    Ok((shard, (!after.is_empty()).then(|| after.into())))
}

/// A listing has ended with the last shard.
fn check_shard(request: &Request, cursor: &str, shard: u16) -> Result<(), Problem> {
    let shards = request.admin.shards.count();
    if shard < shards {
        return Ok(());
    }
    let cursor = cursor.escape_debug();
    Err(Problem::bad_request(format!(
        "cursor: \"{cursor}\" is beyond the end: the last of {shards} shards has the number {}",
        shards - 1
    )))
}

/// Rows that a request wants.
pub(super) fn limit(request: &Request) -> Result<usize, Problem> {
    match request.number("limit")? {
        None => Ok(LIMIT),
        Some(limit @ 1..=1_000) => Ok(limit as usize),
        Some(other) => {
            let text = format!("limit: {other} is not between 1 and {LIMIT_MAX}");
            Err(Problem::bad_request(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor {
            shard: 3,
            place: u32::MAX,
            nth: 7,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "-1.2.3",
            "70000.1.1",
            "1.2.4294967296",
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong:?}");
        }
    }
}
