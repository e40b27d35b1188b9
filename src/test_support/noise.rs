//! Incompressible content.

/// Bytes without any pattern, the same for each seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) as u32
    };
    let words = std::iter::repeat_with(next).take(length.div_ceil(4));
    let mut bytes: Vec<_> = words.flat_map(u32::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}
