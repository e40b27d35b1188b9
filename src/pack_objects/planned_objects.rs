//! The objects of a pack with their encodings, and the order in which they are written.

use gix::ObjectId;

use super::selection::SelectedObject;
use crate::{pack::delta_search::Delta, stored_packs::pack_location::PackLocation};

/// The objects of a pack, each with the encoding of the same number.
///
/// A pack can have millions of them. Two lists, because the objects are there first: joined with the encodings, they
/// would be in memory twice.
pub(super) struct PlannedObjects {
    pub(super) objects: Vec<SelectedObject>,
    pub(super) encodings: Vec<Encoding>,
}

impl PlannedObjects {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SelectedObject, &Encoding)> {
        self.objects.iter().zip(&self.encodings)
    }
}

/// The encoding of an object in the pack to send. Rare data is boxed.
pub(super) enum Encoding {
    /// Whole and of this size, deflated when its turn comes: the object is loose, or only in a damaged pack.
    Unpacked(u64),
    /// Whole, deflated when its turn comes: a pack has the object as a delta that cannot be reused.
    Undeltified,
    /// Whole and of this size, from a loose object that is too large for memory: deflated anew as it is read.
    LooseWhole(u64),
    /// Whole and of this size, copied from a pack.
    StoredWhole(PackLocation, u64),
    /// A delta, copied from a pack.
    StoredDelta(PackLocation, BaseRef),
    /// A delta that was made for this pack.
    Delta(Box<Delta>, BaseRef),
}

/// A reference to the base of a delta.
#[derive(Clone)]
pub(super) enum BaseRef {
    /// The planned object of this number, which is written before.
    Planned(u32),
    /// An object that the receiver has.
    AtReceiver(Box<ObjectId>),
}

impl Encoding {
    /// The planned object that has to be written before.
    fn base(&self) -> Option<usize> {
        match self {
            Encoding::StoredDelta(_, BaseRef::Planned(base))
            | Encoding::Delta(_, BaseRef::Planned(base)) => Some(*base as usize),
            _ => None,
        }
    }
}

/// Sends one object of each circle of deltas whole. Deltas of one pack form no circle, those of several can.
pub(super) fn break_cycles(encodings: &mut [Encoding]) {
    #[derive(Clone, Copy, PartialEq)]
    enum Visit {
        New,
        OnPath,
        Done,
    }
    let mut states = vec![Visit::New; encodings.len()];
    let mut path = Vec::new();
    for start in 0..encodings.len() {
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| states[*at] == Visit::New) {
            states[at] = Visit::OnPath;
            path.push(at);
            next = encodings[at].base();
            if next.is_some_and(|next| states[next] == Visit::OnPath) {
                encodings[at] = Encoding::Undeltified;
            }
        }
        for at in path.drain(..) {
            states[at] = Visit::Done;
        }
    }
}

/// The height of the chains of deltas on top of each object.
pub(super) fn heights(encodings: &[Encoding]) -> Vec<u32> {
    let mut children = vec![0_u32; encodings.len()];
    for base in encodings.iter().filter_map(Encoding::base) {
        children[base] += 1;
    }
    let mut heights = vec![0; encodings.len()];
    let leaves = (0..encodings.len()).filter(|at| children[*at] == 0);
    let mut done: Vec<usize> = leaves.collect();
    while let Some(at) = done.pop() {
        if let Some(base) = encodings[at].base() {
            heights[base] = heights[base].max(heights[at] + 1);
            children[base] -= 1;
            if children[base] == 0 {
                done.push(base);
            }
        }
    }
    heights
}

/// The order of the pack: each base before its deltas, apart from that first the objects that no pack has, then
/// the objects of each pack by offset, so that the pack is read from start to end.
pub(super) fn order(mut planned: PlannedObjects) -> PlannedObjects {
    let PlannedObjects { objects, encodings } = &mut planned;
    let mut sorted: Vec<u32> = (0..encodings.len() as u32).collect();
    sorted.sort_by_cached_key(|at| match encodings[*at as usize] {
        Encoding::StoredWhole(location, _) | Encoding::StoredDelta(location, _) => {
            Some((location.pack, location.offset))
        }
        Encoding::Unpacked(_)
        | Encoding::Undeltified
        | Encoding::LooseWhole(_)
        | Encoding::Delta(..) => None,
    });
    let mut positions = vec![u32::MAX; encodings.len()];
    let mut written = 0;
    let mut chain = Vec::new();
    for start in sorted {
        let mut next = Some(start as usize);
        while let Some(at) = next.filter(|at| positions[*at] == u32::MAX) {
            chain.push(at);
            next = encodings[at].base();
        }
        for at in chain.drain(..).rev() {
            positions[at] = written;
            written += 1;
        }
    }
    for encoding in encodings.iter_mut() {
        if let Encoding::StoredDelta(_, BaseRef::Planned(base))
        | Encoding::Delta(_, BaseRef::Planned(base)) = encoding
        {
            *base = positions[*base as usize];
        }
    }
    for at in 0..positions.len() {
        while positions[at] as usize != at {
            let to = positions[at] as usize;
            objects.swap(at, to);
            encodings.swap(at, to);
            positions.swap(at, to);
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of a million commits is planned in less memory than `git pack-objects` takes.
    #[test]
    fn an_object_takes_few_bytes() {
        assert!(size_of::<SelectedObject>() <= 48);
        assert!(size_of::<Encoding>() <= 32);
    }
}
