//! [`MemoryPlan`]: the shares of [`Limits::memory`], from which each part of a run takes its limit.

use crate::Limits;

/// The shares of [`Limits::memory`], in bytes. The shares that are used at the same time add up to at most the whole.
///
/// | phase | 32nds | for | held by |
/// |---|---|---|---|
/// | receiving | 20 | the table of the pack's entries, and data derived from it | `index_pack/{table,references,tree_pairs}` |
/// | | 1 | inflated entries, which may also use the rest of the table's share | `index_pack/inflated_cache` |
/// | | 7 | contents while deltas are applied; or the delta chain of a base that completes a thin pack | `pack/delta_tree`, `local/quarantine` |
/// | | 2 | references to objects outside the pack, until it is published | `index_pack/references`, `connectivity/outside` |
/// | | 1 | delta bases for reading the bases of a thin pack | `local/quarantine` |
/// | | 1 | delta bases for reading the store, as in every phase of a pull | `local/objects` |
/// | connectivity | 14 | states of the store's objects, and its largest pack if that is read as a whole | `connectivity/{object_states,walk}`, `stored_packs/self_contained` |
/// | | 6 | one object of the store, with its delta chain | `local/objects` |
/// | | 4 | the path of trees from a root, and the trees that were read last | `connectivity/{trees,tree_cache}` |
/// | | 4 | the path of commits and tags from a tip | `connectivity/walk` |
/// | | 2+1 | as above: references to objects outside the pack, delta bases | |
/// | | 1 | kinds and states of received objects: 5 bytes each, less than a 20th of an entry | `connectivity/object_states` |
/// | sending | 4 | delta bases for reading the store | `local/objects` |
/// | · selecting | 24 | delta bases for walking trees, in all threads together | `pack_objects/tree_walk` |
/// | | 4 | trees that were read last, in all threads together, until the search for deltas is over | `pack_objects/tree_cache` |
/// | · or a full clone | 24+4 | the edges of all trees of a pack, and contents while they are read | `stored_packs/tree_graph` |
/// | · deltas | 14 | windows of the search for deltas, in all threads together | `pack/delta_search` |
/// | | 6 | deltas that were found, until they are sent | `pack/delta_search` |
/// | | 4 | delta bases for reading the windows' objects, in all threads together | `pack_objects/pack_plan` |
///
/// Listing has no share: [`Limits::refs`] and [`Limits::ref_names`] bound it. Comparing histories takes up to 260 bytes
/// for each visited commit and has no limit of its own: a received pack has no more commits than entries. A single
/// object that exceeds its share and cannot be streamed comes on top, and so do a store's own indices, bitmaps and
/// commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// The largest received tree, commit or tag, which is held in memory as a whole.
    pub(crate) parsed_object: usize,
    pub(crate) entries: usize,
    pub(crate) inflated_entries: usize,
    /// The most memory for inflated entries, even if the table leaves more.
    pub(crate) most_inflated: usize,
    pub(crate) contents: usize,
    pub(crate) outside: usize,
    /// The memory for trees, commits and tags of a store with objects that a remote has sent, now or in an earlier run.
    pub(crate) received_store: ReadMemory,
    /// The memory for the bases of a thin pack, which may be blobs.
    pub(crate) thin_bases: ReadMemory,
    pub(crate) connectivity: ConnectivityMemory,
    /// The memory for a store whose objects come from trusted users.
    pub(crate) own_store: ReadMemory,
    pub(crate) tree_walks: usize,
    pub(crate) recent_trees: usize,
    pub(crate) graph_edges: usize,
    pub(crate) graph_contents: usize,
    pub(crate) delta_windows: usize,
    pub(crate) found_deltas: usize,
    pub(crate) delta_readers: usize,
}

/// The memory for reading the objects of a store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadMemory {
    /// The memory for delta bases of packed objects.
    pub(crate) delta_bases: usize,
    /// The memory for one object with its delta chain, which gix holds in memory as a whole. An object that needs more
    /// cannot be read. `None` for no limit.
    pub(crate) one_object: Option<usize>,
}

/// The memory of a walk that checks connectivity, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectivityMemory {
    pub(crate) store: usize,
    pub(crate) trees: usize,
    pub(crate) path: usize,
}

impl MemoryPlan {
    pub(crate) fn of(limits: &Limits) -> Self {
        let share = |parts| share(limits.memory, parts);
        let contents = share(7);
        let largest_base = bytes(limits.object_size.max(limits.thin_bases));
        MemoryPlan {
            parsed_object: share(2),
            entries: share(20),
            inflated_entries: share(1),
            most_inflated: share(8),
            contents,
            outside: share(2),
            received_store: ReadMemory {
                delta_bases: share(1),
                one_object: Some(share(6)),
            },
            thin_bases: ReadMemory {
                delta_bases: share(1),
                one_object: Some(contents.saturating_add(largest_base)),
            },
            connectivity: ConnectivityMemory::within(limits.memory),
            own_store: ReadMemory {
                delta_bases: share(4),
                one_object: None,
            },
            tree_walks: share(24),
            recent_trees: share(4),
            graph_edges: share(24),
            graph_contents: share(4),
            delta_windows: share(14),
            found_deltas: share(6),
            delta_readers: share(4),
        }
    }
}

impl ConnectivityMemory {
    /// The shares of a walk, if `memory` is the limit of the run.
    pub(crate) fn within(memory: u64) -> Self {
        ConnectivityMemory {
            store: share(memory, 14),
            trees: share(memory, 4),
            path: share(memory, 4),
        }
    }
}

/// `parts` 32nds of the memory, rounded down.
fn share(memory: u64, parts: u64) -> usize {
    bytes(memory / 32 * parts + memory % 32 * parts / 32)
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shares that are held at the same time, by phase.
    fn phases(plan: MemoryPlan, limits: &Limits) -> Vec<(&'static str, Vec<usize>)> {
        // Whoever adds a share has to say here when it is held.
        let MemoryPlan {
            parsed_object,
            entries,
            inflated_entries,
            most_inflated,
            contents,
            outside,
            received_store,
            thin_bases,
            connectivity: ConnectivityMemory { store, trees, path },
            own_store,
            tree_walks,
            recent_trees,
            graph_edges,
            graph_contents,
            delta_windows,
            found_deltas,
            delta_readers,
        } = plan;
        let largest_base = bytes(limits.object_size.max(limits.thin_bases));
        let deltas_of_base = thin_bases.one_object.expect("a limit") - largest_base;
        let one_object = received_store.one_object.expect("a limit");
        // It is made from a base and a delta of its size.
        assert!(3 * parsed_object <= one_object);
        assert!(most_inflated <= entries + inflated_entries);
        let (received, own) = (received_store.delta_bases, own_store.delta_bases);
        let received_objects = entries / 20;
        vec![
            (
                "receiving",
                vec![
                    entries,
                    inflated_entries,
                    contents,
                    outside,
                    thin_bases.delta_bases,
                    received,
                ],
            ),
            (
                "completing a thin pack",
                vec![
                    entries,
                    inflated_entries,
                    deltas_of_base,
                    outside,
                    thin_bases.delta_bases,
                    received,
                ],
            ),
            (
                "connectivity",
                vec![
                    outside,
                    received,
                    received_objects,
                    one_object,
                    store,
                    trees,
                    path,
                ],
            ),
            ("publishing", vec![outside, received, one_object]),
            ("selecting", vec![own, tree_walks, recent_trees]),
            ("a full clone", vec![own, graph_edges, graph_contents]),
            (
                "deltas",
                vec![
                    own,
                    recent_trees,
                    delta_windows,
                    found_deltas,
                    delta_readers,
                ],
            ),
            ("sending", vec![own, found_deltas]),
        ]
    }

    #[test]
    fn what_is_held_at_once_is_no_more_than_there_is() {
        let defaults = Limits::default();
        for memory in [0, 1, 31, 33, 1600, 300_000, defaults.memory, 1 << 40] {
            let limits = Limits {
                memory,
                ..Limits::default()
            };
            for (phase, shares) in phases(MemoryPlan::of(&limits), &limits) {
                let sum: usize = shares.iter().sum();
                assert!(sum as u64 <= memory, "{phase}: {sum} of {memory}");
            }
        }
    }

    #[test]
    fn no_memory_is_too_large_for_a_plan() {
        let limits = Limits {
            memory: u64::MAX,
            ..Limits::default()
        };
        let plan = MemoryPlan::of(&limits);
        assert_eq!(plan.parsed_object as u64, u64::MAX / 16);
        assert!(plan.entries as u64 >= u64::MAX / 8 * 5);
    }
}
