//! Inputs that are steps: a byte that says what to do, a length in two bytes (little-endian), and as
//! many bytes.

/// Bytes of one step.
pub const STEP_BYTES_MAX: usize = 512;

/// The steps of an input; a last one that is cut off has what there is.
pub fn steps(input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (&[kind, low, high], after) = rest.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_le_bytes([low, high])).min(STEP_BYTES_MAX);
        let (bytes, after) = after.split_at(length.min(after.len()));
        rest = after;
        Some((kind, bytes))
    })
}
