//! A level of a pattern with placeholders.

/// The names of a client that patterns refer to. The user name is one that was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    pub client: &'a str,
    pub user: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Client,
    User,
}

/// One level such as `%u` or `device-%c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Box<[Piece]>);

impl Template {
    /// `None`: no placeholder is in it.
    pub(super) fn parse(level: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = level;
        while let Some(at) = [rest.find("%c"), rest.find("%u")]
            .into_iter()
            .flatten()
            .min()
        {
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].into()));
            }
            let is_client = rest[at..].starts_with("%c");
            pieces.push(if is_client {
                Piece::Client
            } else {
                Piece::User
            });
            rest = &rest[at + 2..];
        }
        if pieces.is_empty() {
            return None;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Some(Self(pieces.into()))
    }

    /// The level as it was parsed.
    pub(super) fn text(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => String::from(&**text),
            Piece::Client => "%c".into(),
            Piece::User => "%u".into(),
        };
        self.0.iter().map(piece).collect()
    }

    /// The level for these names; `None` when one of them is missing or cannot be part of a level.
    /// `first`: it is the first level, which a name must not make begin with `$`.
    fn parts<'a>(&'a self, names: Names<'a>, first: bool) -> Option<impl Iterator<Item = &'a str>> {
        let part = move |piece: &'a Piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Client => usable(names.client),
            Piece::User => names.user.and_then(usable),
        };
        let is_text = matches!(self.0.first(), Some(Piece::Text(_)));
        let start = self.0.first().and_then(part)?;
        if first && !is_text && start.starts_with('$') {
            return None;
        }
        if self.0.iter().any(|piece| part(piece).is_none()) {
            return None;
        }
        Some(self.0.iter().filter_map(part))
    }

    /// Whether `level` is this level for these names.
    pub(super) fn is(&self, level: &str, names: Names<'_>, first: bool) -> bool {
        let Some(mut parts) = self.parts(names, first) else {
            return false;
        };
        let rest = parts.try_fold(level, |rest, part| rest.strip_prefix(part));
        rest == Some("")
    }

    /// Whether it stands for any level at all.
    pub(super) fn applies(&self, names: Names<'_>, first: bool) -> bool {
        self.parts(names, first).is_some()
    }

    /// The level for these names begins with `$`.
    pub(super) fn starts_with_dollar(&self) -> bool {
        matches!(self.0.first(), Some(Piece::Text(text)) if text.starts_with('$'))
    }
}

/// A name that cannot be more than a part of one level.
fn usable(name: &str) -> Option<&str> {
    let harmful = |byte| matches!(byte, b'+' | b'#' | b'/' | 0);
    (!name.is_empty() && !name.bytes().any(harmful)).then_some(name)
}
