//! Tables of the file, of listeners and of bridges, while they are checked: values, and problems at their places.

use std::collections::HashSet;

use super::problem::{Place, Problem};
use super::raw::{Given, GivenTable};
use super::reading::read;

/// Longest name of a protocol in ALPN, in bytes (RFC 7301).
pub(super) const ALPN_NAME_MAX: usize = 255;

/// One table while it is checked.
pub(super) struct Table<'a, T: 'static> {
    pub(super) given: &'a GivenTable<T>,
    /// What the table makes.
    pub(super) value: T,
    /// Options with a wrong value: rules about them are silent.
    pub(super) wrong: HashSet<&'static str>,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl<'a, T: Default + 'static> Table<'a, T> {
    /// With the values that each for itself are right; the others are reported.
    pub(super) fn read(given: &'a GivenTable<T>, problems: &'a mut Vec<Problem>) -> Self {
        let mut table = Self {
            given,
            value: T::default(),
            wrong: HashSet::new(),
            problems,
        };
        for given in &given.given {
            let found = read(given);
            if found.is_empty() {
                if let Ok(value) = given.option.kind.read(&given.value) {
                    (given.option.set)(&mut table.value, value);
                }
            } else {
                table.wrong.insert(given.option.name);
                table.problems.extend(found);
            }
        }
        table
    }

    pub(super) fn find(&self, name: &str) -> Option<&'a Given<T>> {
        self.given.find(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Reports at `name`, or where the table begins if that was not given.
    pub(super) fn report(&mut self, name: &'static str, text: impl Into<String>) {
        if self.wrong.contains(name) {
            return;
        }
        let given = self.find(name);
        let place: &Place = given.map_or(&self.given.place, |given| &given.place);
        self.problems.push(Problem::new(place, name, text));
    }

    /// `names` were given where they mean nothing.
    pub(super) fn only_with(&mut self, names: &[&'static str], with: &str) {
        for name in names {
            if self.has(name) {
                self.report(name, format!("means something only with {with}"));
            }
        }
    }
}

impl<T> GivenTable<T> {
    pub(super) fn find(&self, name: &str) -> Option<&Given<T>> {
        let mut given = self.given.iter();
        given.find(|given| given.option.name == name)
    }
}
