//! Statements with what checks them.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::Claim;
use super::statements::{Binds, Id, Reason, ShownBy, Statement};

pub(super) struct Table {
    pub(super) statements: Vec<Statement>,
    claims: Vec<Claim>,
    reasons: Vec<Reason>,
}

/// What stands behind a statement.
pub(super) enum Backing<'a> {
    /// File and name of each test.
    Tests(Vec<(&'a str, &'a str)>),
    Reason(&'a str),
    Nothing,
}

impl Table {
    pub(super) fn new(
        statements: Vec<Statement>,
        claims: Vec<Claim>,
        reasons: Vec<Reason>,
    ) -> Self {
        Self {
            statements,
            claims,
            reasons,
        }
    }

    /// What stands behind every statement, in the statements' order.
    pub(super) fn rows(&self) -> Vec<(&Statement, Backing<'_>)> {
        let mut tests: BTreeMap<&Id, Vec<(&str, &str)>> = BTreeMap::new();
        for claim in &self.claims {
            for id in &claim.ids {
                let list = tests.entry(id).or_default();
                list.push((&claim.file, &claim.test));
            }
        }
        let reason = |id: &Id| self.reasons.iter().find(|reason| reason.id == *id);
        let backing = |id: &Id| match (tests.remove(id), reason(id)) {
            (Some(list), _) => Backing::Tests(list),
            (None, Some(reason)) => Backing::Reason(&reason.text),
            (None, None) => Backing::Nothing,
        };
        let ids = self.statements.iter().map(|statement| &statement.id);
        let backings: Vec<Backing> = ids.map(backing).collect();
        self.statements.iter().zip(backings).collect()
    }

    /// Everything that makes the table untrue, in plain sentences.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.unknown_claims();
        for (statement, backing) in self.rows() {
            let needs_test = statement.binds != Binds::Client;
            if needs_test && matches!(backing, Backing::Nothing) {
                problems.push(format!(
                    "{} has no test: {} Write one, or give the reason in \
                     tests/conformance/reasons.txt",
                    statement.id, statement.text
                ));
            }
        }
        problems.extend(self.wrong_reasons());
        problems
    }

    fn unknown_claims(&self) -> Vec<String> {
        let known: BTreeSet<&Id> = self.statements.iter().map(|s| &s.id).collect();
        let mut problems = Vec::new();
        for claim in &self.claims {
            for id in claim.ids.iter().filter(|id| !known.contains(id)) {
                problems.push(format!(
                    "{}: {}: {id} does not exist",
                    claim.file, claim.test
                ));
            }
        }
        problems
    }

    fn wrong_reasons(&self) -> Vec<String> {
        let claimed: BTreeSet<&Id> = self.claims.iter().flat_map(|claim| &claim.ids).collect();
        let mut problems = Vec::new();
        for Reason { id, .. } in &self.reasons {
            let statement = self.statements.iter().find(|s| s.id == *id);
            let problem = match statement {
                None => "does not exist",
                Some(_) if claimed.contains(id) => "has a test: remove the reason",
                Some(s) if s.binds == Binds::Client => "binds only clients: it needs no reason",
                Some(_) => continue,
            };
            problems.push(format!("reasons.txt: {id} {problem}"));
        }
        problems
    }

    /// Reasons that what they name does not bear out; `contents` has the files at a path.
    pub(super) fn untrue_reasons(
        &self,
        contents: &dyn Fn(&str) -> Vec<(String, String)>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        for Reason {
            id,
            text: reason,
            shown_by,
        } in &self.reasons
        {
            let ShownBy::Absent { text, path } = shown_by else {
                continue;
            };
            let files = contents(path);
            if files.is_empty() {
                problems.push(format!("reasons.txt: {id}: nothing is at {path}"));
            }
            let wanted = text.to_lowercase();
            for (file, _) in files
                .iter()
                .filter(|(_, content)| content.to_lowercase().contains(&wanted))
            {
                problems.push(format!(
                    "reasons.txt: {id}: \"{text}\" is in {file}: is it still true that {reason}?"
                ));
            }
        }
        problems
    }
}
