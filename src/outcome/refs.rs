//! The outcomes of all refs, with little memory for unchanged ones.

use std::fmt;

#[cfg(feature = "serde")]
mod json;

use super::{Outcome, Refusal, SyncRunRef};
use crate::{AdvertisedRef, ObjectId, refs::table::RefTable};

/// The outcomes of a run's refs, sorted by ref name. An unchanged ref takes little more memory than its name.
///
/// ```
/// # fn print(stats: &refsync::SyncRunStats) {
/// for found in &stats.refs {
///     println!("{} {}", found.outcome, found.name);
/// }
/// # }
/// ```
#[derive(Clone, Default)]
pub struct SyncRunRefs {
    /// The source's tips.
    all: RefTable,
    /// The refs that differ between the ends, in the order of `all`.
    others: Vec<RefOutcome>,
}

/// The outcome of a ref that is not the same at both ends.
#[derive(Debug, Clone)]
pub(crate) struct RefOutcome {
    /// The position among all refs.
    pub(crate) at: usize,
    pub(crate) before: Option<ObjectId>,
    pub(crate) after: ObjectId,
    pub(crate) outcome: Outcome,
    /// Boxed, because most refs have none.
    pub(crate) refusal: Option<Box<Refusal>>,
}

impl SyncRunRefs {
    /// The outcomes of all of the source's refs: `others`, and unchanged for the rest.
    pub(crate) fn new(all: RefTable, others: Vec<RefOutcome>) -> Self {
        SyncRunRefs { all, others }
    }

    /// The refs, sorted by name.
    pub fn iter(&self) -> SyncRunRefsIter<'_> {
        SyncRunRefsIter {
            refs: self,
            at: 0,
            other: 0,
        }
    }

    /// The number of refs.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are no refs.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The number of refs whose outcome satisfies `is_wanted`.
    pub(super) fn count(&self, is_wanted: impl Fn(&Outcome) -> bool) -> usize {
        let others = self.others.iter();
        let count = others.filter(|other| is_wanted(&other.outcome)).count();
        if is_wanted(&Outcome::Unchanged) {
            count + self.all.len() - self.others.len()
        } else {
            count
        }
    }

    pub(super) fn push(&mut self, new: SyncRunRef<'_>) {
        if new != unchanged(new.name, new.source) {
            self.others.push(RefOutcome {
                at: self.all.len(),
                before: new.before,
                after: new.after,
                outcome: new.outcome.clone(),
                refusal: new.refusal.copied().map(Box::new),
            });
        }
        self.all.push(AdvertisedRef::new(new.name, new.source));
    }
}

fn unchanged(name: &bstr::BStr, tip: ObjectId) -> SyncRunRef<'_> {
    SyncRunRef {
        name,
        before: Some(tip),
        after: tip,
        source: tip,
        outcome: &Outcome::Unchanged,
        refusal: None,
    }
}

/// An iterator over the refs of a run: see [`SyncRunRefs::iter`].
#[derive(Clone)]
pub struct SyncRunRefsIter<'a> {
    refs: &'a SyncRunRefs,
    at: usize,
    other: usize,
}

impl<'a> Iterator for SyncRunRefsIter<'a> {
    type Item = SyncRunRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let listed = self.refs.all.get(self.at)?;
        let mut found = unchanged(listed.name, listed.target);
        let other = self.refs.others.get(self.other);
        if let Some(other) = other.filter(|other| other.at == self.at) {
            found.before = other.before;
            found.after = other.after;
            found.outcome = &other.outcome;
            found.refusal = other.refusal.as_deref();
            self.other += 1;
        }
        self.at += 1;
        Some(found)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.refs.len() - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for SyncRunRefsIter<'_> {}

impl<'a> IntoIterator for &'a SyncRunRefs {
    type Item = SyncRunRef<'a>;
    type IntoIter = SyncRunRefsIter<'a>;

    fn into_iter(self) -> SyncRunRefsIter<'a> {
        self.iter()
    }
}

impl<'a> FromIterator<SyncRunRef<'a>> for SyncRunRefs {
    fn from_iter<T: IntoIterator<Item = SyncRunRef<'a>>>(found: T) -> Self {
        let mut refs = SyncRunRefs::default();
        found.into_iter().for_each(|found| refs.push(found));
        refs
    }
}

impl PartialEq for SyncRunRefs {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SyncRunRefs {}

impl fmt::Debug for SyncRunRefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
