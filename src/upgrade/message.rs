//! Messages between the two processes. Descriptors go beside them, in the order in which they are named.

use super::pauses::Pauses;
use crate::image::{ImageError, Reader, Writer, FORMAT, OLDEST_READ};

/// Version of these messages; the new process names its own first.
pub const PROTOCOL: u8 = 1;

/// What a new process says of itself, once its configuration and files are read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub protocol: u8,
    /// Formats of images that it reads.
    pub formats: (u8, u8),
    pub process: u32,
    pub version: String,
    pub data_dir: Option<String>,
}

impl Hello {
    /// Of this program.
    #[must_use]
    pub fn own(process: u32, data_dir: Option<String>) -> Self {
        Self {
            protocol: PROTOCOL,
            formats: (OLDEST_READ, FORMAT),
            process,
            version: env!("CARGO_PKG_VERSION").into(),
            data_dir,
        }
    }
}

/// What a socket that is handed over is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketUse {
    /// A listener of clients, by its number in the old process.
    Listener(u16),
    /// A listener of operators.
    Admin,
    /// The lock of the data directory, which is a file.
    Lock,
}

/// A socket that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketName {
    pub used_for: SocketUse,
    /// As it is configured.
    pub address: String,
}

/// Keys of the session tickets of a listener. They are secret, and on no disk.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKeys {
    /// As [`SocketName::address`].
    pub address: String,
    pub keys: Vec<u8>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "TicketKeys of {}", self.address)
    }
}

/// What lies between the socket of a client and MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParcelLayers {
    Nothing,
    /// The socket leads to the old process, or an older one, which has the layers.
    Elsewhere,
    /// Their image, and what they have wrapped and not sent.
    Here {
        image: Vec<u8>,
        unsent: Vec<u8>,
    },
}

/// One client. Its socket goes beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientParcel {
    /// Images of its session and of its connection.
    Live {
        session: Vec<u8>,
        connection: Vec<u8>,
        /// Between the socket and MQTT.
        layers: ParcelLayers,
    },
    /// It has not sent its CONNECT yet, or not all of it: where it comes from, and what was read.
    Opened { origin: Vec<u8>, read: Vec<u8> },
}

/// How many of each were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub clients: u32,
    pub sessions: u32,
    pub retained: u32,
}

impl Counts {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            sessions: self.sessions + other.sessions,
            retained: self.retained + other.retained,
        }
    }
}

/// See the module. The new process sends the first four and the last, the old one the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello(Hello),
    /// It cannot go on, and why.
    Refused(String),
    /// Its listeners are open and its shards run: it waits for what they are filled with.
    Prepared,
    /// Everything has arrived. So many clients do not fit.
    Ready {
        refused: u32,
    },
    Sockets(Vec<SocketName>),
    /// No further tickets are issued by the old process.
    Tickets(Vec<TicketKeys>),
    /// The old process is at rest, and does not write its log: the state follows.
    Still,
    Retained(Vec<(String, Vec<u8>)>),
    /// Of clients that are away.
    Sessions(Vec<Vec<u8>>),
    Clients(Vec<ClientParcel>),
    /// That was all.
    All(Counts),
    /// The new process serves from now on. The time at which the old one began to come to rest, in nanoseconds of the
    /// machine's monotonic clock.
    Commit {
        resting_since: u64,
    },
    /// Of the clients that the new process serves by now.
    Paused(Pauses),
}

impl Message {
    /// Its kind and body.
    #[must_use]
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let out = &mut Writer::fields(&mut bytes);
        let kind = match self {
            Self::Hello(hello) => {
                for byte in [hello.protocol, hello.formats.0, hello.formats.1] {
                    out.byte(byte);
                }
                out.number(hello.process);
                out.text(&hello.version);
                out.option(hello.data_dir.as_deref(), Writer::text);
                1
            }
            Self::Refused(why) => {
                out.text(why);
                2
            }
            Self::Ready { refused } => {
                out.number(*refused);
                3
            }
            Self::Sockets(names) => {
                out.list(names.iter(), put_socket);
                4
            }
            Self::Still => 5,
            Self::Retained(messages) => {
                out.list(messages.iter(), |out, (topic, message)| {
                    out.text(topic);
                    out.bytes(message);
                });
                6
            }
            Self::Sessions(sessions) => {
                out.list(sessions.iter(), |out, session| out.bytes(session));
                7
            }
            Self::Clients(clients) => {
                out.list(clients.iter(), put_client);
                8
            }
            Self::All(counts) => {
                for count in [counts.clients, counts.sessions, counts.retained] {
                    out.number(count);
                }
                9
            }
            Self::Commit { resting_since } => {
                out.long(*resting_since);
                10
            }
            Self::Prepared => 11,
            Self::Tickets(all) => {
                out.list(all.iter(), put_tickets);
                13
            }
            Self::Paused(pauses) => {
                put_pauses(out, *pauses);
                12
            }
        };
        (kind, bytes)
    }

    /// # Errors
    /// The bytes are cut or garbled, or of a kind that is not known.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, ImageError> {
        let it = &mut Reader::fields(body);
        let owned = |it: &mut Reader<'_>| it.bytes().map(<[u8]>::to_vec);
        let message = match kind {
            1 => {
                // What follows may be of another protocol, and is not looked at then.
                let protocol = it.byte()?;
                if protocol != PROTOCOL {
                    return Ok(Self::Hello(Hello {
                        protocol,
                        ..Hello::own(0, None)
                    }));
                }
                Self::Hello(Hello {
                    protocol,
                    formats: (it.byte()?, it.byte()?),
                    process: it.number()?,
                    version: it.text("a version")?.into(),
                    data_dir: it.option(|it| it.text("a path"))?.map(Into::into),
                })
            }
            2 => Self::Refused(it.text("a reason")?.into()),
            3 => Self::Ready {
                refused: it.number()?,
            },
            4 => Self::Sockets(it.list(2, take_socket)?),
            5 => Self::Still,
            6 => Self::Retained(it.list(2, |it| Ok((it.text("a topic")?.into(), owned(it)?)))?),
            7 => Self::Sessions(it.list(1, owned)?),
            8 => Self::Clients(it.list(3, take_client)?),
            9 => Self::All(Counts {
                clients: it.number()?,
                sessions: it.number()?,
                retained: it.number()?,
            }),
            10 => Self::Commit {
                resting_since: it.long()?,
            },
            11 => Self::Prepared,
            13 => Self::Tickets(it.list(2, |it| {
                let address = it.text("an address")?.into();
                let keys = owned(it)?;
                Ok(TicketKeys { address, keys })
            })?),
            12 => Self::Paused(Pauses {
                clients: it.number()?,
                median_us: it.number()?,
                p99_us: it.number()?,
                longest_us: it.number()?,
            }),
            _ => return Err(ImageError::invalid("a message of an upgrade")),
        };
        match it.rest() {
            [] => Ok(message),
            rest => Err(ImageError::Trailing { bytes: rest.len() }),
        }
    }
}

fn put_socket(out: &mut Writer<'_>, name: &SocketName) {
    match name.used_for {
        SocketUse::Listener(number) => {
            out.byte(0);
            out.short(number);
        }
        SocketUse::Admin => out.byte(1),
        SocketUse::Lock => out.byte(2),
    }
    out.text(&name.address);
}

fn put_tickets(out: &mut Writer<'_>, of: &TicketKeys) {
    out.text(&of.address);
    out.bytes(&of.keys);
}

fn put_pauses(out: &mut Writer<'_>, pauses: Pauses) {
    let Pauses {
        clients,
        median_us,
        p99_us,
        longest_us,
    } = pauses;
    for value in [clients, median_us, p99_us, longest_us] {
        out.number(value);
    }
}

fn take_socket(it: &mut Reader<'_>) -> Result<SocketName, ImageError> {
    let used_for = match it.byte()? {
        0 => SocketUse::Listener(it.short()?),
        1 => SocketUse::Admin,
        2 => SocketUse::Lock,
        _ => return Err(ImageError::invalid("what a socket is for")),
    };
    Ok(SocketName {
        used_for,
        address: it.text("an address")?.into(),
    })
}

fn put_client(out: &mut Writer<'_>, client: &ClientParcel) {
    match client {
        ClientParcel::Live {
            session,
            connection,
            layers,
        } => {
            out.byte(match layers {
                ParcelLayers::Nothing => 0,
                ParcelLayers::Elsewhere => 1,
                ParcelLayers::Here { .. } => 3,
            });
            out.bytes(session);
            out.bytes(connection);
            if let ParcelLayers::Here { image, unsent } = layers {
                out.bytes(image);
                out.bytes(unsent);
            }
        }
        ClientParcel::Opened { origin, read } => {
            out.byte(2);
            out.bytes(origin);
            out.bytes(read);
        }
    }
}

fn take_client(it: &mut Reader<'_>) -> Result<ClientParcel, ImageError> {
    let kind = it.byte()?;
    let (first, second) = (it.bytes()?.to_vec(), it.bytes()?.to_vec());
    let layers = match kind {
        0 => ParcelLayers::Nothing,
        1 => ParcelLayers::Elsewhere,
        2 => {
            return Ok(ClientParcel::Opened {
                origin: first,
                read: second,
            })
        }
        3 => ParcelLayers::Here {
            image: it.bytes()?.to_vec(),
            unsent: it.bytes()?.to_vec(),
        },
        _ => return Err(ImageError::invalid("a client")),
    };
    Ok(ClientParcel::Live {
        session: first,
        connection: second,
        layers,
    })
}
