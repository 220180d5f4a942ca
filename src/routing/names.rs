//! Names of filter levels, each kept once: `temp` under a million devices is one string.

use std::collections::HashMap;
use std::rc::Rc;

/// Number of a level's name; reused after the last node with that name is gone.
pub(super) type NameId = u32;

#[derive(Debug)]
struct Name {
    text: Rc<str>,
    uses: u32,
}

/// Lives on: each shard its own. Holds the names in use and nothing else.
#[derive(Debug)]
pub(super) struct Names {
    ids: HashMap<Rc<str>, NameId, ahash::RandomState>,
    names: Vec<Name>,
    free: Vec<NameId>,
}

impl Names {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            ids: HashMap::with_hasher(hasher.clone()),
            names: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The number of a name in use.
    #[inline]
    pub(super) fn find(&self, text: &str) -> Option<NameId> {
        self.ids.get(text).copied()
    }

    /// Counts one more use of a name.
    pub(super) fn take(&mut self, text: &str) -> NameId {
        if let Some(id) = self.find(text) {
            self.names[id as usize].uses += 1;
            return id;
        }
        let name = Name {
            text: text.into(),
            uses: 1,
        };
        let key = Rc::clone(&name.text);
        let id = match self.free.pop() {
            Some(id) => {
                self.names[id as usize] = name;
                id
            }
            None => {
                self.names.push(name);
                (self.names.len() - 1) as NameId
            }
        };
        self.ids.insert(key, id);
        id
    }

    /// Counts one use less; with the last the name is forgotten.
    pub(super) fn release(&mut self, id: NameId) {
        let name = &mut self.names[id as usize];
        name.uses -= 1;
        if name.uses == 0 {
            let text = std::mem::take(&mut name.text);
            self.ids.remove(&text);
            self.free.push(id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
