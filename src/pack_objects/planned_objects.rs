//! The objects of a pack, how each is sent, and in which order.

use gix::ObjectId;

use super::{delta_search::Delta, object_selection::Selected};
use crate::stored_packs::Place;

/// An object and how it is sent. There is one for each object of the pack, so what is rare is boxed.
pub(super) struct Item {
    pub(super) object: Selected,
    pub(super) sent_as: SentAs,
}

pub(super) enum SentAs {
    /// Compressed when its turn comes; its size, where that is known already.
    Whole(Option<u64>),
    /// Whole and of this size, from a loose object that is too large to be held: compressed anew as it
    /// is read.
    LooseWhole(u64),
    /// Whole and of this size, as it lies in a pack.
    StoredWhole(Place, u64),
    /// A delta, as it lies in a pack.
    StoredDelta(Place, Base),
    /// A delta that was made for this pack.
    Delta(Box<Delta>, Base),
}

/// What a delta is one of.
#[derive(Clone)]
pub(super) enum Base {
    /// Another item, which comes before.
    Item(u32),
    /// An object that the receiver has, or gets with a pack that is sent as it is.
    AtReceiver(Box<ObjectId>),
}

impl SentAs {
    /// Or in a pack that is damaged.
    pub(super) fn is_not_packed(&self) -> bool {
        matches!(self, SentAs::Whole(Some(_)))
    }

    /// The item that has to come before.
    fn base(&self) -> Option<usize> {
        match self {
            SentAs::StoredDelta(_, Base::Item(base)) | SentAs::Delta(_, Base::Item(base)) => {
                Some(*base as usize)
            }
            _ => None,
        }
    }
}

/// Within one pack deltas can't lead in a circle; taken from several they can.
pub(super) fn break_cycles(items: &mut [Item]) {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        OnPath,
        Done,
    }
    let mut states = vec![State::New; items.len()];
    let mut path = Vec::new();
    for start in 0..items.len() {
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| states[*at] == State::New) {
            states[at] = State::OnPath;
            path.push(at);
            next = items[at].sent_as.base();
            if next.is_some_and(|next| states[next] == State::OnPath) {
                items[at].sent_as = SentAs::Whole(None);
            }
        }
        for at in path.drain(..) {
            states[at] = State::Done;
        }
    }
}

/// How many deltas deep the chains are that hang on each item.
pub(super) fn heights(items: &[Item]) -> Vec<u32> {
    let mut children = vec![0_u32; items.len()];
    for base in items.iter().filter_map(|item| item.sent_as.base()) {
        children[base] += 1;
    }
    let mut heights = vec![0; items.len()];
    let leaves = (0..items.len()).filter(|at| children[*at] == 0);
    let mut done: Vec<usize> = leaves.collect();
    while let Some(at) = done.pop() {
        if let Some(base) = items[at].sent_as.base() {
            heights[base] = heights[base].max(heights[at] + 1);
            children[base] -= 1;
            if children[base] == 0 {
                done.push(base);
            }
        }
    }
    heights
}

/// Each base before its deltas; apart from that first what is not in packs, then each pack's objects
/// as they lie there, which reads it from start to end.
pub(super) fn order(mut items: Vec<Item>) -> Vec<Item> {
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by_cached_key(|at| match items[*at].sent_as {
        SentAs::StoredWhole(place, _) | SentAs::StoredDelta(place, _) => {
            Some((place.pack, place.offset))
        }
        SentAs::Whole(_) | SentAs::LooseWhole(_) | SentAs::Delta(..) => None,
    });
    let mut new_places = vec![u32::MAX; items.len()];
    let mut placed = 0;
    let mut chain = Vec::new();
    for start in sorted {
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| new_places[*at] == u32::MAX) {
            chain.push(at);
            next = items[at].sent_as.base();
        }
        for at in chain.drain(..).rev() {
            new_places[at] = placed;
            placed += 1;
        }
    }
    for item in &mut items {
        if let SentAs::StoredDelta(_, Base::Item(base)) | SentAs::Delta(_, Base::Item(base)) =
            &mut item.sent_as
        {
            *base = new_places[*base as usize];
        }
    }
    for at in 0..items.len() {
        while new_places[at] as usize != at {
            let to = new_places[at] as usize;
            items.swap(at, to);
            new_places.swap(at, to);
        }
    }
    items
}
