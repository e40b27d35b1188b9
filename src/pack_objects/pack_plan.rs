//! The encoding in which each object of a pack is sent.
//!
//! A stored delta is reused if its base is sent, too, or if the receiver has it. For every other object a
//! delta is searched, and the rest is sent whole.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    io,
    sync::Mutex,
};

use gix::{
    ObjectId,
    objs::{Find, FindHeader, Kind, encode::loose_header},
    oid,
};

use super::{
    NoPack,
    planned_objects::{BaseRef, Encoding, PlannedObjects, break_cycles, heights, order},
    selection::{SelectedObject, Selection},
    tree_cache::TreeCache,
};
use crate::{
    Error, ErrorKind, Phase, SyncContext,
    buffered::each_piece,
    pack::delta_search::{self, Candidate, Role, SearchLimits},
    scoped_workers::{into_inner, lock},
    stored_packs::{
        StoredPacks,
        loose_objects::LooseObjects,
        odb::Odb,
        pack_location::StoredEncoding,
        pack_scan::{PackScan, ScannedEntry},
    },
};

/// Plans the entries of a pack, in the order in which they are written.
pub(super) fn plan_entries(
    odb: &Odb,
    packs: &StoredPacks,
    selection: Selection,
    thin: bool,
    context: &SyncContext,
) -> Result<PlannedObjects, NoPack> {
    let Selection {
        objects,
        bases,
        trees,
    } = selection;
    let bases = if thin { bases } else { Vec::new() };
    let planner = Planner {
        odb,
        packs,
        trees: &trees,
    };
    let encodings = planner.stored_encodings(&objects, &bases, context)?;
    let mut planned = PlannedObjects { objects, encodings };
    // Once is enough: the search makes deltas of whole objects on whole objects only, and none on a later one.
    break_cycles(&mut planned.encodings);
    planner.find_deltas(&mut planned, &bases, context)?;
    planner.check_readable(&mut planned, context)?;
    Ok(order(planned))
}

/// The selected objects of the scanned pack, which spares looking each of them up.
struct ScannedObjects<'a> {
    scan: PackScan<'a>,
    is_only_pack: bool,
    /// The number of the selected object at each pack position.
    numbers: Vec<u32>,
}

const NOT_SENT: u32 = u32::MAX;

impl<'a> ScannedObjects<'a> {
    fn new(packs: &'a StoredPacks, objects: &[SelectedObject]) -> Option<Self> {
        let scan = packs.scanned()?;
        let mut numbers = vec![NOT_SENT; scan.rev_index.len()];
        for (number, object) in (0..).zip(objects) {
            if let Some(pack_pos) = object.pack_pos {
                numbers[pack_pos as usize] = number;
            }
        }
        Some(ScannedObjects {
            scan,
            is_only_pack: packs.count() == 1,
            numbers,
        })
    }

    /// `None` if another copy may be better, or if this one is damaged.
    fn encoding(&self, object: &SelectedObject) -> Option<Encoding> {
        let pack_pos = object.pack_pos?;
        let location = self.scan.location(pack_pos);
        match self.scan.entries[pack_pos as usize] {
            ScannedEntry::Delta(base) => {
                let base = self.numbers[base as usize];
                let delta = || Encoding::StoredDelta(location, BaseRef::Planned(base));
                (base != NOT_SENT).then(delta)
            }
            // Another pack may have a delta that can be reused.
            ScannedEntry::Whole(kind, size) if self.is_only_pack && kind == object.kind => {
                Some(Encoding::StoredWhole(location, size))
            }
            _ => None,
        }
    }
}

/// The sources of the objects of a pack.
struct Planner<'a> {
    odb: &'a Odb,
    packs: &'a StoredPacks,
    trees: &'a TreeCache,
}

impl Planner<'_> {
    fn stored_encodings(
        &self,
        objects: &[SelectedObject],
        bases: &[SelectedObject],
        context: &SyncContext,
    ) -> Result<Vec<Encoding>, NoPack> {
        let scanned = ScannedObjects::new(self.packs, objects);
        // Not needed if the scan knows every encoding.
        let numbers = OnceCell::new();
        let numbers = || -> &HashMap<ObjectId, u32> {
            numbers.get_or_init(|| objects.iter().map(|object| object.id).zip(0..).collect())
        };
        let bases: HashSet<ObjectId> = bases.iter().map(|base| base.id).collect();
        let base_of = |id: ObjectId| match numbers().get(&id) {
            Some(number) => Some(BaseRef::Planned(*number)),
            None => bases.contains(&id).then(|| BaseRef::AtReceiver(id.into())),
        };
        let total = Some(objects.len() as u64);
        let mut loose = self.odb.loose_objects();
        let mut encodings = Vec::with_capacity(objects.len());
        for object in objects {
            context.check()?;
            if encodings.len().is_multiple_of(1024) {
                context.advance(Phase::Count, encodings.len() as u64, total);
            }
            let known = scanned.as_ref().and_then(|scan| scan.encoding(object));
            encodings.push(match known {
                Some(encoding) => encoding,
                None => self.stored_encoding(object, &mut loose, base_of)?,
            });
        }
        Ok(encodings)
    }

    /// The best stored copy of an object. A reusable delta is preferred to a whole copy.
    fn stored_encoding(
        &self,
        object: &SelectedObject,
        loose: &mut LooseObjects,
        base_of: impl Fn(ObjectId) -> Option<BaseRef>,
    ) -> Result<Encoding, NoPack> {
        let mut best = None;
        let mut is_damaged = false;
        for location in self.packs.find(&object.id) {
            let encoding = match self.packs.inspect(location) {
                Some(StoredEncoding::Whole(kind, size)) if kind == object.kind => {
                    Encoding::StoredWhole(location, size)
                }
                Some(StoredEncoding::Whole(..)) => return Err(NoPack::unfit(object.id)),
                Some(StoredEncoding::Delta(base)) => match base_of(base) {
                    Some(base) => return Ok(Encoding::StoredDelta(location, base)),
                    None => Encoding::Undeltified,
                },
                None => {
                    is_damaged = true;
                    continue;
                }
            };
            best = match (best, encoding) {
                (Some(whole @ Encoding::StoredWhole(..)), _) => Some(whole),
                (_, encoding) => Some(encoding),
            };
        }
        match best {
            Some(encoding) => Ok(encoding),
            None => self.unpacked_encoding(object, loose, is_damaged),
        }
    }

    /// The encoding of an object of which no pack has a sound copy.
    fn unpacked_encoding(
        &self,
        object: &SelectedObject,
        loose: &mut LooseObjects,
        is_damaged: bool,
    ) -> Result<Encoding, NoPack> {
        let cached = self.trees.get(&object.id);
        let cached = cached.map(|tree| (Kind::Tree, tree.len() as u64));
        if let Some((kind, size)) = cached.or_else(|| loose.header(&object.id))
            && kind == object.kind
        {
            return Ok(Encoding::Unpacked(size));
        }
        // A damaged copy may have a sound sibling elsewhere.
        match self.odb.try_header(&object.id) {
            Ok(Some(header)) if header.kind == object.kind => Ok(Encoding::Unpacked(header.size)),
            Ok(Some(_)) => Err(NoPack::unfit(object.id)),
            Ok(None) if !is_damaged => Err(NoPack::missing(object.id)),
            Ok(None) | Err(_) => Err(NoPack::unreadable(object.id)),
        }
    }

    /// Searches a delta for every object that isn't planned as one.
    fn find_deltas(
        &self,
        planned: &mut PlannedObjects,
        bases: &[SelectedObject],
        context: &SyncContext,
    ) -> Result<(), NoPack> {
        // The objects of one pack were compared with each other when that was written.
        if bases.is_empty() && is_one_pack(&planned.encodings) {
            return Ok(());
        }
        let (candidates, refs) = self.candidates(planned, bases, context)?;
        let deltas = self.search(&candidates, planned, bases, context)?;
        for (target, delta) in refs.iter().zip(deltas) {
            if let (BaseRef::Planned(number), Some(delta)) = (target, delta) {
                let base = refs[delta.base].clone();
                planned.encodings[*number as usize] = Encoding::Delta(delta.into(), base);
            }
        }
        Ok(())
    }

    /// The candidates for deltas and their bases, each with a reference to its object.
    fn candidates(
        &self,
        planned: &PlannedObjects,
        bases: &[SelectedObject],
        context: &SyncContext,
    ) -> Result<(Vec<Candidate>, Vec<BaseRef>), NoPack> {
        let heights = heights(&planned.encodings);
        let mut candidates = Vec::new();
        let mut refs = Vec::new();
        for (number, (object, encoding)) in planned.iter().enumerate() {
            context.check()?;
            let (whole_in, size) = match encoding {
                Encoding::Unpacked(size) => (None, Some(*size)),
                Encoding::Undeltified => (None, self.size(&object.id)),
                Encoding::StoredWhole(location, size) => (Some(location.pack), Some(*size)),
                Encoding::LooseWhole(_) | Encoding::StoredDelta(..) | Encoding::Delta(..) => {
                    continue;
                }
            };
            let size = size.ok_or_else(|| NoPack::unreadable(object.id))?;
            let height = heights[number];
            candidates.push(candidate(object, size, Role::Sent { whole_in, height }));
            refs.push(BaseRef::Planned(number as u32));
        }
        for base in bases {
            context.check()?;
            // The search does without a base that can't be read.
            if let Some(size) = self.size(&base.id) {
                candidates.push(candidate(base, size, Role::BaseOnly));
                refs.push(BaseRef::AtReceiver(base.id.into()));
            }
        }
        Ok((candidates, refs))
    }

    fn search(
        &self,
        candidates: &[Candidate],
        planned: &PlannedObjects,
        bases: &[SelectedObject],
        context: &SyncContext,
    ) -> Result<Vec<Option<delta_search::Delta>>, NoPack> {
        let not_sent: HashSet<ObjectId> = bases.iter().map(|base| base.id).collect();
        let not_packed = planned
            .iter()
            .filter(|(_, encoding)| matches!(encoding, Encoding::Unpacked(_)));
        let not_packed: HashSet<ObjectId> = not_packed.map(|(object, _)| object.id).collect();
        let fault = Mutex::new(None);
        let plan = context.memory_plan();
        let limits = SearchLimits {
            window_memory: plan.delta_windows,
            delta_memory: plan.found_deltas,
            ..SearchLimits::default()
        };
        // A handle can move to another thread, but threads can't share one.
        let odb = Mutex::new(self.odb.clone());
        let trees = self.trees;
        let open = |threads| {
            let odb = lock(&odb).with_delta_bases(plan.delta_readers / threads);
            let mut loose = odb.loose_objects();
            let (fault, not_sent, not_packed) = (&fault, &not_sent, &not_packed);
            move |id: &oid, content: &mut Vec<u8>| {
                // The database looks into every pack before it comes to loose objects.
                if read_cached(trees, id, content)
                    || not_packed.contains(id) && loose.read(id, content).is_some()
                    || matches!(odb.try_find(id, content), Ok(Some(_)))
                {
                    return Ok(());
                }
                // The search does without an object that can only be a base.
                if !not_sent.contains(id) {
                    *lock(fault) = Some(id.to_owned());
                }
                Err(Error::new(ErrorKind::Corrupt, "an object can't be read"))
            }
        };
        let found = delta_search::search(candidates, open, &limits, context);
        match into_inner(fault) {
            Some(fault) => Err(NoPack::unreadable(fault)),
            None => Ok(found?),
        }
    }

    fn size(&self, id: &oid) -> Option<u64> {
        match self.trees.get(id) {
            Some(tree) => Some(tree.len() as u64),
            None => Some(self.odb.try_header(id).ok()??.size),
        }
    }

    /// Reads every object that the writer will deflate, but for cached trees: a pack that has begun can only be broken
    /// off. Entries to copy were compared with their checksums.
    fn check_readable(
        &self,
        planned: &mut PlannedObjects,
        context: &SyncContext,
    ) -> Result<(), NoPack> {
        let mut loose = self.odb.loose_objects();
        let mut buffer = Vec::new();
        for (object, encoding) in planned.objects.iter().zip(&mut planned.encodings) {
            if !matches!(encoding, Encoding::Unpacked(_) | Encoding::Undeltified) {
                continue;
            }
            context.check()?;
            let id = &object.id;
            if self.trees.get(id).is_some() || loose.read(id, &mut buffer).is_some() {
                continue;
            }
            if let Some(size) = streamed_size(&mut loose, object, context)? {
                *encoding = Encoding::LooseWhole(size);
            } else if !matches!(self.odb.try_find(id, &mut buffer), Ok(Some(_))) {
                return Err(NoPack::unreadable(*id));
            }
        }
        Ok(())
    }
}

/// The size of a large loose object whose content has its id.
fn streamed_size(
    loose: &mut LooseObjects,
    object: &SelectedObject,
    context: &SyncContext,
) -> Result<Option<u64>, NoPack> {
    let found = loose.stream(&object.id);
    let Some((kind, size, content)) = found.filter(|(kind, ..)| *kind == object.kind) else {
        return Ok(None);
    };
    let mut hasher = gix::hash::hasher(object.id.kind());
    hasher.update(&loose_header(kind, size));
    let read = each_piece(content, |piece| {
        hasher.update(piece);
        context.check().map_err(io::Error::other)
    });
    context.check()?;
    let made = hasher.try_finalize();
    let is_sound = read.is_ok() && made.is_ok_and(|made| made == object.id);
    Ok(is_sound.then_some(size))
}

/// Whether all objects that are sent whole are in one and the same pack.
fn is_one_pack(encodings: &[Encoding]) -> bool {
    let mut packs = encodings.iter().filter_map(|encoding| match encoding {
        Encoding::StoredWhole(location, _) => Some(Some(location.pack)),
        Encoding::Unpacked(_) | Encoding::Undeltified | Encoding::LooseWhole(_) => Some(None),
        Encoding::StoredDelta(..) | Encoding::Delta(..) => None,
    });
    let Some(first) = packs.next() else {
        return true;
    };
    first.is_some() && packs.all(|pack| pack == first)
}

fn read_cached(trees: &TreeCache, id: &oid, content: &mut Vec<u8>) -> bool {
    let Some(tree) = trees.get(id) else {
        return false;
    };
    content.clear();
    content.extend_from_slice(tree);
    true
}

fn candidate(object: &SelectedObject, size: u64, role: Role) -> Candidate {
    Candidate {
        id: object.id,
        kind: object.kind,
        name_hash: object.name_hash,
        size,
        role,
    }
}
