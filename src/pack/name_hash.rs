//! The hash of a path that groups the versions of a file (git's `pack_name_hash()`).

/// Sorts paths by how they end, so that a file that moved is close to where it was.
///
/// Each character weighs four times what the one before it does, so that sixteen count. White
/// space doesn't.
pub(crate) fn name_hash(path: &[u8]) -> u32 {
    path.iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .fold(0, |hash: u32, byte| {
            (hash >> 2).wrapping_add(u32::from(*byte) << 24)
        })
}
