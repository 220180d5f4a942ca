//! Masking of payloads, RFC 6455 section 5.3.

/// The key of a frame, turned so that its first byte is for the next byte of payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask(pub(super) [u8; 4]);

impl Mask {
    /// Masks or unmasks the next bytes of a payload in place: it is the same.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let Self([a, b, c, d]) = *self;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let mut words = bytes.chunks_exact_mut(size_of::<u64>());
        for word in &mut words {
            let mut masked = [0; size_of::<u64>()];
            masked.copy_from_slice(word);
            word.copy_from_slice(&(u64::from_ne_bytes(masked) ^ wide).to_ne_bytes());
        }
        for (byte, key) in words.into_remainder().iter_mut().zip([a, b, c, d, a, b, c]) {
            *byte ^= key;
        }
        self.0.rotate_left(bytes.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_is_the_same_as_byte_by_byte() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain
            .iter()
            .zip(key.iter().cycle())
            .map(|(b, k)| b ^ k)
            .collect();
        for cut in 0..plain.len() {
            let mut bytes = plain.clone();
            let mut mask = Mask(key);
            let (first, second) = bytes.split_at_mut(cut);
            mask.apply(first);
            mask.apply(second);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }
}
