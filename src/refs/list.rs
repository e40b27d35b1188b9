//! The refs of one end, and the rules that the end has for them.

use std::borrow::Cow;

use bstr::{BStr, BString};

use super::{
    names::fold,
    table::{AdvertisedRef, RefTable},
};
use crate::{ObjectFormat, ObjectId};

/// The refs that an end lists, and the rules that it has for them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RefList {
    /// The hash that the end's object ids are made with.
    pub object_format: ObjectFormat,
    /// Sorted by name, no name twice.
    pub(crate) refs: RefTable,
    /// Other objects that the end says to have with everything behind them (`.have` lines, refs of other
    /// namespaces).
    pub haves: Vec<ObjectId>,
    /// Commits that the end has without their parents, as far as it says.
    pub shallow: Vec<ObjectId>,
    /// The branch (its full name) that HEAD names, born or not, as far as the end says: its default
    /// branch.
    pub default_branch: Option<BString>,
    /// Branches (full names) that a worktree of this end has checked out. They don't move.
    pub checked_out: Vec<BString>,
    /// Whether names that differ in case only can't exist side by side (`core.ignoreCase`).
    pub folds_case: bool,
    /// The longest path component that a name may have here, in bytes.
    pub longest_component: usize,
    /// The longest name that a ref may have here, in bytes.
    pub longest_name: usize,
}

impl RefList {
    /// A list of `refs` in any order, from an end without rules of its own.
    ///
    /// The first of two refs with the same name counts.
    pub fn new<'a>(
        object_format: ObjectFormat,
        refs: impl IntoIterator<Item = AdvertisedRef<'a>>,
    ) -> Self {
        RefList::of(object_format, refs.into_iter().collect())
    }

    pub(crate) fn of(object_format: ObjectFormat, mut refs: RefTable) -> Self {
        refs.sort();
        RefList {
            object_format,
            refs,
            haves: Vec::new(),
            shallow: Vec::new(),
            default_branch: None,
            checked_out: Vec::new(),
            folds_case: false,
            longest_component: usize::MAX,
            longest_name: usize::MAX,
        }
    }

    /// The form of a name that is equal for two names which are the same ref here.
    pub(crate) fn fold<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        fold(name, self.folds_case)
    }

    /// The refs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AdvertisedRef<'_>> + Clone {
        self.refs.iter()
    }

    /// The number of refs.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether there are no refs.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The ref of that full name.
    pub fn find(&self, name: &BStr) -> Option<AdvertisedRef<'_>> {
        self.refs.find(name)
    }
}
