//! Objects over a limit for a single object, which are not inspected.

use gix::{ObjectId, objs::Kind};

use crate::{Limits, Reason, memory_plan::MemoryPlan};

/// The limit that a single object exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    ObjectSize(u64),
    /// The limit for trees, commits and tags, which are held in memory as a whole, now and by later readers.
    Memory {
        all: u64,
        for_one: u64,
    },
}

impl Excess {
    /// The first limit that such an object exceeds. In real history the largest trees have some MiB, the largest
    /// commits and tags some hundred KiB.
    pub(super) fn of(kind: Kind, size: u64, limits: &Limits) -> Option<Self> {
        let (all, for_one) = (limits.memory, MemoryPlan::of(limits).parsed_object as u64);
        match kind {
            _ if size > limits.object_size => Some(Excess::ObjectSize(limits.object_size)),
            Kind::Tree | Kind::Commit | Kind::Tag if size > for_one => {
                Some(Excess::Memory { all, for_one })
            }
            _ => None,
        }
    }

    pub(super) fn reason(self, id: &ObjectId, kind: Kind, size: u64) -> Reason {
        let limit = match self {
            Excess::ObjectSize(most) => format!("object_size {most}"),
            Excess::Memory { all, for_one } => {
                format!("memory {all}, of which one {kind} may take {for_one}")
            }
        };
        let detail = format!("{id}, {size} bytes, limit {limit}");
        Reason::TooLarge { detail }
    }
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
            let found = Excess::of(kind, size, &limits);
            let found = found.map(|excess| excess.reason(&id, kind, size).to_string());
            let expected = format!("too large: {id}, {size} bytes, {limit}");
            assert_eq!(found, (!limit.is_empty()).then_some(expected), "{kind}");
        }
    }
}
