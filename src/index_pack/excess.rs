//! Objects over a limit for a single object, which are not inspected.

use gix::{ObjectId, objs::Kind};

use crate::{Limits, Reason, memory_plan::MemoryPlan};

/// The first limit that a single object of this size exceeds, in words. In real history the largest trees have some MiB,
/// the largest commits and tags some hundred KiB.
pub(super) fn excess(kind: Kind, size: u64, limits: &Limits) -> Option<String> {
    let (most, memory) = (limits.object_size, limits.memory);
    let for_one = MemoryPlan::of(limits).parsed_object;
    match kind {
        _ if size > most => Some(format!("object_size {most}")),
        // They are held in memory as a whole, now and by later readers.
        Kind::Tree | Kind::Commit | Kind::Tag if size > for_one as u64 => Some(format!(
            "memory {memory}, of which one {kind} may take {for_one}"
        )),
        _ => None,
    }
}

/// The reason of an object that exceeds `limit`.
pub(super) fn too_large(id: &ObjectId, size: u64, limit: &str) -> Reason {
    let detail = format!("{id}, {size} bytes, limit {limit}");
    Reason::TooLarge { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_to_whoever_goes_beyond_it() {
        let id = ObjectId::from_bytes_or_panic(&[0x11; 20]);
        let table = [
            (Kind::Blob, 1600, ""),
            (Kind::Blob, 1601, "limit object_size 1600"),
            (Kind::Tree, 1601, "limit object_size 1600"),
            (Kind::Tree, 100, ""),
            (
                Kind::Tree,
                101,
                "limit memory 1600, of which one tree may take 100",
            ),
            (
                Kind::Tag,
                1600,
                "limit memory 1600, of which one tag may take 100",
            ),
            (
                Kind::Commit,
                101,
                "limit memory 1600, of which one commit may take 100",
            ),
        ];
        let limits = Limits {
            object_size: 1600,
            memory: 1600,
            ..Limits::default()
        };
        for (kind, size, limit) in table {
            let found = excess(kind, size, &limits);
            let found = found.map(|limit| too_large(&id, size, &limit).to_string());
            let expected = format!("too large: {id}, {size} bytes, {limit}");
            assert_eq!(found, (!limit.is_empty()).then_some(expected), "{kind}");
        }
    }
}
