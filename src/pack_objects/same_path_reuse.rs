//! The selected objects that the receiver has under the same path in another commit: changes that were
//! reverted, or picked from another branch.

use std::collections::HashSet;

use gix::{ObjectId, objs::Kind};

use super::{NoPack, selection::SelectedObject, tree_walk::tree_content};
use crate::{
    SyncContext,
    object::tree_entries::{each_new, kind_of},
    pack::name_hash::name_hash,
    stored_packs::odb::Odb,
};

/// Number of the receiver's trees to read. The search should cost less than it saves.
fn budget(objects: usize) -> usize {
    (objects / 64).clamp(32, 1024)
}

/// Finds selected objects in the `known` trees of commits that the receiver has, in the directories of the
/// selected trees.
pub(super) fn find(
    odb: &Odb,
    known: impl Iterator<Item = ObjectId>,
    objects: &[SelectedObject],
    sent: &HashSet<ObjectId>,
    context: &SyncContext,
) -> Result<HashSet<ObjectId>, NoPack> {
    let trees = objects.iter().filter(|object| object.kind == Kind::Tree);
    let directories: HashSet<u32> = trees.map(|tree| tree.name_hash).collect();
    let mut shared = HashSet::new();
    let mut seen = HashSet::new();
    let budget = budget(objects.len());
    let mut pending: Vec<_> = known.take(budget).map(|tree| (tree, Vec::new())).collect();
    pending.reverse();
    while let Some((tree, mut path)) = pending.pop() {
        context.check()?;
        if !seen.insert(tree) {
            continue;
        }
        if seen.len() > budget {
            break;
        }
        if sent.contains(&tree) {
            shared.insert(tree);
        }
        // A tree that can't be read is no tree to compare with.
        let Ok(data) = tree_content(odb, &tree) else {
            continue;
        };
        let directory = path.len();
        let _ = each_new(&data, &[], tree.kind(), |entry, _| {
            let kind = kind_of(&entry);
            let is_shared = kind.is_some() && sent.contains(entry.oid);
            if is_shared {
                shared.insert(entry.oid.to_owned());
            }
            if kind == Some(Kind::Tree) {
                path.truncate(directory);
                path.extend_from_slice(entry.filename);
                if is_shared || directories.contains(&name_hash(&path)) {
                    pending.push((entry.oid.to_owned(), [&path, &b"/"[..]].concat()));
                }
            }
        });
    }
    Ok(shared)
}
