//! The manifest of a data directory: what it is, and what its records depend on. As text, without files.

use crate::journal::DataId;
use crate::shard::PlacementSeed;

const TITLE: &str = "ringmq data directory";
/// Of the manifest and of where the other files are; segments have a number of their own.
const FORMAT: u32 = 1;

/// See the module. Written when the directory is made, and anew when the number of shards changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) id: DataId,
    pub(super) placement_seed: PlacementSeed,
    /// Lanes that names hash to.
    pub(super) lanes: u16,
    /// Shards, and so logs.
    pub(super) shards: u16,
}

/// Why a text is no manifest that this version reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Format(String),
    Damaged,
}

impl Manifest {
    pub(super) fn encode(&self) -> String {
        let Self {
            id,
            placement_seed,
            lanes,
            shards,
        } = self;
        let (id, seed) = (hex(&id.0), hex(&placement_seed.0));
        let text = format!(
            "{TITLE}\nformat {FORMAT}\nid {id}\nplacement-seed {seed}\nlanes {lanes}\nshards {shards}\n"
        );
        let check = crc32c::crc32c(text.as_bytes());
        format!("{text}check {check:08x}\n")
    }

    pub(super) fn decode(text: &str) -> Result<Self, Unreadable> {
        Self::read(text).unwrap_or(Err(Unreadable::Damaged))
    }

    /// `None`: damaged.
    fn read(text: &str) -> Option<Result<Self, Unreadable>> {
        let rest = text.strip_prefix(TITLE)?.strip_prefix("\nformat ")?;
        let (format, rest) = rest.split_once('\n')?;
        if format != FORMAT.to_string() {
            return Some(Err(Unreadable::Format(format.into())));
        }
        let mut lines = rest.lines();
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let manifest = Self {
            id: DataId(bytes(value("id")?)?),
            placement_seed: PlacementSeed(bytes(value("placement-seed")?)?),
            lanes: value("lanes")?.parse().ok()?,
            shards: value("shards")?.parse().ok()?,
        };
        // What is written in one way only is checked by writing it again.
        (manifest.encode() == text).then_some(Ok(manifest))
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(hex, 16).ok()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest = Manifest {
        id: DataId([0xa0; 16]),
        placement_seed: PlacementSeed([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        lanes: 1_024,
        shards: 4,
    };

    /// The text of version 1 may never change.
    #[test]
    fn is_text_that_stays() {
        let text = "ringmq data directory\nformat 1\nid a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0\n\
                    placement-seed 000102030405060708090a0b0c0d0e0f\nlanes 1024\nshards 4\n\
                    check d0c505cf\n";
        assert_eq!(MANIFEST.encode(), text);
        assert_eq!(Manifest::decode(text), Ok(MANIFEST));
    }

    #[test]
    fn any_other_byte_is_damage_or_another_format() {
        let text = MANIFEST.encode();
        let format_at = text.find("format 1").unwrap() + "format ".len();
        for at in 0..text.len() {
            for byte in [b'0', b' ', b'\n', b'z'] {
                let mut other = text.clone().into_bytes();
                if std::mem::replace(&mut other[at], byte) == byte {
                    continue;
                }
                let found = Manifest::decode(std::str::from_utf8(&other).unwrap());
                let expected = match byte {
                    b'\n' if at == format_at => Unreadable::Format(String::new()),
                    _ if at == format_at => Unreadable::Format(char::from(byte).into()),
                    _ => Unreadable::Damaged,
                };
                // A byte more belongs to the number of the format.
                let is_longer = at == format_at + 1;
                assert!(
                    found == Err(expected) || is_longer && found.is_err(),
                    "byte {at}"
                );
            }
        }
        for length in 0..text.len() {
            assert!(Manifest::decode(&text[..length]).is_err(), "{length} bytes");
        }
        let longer = format!("{text}x");
        assert_eq!(Manifest::decode(&longer), Err(Unreadable::Damaged));
    }
}
