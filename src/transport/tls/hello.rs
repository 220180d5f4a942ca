//! Contents of a refused client's hello, which is not encrypted: ALPN protocols and cipher suites, which
//! the library's errors leave out.

/// Protocols named in one line, and bytes of one name.
const NAMES_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 40;
/// Type and version of a record and its length; type and length of the message in it; version and random bytes.
const RECORD_BYTES: usize = 5;
const MESSAGE_BYTES: usize = 4;
const FIXED_BYTES: usize = 2 + 32;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The extension with names of protocols (RFC 7301).
const ALPN: [u8; 2] = [0, 16];

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// As they are displayed: few, short and printable.
    pub(super) protocols: Vec<String>,
    /// None of the cipher suites is taken. The library may find another thing missing first.
    pub(super) no_suite: bool,
}

/// Reads a hello at the start of its first record; of one that is cut or in several records, as far as it
/// goes.
pub(super) fn read(bytes: &[u8], is_taken: impl Fn(u16) -> bool) -> Asked {
    let mut asked = Asked::default();
    let _ = read_into(&mut asked, bytes, is_taken);
    asked
}

fn read_into(asked: &mut Asked, bytes: &[u8], is_taken: impl Fn(u16) -> bool) -> Option<()> {
    let mut rest = bytes;
    let record = take(&mut rest, RECORD_BYTES)?;
    let message = take(&mut rest, MESSAGE_BYTES)?;
    if record[0] != HANDSHAKE || message[0] != CLIENT_HELLO {
        return None;
    }
    take(&mut rest, FIXED_BYTES)?;
    vector(&mut rest, 1)?; // the session
    let suites = vector(&mut rest, 2)?;
    let mut suites = suites.chunks_exact(2);
    asked.no_suite = !suites.any(|suite| is_taken(u16::from_be_bytes([suite[0], suite[1]])));
    vector(&mut rest, 1)?; // compressions
    let mut extensions = vector(&mut rest, 2)?;
    while let Some(kind) = take(&mut extensions, 2) {
        let mut content = vector(&mut extensions, 2)?;
        if kind == ALPN {
            let mut names = vector(&mut content, 2)?;
            while let Some(name) =
                vector(&mut names, 1).filter(|_| asked.protocols.len() < NAMES_MAX)
            {
                let shown = &name[..name.len().min(NAME_BYTES_MAX)];
                asked
                    .protocols
                    .push(format!("\"{}\"", shown.escape_ascii()));
            }
        }
    }
    Some(())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, more) = rest.split_at_checked(count)?;
    *rest = more;
    Some(front)
}

/// Bytes behind a length of so many bytes.
fn vector<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = take(rest, length_bytes)?;
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(rest, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_as_far_as_they_go(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let hello = [&[22, 3, 1, 0, 200, 1, 0, 0, 196][..], &bytes].concat();
            for bytes in [&bytes, &hello] {
                prop_assert!(read(bytes, |_| true).protocols.len() <= NAMES_MAX);
            }
        }
    }
}
