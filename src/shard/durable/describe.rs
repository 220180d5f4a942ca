//! Records for people and scripts: what each says by itself, without the state it changes.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use super::crossing_records::CrossingNumbers;
use super::fold::{KeptState, StateFold};
use super::kind;
use super::record::{decode, Entry, Problem, RecordError, FIRST, LAST, READ_BACK};
use crate::journal::Record;
use crate::mqtt::{Place, Publication, Qos};
use crate::session::{AttributesImage, Change, Delivery, SessionImage, SessionKey};
use crate::shard::HOME_LANES;

/// A value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Number(u64),
    Text(String),
    Flag(bool),
    /// Of a publication or a will; shown only when it is asked for.
    Payload(Bytes),
    List(Vec<Field>),
    Fields(Fields),
}

/// Names and values, in the order in which they are shown.
pub type Fields = Vec<(&'static str, Field)>;

/// What a record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    pub kind: &'static str,
    /// Of the session that it belongs to.
    pub key: Option<u64>,
    /// Its client, where the record says so.
    pub client_id: Option<String>,
    /// Publications that the session begins to wait for with it.
    pub messages: usize,
    pub is_publication: bool,
    /// It says everything about its session.
    pub is_image: bool,
    /// It ends its session.
    pub is_end: bool,
    pub retained_topic: Option<String>,
    pub fields: Fields,
}

/// A session at the end of a log, in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSummary {
    pub key: u64,
    pub client_id: String,
    /// Messages that wait or are in flight.
    pub messages: usize,
}

/// Reads records one after another, each with the publications that its turn has named before.
#[derive(Debug, Default)]
pub struct RecordReader {
    publications: HashMap<u32, Rc<Publication>, ahash::RandomState>,
}

impl RecordReader {
    /// `hash_seed`: of a table that is filled from a file.
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        let state = ahash::RandomState::with_seeds(hash_seed, 41, 42, 43);
        Self {
            publications: HashMap::with_hasher(state),
        }
    }

    /// # Errors
    /// No shard has written it, or it needs a publication of its turn that has not been read.
    pub fn read(&mut self, record: &Record<'_>) -> Result<Described, Problem> {
        if record.flags & FIRST != 0 {
            self.publications.clear();
        }
        let publications = &self.publications;
        let find = |number| publications.get(&number).cloned();
        let entry = decode(record.kind, record.body, &find)?;
        let mut described = Described::of(record.kind, &entry);
        if let Entry::Publication(number, publication) = entry {
            self.publications.insert(number, publication);
        }
        for (flag, name) in [(FIRST, "first_of_turn"), (LAST, "last_of_turn")] {
            if record.flags & flag != 0 {
                described.fields.push((name, Field::Flag(true)));
            }
        }
        Ok(described)
    }
}

impl RecordError {
    /// Another version has written it.
    #[must_use]
    pub fn is_of_another_version(&self) -> bool {
        matches!(self.problem, Problem::Kind(_))
    }
}

impl StateFold {
    /// Of a log that no shard continues: all that it holds.
    #[must_use]
    pub fn of_all_lanes(hash_seed: u64) -> Self {
        Self::new(vec![true; usize::from(HOME_LANES)].into(), hash_seed, None)
    }
}

impl KeptState {
    #[must_use]
    pub fn summaries(&self) -> Vec<KeptSummary> {
        let sessions = self.sessions.iter();
        sessions
            .map(|kept| KeptSummary {
                key: kept.key.0,
                client_id: kept.client_id().to_string(),
                messages: kept.messages(),
            })
            .collect()
    }

    #[must_use]
    pub fn retained_topics(&self) -> Vec<String> {
        let retained = self.retained.iter();
        retained
            .map(|(publication, _)| publication.topic.to_string())
            .collect()
    }
}

impl Described {
    fn of(kind: u8, entry: &Entry) -> Self {
        let mut out = Self {
            kind: name_of(kind),
            ..Self::default()
        };
        if let Entry::Publication(number, publication) = entry {
            out.is_publication = true;
            out.fields.push(("number", Field::Number((*number).into())));
            put_publication(&mut out.fields, publication);
        }
        match entry {
            Entry::Image(key, image) => {
                out.session(*key);
                out.is_image = true;
                out.messages = messages_of(image);
                out.client_id = Some(image.client_id.to_string());
                put_image(&mut out.fields, image);
            }
            Entry::Attributes(key, attributes) => {
                out.session(*key);
                put_attributes(&mut out.fields, attributes);
            }
            Entry::Changes(key, changes) => {
                out.session(*key);
                let adds = |change: &&Change| {
                    matches!(
                        change,
                        Change::Queued(_) | Change::QueuedStored(_) | Change::Sent(_)
                    )
                };
                out.messages = changes.iter().filter(adds).count();
                out.changes(changes);
            }
            Entry::Piece(key, (begins, changes)) => {
                out.session(*key);
                out.fields.push(("is_first", Field::Flag(*begins)));
                out.changes(changes);
            }
            Entry::Pieces(key, pieces) => {
                out.session(*key);
                out.messages = pieces.wait();
                out.fields
                    .push(("queued", Field::Number(pieces.wait() as u64)));
            }
            Entry::Retained(topic, publication) => {
                out.retained_topic = Some(topic.to_string());
                out.fields.push(("topic", text(topic)));
                let is_set = publication.is_some();
                out.fields.push(("is_set", Field::Flag(is_set)));
            }
            Entry::Ended(key) => {
                out.session(*key);
                out.is_end = true;
            }
            Entry::Held(number, held) => {
                out.fields.push(("number", Field::Number(number.0)));
                out.fields
                    .push(("to_shard", Field::Number(held.to.0.into())));
                out.fields.push(("topic", text(&held.publication.topic)));
            }
            Entry::Crossings(numbers) => put_crossings(&mut out.fields, numbers),
            Entry::Publication(..) => {}
        }
        out
    }

    fn session(&mut self, key: SessionKey) {
        self.key = Some(key.0);
    }

    fn changes(&mut self, changes: &[Change]) {
        let list = changes.iter();
        let list = list.map(|change| Field::Fields(of_change(change)));
        self.fields.push(("changes", Field::List(list.collect())));
    }
}

fn name_of(kind: u8) -> &'static str {
    match kind {
        kind::PUBLICATION => "publication",
        kind::IMAGE => "session",
        kind::ATTRIBUTES => "attributes",
        kind::CHANGES => "changes",
        kind::ENDED => "session_ended",
        kind::RETAINED => "retained",
        kind::HELD => "held",
        kind::CROSSINGS => "crossings",
        kind::PIECE => "piece_of_queue",
        kind::PIECES => "pieces_of_queue",
        _ => "other",
    }
}

fn put_crossings(out: &mut Fields, numbers: &CrossingNumbers) {
    out.push(("last_held", Field::Number(numbers.last_held.0)));
    for (name, list) in [("committed", &numbers.committed), ("taken", &numbers.taken)] {
        let list = list.iter().map(|(shard, number)| {
            Field::Fields(vec![
                ("shard", Field::Number(shard.0.into())),
                ("number", Field::Number(number.0)),
            ])
        });
        out.push((name, Field::List(list.collect())));
    }
}

fn messages_of(image: &SessionImage) -> usize {
    image.queue.len() + image.window.entries.len()
}

fn text(text: &str) -> Field {
    Field::Text(text.into())
}

fn qos(qos: Qos) -> Field {
    Field::Number(qos as u64)
}

fn put_publication(out: &mut Fields, publication: &Publication) {
    out.push(("topic", text(&publication.topic)));
    out.push(("qos", qos(publication.qos)));
    out.push(("retain", Field::Flag(publication.retain)));
    if let Some(at) = publication.expires_at {
        out.push(("expires_at_ms", Field::Number(READ_BACK.to_wall(at).0)));
    }
    let bytes = publication.payload.len() as u64;
    out.push(("payload_bytes", Field::Number(bytes)));
    let payload = Field::Payload(publication.payload.clone());
    out.push(("payload", payload));
}

fn put_image(out: &mut Fields, image: &SessionImage) {
    let subscriptions = image.subscriptions.iter().map(|(filter, subscription)| {
        Field::Fields(vec![
            ("filter", text(filter)),
            ("qos", qos(subscription.options.qos)),
        ])
    });
    let attributes = AttributesImage {
        owner: image.owner.clone(),
        rules: image.rules.clone(),
        expiry_interval_s: image.expiry_interval_s,
        expires_at: image.expires_at,
        will: image.will.clone(),
        will_due: image.will_due,
    };
    put_attributes(out, &attributes);
    out.push(("subscriptions", Field::List(subscriptions.collect())));
    let received = image.received.open.len() + image.received.earlier.len();
    let counts = [
        ("queued", image.queue.len()),
        ("in_flight", image.window.entries.len()),
        ("qos2_received", received),
    ];
    out.extend(counts.map(|(name, count)| (name, Field::Number(count as u64))));
}

fn put_attributes(out: &mut Fields, attributes: &AttributesImage) {
    if let Some(owner) = &attributes.owner {
        out.push(("owner", text(owner)));
    }
    let expiry = u64::from(attributes.expiry_interval_s);
    out.push(("expiry_interval_s", Field::Number(expiry)));
    if let Some(at) = attributes.expires_at {
        out.push(("expires_at_ms", Field::Number(at.0)));
    }
    if let Some(will) = &attributes.will {
        let mut fields = vec![
            ("topic", text(&will.topic)),
            ("qos", qos(will.qos)),
            ("retain", Field::Flag(will.retain)),
            ("delay_s", Field::Number(will.delay_interval_s.into())),
        ];
        fields.push(("payload", Field::Payload(will.payload.clone())));
        out.push(("will", Field::Fields(fields)));
    }
    if let Some(at) = attributes.will_due {
        out.push(("will_due_ms", Field::Number(at.0)));
    }
}

/// What a change is called, and what it says besides.
fn of_change(change: &Change) -> Fields {
    let name = format!("{change:?}");
    let is_end = |c: char| !c.is_alphanumeric();
    let name = name.split(is_end).next().unwrap_or_default();
    let mut fields = vec![("what", text(name))];
    match change {
        Change::Queued(delivery) | Change::Sent(delivery) => put_delivery(&mut fields, delivery),
        Change::QueuedStored(stored) => put_place(&mut fields, stored.place()),
        Change::Moved(index, publication) => {
            fields.push(("index", Field::Number((*index).into())));
            fields.push(("topic", text(&publication.topic)));
        }
        Change::MovedSent(id, publication) => {
            fields.push(("packet_id", Field::Number(id.0.get().into())));
            fields.push(("topic", text(&publication.topic)));
        }
        Change::Finished(id)
        | Change::Released(id)
        | Change::Received(id)
        | Change::ReceivedReleased(id) => {
            fields.push(("packet_id", Field::Number(id.0.get().into())));
        }
        Change::HandedOn(filter) | Change::Unsubscribed(filter) => {
            fields.push(("filter", text(filter)));
        }
        Change::Subscribed(filter, subscription) => {
            fields.push(("filter", text(filter)));
            fields.push(("qos", qos(subscription.options.qos)));
        }
        Change::TopicId(id, name) => {
            fields.push(("id", Field::Number((*id).into())));
            fields.push(("topic", text(name)));
        }
        Change::PredefinedId(id) => fields.push(("id", Field::Number((*id).into()))),
        Change::KeptWill(Some(will)) => fields.push(("topic", text(&will.topic))),
        _ => {}
    }
    fields
}

/// Where the record of a publication is.
fn put_place(out: &mut Fields, place: Place) {
    out.push(("segment", Field::Number(place.segment.into())));
    out.push(("byte", Field::Number(place.offset.into())));
}

fn put_delivery(out: &mut Fields, delivery: &Delivery) {
    out.push(("topic", text(&delivery.publication.topic)));
    out.push(("qos", qos(delivery.qos)));
    out.push(("retain", Field::Flag(delivery.retain)));
    if let Some(shared) = &delivery.shared {
        out.push(("shared", text(shared)));
    }
}
