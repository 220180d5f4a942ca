//! Mosquitto's file of what outlives its process, `mosquitto.db`, versions 5 and 6 (1.6 and later): retained messages,
//! sessions, their subscriptions and what waits for them.
//!
//! The whole file is read before anything is made of it: one that is cut or damaged yields a sentence and nothing else.
//! Numbers in the headers of chunks are in network order, 64-bit ones as the machine that wrote them had them.

use std::collections::{BTreeMap, HashMap};

const MAGIC: &[u8] = b"\x00\xB5\x00mosquitto db";
/// Before the first chunk: the name, a checksum that is not used, the version.
const HEADER_BYTES: usize = MAGIC.len() + 8;
/// Versions whose chunks have fixed parts as they are read here.
const VERSIONS: [u32; 2] = [5, 6];

const CONFIGURATION: u32 = 1;
const MESSAGE: u32 = 2;
const CLIENT_MESSAGE: u32 = 3;
const RETAINED: u32 = 4;
const SUBSCRIPTION: u32 = 5;
const CLIENT: u32 = 6;

/// Out of the broker, towards the client.
const OUTGOING: u8 = 1;

/// States of a QoS 2 message whose PUBREC has come: PUBREL is to be sent again, PUBCOMP is waited for.
const RELEASED: [u8; 2] = [6, 9];

/// What the file holds.
#[derive(Debug, Default)]
pub struct Database {
    /// By their numbers there.
    pub messages: HashMap<u64, Message>,
    /// Numbers of those that are retained.
    pub retained: Vec<u64>,
    /// By client id.
    pub sessions: BTreeMap<String, SessionThere>,
    /// Messages that were on their way from a client: it sends them again.
    pub incoming: usize,
}

/// A message that is retained, or waits for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    /// Seconds since 1970; 0: never.
    pub expires_s: u64,
    /// Encoded properties of a PUBLISH.
    pub properties: Vec<u8>,
}

/// A session of a client that comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionThere {
    pub user: Option<String>,
    pub expiry_interval_s: u32,
    /// Seconds since 1970; 0: not known.
    pub expires_s: u64,
    /// Filter, options byte of SUBSCRIBE, subscription identifier (0: none).
    pub subscriptions: Vec<(String, u8, u32)>,
    /// Numbers of messages, QoS, retain flag; the oldest first.
    pub queue: Vec<(u64, u8, bool)>,
}

/// Reads the file.
///
/// # Errors
/// A sentence: what is wrong, and where.
pub fn read(bytes: &[u8]) -> Result<Database, String> {
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        return Err("it is no mosquitto.db: it does not begin as one".into());
    }
    let mut it = Chunk {
        bytes: bytes.get(MAGIC.len() + 4..).unwrap_or_default(),
    };
    let version = it.u32().ok_or("it is cut in its header")?;
    if !VERSIONS.contains(&version) {
        return Err(format!(
            "its version is {version}, and 5 and 6 are read (Mosquitto 1.6 and later)"
        ));
    }
    let mut database = Database::default();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let cut = || format!("it is cut or damaged at byte {at} of {}", bytes.len());
        let mut head = Chunk {
            bytes: &bytes[at..],
        };
        let kind = head.u32().ok_or_else(cut)?;
        let length = head.u32().ok_or_else(cut)? as usize;
        let body = head.take(length).ok_or_else(cut)?;
        database
            .chunk(kind, Chunk { bytes: body }, version)
            .ok_or_else(cut)?;
        at += 8 + length;
    }
    database.check()?;
    Ok(database)
}

impl Database {
    /// `None`: it is shorter than it says.
    fn chunk(&mut self, kind: u32, mut it: Chunk<'_>, version: u32) -> Option<()> {
        match kind {
            CONFIGURATION => {}
            MESSAGE => {
                let (number, message) = message(&mut it)?;
                self.messages.insert(number, message);
            }
            CLIENT_MESSAGE => self.client_message(&mut it)?,
            RETAINED => self.retained.push(it.u64()?),
            SUBSCRIPTION => {
                let identifier = it.u32()?;
                let (id_length, topic_length) = (it.u16()?, it.u16()?);
                let (qos, options) = (it.byte()?, it.byte()?);
                it.take(2)?;
                let id = it.text(id_length)?;
                let filter = it.text(topic_length)?;
                let session = self.sessions.entry(id).or_default();
                session
                    .subscriptions
                    .push((filter, options & !3 | qos & 3, identifier));
            }
            CLIENT => {
                let expires_s = it.u64()?;
                let expiry_interval_s = it.u32()?;
                it.u16()?; // the last packet identifier
                let id_length = it.u16()?;
                let user_length = match version {
                    6 => {
                        it.u16()?; // the port of its listener
                        let length = it.u16()?;
                        it.take(4)?;
                        length
                    }
                    _ => 0,
                };
                let id = it.text(id_length)?;
                let user = it.text(user_length)?;
                let session = self.sessions.entry(id).or_default();
                session.user = Some(user).filter(|user| !user.is_empty());
                (session.expiry_interval_s, session.expires_s) = (expiry_interval_s, expires_s);
            }
            _ => {} // of a later version: nothing that is needed here
        }
        Some(())
    }

    fn client_message(&mut self, it: &mut Chunk<'_>) -> Option<()> {
        let number = it.u64()?;
        it.u16()?; // packet identifier
        let id_length = it.u16()?;
        let (qos, state) = (it.byte()?, it.byte()?);
        let (retain_dup, direction) = (it.byte()?, it.byte()?);
        let id = it.text(id_length)?;
        if direction == OUTGOING && RELEASED.contains(&state) {
            return Some(()); // QoS 2, and the client has it
        }
        if direction == OUTGOING {
            let session = self.sessions.entry(id).or_default();
            session.queue.push((number, qos, retain_dup & 0xF0 != 0));
        } else {
            self.incoming += 1;
        }
        Some(())
    }

    /// Everything that is named is there.
    fn check(&self) -> Result<(), String> {
        let queued = self.sessions.values().flat_map(|session| &session.queue);
        let named = queued.map(|(number, _, _)| number).chain(&self.retained);
        let mut missing = named.filter(|number| !self.messages.contains_key(number));
        match missing.next() {
            Some(number) => Err(format!(
                "message {number} is named and is not there: the file is damaged"
            )),
            None => Ok(()),
        }
    }
}

fn message(it: &mut Chunk<'_>) -> Option<(u64, Message)> {
    let (number, expires_s) = (it.u64()?, it.u64()?);
    let payload_length = it.u32()? as usize;
    it.u16()?; // the packet identifier of its publisher
    let (id_length, user_length) = (it.u16()?, it.u16()?);
    let topic_length = it.u16()?;
    it.u16()?; // the port of its listener
    let (qos, retain) = (it.byte()?, it.byte()? != 0);
    it.take(id_length.into())?;
    it.take(user_length.into())?;
    let topic = it.text(topic_length)?;
    let payload = it.take(payload_length)?.to_vec();
    let properties = it.bytes.to_vec();
    let message = Message {
        topic,
        payload,
        qos,
        retain,
        expires_s,
        properties,
    };
    Some((number, message))
}

/// The bytes of a chunk that are left.
struct Chunk<'a> {
    bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// As the machine has it.
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Also `None` when it is not UTF-8.
    fn text(&mut self, length: u16) -> Option<String> {
        String::from_utf8(self.take(length.into())?.to_vec()).ok()
    }
}
