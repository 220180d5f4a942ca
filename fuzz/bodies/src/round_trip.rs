//! Packets that obey the protocol: encoded and decoded they are the same, and as long as predicted.

use ringmq::mqtt::frame::needed;

use crate::choices::Choices;
use crate::features::note;
use crate::packets::{decode_one, encode, parts, SENDERS};
use crate::values::Material;

/// Packets made of one input.
const PACKETS_MAX: usize = 4;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    for _ in 0..PACKETS_MAX {
        if choices.is_empty() {
            return;
        }
        let (version, sender) = (choices.version(), choices.one_of(&SENDERS));
        let Some(material) = Material::new(&mut choices, version, sender) else {
            continue;
        };
        let packet = material.packet(&mut choices);
        let mut bytes = Vec::with_capacity(64);
        encode(&mut bytes, version, &packet);
        assert_eq!(needed(&bytes), Some(bytes.len()), "length as predicted");
        let decoded = decode_one(version, sender, &bytes);
        assert_eq!(parts(&decoded), parts(&packet));
        let mut again = Vec::with_capacity(bytes.len());
        encode(&mut again, version, &decoded);
        assert_eq!(again, bytes, "the encoding is not its own");
        note((version, sender as u8, bytes[0], bytes.len().ilog2().min(8)));
    }
}
