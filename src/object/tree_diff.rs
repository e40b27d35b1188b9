//! Trees that differ from another version of the tree in nothing but object ids.
//!
//! Most trees that a pack holds as a delta differ from their base that way: some files have changed, and no
//! name came or went. A verdict on the names and modes of the base then holds for the tree, too, and only
//! the entries with other ids need a look.

use std::{cell::OnceCell, rc::Rc};

use super::tree_entries::{Entries, common_prefix};

/// The entry boundaries of a tree, kept while deltas of the tree are visited.
#[derive(Default, Clone)]
pub(crate) struct TreeFingerprint {
    /// `None` if no tree can be compared with this one. Computed on first use: most trees are the base of
    /// no other.
    marks: OnceCell<Option<Rc<Marks>>>,
}

/// Offsets at which entries begin, about one in [`DISTANCE`] bytes: always the first entry, and the end.
struct Marks(Vec<u32>);

/// Bytes between two marks, unless one entry is longer.
const DISTANCE: usize = 512;

/// Limit of changed entries: `MIN_CHANGED`, and one more for each `SIZE_PER_CHANGED` bytes of the tree. The
/// list of them takes memory that no budget counts.
const MIN_CHANGED: usize = 64;
const SIZE_PER_CHANGED: usize = 256;

/// The difference between a tree and its base, if only ids differ.
pub(crate) struct ChangedIds<'t> {
    /// Each changed entry: its bytes in the tree, and its bytes in the base.
    pub(crate) entries: Vec<(&'t [u8], &'t [u8])>,
    /// The fingerprint of the tree.
    pub(crate) fingerprint: TreeFingerprint,
}

impl TreeFingerprint {
    /// The fingerprint of an object that no tree can be compared with.
    pub(crate) fn unknown() -> Self {
        TreeFingerprint {
            marks: OnceCell::from(None),
        }
    }

    /// Whether no tree can be compared with this one.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.marks.get(), Some(None))
    }

    /// The entries of `tree` that differ from `base`, which this is the fingerprint of, if only ids differ.
    ///
    /// `is_sound` is called at most once for a base and its descendants: whether the checks of the base found
    /// nothing wrong with its names and modes.
    pub(crate) fn changed<'t>(
        &self,
        tree: &'t [u8],
        base: &'t [u8],
        format: gix::hash::Kind,
        is_sound: impl FnOnce() -> bool,
    ) -> Option<ChangedIds<'t>> {
        if tree.len() != base.len() {
            return None;
        }
        let find = || Marks::of(base, format).filter(|_| is_sound()).map(Rc::new);
        let marks = self.marks.get_or_init(find).as_ref()?;
        Some(ChangedIds {
            entries: marks.entries_with_other_ids(tree, base, format)?,
            fingerprint: self.clone(),
        })
    }
}

impl Marks {
    /// `None` if the tree ends within an entry.
    fn of(tree: &[u8], format: gix::hash::Kind) -> Option<Self> {
        let mut marks = vec![0];
        let mut entries = Entries { rest: tree, format };
        let (mut at, mut last) = (0, 0);
        while !entries.rest.is_empty() {
            at += entries.next_raw()?.len();
            if at - last >= DISTANCE || entries.rest.is_empty() {
                marks.push(u32::try_from(at).ok()?);
                last = at;
            }
        }
        Some(Marks(marks))
    }

    /// The changed entries of two trees of the same length. `None` if anything but ids differs, or more
    /// entries than the limit.
    fn entries_with_other_ids<'t>(
        &self,
        tree: &'t [u8],
        base: &'t [u8],
        format: gix::hash::Kind,
    ) -> Option<Vec<(&'t [u8], &'t [u8])>> {
        let most = MIN_CHANGED + tree.len() / SIZE_PER_CHANGED;
        let mut found = Vec::new();
        // Invariant: the trees were compared up to `known`, where an entry ends.
        let mut known = 0;
        loop {
            let at = known + common_prefix(&tree[known..], &base[known..]);
            if at == tree.len() {
                return Some(found);
            }
            if found.len() == most {
                return None;
            }
            let before = self.0.partition_point(|mark| *mark as usize <= at) - 1;
            let mut start = known.max(self.0[before] as usize);
            let mut entries = Entries {
                rest: &base[start..],
                format,
            };
            let mut length = entries.next_raw()?.len();
            while start + length <= at {
                start += length;
                length = entries.next_raw()?.len();
            }
            let end = start + length;
            let (new, old) = (&tree[start..end], &base[start..end]);
            let head = length - format.len_in_bytes();
            if !are_alike(&new[..head], &old[..head]) {
                return None;
            }
            found.push((new, old));
            known = end;
        }
    }
}

/// Whether the mode and name of two entries get the same verdict. The executable bit of a file changes
/// none.
fn are_alike(new: &[u8], old: &[u8]) -> bool {
    new == old || name_of_file(new).is_some_and(|name| name_of_file(old) == Some(name))
}

fn name_of_file(entry: &[u8]) -> Option<&[u8]> {
    let name = entry.strip_prefix(b"100644 ");
    name.or_else(|| entry.strip_prefix(b"100755 "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA1: gix::hash::Kind = gix::hash::Kind::Sha1;

    /// Entries by their names' lengths and ids.
    fn tree(entries: &[(usize, u8)]) -> Vec<u8> {
        let entry = |(name, id): &(usize, u8)| {
            let name = vec![b'a' + *name as u8 % 26; *name];
            [&b"100644 "[..], &name, &[0], &[*id; 20]].concat()
        };
        entries.iter().flat_map(entry).collect()
    }

    fn changed(tree: &[u8], base: &[u8]) -> Option<Vec<[Vec<u8>; 2]>> {
        let changed = TreeFingerprint::default().changed(tree, base, SHA1, || true)?;
        let entries = changed.entries.into_iter();
        Some(
            entries
                .map(|(new, old)| [new, old].map(<[u8]>::to_vec))
                .collect(),
        )
    }

    #[test]
    fn other_ids_are_found_and_nothing_else_is_taken_for_them() {
        let entries = || prop::collection::vec((1..40_usize, 0..3_u8), 0..60);
        proptest!(|(old in entries(), ids in prop::collection::vec(0..3_u8, 100), broken: prop::sample::Index)| {
            let ids = |(at, (name, id)): (usize, &(usize, u8))| (*name, if ids[at] == 0 { 2 - id } else { *id });
            let new: Vec<_> = old.iter().enumerate().map(ids).collect();
            let (base, content) = (tree(&old), tree(&new));
            let differ = old.iter().zip(&new).filter(|(old, new)| old != new);
            let expected: Vec<_> = differ.map(|(old, new)| [new, old].map(|entry| tree(&[*entry]))).collect();
            prop_assert_eq!(changed(&content, &base), Some(expected));

            // Another byte of a mode or a name makes it another tree.
            if !content.is_empty() {
                let mut other = content.clone();
                let at = broken.index(other.len());
                other[at] ^= 0x80;
                let mut end = 0;
                let is_in_id = new.iter().any(|entry| {
                    end += tree(&[*entry]).len();
                    (end - 20..end).contains(&at)
                });
                prop_assert_eq!(changed(&other, &base).is_some(), is_in_id);
            }
        });
    }

    #[test]
    fn an_executable_file_is_one_all_the_same() {
        let entry = |mode: &str| [mode.as_bytes(), b" a\0", &[1; 20]].concat();
        for (new, old, is_version) in [
            ("100755", "100644", true),
            ("100644", "100755", true),
            ("120000", "100644", false),
            ("100644", "120000", false),
            ("160000", "100755", false),
            ("100664", "100644", false),
        ] {
            let found = changed(&entry(new), &entry(old));
            assert_eq!(found.is_some(), is_version, "{new} {old}");
        }
    }

    #[test]
    fn trees_of_other_lengths_or_that_are_cut_off_are_no_versions() {
        let base = tree(&[(1, 1), (2, 2)]);
        assert_eq!(changed(&tree(&[(1, 1)]), &base), None);
        assert_eq!(changed(&base[1..], &base[..base.len() - 1]), None);
        assert_eq!(changed(b"", b""), Some(Vec::new()));
    }

    #[test]
    fn there_is_an_end_to_what_may_have_changed() {
        for (count, changes, is_version) in [
            (64, 64, true),
            (80, 80, false),
            (5000, 600, true),
            (5000, 1000, false),
        ] {
            let old: Vec<_> = (0..count).map(|_| (3, 1)).collect();
            let new: Vec<_> = (0..count)
                .map(|at| (3, 1 + u8::from(at < changes)))
                .collect();
            let found = changed(&tree(&new), &tree(&old));
            assert_eq!(found.is_some(), is_version, "{changes} of {count}");
        }
    }

    #[test]
    fn a_version_tells_what_the_first_one_did() {
        let trees: Vec<_> = (0..3)
            .map(|id| tree(&[(1, id), (600, id), (3, 1)]))
            .collect();
        let asked = std::cell::Cell::new(0);
        let is_sound = || {
            asked.set(asked.get() + 1);
            true
        };
        let first = TreeFingerprint::default();
        let second = first
            .changed(&trees[1], &trees[0], SHA1, is_sound)
            .expect("a version");
        let third = second
            .fingerprint
            .changed(&trees[2], &trees[1], SHA1, is_sound);
        assert_eq!(third.expect("a version").entries.len(), 2);
        assert_eq!(asked.get(), 1);

        let unsound = TreeFingerprint::default();
        for _ in 0..2 {
            assert!(
                unsound
                    .changed(&trees[1], &trees[0], SHA1, || false)
                    .is_none()
            );
        }
        let unknown = TreeFingerprint::unknown();
        assert!(
            unknown
                .changed(&trees[1], &trees[0], SHA1, || true)
                .is_none()
        );
    }
}
