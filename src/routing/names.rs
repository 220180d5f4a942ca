//! Names of filter levels, each kept once: `temp` under a million devices is one string.

use hashbrown::HashTable;

/// Number of a level's name; reused after the last node with that name is removed.
pub(super) type NameId = u32;

#[derive(Debug)]
struct Name {
    text: Box<str>,
    uses: u32,
    /// Low half of the text's hash, so that the table grows without looking at texts.
    hash: u32,
}

const _: () = assert!(size_of::<Name>() <= 24);

/// Lives on: each shard its own. Holds the names in use and nothing else.
#[derive(Debug)]
pub(super) struct Names {
    ids: HashTable<NameId>,
    hasher: ahash::RandomState,
    names: Vec<Name>,
    free: Vec<NameId>,
}

impl Names {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            ids: HashTable::new(),
            hasher: hasher.clone(),
            names: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The number of a name in use.
    #[inline]
    pub(super) fn find(&self, text: &str) -> Option<NameId> {
        self.find_hashed(self.hash(text), text)
    }

    fn hash(&self, text: &str) -> u32 {
        self.hasher.hash_one(text.as_bytes()) as u32
    }

    fn find_hashed(&self, hash: u32, text: &str) -> Option<NameId> {
        let is_it = |id: &NameId| {
            let name = &self.names[*id as usize];
            name.hash == hash && *name.text == *text
        };
        self.ids.find(spread(hash), is_it).copied()
    }

    /// Counts one more use of a name.
    pub(super) fn take(&mut self, text: &str) -> NameId {
        let hash = self.hash(text);
        if let Some(id) = self.find_hashed(hash, text) {
            self.names[id as usize].uses += 1;
            return id;
        }
        let name = Name {
            text: text.into(),
            uses: 1,
            hash,
        };
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
        let names = &self.names;
        self.ids
            .insert_unique(spread(hash), id, |id| spread(names[*id as usize].hash));
        id
    }

    /// Counts one use less; with the last the name is removed.
    pub(super) fn release(&mut self, id: NameId) {
        let name = &mut self.names[id as usize];
        name.uses -= 1;
        if name.uses == 0 {
            name.text = Box::default();
            let hash = spread(name.hash);
            if let Ok(entry) = self.ids.find_entry(hash, |one| *one == id) {
                entry.remove();
            }
            self.free.push(id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// The table goes by the low and the highest bits of 64.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
