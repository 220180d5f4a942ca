//! Filters with what they grant, level by level.
//!
//! Every question walks down the levels of what is asked about, once for each branch that fits: at
//! most as many steps as the tree has nodes, usually one or two per level.

use std::collections::HashMap;

use super::template::{Names, Template};

/// What a filter grants, and what has been found for a topic: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Access(u8);

impl Access {
    pub(super) const NONE: Self = Self(0);
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    pub(super) const READ_WRITE: Self = Self(3);
    pub(super) const DENY: Self = Self(4);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    pub(super) fn denies(self) -> bool {
        self.has(Self::DENY)
    }
    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    /// Of filters that end here.
    here: Access,
    /// Of filters that end with `#` below here; they match here, too.
    all: Access,
    /// Everything that `here` and `all` of this node and those below it have.
    within: Access,
    levels: HashMap<Box<str>, Node, ahash::RandomState>,
    any: Option<Box<Node>>,
    templates: Vec<(Template, Node)>,
}

/// First level and the rest of a topic; the rest is `None` behind the last level.
fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

impl Node {
    /// Adds a valid filter. `placeholders`: `%c` and `%u` stand for names.
    pub(super) fn insert(&mut self, filter: &str, access: Access, placeholders: bool) {
        self.within.add(access);
        let (level, rest) = split(filter);
        let next = match level {
            "#" => return self.all.add(access),
            "+" => self.any.get_or_insert_default(),
            _ => match Template::parse(level).filter(|_| placeholders) {
                None => self.levels.entry(level.into()).or_default(),
                Some(template) => {
                    let known = self
                        .templates
                        .iter()
                        .position(|(known, _)| *known == template);
                    let index = known.unwrap_or_else(|| {
                        self.templates.push((template, Self::default()));
                        self.templates.len() - 1
                    });
                    &mut self.templates[index].1
                }
            },
        };
        match rest {
            Some(rest) => next.insert(rest, access, placeholders),
            None => {
                next.within.add(access);
                next.here.add(access);
            }
        }
    }

    /// Adds the filters that have `access`; `above`: the levels above this node, each with its `/`.
    pub(super) fn filters(&self, above: &mut String, access: Access, found: &mut Vec<Box<str>>) {
        if self.all.has(access) {
            found.push(format!("{above}#").into());
        }
        let levels = self.levels.iter();
        let levels = levels.map(|(level, node)| (String::from(&**level), node));
        let any = self.any.iter().map(|node| (String::from("+"), &**node));
        let templates = self.templates.iter();
        let templates = templates.map(|(template, node)| (template.text(), node));
        for (level, node) in levels.chain(any).chain(templates) {
            let length = above.len();
            above.push_str(&level);
            if node.here.has(access) {
                found.push(above.as_str().into());
            }
            above.push('/');
            node.filters(above, access, found);
            above.truncate(length);
        }
    }

    /// Adds what every filter that matches a topic name grants.
    pub(super) fn collect(&self, topic: &str, names: Names<'_>, found: &mut Access) {
        if !topic.starts_with('$') {
            found.add(self.all); // [MQTT-4.7.2-1]
        }
        self.collect_level(topic, names, true, found);
    }

    fn collect_level(&self, topic: &str, names: Names<'_>, first: bool, found: &mut Access) {
        let (level, rest) = split(topic);
        self.each_equal(level, names, first, &mut |next| {
            found.add(next.all);
            match rest {
                Some(rest) => next.collect_level(rest, names, false, found),
                None => found.add(next.here),
            }
            false
        });
    }

    /// Calls `visit` for each node one level down that a level's name leads to, until it says true.
    #[inline]
    fn each_equal(
        &self,
        level: &str,
        names: Names<'_>,
        first: bool,
        visit: &mut dyn FnMut(&Self) -> bool,
    ) -> bool {
        if let Some(next) = self.levels.get(level) {
            if visit(next) {
                return true;
            }
        }
        if let Some(next) = &self.any {
            if !(first && level.starts_with('$')) && visit(next) {
                return true;
            }
        }
        let mut fitting = self
            .templates
            .iter()
            .filter(|(t, _)| t.is(level, names, first));
        fitting.any(|(_, next)| visit(next))
    }

    /// Whether one filter that grants reading matches everything that `filter` matches.
    pub(super) fn grants_all_of(&self, filter: &str, names: Names<'_>) -> bool {
        self.contains(filter, names, Access::READ, true)
    }

    /// Whether one filter that denies matches everything that `filter` matches.
    pub(super) fn denies_all_of(&self, filter: &str, names: Names<'_>) -> bool {
        self.contains(filter, names, Access::DENY, true)
    }

    /// Whether one filter with `wanted` matches everything that `filter`, from this level on, matches.
    fn contains(&self, filter: &str, names: Names<'_>, wanted: Access, first: bool) -> bool {
        if first && self.all.has(wanted) && !filter.starts_with('$') {
            return true;
        }
        let (level, rest) = split(filter);
        let mut visit = |next: &Self| {
            next.all.has(wanted)
                || match rest {
                    Some(rest) => next.contains(rest, names, wanted, false),
                    None => next.here.has(wanted),
                }
        };
        match level {
            // Only a `#` has a `#` within it, and that was seen one level up. But no topic name is
            // above the first level, so that there `+/#` matches all that `#` does (`a/+/#` lacks `a`).
            "#" => first && self.any.as_deref().is_some_and(|any| any.all.has(wanted)),
            "+" => self.any.as_deref().is_some_and(visit),
            _ => self.each_equal(level, names, first, &mut visit),
        }
    }

    /// Whether a filter that denies matches something that `filter` matches, too.
    pub(super) fn denies_part_of(&self, filter: &str, names: Names<'_>) -> bool {
        self.overlaps(filter, names, Access::DENY, true)
    }

    /// Whether a filter that grants reading matches something that `filter` matches, too.
    pub(super) fn reads_part_of(&self, filter: &str, names: Names<'_>) -> bool {
        self.overlaps(filter, names, Access::READ, true)
    }

    /// Whether a filter with `wanted` matches something that `filter`, from this level on, matches, too.
    fn overlaps(&self, filter: &str, names: Names<'_>, wanted: Access, first: bool) -> bool {
        if !self.within.has(wanted) {
            return false;
        }
        if self.all.has(wanted) && !(first && filter.starts_with('$')) {
            return true;
        }
        let (level, rest) = split(filter);
        let mut visit = |next: &Self| match rest {
            _ if next.all.has(wanted) => true,
            Some("#") => next.has_any(names, wanted),
            Some(rest) => next.overlaps(rest, names, wanted, false),
            None => next.here.has(wanted),
        };
        match level {
            "#" => self.each_next(names, first, &mut |next| next.has_any(names, wanted)),
            "+" => self.each_next(names, first, &mut visit),
            _ => self.each_equal(level, names, first, &mut visit),
        }
    }

    /// Whether there is such a filter here or below that stands for anything.
    fn has_any(&self, names: Names<'_>, wanted: Access) -> bool {
        self.within.has(wanted)
            && (self.here.has(wanted)
                || self.all.has(wanted)
                || self.each_next(names, false, &mut |next| next.has_any(names, wanted)))
    }

    /// Calls `visit` for each node one level down that a wildcard leads to, until it says true.
    fn each_next(
        &self,
        names: Names<'_>,
        first: bool,
        visit: &mut dyn FnMut(&Self) -> bool,
    ) -> bool {
        let mut named = self
            .levels
            .iter()
            .filter(|(level, _)| !(first && level.starts_with('$')));
        if named.any(|(_, next)| visit(next)) {
            return true;
        }
        if self.any.as_deref().is_some_and(&mut *visit) {
            return true;
        }
        let mut fitting = self.templates.iter().filter(|(template, _)| {
            template.applies(names, first) && !(first && template.starts_with_dollar())
        });
        fitting.any(|(_, next)| visit(next))
    }
}
