//! Sizes that trade memory for time, and that tests set to smaller ones.

/// Sizes on which the cost of a run depends, and nothing that it finds out, except that history beyond a limit is
/// unknown.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    /// The size of a window, in bytes of the pack: the entries that are resolved together while more of the pack
    /// arrives. A window has fewer bytes if its objects are much larger than its entries. With smaller windows more
    /// bases are reconstructed twice; with larger ones more work is left when the pack has arrived.
    pub(crate) window: u64,
    /// Limit of all parents beyond two for each commit, in a comparison of histories. All of Linux has not a thousand
    /// of them, but a remote can name any number, over and over.
    pub(crate) extra_edges: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            window: 4 * 1024 * 1024,
            extra_edges: 16 * 1024 * 1024,
        }
    }
}
