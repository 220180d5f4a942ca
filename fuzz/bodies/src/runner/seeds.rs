//! Where inputs start from: the conversations of the wire table (`tests/wire`).

use std::path::Path;

use ringmq::mqtt::Version;

#[allow(dead_code)] // what is received and compared is for the tests
#[path = "../../../../tests/wire/bytes.rs"]
mod bytes;
#[allow(dead_code)] // where a row stands is for the tests
#[path = "../../../../tests/wire/row.rs"]
mod row;

/// What the reader of rows expects beside it.
mod run {
    use ringmq::mqtt::Version;

    pub(super) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
}

/// What the clients of one row send.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    /// Number of the client, and the bytes of one step.
    pub(crate) sends: Vec<(u8, Vec<u8>)>,
}

/// A step longer than this is left out: it would only slow everything down.
const STEP_BYTES_MAX: usize = 400;

/// The rows of all tables, each for every version it is for.
pub(crate) fn from_wire_table() -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/wire is there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    paths.sort();
    let mut conversations = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a table can be read");
        for row in row::parse_table(&path.to_string_lossy(), &text) {
            for &version in &row.versions {
                conversations.extend(conversation(&row.steps, version));
            }
        }
    }
    assert!(conversations.len() > 500, "the wire table has been read");
    conversations
}

fn conversation(steps: &[String], version: Version) -> Option<Conversation> {
    let mut sends = Vec::new();
    for step in steps {
        let client = step.bytes().next()?.wrapping_sub(b'A') & 3;
        let rest = step.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if let Some(options) = rest.strip_prefix('+') {
            sends.push((client, connect(client, version, options)));
        } else if let Some(text) = rest.strip_prefix('>') {
            let Ok(elements) = bytes::parse(text, version) else {
                continue;
            };
            let bytes: Vec<u8> = elements.iter().map(byte).collect();
            if bytes.len() <= STEP_BYTES_MAX {
                sends.push((client, bytes));
            }
        }
    }
    (!sends.is_empty()).then_some(Conversation { sends })
}

/// Numbers that a row takes from what it received begin with 1 in most rows.
fn byte(element: &bytes::Element) -> u8 {
    match element {
        bytes::Element::Byte(byte) => *byte,
        bytes::Element::Any => 0,
        bytes::Element::Variable { half, .. } => u8::from(*half == 1),
    }
}

/// CONNECT of a client with its letter for an id.
fn connect(client: u8, version: Version, options: &str) -> Vec<u8> {
    let is_kept = options.contains("keep") || options.contains("resume");
    let mut body = bytes::protocol_name(version).to_vec();
    body.extend([if is_kept { 0 } else { 2 }, 0, 0]);
    if version.is_v5() {
        body.extend(if is_kept {
            &[5, 0x11, 0, 0, 0, 100][..]
        } else {
            &[0]
        });
    }
    body.extend([0, 1, b'a' + client]);
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend(body);
    packet
}
