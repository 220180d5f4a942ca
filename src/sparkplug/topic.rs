//! Topics of the namespace: `spBv1.0/GROUP/TYPE/NODE`, with `/DEVICE` for types that begin with D, and
//! `spBv1.0/STATE/HOST`.

/// What each topic of the namespace begins with.
const NAMESPACE: &str = "spBv1.0/";
/// Below it are the births of all nodes and devices, each under its whole topic.
pub const CERTIFICATES: &str = "$sparkplug/certificates/";

/// The message types of edge nodes, of their devices, and for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Birth,
    Data,
    Death,
    Command,
}

/// A topic that Sparkplug gives a meaning. Names are not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Of an edge node, or of one of its devices.
    Edge {
        kind: Kind,
        group: &'a str,
        node: &'a str,
        device: Option<&'a str>,
    },
    /// The state of a host application.
    Host(&'a str),
}

/// Whether a topic is in the namespace: one comparison of eight bytes.
#[must_use]
#[inline]
pub fn concerns(topic: &str) -> bool {
    topic.as_bytes().starts_with(NAMESPACE.as_bytes())
}

impl<'a> Topic<'a> {
    /// `None`: it has no meaning, in the namespace or not.
    #[must_use]
    pub fn parse(topic: &'a str) -> Option<Self> {
        let mut levels = topic.strip_prefix(NAMESPACE)?.split('/');
        let mut name = || levels.next().filter(|level| !level.is_empty());
        let (first, second) = (name()?, name()?);
        let third = levels.next();
        let Some(node) = third else {
            return (first == "STATE").then_some(Self::Host(second));
        };
        let (kind, is_device) = kind_of(second)?;
        let device = levels.next();
        let is_named = |name: &str| !name.is_empty();
        let has_names = is_named(node) && device.is_none_or(is_named);
        let is_whole = has_names && device.is_some() == is_device && levels.next().is_none();
        is_whole.then_some(Self::Edge {
            kind,
            group: first,
            node,
            device,
        })
    }
}

/// Of the word for a type; true: it is one of devices.
fn kind_of(word: &str) -> Option<(Kind, bool)> {
    let is_device = match word.as_bytes().first()? {
        b'N' => false,
        b'D' => true,
        _ => return None,
    };
    let kind = match &word[1..] {
        "BIRTH" => Kind::Birth,
        "DATA" => Kind::Data,
        "DEATH" => Kind::Death,
        "CMD" => Kind::Command,
        _ => return None,
    };
    Some((kind, is_device))
}

/// Where the birth that came under this topic is kept.
#[must_use]
pub fn certificate_topic(topic: &str) -> String {
    [CERTIFICATES, topic].concat()
}

/// Whether a topic or filter is one of those below [`CERTIFICATES`].
#[must_use]
pub fn is_certificate(topic: &str) -> bool {
    topic.starts_with(CERTIFICATES)
}

/// The name of an edge node in its installation: no name has a separator in it.
#[must_use]
pub fn node_key(group: &str, node: &str) -> Box<str> {
    [group, "/", node].concat().into()
}
