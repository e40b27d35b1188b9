//! [`RefList`]: the refs of one end, and the end's rules for ref names.

use std::borrow::Cow;

use bstr::{BStr, BString};

use super::{
    names::fold,
    table::{AdvertisedRef, RefTable},
};
use crate::{ObjectFormat, ObjectId};

/// The listing of an end: its refs, and its rules for ref names.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RefList {
    /// The hash of the end's object ids.
    pub object_format: ObjectFormat,
    /// Sorted by name, no name twice.
    pub(crate) refs: RefTable,
    /// Further objects that the end has with everything reachable from them (`.have` lines, refs of other
    /// namespaces).
    pub haves: Vec<ObjectId>,
    /// The shallow boundary: commits that the end has without their parents. Empty if the end does not report it.
    pub shallow: Vec<ObjectId>,
    /// The default branch: the full name of the branch that HEAD names, born or not. `None` if HEAD is detached
    /// or the end does not report it.
    pub default_branch: Option<BString>,
    /// The full names of the branches that are checked out in worktrees of this end. A run does not move them.
    pub checked_out: Vec<BString>,
    /// Whether names that differ only in case conflict (`core.ignoreCase`).
    pub folds_case: bool,
    /// The longest path component of a ref name at this end, in bytes.
    pub longest_component: usize,
    /// The longest full ref name at this end, in bytes.
    pub longest_name: usize,
}

impl RefList {
    /// Makes a list of `refs` in any order, for an end without rules for names.
    ///
    /// If two refs have the same name, the first one is kept.
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

    /// The ref with the full name `name`.
    pub fn find(&self, name: &BStr) -> Option<AdvertisedRef<'_>> {
        self.refs.find(name)
    }
}
