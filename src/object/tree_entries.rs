//! The entries of a tree, compared with those of other versions of the tree.

use std::cmp::Ordering;

use bstr::ByteSlice;
use gix::objs::{
    Kind, TreeRefIter,
    tree::{EntryKind, EntryRef},
};

/// Number of parents whose trees are compared with the tree of a merge. A commit can name very many
/// parents, and comparing with a few of them spares almost all of the work.
pub(crate) const MAX_COMPARED: usize = 8;

/// The unread entries of a tree, each `<mode> <name>\0<id>`.
///
/// Two versions of a tree share most entries, and comparing bytes is several times as fast as parsing
/// them. All shared entries are found only if both trees are sorted as git requires; with other trees
/// the caller reads more than necessary, and nothing is lost.
pub(crate) struct Entries<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) format: gix::hash::Kind,
}

impl<'a> Entries<'a> {
    /// The bytes of the next entry. `None` at the end, or if the rest is cut off within an entry.
    pub(crate) fn next_raw(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.find_byte(0)? + 1 + self.format.len_in_bytes();
        self.rest.split_off(..length)
    }

    /// Moves past the next entry if its bytes are `raw`.
    pub(crate) fn skip(&mut self, raw: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(raw);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Moves up to the entry with the name of `sought`, and past it.
    pub(crate) fn advance_to(&mut self, sought: &EntryRef<'_>) -> Option<EntryRef<'a>> {
        loop {
            let before = self.rest;
            let next = decode(self.next_raw()?, self.format)?;
            match next.cmp(sought) {
                Ordering::Less => {}
                Ordering::Equal => return Some(next),
                Ordering::Greater => {
                    self.rest = before;
                    // A file that became a folder sorts elsewhere and has no counterpart.
                    return None;
                }
            }
        }
    }
}

/// Calls `take` for each entry of `tree` that isn't in `base`, another version of the tree, with the entry
/// of the same name in `base`. `None` if an entry can't be read.
pub(crate) fn each_new<'a, 'b>(
    tree: &'a [u8],
    base: &'b [u8],
    format: gix::hash::Kind,
    mut take: impl FnMut(EntryRef<'a>, Option<EntryRef<'b>>),
) -> Option<()> {
    let mut base = Entries { rest: base, format };
    let mut entries = Entries { rest: tree, format };
    // Invariant: the next `same` bytes of both rests are equal.
    let mut same = common_prefix(entries.rest, base.rest);
    while !entries.rest.is_empty() {
        let raw = entries.next_raw()?;
        if raw.len() <= same {
            same -= raw.len();
            base.rest = &base.rest[raw.len()..];
            continue;
        }
        let entry = decode(raw, format)?;
        let before = base.advance_to(&entry);
        if !before.is_some_and(|before| before.oid == entry.oid && before.mode == entry.mode) {
            take(entry, before);
        }
        same = common_prefix(entries.rest, base.rest);
    }
    Some(())
}

/// The bytes of an entry, and those of the entry in its place in another version of the tree.
type ChangedEntry<'a> = (&'a [u8], &'a [u8]);

/// Limit of changed ids: `MIN_CHANGED`, and one more for each `SIZE_PER_CHANGED` bytes of the tree. The list of them
/// takes memory that no budget counts.
const MIN_CHANGED: usize = 64;
const SIZE_PER_CHANGED: usize = 256;

/// The entries of a tree that differ from those of `base` in their ids. `None` if the trees differ in anything else,
/// or in more entries than the limit.
pub(crate) fn changed_ids<'a>(
    tree: &'a [u8],
    base: &'a [u8],
    format: gix::hash::Kind,
) -> Option<Vec<ChangedEntry<'a>>> {
    if tree.len() != base.len() {
        return None;
    }
    let limit = MIN_CHANGED + tree.len() / SIZE_PER_CHANGED;
    let mut changed = Vec::new();
    let mut at = 0;
    // Invariant: the trees are equal up to `same`, but for the changed entries before `at`.
    let mut same = common_prefix(tree, base);
    while same < tree.len() {
        let rest = &base[at..];
        let raw = Entries { rest, format }.next_raw()?;
        let end = at + raw.len();
        if end > same {
            let entry = &tree[at..end];
            let head = raw.len() - format.len_in_bytes();
            if entry[..head] != raw[..head] || changed.len() == limit {
                return None;
            }
            changed.push((entry, raw));
            same = end + common_prefix(&tree[end..], &base[end..]);
        }
        at = end;
    }
    Some(changed)
}

/// The kind of the object that an entry names. `None` for a submodule, whose commit is in another
/// repository.
pub(crate) fn kind_of(entry: &EntryRef<'_>) -> Option<Kind> {
    match entry.mode.kind() {
        EntryKind::Commit => None,
        EntryKind::Tree => Some(Kind::Tree),
        EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => Some(Kind::Blob),
    }
}

/// Parses one entry, if git reads it: git refuses a tree with an entry without mode or name
/// (`tree-walk.c:decode_tree_entry()`).
pub(crate) fn decode(raw: &[u8], format: gix::hash::Kind) -> Option<EntryRef<'_>> {
    let entry = TreeRefIter::from_bytes(raw, format).next()?.ok()?;
    (!raw.starts_with(b" ") && !entry.filename.is_empty()).then_some(entry)
}

/// Length of the longest common prefix.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 512;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let same = STEP * steps.take_while(|(a, b)| a == b).count();
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_in_another_version() {
        use proptest::prelude::*;
        let tree = |names: &[(u8, u8)]| -> Vec<u8> {
            let entry = |(name, id): &(u8, u8)| [&b"100644 "[..], &[*name, 0], &[*id; 20]].concat();
            names.iter().flat_map(entry).collect()
        };
        let names = || prop::collection::btree_map(b'a'..=b'z', 0..3_u8, 0..20);
        proptest!(|(old in names(), new in names())| {
            let [old, new]: [Vec<_>; 2] = [old, new].map(|names| names.into_iter().collect());
            let (base, content) = (tree(&old), tree(&new));
            let mut found = Vec::new();
            each_new(&content, &base, gix::hash::Kind::Sha1, |entry, before| {
                let [id, before] = [Some(entry), before].map(|entry| Some(entry?.oid.as_bytes()[0]));
                found.push((entry.filename[0], id, before));
            });
            let new = new.into_iter().filter(|entry| !old.contains(entry));
            let expected: Vec<_> = new
                .map(|(name, id)| {
                    let before = old.iter().find(|(other, _)| *other == name);
                    (name, Some(id), before.map(|(_, id)| *id))
                })
                .collect();
            prop_assert_eq!(found, expected);
        });
        assert_eq!(
            each_new(b"100644 a", b"", gix::hash::Kind::Sha1, |_, _| {}),
            None
        );
    }

    #[test]
    fn an_entry_that_git_cannot_read_is_unreadable() {
        let id = [7; 20];
        for (entry, readable) in [
            (&b"100644 a\0"[..], true),
            (b"40000 a b \0", true),
            (b"100644 \0", false),
            (b" a\0", false),
        ] {
            let raw = [entry, &id].concat();
            let decoded = decode(&raw, gix::hash::Kind::Sha1);
            assert_eq!(decoded.is_some(), readable, "{}", entry.as_bstr());
        }
    }

    const SHA1: gix::hash::Kind = gix::hash::Kind::Sha1;

    /// Entries by their names' lengths and ids.
    fn files(entries: &[(usize, u8)]) -> Vec<u8> {
        let entry = |(name, id): &(usize, u8)| {
            let name = vec![b'a' + *name as u8 % 26; *name];
            [&b"100644 "[..], &name, &[0], &[*id; 20]].concat()
        };
        entries.iter().flat_map(entry).collect()
    }

    #[test]
    fn changed_ids_are_found_and_nothing_else_is_taken_for_them() {
        use proptest::prelude::*;
        let entries = || prop::collection::vec((1..40_usize, 0..3_u8), 0..60);
        proptest!(|(old in entries(), ids in prop::collection::vec(0..3_u8, 100), broken: prop::sample::Index)| {
            let ids = |(at, (name, id)): (usize, &(usize, u8))| (*name, if ids[at] == 0 { 2 - id } else { *id });
            let new: Vec<_> = old.iter().enumerate().map(ids).collect();
            let (base, content) = (files(&old), files(&new));
            let differ = old.iter().zip(&new).filter(|(old, new)| old != new);
            let expected: Vec<_> = differ.map(|(old, new)| (files(&[*new]), files(&[*old]))).collect();
            let found = changed_ids(&content, &base, SHA1).expect("a version");
            let found = found.into_iter().map(|(new, old)| (new.to_vec(), old.to_vec()));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);

            // Another byte of a mode or a name makes it another tree.
            if !content.is_empty() {
                let mut other = content.clone();
                let at = broken.index(other.len());
                other[at] ^= 0x80;
                let mut end = 0;
                let is_in_id = new.iter().any(|entry| {
                    end += files(&[*entry]).len();
                    (end - 20..end).contains(&at)
                });
                prop_assert_eq!(changed_ids(&other, &base, SHA1).is_some(), is_in_id);
            }
        });
    }

    #[test]
    fn trees_of_other_lengths_or_that_are_cut_off_are_no_versions() {
        let base = files(&[(1, 1), (2, 2)]);
        assert_eq!(changed_ids(&files(&[(1, 1)]), &base, SHA1), None);
        let (tree, cut) = (&files(&[(1, 1), (2, 3)])[1..], &base[..base.len() - 1]);
        assert_eq!(changed_ids(tree, cut, SHA1), None);
        assert_eq!(changed_ids(b"", b"", SHA1), Some(Vec::new()));
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
            let new = (0..count).map(|at| (3, 1 + u8::from(at < changes)));
            let new: Vec<_> = new.collect();
            let (new, old) = (files(&new), files(&old));
            let found = changed_ids(&new, &old, SHA1);
            assert_eq!(found.is_some(), is_version, "{changes} of {count}");
        }
    }
}
