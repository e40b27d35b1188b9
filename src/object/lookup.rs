//! [`ObjectLookup`]: reading objects by id, independent of the place where an end keeps them.

use gix::objs::{Exists, Find, FindHeader};

/// A lookup of objects by id: whether an object exists, its kind and size, and its content.
pub(crate) trait ObjectLookup: Exists + Find + FindHeader {}

impl<T: Exists + Find + FindHeader> ObjectLookup for T {}
