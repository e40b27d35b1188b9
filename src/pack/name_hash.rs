//! The hash of a path that groups the versions of a file (git's `pack_name_hash()`).

/// The hash of a path, which sorts paths by their ends: a file that moved stays close to its old path.
///
/// Each character weighs four times as much as the one before it, so that the last sixteen count. White space
/// does not.
pub(crate) fn name_hash(path: &[u8]) -> u32 {
    path.iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .fold(0, |hash: u32, byte| {
            (hash >> 2).wrapping_add(u32::from(*byte) << 24)
        })
}
