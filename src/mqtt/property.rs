//! Properties as values: read, checked and written, MQTT 5.0 section 2.2.2. They are listed in
//! `property_table.rs`.

use std::num::NonZeroU16;

use super::packet::Qos;
use super::packet_type::PacketType;
use super::primitives::Reader;
use super::property_table::property_table;
use super::property_value as kind;
use super::violation::Violation;

/// Where a property section stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Packet(PacketType),
    /// The will properties in a CONNECT's payload.
    Will,
}

impl Place {
    const fn bit(self) -> u16 {
        match self {
            // Type 0 is reserved, so its bit is free.
            Self::Will => 1,
            Self::Packet(packet_type) => 1 << packet_type as u16,
        }
    }
}

const fn bits(places: &[Place]) -> u16 {
    let mut bits = 0;
    let mut index = 0;
    while index < places.len() {
        bits |= places[index].bit();
        index += 1;
    }
    bits
}

/// The name of a place in a row as a value.
macro_rules! place {
    (Will) => {
        Place::Will
    };
    ($packet:ident) => {
        Place::Packet(PacketType::$packet)
    };
}

/// Where a property may be repeated, by the last column of its row.
macro_rules! repeats {
    (each $field:ident) => {
        u16::MAX
    };
    (first $field:ident) => {
        place!(Publish).bit()
    };
    ($($how:ident)+) => {
        0
    };
}

/// Whether a server passes a property on unchanged, by the last column of its row.
macro_rules! is_forwarded {
    (forwarded) => {
        true
    };
    (each $field:ident) => {
        true
    };
    ($how:ident $field:ident) => {
        false
    };
}

macro_rules! values {
    ($($(#[$doc:meta])* $name:ident($($value:ident: $type:ty),+) = $id:literal, $kind:ident,
       [$($place:ident)+] => $($how:ident)+;)*) => {
        /// A property with its value, checked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Property<'a> {
            $($(#[$doc])* $name($($type),+),)*
        }

        const IDS: usize = {
            let mut last = 0;
            $(if $id > last { last = $id; })*
            assert!(last < 64, "`Section::seen` has 64 bits");
            last + 1
        };

        /// Places where each may stand, as bits; 0 for an identifier that does not exist.
        const PLACES: [u16; IDS] = {
            let mut table = [0; IDS];
            $(
                assert!(table[$id] == 0, "two properties have the same identifier");
                table[$id] = bits(&[$(place!($place)),+]);
            )*
            table
        };

        static ALLOWED_PLACES: [u16; IDS] = PLACES;

        /// Places where each may be repeated, as bits.
        static MAY_REPEAT: [u16; IDS] = {
            let mut table = [0; IDS];
            $(table[$id] = repeats!($($how)+);)*
            table
        };

        impl<'a> Property<'a> {
            /// Reads one property; identifiers that do not exist are malformed (section 2.2.2.2).
            fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
                // Formally a variable byte integer, but every identifier takes one byte.
                Ok(match reader.byte()? {
                    $($id => {
                        let ($($value,)+) = kind::$kind::read(reader)?;
                        Self::$name($($value),+)
                    })*
                    _ => return Err(Violation::PropertyUnknown),
                })
            }

            /// Appends identifier and value.
            pub fn put(self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name($($value),+) => {
                        out.push($id);
                        kind::$kind::put(out, $($value),+);
                    })*
                }
            }

            /// Whether a server passes this property of a PUBLISH or will on unchanged.
            #[must_use]
            pub fn is_forwardable(&self) -> bool {
                match self {
                    $(Self::$name(..) => is_forwarded!($($how)+),)*
                }
            }
        }
    };
}

property_table! { values! }

/// All acknowledgements have the same properties, so they are read and written alike.
const _: () = {
    let acknowledgements = bits(&[
        place!(PubAck),
        place!(PubRec),
        place!(PubRel),
        place!(PubComp),
        place!(SubAck),
        place!(UnsubAck),
    ]);
    let mut id = 0;
    while id < IDS {
        let allowed = PLACES[id] & acknowledgements;
        assert!(allowed == 0 || allowed == acknowledgements);
        id += 1;
    }
};

/// The properties of one place, checked one after the other.
pub(crate) struct Section<'a> {
    reader: Reader<'a>,
    place: Place,
    /// One bit for each identifier met.
    seen: u64,
}

impl<'a> Section<'a> {
    /// Reads the property length and takes that many bytes from `reader`.
    #[inline]
    pub(crate) fn new(reader: &mut Reader<'a>, place: Place) -> Result<Self, Violation> {
        let length = reader.variable()?;
        let bytes = reader.take(length as usize)?;
        Ok(Self::of(bytes, place))
    }

    /// A section without its length.
    #[inline]
    pub(crate) fn of(bytes: &'a [u8], place: Place) -> Self {
        Self {
            reader: Reader::new(bytes),
            place,
            seen: 0,
        }
    }

    /// What has not been read yet; at first the whole section.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The next property, known, allowed in this place and not a forbidden repetition.
    pub(crate) fn next_property(&mut self) -> Result<Option<Property<'a>>, Violation> {
        let Some(&id) = self.reader.rest().first() else {
            return Ok(None);
        };
        let allowed = ALLOWED_PLACES.get(usize::from(id)).copied().unwrap_or(0);
        if allowed & self.place.bit() == 0 {
            // Section 2.2.2.2: "not valid for its packet type" is malformed, like an unknown one.
            return Err(Violation::PropertyMisplaced);
        }
        if self.seen & (1 << id) != 0 && MAY_REPEAT[usize::from(id)] & self.place.bit() == 0 {
            return Err(Violation::PropertyTwice);
        }
        self.seen |= 1 << id;
        Property::read(&mut self.reader).map(Some)
    }
}

/// Walks properties that were checked when they were decoded; ends at the first byte that is not
/// a property.
#[derive(Clone, Debug)]
pub struct Properties<'a> {
    reader: Reader<'a>,
}

impl<'a> Properties<'a> {
    /// `raw`: a property section without its length.
    #[must_use]
    pub fn new(raw: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(raw),
        }
    }

    /// The next property together with its encoded bytes.
    pub(crate) fn next_encoded(&mut self) -> Option<(Property<'a>, &'a [u8])> {
        let before = self.reader.rest();
        let property = Property::read(&mut self.reader).ok()?;
        let length = before.len() - self.reader.rest().len();
        Some((property, &before[..length]))
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        self.next_encoded().map(|(property, _)| property)
    }
}
