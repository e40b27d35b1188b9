//! A pack that has all that its trees lead to.

use gix::{objs::Kind, oid};

use super::{
    links::{MANY_COMMITS, Memory, OWN, TreeLinks, is_worth_it},
    stored::StoredPacks,
};
use crate::{Error, ErrorKind, Phase, Run};

/// What it takes for each object to find that out, in bytes: without what is in trees, and with that,
/// as it mostly is.
const EACH: u64 = 64;
const EACH_WITH_LINKS: u64 = 128;

/// The largest pack of a store, and whether it lacks nothing: its checksums are compared, and all its
/// trees read, once that is worth it.
#[derive(Default)]
pub(crate) struct ClosedPack {
    packs: Option<StoredPacks>,
    was_read: bool,
    /// By place in the pack, if that lacks nothing.
    kinds: Vec<Option<Kind>>,
}

/// What is there to decide whether to read the pack.
pub(crate) struct Worth {
    /// How many commits have their trees followed otherwise, as far as that is known.
    pub(crate) commits: usize,
    /// How deep trees may be nested.
    pub(crate) levels: u16,
    /// In bytes.
    pub(crate) memory: u64,
}

impl ClosedPack {
    /// Whether this is a tree of the pack, and everything behind it is there, too.
    pub(crate) fn has_tree(
        &mut self,
        tree: &oid,
        odb: &gix::odb::Handle,
        worth: Worth,
        run: &Run,
    ) -> Result<bool, Error> {
        if worth.commits < MANY_COMMITS {
            return Ok(false);
        }
        let packs = match &mut self.packs {
            Some(packs) => packs,
            none => none.insert(packs_of(odb)?),
        };
        let contents = OWN.contents.min(worth.memory / 4);
        let left = worth.memory - contents;
        let objects = packs.most_objects() as u64;
        if !self.was_read
            && is_worth_it(worth.commits, packs)
            && objects.saturating_mul(EACH_WITH_LINKS) <= left
        {
            self.was_read = true;
            let links = left - objects * EACH;
            let memory = Memory {
                contents,
                each: contents,
                links,
            };
            self.kinds = kinds_if_closed(packs, worth.levels, &memory, run)?.unwrap_or_default();
        }
        let survey = packs.surveyed();
        let place = survey.and_then(|survey| survey.order.find(tree));
        let kind = place.and_then(|place| self.kinds.get(place as usize));
        Ok(kind == Some(&Some(Kind::Tree)))
    }
}

fn packs_of(odb: &gix::odb::Handle) -> Result<StoredPacks, Error> {
    let store = odb.store_ref();
    let alternates = store.alternate_db_paths().map_err(|err| {
        Error::new(ErrorKind::Corrupt, "objects/info/alternates is unusable").with_source(err)
    })?;
    let folders = [vec![store.path().to_owned()], alternates].concat();
    StoredPacks::at(&folders, store.object_hash())
}

fn kinds_if_closed(
    packs: &StoredPacks,
    levels: u16,
    memory: &Memory,
    run: &Run,
) -> Result<Option<Vec<Option<Kind>>>, Error> {
    let Some(survey) = packs.survey_largest(run)? else {
        return Ok(None);
    };
    let Some(links) = TreeLinks::read(&survey, memory, Phase::Verify, run)? else {
        return Ok(None);
    };
    let is_closed = links.are_closed(levels, run)?;
    tracing::debug!(
        objects = survey.order.len(),
        is_closed,
        "read all trees of a pack"
    );
    Ok(is_closed.then_some(links.kinds))
}
