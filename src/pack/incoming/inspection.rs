//! What is looked at in each object that comes in.

use gix::{ObjectId, objs::Kind};

use super::links::{Linker, Links};
use crate::Error;

/// One thread's look at objects.
pub(super) struct Inspection<'a> {
    pub(super) links: &'a Links,
    linker: Linker<'a>,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(links: &'a Links) -> Self {
        Inspection {
            links,
            linker: Linker::new(links),
        }
    }

    /// `base` is what the content of the object was made from.
    pub(super) fn look_at(
        &mut self,
        kind: Kind,
        id: ObjectId,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.linker.note(kind, &id, content, base);
        Ok(())
    }
}
