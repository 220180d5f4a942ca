//! The client ids that may come: MQTT-SN has no credentials.

use std::collections::HashSet;

/// Client ids. Shared by all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientIds(HashSet<Box<str>>);

impl ClientIds {
    /// From lines with one client id each; empty ones and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// A sentence about the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = HashSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !all.insert(Box::from(line)) {
                return Err(format!("line {number}: {line:?} is there twice"));
            }
        }
        Ok(Self(all))
    }

    #[must_use]
    pub fn contains(&self, client_id: &str) -> bool {
        self.0.contains(client_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_on_each_line() {
        let ids = ClientIds::parse("# the house\n\n one \ntwo, three\n").unwrap();
        assert!(ids.contains("one") && ids.contains("two, three"));
        assert!(!ids.contains("two") && !ids.contains("# the house"));
        let twice = ClientIds::parse("one\ntwo\none\n").unwrap_err();
        assert_eq!(twice, "line 3: \"one\" is there twice");
    }
}
