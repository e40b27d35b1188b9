//! The contents of the trees that were read last.
//!
//! Each is read as itself and as another version of its successor, and once more when deltas are sought.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use gix::{ObjectId, oid};

/// Of one thread, or of several that have ended.
#[derive(Default)]
pub(super) struct TreeTexts {
    texts: HashMap<ObjectId, Arc<[u8]>>,
    /// The last one that was read is the last one here.
    order: VecDeque<ObjectId>,
    held: usize,
}

/// How many bytes each thread keeps.
const MEMORY: usize = 16 * 1024 * 1024;

impl TreeTexts {
    pub(super) fn get(&self, tree: &oid) -> Option<&Arc<[u8]>> {
        self.texts.get(tree)
    }

    pub(super) fn keep(&mut self, tree: ObjectId, text: &Arc<[u8]>) {
        if self.texts.insert(tree, Arc::clone(text)).is_some() {
            return;
        }
        self.held += text.len();
        self.order.push_back(tree);
        while self.held > MEMORY
            && let Some(oldest) = self.order.pop_front()
        {
            let oldest = self.texts.remove(&oldest);
            self.held -= oldest.map_or(0, |text| text.len());
        }
    }

    /// Takes all that another thread has kept.
    pub(super) fn take_in(&mut self, other: TreeTexts) {
        self.texts.extend(other.texts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let id = |number: u8| ObjectId::from_bytes_or_panic(&[number; 20]);
        let text: Arc<[u8]> = vec![0; MEMORY / 3].into();
        let mut texts = TreeTexts::default();
        for number in [1, 2, 3, 1, 4] {
            texts.keep(id(number), &text);
        }
        let kept = |texts: &TreeTexts| {
            (1..6)
                .filter(|number| texts.get(&id(*number)).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&texts), [2, 3, 4]);
        let mut other = TreeTexts::default();
        other.keep(id(5), &text);
        other.take_in(texts);
        assert_eq!(kept(&other), [2, 3, 4, 5]);
        other.keep(id(1), &vec![0; MEMORY + 1].into());
        assert_eq!(kept(&other), [2, 3, 4]);
    }
}
