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
        let (raw, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(raw)
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
        let entry = decode(raw, format).filter(|entry| is_readable(raw, entry))?;
        let before = base.advance_to(&entry);
        if !before.is_some_and(|before| before.oid == entry.oid && before.mode == entry.mode) {
            take(entry, before);
        }
        same = common_prefix(entries.rest, base.rest);
    }
    Some(())
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

/// Whether git reads the entry: git refuses a tree with an entry without mode or name
/// (`tree-walk.c:decode_tree_entry()`).
pub(crate) fn is_readable(raw: &[u8], entry: &EntryRef<'_>) -> bool {
    !raw.starts_with(b" ") && !entry.filename.is_empty()
}

/// Parses one entry.
pub(crate) fn decode(raw: &[u8], format: gix::hash::Kind) -> Option<EntryRef<'_>> {
    TreeRefIter::from_bytes(raw, format).next()?.ok()
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
            let found = decoded.is_some_and(|entry| is_readable(&raw, &entry));
            assert_eq!(found, readable, "{}", entry.as_bstr());
        }
    }
}
