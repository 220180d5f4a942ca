//! Topic ids of one client, both ways.
//!
//! An id follows from its topic's name, and from what had taken its place: a client that comes back after its
//! table was lost finds most topics under the ids they had, and hardly ever one under that of another.

use std::rc::Rc;

use crate::mutant::{is_on, Mutant};

/// Bytes of names of one client.
const NAME_BYTES_MAX: usize = 64 << 10;
/// Ids from 1 on. 0x0000 and 0xFFFF are reserved, section 5.3.11, and there are clients that take a larger one
/// than these for a negative number.
const IDS: u32 = 0x7FFF;
/// Up to this many names are looked for where else they are.
const FEW: usize = 8;

#[derive(Clone, Debug)]
struct Row {
    name: Rc<str>,
    id: u16,
    /// When it was last used, of all uses of this client.
    used: u32,
    marks: Marks,
}

const _: () = assert!(size_of::<Row>() <= 24);

/// What the client makes of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks(u8);

impl Marks {
    /// Known to the client since it connected.
    const KNOWN: u8 = 1;
    /// Registered by the client: it may publish with it.
    const CLIENTS: u8 = 1 << 1;
    /// The client refuses it.
    const MUTED: u8 = 1 << 2;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn add(&mut self, marks: u8) {
        self.0 |= marks;
    }

    fn remove(&mut self, marks: u8) {
        self.0 &= !marks;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    /// In the order of ids, without room to spare: there are many clients with few topics.
    rows: Box<[Row]>,
    uses: u32,
    /// The client may have ids of a table that was lost, and mean another topic by an id than we do.
    is_second: bool,
}

/// What is known of a topic on the way to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outward {
    Known(u16),
    /// To be registered first.
    New(u16),
    Muted,
    /// All ids are the client's own.
    Full,
}

impl Topics {
    /// In place of one that was lost with the process, while its session was kept: with what that has of it, in the
    /// order of ids.
    pub(super) fn second(ids: &[(u16, Rc<str>)]) -> Self {
        let rows = ids.iter().map(|(id, name)| Row {
            id: *id,
            name: Rc::clone(name),
            marks: Marks(Marks::CLIENTS),
            used: 0,
        });
        Self {
            rows: rows.collect(),
            uses: 0,
            is_second: true,
        }
    }

    /// The topic that a client means. After a table was lost it has to register those ids that it was sent, also
    /// those that it was sent meanwhile: what is on its way may mean what they stood for before.
    pub(super) fn name(&self, id: u16) -> Option<&str> {
        let at = self.rows.binary_search_by_key(&id, |row| row.id).ok()?;
        let row = &self.rows[at];
        let is_known = row.marks.has(Marks::KNOWN) && !self.is_second;
        let is_meant = row.marks.has(Marks::CLIENTS) || is_known;
        is_meant.then_some(&*row.name)
    }

    /// The id of a topic that its client has named, and its name; `None`: it has as many as it may.
    pub(super) fn register(&mut self, name: &str, max: u16) -> Option<(u16, Rc<str>)> {
        let at = self.find_or_add(name, max)?;
        let row = &mut self.rows[at];
        row.marks = Marks(Marks::KNOWN | Marks::CLIENTS);
        Some((row.id, Rc::clone(&row.name)))
    }

    /// The id of a topic on the way to its client.
    pub(super) fn outward(&mut self, name: &str, max: u16) -> Outward {
        let Some(at) = self.find_or_add(name, max) else {
            return Outward::Full;
        };
        self.uses = self.uses.wrapping_add(1);
        let uses = self.uses;
        let row = &mut self.rows[at];
        row.used = uses;
        match row.marks {
            marks if marks.has(Marks::MUTED) => Outward::Muted,
            marks if marks.has(Marks::KNOWN) => Outward::Known(row.id),
            _ => Outward::New(row.id),
        }
    }

    /// The client has answered to a registration.
    pub(super) fn accepted(&mut self, id: u16) {
        self.change(id, |marks| marks.add(Marks::KNOWN));
    }

    pub(super) fn refused(&mut self, id: u16) {
        self.change(id, |marks| marks.add(Marks::MUTED));
    }

    /// The client does not know this id.
    pub(super) fn unknown(&mut self, id: u16) {
        self.change(id, |marks| marks.remove(Marks::KNOWN));
    }

    /// The client has connected again: it may know none, and each is registered before it is used.
    pub(super) fn all_unknown(&mut self) {
        if is_on(Mutant::TrustTopicIds) {
            return;
        }
        for row in &mut self.rows {
            row.marks.remove(Marks::KNOWN | Marks::MUTED);
        }
    }

    /// How many ids there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes names as `shared` has them, so that they are in memory once; of few, as most clients have.
    pub(super) fn share_names(&mut self, shared: impl Fn(&str) -> Option<Rc<str>>) {
        for row in self.rows.iter_mut().take(FEW) {
            if let Some(name) = shared(&row.name) {
                row.name = name;
            }
        }
    }

    /// Ids in order, each once, and what is counted.
    pub(super) fn audit(&self, max: usize) -> Result<(), String> {
        let bytes = self.name_bytes();
        if self.rows.len() > max || bytes > NAME_BYTES_MAX {
            let rows = self.rows.len();
            return Err(format!("{rows} topic ids of {max}, {bytes} bytes of names"));
        }
        let in_order = |pair: &[Row]| pair[0].id < pair[1].id;
        let are_ids = |row: &Row| (1..=IDS).contains(&u32::from(row.id));
        if !self.rows.windows(2).all(in_order) || !self.rows.iter().all(are_ids) {
            return Err("topic ids are not in order".into());
        }
        Ok(())
    }

    fn change(&mut self, id: u16, change: impl FnOnce(&mut Marks)) {
        if let Ok(at) = self.rows.binary_search_by_key(&id, |row| row.id) {
            change(&mut self.rows[at].marks);
        }
    }

    /// The row of a name: those of the same first id are behind each other, unless one between them has left.
    fn find_or_add(&mut self, name: &str, max: u16) -> Option<usize> {
        if let Ok(at) = self.find(name) {
            return Some(at);
        }
        if let Some(at) = self.rows.iter().position(|row| *row.name == *name) {
            return Some(at);
        }
        while self.rows.len() >= usize::from(max) || self.name_bytes() + name.len() > NAME_BYTES_MAX
        {
            self.forget_oldest()?;
        }
        let (at, id) = self.find(name).err()?;
        let row = Row {
            id,
            name: name.into(),
            marks: Marks::default(),
            used: self.uses,
        };
        let mut rows = std::mem::take(&mut self.rows).into_vec();
        rows.reserve_exact(1);
        rows.insert(at, row);
        self.rows = rows.into();
        Some(at)
    }

    fn name_bytes(&self) -> usize {
        self.rows.iter().map(|row| row.name.len()).sum()
    }

    /// The row of a name, or the place and the id of one that is to be.
    fn find(&self, name: &str) -> Result<usize, (usize, u16)> {
        let mut id = first_id(name);
        loop {
            match self.rows.binary_search_by_key(&id, |row| row.id) {
                Ok(at) if *self.rows[at].name == *name => return Ok(at),
                Ok(at) if is_on(Mutant::ShareTopicId) => return Ok(at),
                Ok(_) => id = if u32::from(id) == IDS { 1 } else { id + 1 },
                Err(at) => return Err((at, id)),
            }
        }
    }

    /// Takes the id from the topic that was delivered least recently, of those that the client has not
    /// registered itself: it learns by a REGISTER when the id is used again.
    fn forget_oldest(&mut self) -> Option<()> {
        let of_ours = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| !row.marks.has(Marks::CLIENTS));
        let (oldest, _) = of_ours.min_by_key(|(_, row)| row.used)?;
        let mut rows = std::mem::take(&mut self.rows).into_vec();
        rows.remove(oldest);
        self.rows = rows.into();
        Some(())
    }
}

/// FNV-1a, folded into the range of ids.
fn first_id(name: &str) -> u16 {
    let hash = name.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash % IDS + 1) as u16
}
