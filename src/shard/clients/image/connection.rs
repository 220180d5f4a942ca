//! Image of a connection: what its client and its shard have agreed on, and what is on its way between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;

use bytes::Bytes;

use crate::ids::ListenerId;
use crate::image::{ImageError, Kind, Reader, Writer};
use crate::mqtt::Version;
use crate::shard::clients::origin::{Origin, RemoteEnd};
use crate::time::WallTime;

/// A connection whose CONNECT was accepted. Its session has an image of its own; its socket and the layers
/// below MQTT are the driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionImage {
    pub version: Version,
    /// The client is a bridge, by bit 7 of its protocol level.
    pub is_bridge: bool,
    /// It has published, and to a topic that is reserved.
    pub publishes: bool,
    pub named_reserved: bool,
    /// v5 Request Problem Information.
    pub problem_information: bool,
    /// The start of a packet has whole packets behind it: they wait for a turn.
    pub waits_for_turn: bool,
    /// Largest packet the client takes.
    pub packet_size_max: u32,
    /// Answers that end a publication, among the bytes unsent.
    pub acks_unsent: u16,
    pub origin: Origin,
    pub silence: Option<SilenceImage>,
    pub login: LoginImage,
    pub meters: Option<MetersImage>,
    /// Topics of aliases 1, 2, ... towards the client, of so many at most.
    pub aliases_out: Option<(u16, Vec<Box<str>>)>,
    /// Aliases the client has set, rising.
    pub aliases_in: Vec<(NonZeroU16, Box<str>)>,
    /// What was read and not handled.
    pub unhandled: Bytes,
    /// What was encoded and not sent.
    pub unsent: Bytes,
    /// Replies that wait at gates, in order.
    pub held: Vec<Bytes>,
}

/// How long the client may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilenceImage {
    /// One and a half keep alive periods, in ms.
    pub max_ms: u32,
    /// When it will have been silent so long, if it remains silent.
    pub over_at: WallTime,
    /// When that is checked next.
    pub checked_at: WallTime,
}

/// What is left of the client's authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginImage {
    /// Authentication Method.
    pub method: Option<Box<str>>,
    /// Expiry of the credentials.
    pub proof_expires_at: Option<WallTime>,
}

/// When what has passed would be over at the client's rates: messages and bytes from it, and to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetersImage(pub [WallTime; 4]);

impl ConnectionImage {
    /// Appends the serial form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let out = &mut Writer::begin(out, Kind::Connection);
        out.byte(match self.version {
            Version::V31 => 3,
            Version::V311 => 4,
            Version::V5 => 5,
        });
        for flag in [
            self.is_bridge,
            self.publishes,
            self.named_reserved,
            self.problem_information,
            self.waits_for_turn,
        ] {
            out.flag(flag);
        }
        out.number(self.packet_size_max);
        out.short(self.acks_unsent);
        put_origin(out, &self.origin);
        out.option(self.silence, |out, silence| {
            out.number(silence.max_ms);
            out.time(silence.over_at);
            out.time(silence.checked_at);
        });
        out.option(self.login.method.as_deref(), Writer::text);
        out.option(self.login.proof_expires_at, Writer::time);
        out.option(self.meters, |out, meters| {
            meters.0.into_iter().for_each(|time| out.time(time));
        });
        out.option(self.aliases_out.as_ref(), |out, (maximum, topics)| {
            out.short(*maximum);
            out.list(topics.iter(), |out, topic| out.text(topic));
        });
        out.list(self.aliases_in.iter(), |out, (alias, topic)| {
            out.short(alias.get());
            out.text(topic);
        });
        out.bytes(&self.unhandled);
        out.bytes(&self.unsent);
        out.list(self.held.iter(), |out, reply| out.bytes(reply));
    }

    /// The connection that these bytes are the image of.
    ///
    /// # Errors
    /// The bytes are cut, garbled, or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut it = Reader::begin(bytes, Kind::Connection)?;
        let image = Self {
            version: match it.byte()? {
                3 => Version::V31,
                4 => Version::V311,
                5 => Version::V5,
                _ => return Err(ImageError::invalid("a version")),
            },
            is_bridge: it.flag()?,
            publishes: it.flag()?,
            named_reserved: it.flag()?,
            problem_information: it.flag()?,
            waits_for_turn: it.flag()?,
            packet_size_max: it.number()?,
            acks_unsent: it.short()?,
            origin: take_origin(&mut it)?,
            silence: it.option(take_silence)?,
            login: LoginImage {
                method: it.option(|it| it.text("a method"))?.map(Box::from),
                proof_expires_at: it.option(Reader::time)?,
            },
            meters: it.option(|it| {
                Ok(MetersImage([
                    it.time()?,
                    it.time()?,
                    it.time()?,
                    it.time()?,
                ]))
            })?,
            aliases_out: it.option(take_aliases_out)?,
            aliases_in: take_aliases_in(&mut it)?,
            unhandled: take_bytes(&mut it)?,
            unsent: take_bytes(&mut it)?,
            held: it.list(1, take_bytes)?,
        };
        it.end()?;
        Ok(image)
    }
}

/// Copied: what waits for long must not keep the whole image.
fn take_bytes(it: &mut Reader<'_>) -> Result<Bytes, ImageError> {
    it.bytes().map(Bytes::copy_from_slice)
}

fn take_silence(it: &mut Reader<'_>) -> Result<SilenceImage, ImageError> {
    match it.number()? {
        0 => Err(ImageError::invalid("a keep alive")),
        max_ms => Ok(SilenceImage {
            max_ms,
            over_at: it.time()?,
            checked_at: it.time()?,
        }),
    }
}

fn take_topic(it: &mut Reader<'_>) -> Result<Box<str>, ImageError> {
    const WHAT: &str = "the topic of an alias";
    let topic = it.text(WHAT)?;
    let is_valid = crate::mqtt::topic::is_valid_name(topic);
    is_valid
        .then(|| topic.into())
        .ok_or(ImageError::invalid(WHAT))
}

fn take_aliases_out(it: &mut Reader<'_>) -> Result<(u16, Vec<Box<str>>), ImageError> {
    let maximum = it.short()?;
    let topics = it.list(2, take_topic)?;
    let is_valid = maximum > 0 && topics.len() <= usize::from(maximum);
    let invalid = ImageError::invalid("the number of aliases");
    is_valid.then_some((maximum, topics)).ok_or(invalid)
}

fn take_aliases_in(it: &mut Reader<'_>) -> Result<Vec<(NonZeroU16, Box<str>)>, ImageError> {
    let invalid = ImageError::invalid("an alias");
    let aliases = it.list(4, |it| {
        let alias = NonZeroU16::new(it.short()?).ok_or(invalid)?;
        Ok((alias, take_topic(it)?))
    })?;
    let is_rising = aliases.windows(2).all(|pair| pair[0].0 < pair[1].0);
    is_rising.then_some(aliases).ok_or(invalid)
}

impl Origin {
    /// Appends the serial form.
    pub fn put(&self, out: &mut Writer<'_>) {
        put_origin(out, self);
    }

    /// # Errors
    /// The bytes are cut or garbled.
    pub fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        take_origin(it)
    }
}

fn put_origin(out: &mut Writer<'_>, origin: &Origin) {
    match origin.peer {
        RemoteEnd::Unix => out.byte(0),
        RemoteEnd::Ip(SocketAddr::V4(address)) => {
            out.byte(4);
            out.number(address.ip().to_bits());
            out.short(address.port());
        }
        RemoteEnd::Ip(SocketAddr::V6(address)) => {
            out.byte(6);
            address.ip().octets().into_iter().for_each(|b| out.byte(b));
            out.short(address.port());
            out.number(address.flowinfo());
            out.number(address.scope_id());
        }
    }
    out.short(origin.listener.0);
    let identity = origin.identity.as_deref().map(String::as_str);
    out.option(identity, Writer::text);
}

fn take_origin(it: &mut Reader<'_>) -> Result<Origin, ImageError> {
    let peer = match it.byte()? {
        0 => RemoteEnd::Unix,
        4 => {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(it.number()?));
            RemoteEnd::Ip(SocketAddr::new(ip, it.short()?))
        }
        6 => {
            let mut octets = [0; 16];
            for octet in &mut octets {
                *octet = it.byte()?;
            }
            let ip = Ipv6Addr::from(octets);
            let address = SocketAddrV6::new(ip, it.short()?, it.number()?, it.number()?);
            RemoteEnd::Ip(SocketAddr::V6(address))
        }
        _ => return Err(ImageError::invalid("an address")),
    };
    Ok(Origin {
        peer,
        listener: ListenerId(it.short()?),
        identity: it
            .option(|it| it.text("a name"))?
            .map(|name| Box::new(name.into())),
        keeps_will: false,
        hops: 0,
    })
}
