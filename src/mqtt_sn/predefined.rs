//! Predefined topic ids: known to clients and gateway beforehand, section 6.7.

use std::collections::HashMap;

/// Topics by predefined id, for one client or for all. Shared by all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predefined {
    for_all: HashMap<u16, Box<str>>,
    of_client: HashMap<Box<str>, HashMap<u16, Box<str>>>,
}

impl Predefined {
    /// From lines `client, topic, id` or `*, topic, id`; empty ones and those that begin with `#` are passed
    /// over.
    ///
    /// # Errors
    /// A sentence about the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            all.add(line)
                .map_err(|text| format!("line {number}: {text}"))?;
        }
        Ok(all)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let shape = "is not \"client, topic, id\", or \"*, topic, id\" for all clients";
        let (client, rest) = line
            .split_once(',')
            .ok_or_else(|| format!("{line:?} {shape}"))?;
        let (topic, id) = rest
            .rsplit_once(',')
            .ok_or_else(|| format!("{line:?} {shape}"))?;
        let (client, topic, id) = (client.trim(), topic.trim(), id.trim());
        let id = id.parse().ok().filter(|id| (1..0xFFFF).contains(id));
        let id: u16 = id.ok_or("an id is a number from 1 to 65534")?;
        if !crate::mqtt::topic::is_valid_name(topic) {
            return Err(format!(
                "{topic:?} is not a topic: it is not empty and has no \"+\" or \"#\""
            ));
        }
        if client.is_empty() {
            return Err(format!("{line:?} {shape}"));
        }
        let table = match client {
            "*" => &mut self.for_all,
            client => self.of_client.entry(client.into()).or_default(),
        };
        match table.insert(id, topic.into()) {
            None => Ok(()),
            Some(before) => Err(format!("the id {id} stands for {before:?} already")),
        }
    }

    /// The topic of an id; one of the client's own comes first.
    #[must_use]
    pub fn topic(&self, client_id: &str, id: u16) -> Option<&str> {
        let own = self
            .of_client
            .get(client_id)
            .and_then(|topics| topics.get(&id));
        own.or_else(|| self.for_all.get(&id)).map(|topic| &**topic)
    }

    /// The topic of an id that all clients know.
    #[must_use]
    pub fn topic_for_all(&self, id: u16) -> Option<&str> {
        self.for_all.get(&id).map(|topic| &**topic)
    }
}
