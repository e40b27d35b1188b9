//! The stages of a quarantine: empty, a folder with packs, packs in the store.

use gix_pack::index;

use super::quarantine_dir::QuarantineDir;
use crate::{Error, index_pack::ReceivedPack};

/// The stage that a quarantine is in.
#[derive(Default)]
pub(super) enum Stage {
    /// No pack was received, so there is no folder.
    #[default]
    Empty,
    /// The folder has the packs that were kept and, until it is kept or discarded, the last one.
    /// The pack comes first: its index is unmapped before the folder is removed, because some systems do not
    /// remove a mapped file.
    Receiving(Option<Box<LastPack>>, QuarantineDir),
    /// The packs are part of the store. The run's `.keep` files protect the objects until the refs have moved.
    Applying(QuarantineDir),
}

impl Stage {
    pub(super) fn dir(&self) -> Option<&QuarantineDir> {
        match self {
            Stage::Empty => None,
            Stage::Receiving(_, dir) | Stage::Applying(dir) => Some(dir),
        }
    }

    /// The folder; made by `open` if there is none. The caller sets the next stage.
    pub(super) fn take_dir(
        &mut self,
        open: impl FnOnce() -> Result<QuarantineDir, Error>,
    ) -> Result<QuarantineDir, Error> {
        match std::mem::take(self) {
            Stage::Empty => open(),
            Stage::Receiving(_, dir) | Stage::Applying(dir) => Ok(dir),
        }
    }

    pub(super) fn last(&self) -> Option<&LastPack> {
        match self {
            Stage::Receiving(last, _) => last.as_deref(),
            Stage::Empty | Stage::Applying(_) => None,
        }
    }

    /// Keeps the last pack, so that another one can be received.
    pub(super) fn keep_last(&mut self) {
        if let Stage::Receiving(last, dir) = self
            && let Some(last) = last.take()
        {
            dir.keep(last.pack);
        }
    }

    /// Removes the last pack.
    pub(super) fn discard_last(&mut self) -> Result<(), Error> {
        if let Stage::Receiving(last, dir) = self
            && let Some(last) = last.take()
        {
            let LastPack { pack, index, .. } = *last;
            drop(index);
            dir.discard(&pack)?;
        }
        Ok(())
    }
}

/// The pack that was received last.
pub(super) struct LastPack {
    pub(super) pack: ReceivedPack,
    pub(super) index: index::File,
    /// Whether all of its objects are complete, once that was checked.
    pub(super) is_complete: Option<bool>,
}

impl LastPack {
    /// Whether the source sent the object; false for an appended base.
    pub(super) fn was_sent(&self, id: &gix::ObjectId) -> bool {
        self.index.lookup(id).is_some() && !self.pack.is_added(id)
    }
}
