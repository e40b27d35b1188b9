//! A tree's entries, compared with those of other versions of it.

use std::cmp::Ordering;

use bstr::ByteSlice;
use gix::objs::{TreeRefIter, tree::EntryRef};

/// How many of a merge's parents have their trees read beside its own. A commit can name very many
/// parents, and comparing with some of them already spares almost all of the work.
pub(super) const MAX_COMPARED: usize = 8;

/// What is left of a tree's entries, each `<mode> <name>\0<id>`.
///
/// Most entries are the same in two versions of a tree, and comparing their bytes is several times
/// as fast as parsing them. Only where both trees are sorted as they must be does this find all
/// that is the same; otherwise the walk just reads more than it had to.
pub(super) struct Entries<'a> {
    pub(super) rest: &'a [u8],
    pub(super) format: gix::hash::Kind,
}

impl<'a> Entries<'a> {
    pub(super) fn next_raw(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.find_byte(0)? + 1 + self.format.len_in_bytes();
        let (raw, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(raw)
    }

    /// Moves past the next entry if it is this one.
    pub(super) fn skip(&mut self, raw: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(raw);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Moves up to the entry with the name of `sought`, and past it.
    pub(super) fn advance_to(&mut self, sought: &EntryRef<'_>) -> Option<EntryRef<'a>> {
        loop {
            let before = self.rest;
            let next = decode(self.next_raw()?, self.format)?;
            match next.cmp(sought) {
                Ordering::Less => continue,
                Ordering::Equal => return Some(next),
                Ordering::Greater => {
                    self.rest = before;
                    // A file that became a folder sorts elsewhere; it has nothing to compare to.
                    return None;
                }
            }
        }
    }
}

/// Git reads no tree with an entry that has no mode or no name (`tree-walk.c:decode_tree_entry()`).
pub(super) fn is_readable(raw: &[u8], entry: &EntryRef<'_>) -> bool {
    !raw.starts_with(b" ") && !entry.filename.is_empty()
}

pub(super) fn decode(raw: &[u8], format: gix::hash::Kind) -> Option<EntryRef<'_>> {
    TreeRefIter::from_bytes(raw, format).next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
