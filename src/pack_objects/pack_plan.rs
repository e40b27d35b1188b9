//! In which form each object of a pack is sent.
//!
//! What lies in a pack as a delta of something that is sent, or that the receiver has, is sent as it
//! lies there. For the rest a delta is sought, and what remains is sent whole.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    io::BufRead,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use gix::{
    ObjectId,
    objs::{Find, FindHeader, Kind, encode::loose_header},
    oid,
};

use super::{
    NoPack,
    delta_search::{self, Candidate, Limits},
    object_selection::{Selected, Selection},
    planned_objects::{Base, Item, SentAs, break_cycles, heights, order},
    tree_cache::TreeTexts,
};
use crate::{
    Error, ErrorKind, Phase, SyncContext,
    stored_packs::odb::Odb,
    stored_packs::{
        Form, StoredPacks,
        loose_objects::LooseObjects,
        pack_scan::Scanned,
        rev_index::{PackOrder, Survey},
    },
};

/// The objects of a pack in the order in which they are written.
pub(super) fn lay_out(
    odb: &Odb,
    packs: &StoredPacks,
    folders: &[PathBuf],
    selection: Selection,
    thin: bool,
    run: &SyncContext,
) -> Result<Vec<Item>, NoPack> {
    let Selection {
        objects,
        bases,
        is_with_pack,
        texts,
    } = selection;
    let bases = if thin { bases } else { Vec::new() };
    let sources = Sources {
        odb,
        packs,
        folders,
        texts: &texts,
        sent_pack: match is_with_pack {
            true => packs.largest_order(),
            false => None,
        },
    };
    let mut items = sources.stored_forms(objects, &bases, run)?;
    break_cycles(&mut items);
    sources.find_deltas(&mut items, &bases, run)?;
    sources.check_readable(&mut items, run)?;
    Ok(order(items))
}

/// The pack that was looked at as a whole, which spares looking its objects up one by one.
struct Surveyed<'a> {
    survey: Survey<'a>,
    is_only_pack: bool,
    /// Which item is at each place.
    items: Vec<u32>,
}

const NOT_SENT: u32 = u32::MAX;

impl<'a> Surveyed<'a> {
    fn new(packs: &'a StoredPacks, objects: &[Selected]) -> Option<Self> {
        let survey = packs.surveyed()?;
        let mut items = vec![NOT_SENT; survey.order.len()];
        for (number, object) in (0..).zip(objects) {
            if let Some(place) = object.place {
                items[place as usize] = number;
            }
        }
        Some(Surveyed {
            survey,
            is_only_pack: packs.count() == 1,
            items,
        })
    }

    /// `None` where another copy may be better, or this one is damaged.
    fn form(&self, object: &Selected) -> Option<SentAs> {
        let at = object.place?;
        let place = self.survey.stored_at(at);
        match self.survey.entries[at as usize] {
            Scanned::Delta(base) => {
                let base = self.items[base as usize];
                (base != NOT_SENT).then_some(SentAs::StoredDelta(place, Base::Item(base)))
            }
            Scanned::Whole(kind, size) if self.is_only_pack && kind == object.kind => {
                Some(SentAs::StoredWhole(place, size))
            }
            _ => None,
        }
    }
}

struct Sources<'a> {
    odb: &'a Odb,
    packs: &'a StoredPacks,
    folders: &'a [PathBuf],
    texts: &'a TreeTexts,
    /// One that is sent as it is.
    sent_pack: Option<PackOrder<'a>>,
}

impl Sources<'_> {
    fn stored_forms(
        &self,
        objects: Vec<Selected>,
        bases: &[Selected],
        run: &SyncContext,
    ) -> Result<Vec<Item>, NoPack> {
        let surveyed = Surveyed::new(self.packs, &objects);
        let numbers = OnceCell::new();
        let numbers = || -> &HashMap<ObjectId, u32> {
            numbers.get_or_init(|| objects.iter().map(|object| object.id).zip(0..).collect())
        };
        let bases: HashSet<ObjectId> = bases.iter().map(|base| base.id).collect();
        let base_of = |id: ObjectId| match numbers().get(&id) {
            Some(number) => Some(Base::Item(*number)),
            None => {
                let is_sent = || self.sent_pack.is_some_and(|pack| pack.find(&id).is_some());
                (bases.contains(&id) || is_sent()).then(|| Base::AtReceiver(id.into()))
            }
        };
        let total = Some(objects.len() as u64);
        let mut loose = LooseObjects::at(self.folders);
        let mut forms = Vec::with_capacity(objects.len());
        for object in &objects {
            run.check()?;
            if forms.len().is_multiple_of(1024) {
                run.advance(Phase::Count, forms.len() as u64, total);
            }
            let known = surveyed.as_ref().and_then(|survey| survey.form(object));
            forms.push(match known {
                Some(form) => form,
                None => self.stored_form(object, &mut loose, base_of)?,
            });
        }
        let items = objects.into_iter().zip(forms);
        let items = items.map(|(object, sent_as)| Item { object, sent_as });
        Ok(items.collect())
    }

    /// A copy that is a delta is preferred to one that is whole.
    fn stored_form(
        &self,
        object: &Selected,
        loose: &mut LooseObjects,
        base_of: impl Fn(ObjectId) -> Option<Base>,
    ) -> Result<SentAs, NoPack> {
        let mut best = None;
        let mut is_damaged = false;
        for place in self.packs.find(&object.id) {
            let form = match self.packs.inspect(place) {
                Some(Form::Whole(kind, size)) if kind == object.kind => {
                    SentAs::StoredWhole(place, size)
                }
                Some(Form::Whole(..)) => return Err(NoPack::unfit(object.id)),
                Some(Form::Delta(base)) => match base_of(base) {
                    Some(base) => SentAs::StoredDelta(place, base),
                    None => SentAs::Whole(None),
                },
                None => {
                    is_damaged = true;
                    continue;
                }
            };
            if matches!(form, SentAs::StoredDelta(..)) {
                return Ok(form);
            }
            best = match (best, form) {
                (Some(whole @ SentAs::StoredWhole(..)), _) => Some(whole),
                (_, form) => Some(form),
            };
        }
        if best.is_none() {
            let read = self.texts.get(&object.id);
            let read = read.map(|text| (Kind::Tree, text.len() as u64));
            if let Some((kind, size)) = read.or_else(|| loose.header(&object.id))
                && kind == object.kind
            {
                return Ok(SentAs::Whole(Some(size)));
            }
        }
        match best {
            Some(form) => Ok(form),
            // What can't be read in one place may be fine in another, if there is one.
            None => match self.odb.try_header(&object.id) {
                Ok(Some(header)) if header.kind == object.kind => {
                    Ok(SentAs::Whole(Some(header.size)))
                }
                Ok(Some(_)) => Err(NoPack::unfit(object.id)),
                Ok(None) if !is_damaged => Err(NoPack::missing(object.id)),
                Ok(None) | Err(_) => Err(NoPack::unreadable(object.id)),
            },
        }
    }

    /// Seeks a delta for everything that isn't one.
    fn find_deltas(
        &self,
        items: &mut [Item],
        bases: &[Selected],
        run: &SyncContext,
    ) -> Result<(), NoPack> {
        // What lies in one pack was compared when that was written.
        if bases.is_empty() && is_one_pack(items) {
            return Ok(());
        }
        let heights = heights(items);
        let mut candidates = Vec::new();
        let mut numbers = Vec::new();
        for (number, item) in items.iter().enumerate() {
            run.check()?;
            let (whole_in, size) = match item.sent_as {
                SentAs::Whole(size) => (None, size.or_else(|| self.size(&item.object.id))),
                SentAs::StoredWhole(place, size) => (Some(place.pack), Some(size)),
                SentAs::LooseWhole(_) | SentAs::StoredDelta(..) | SentAs::Delta(..) => continue,
            };
            let size = size.ok_or_else(|| NoPack::unreadable(item.object.id))?;
            let height = heights[number];
            candidates.push(candidate(&item.object, size, false, whole_in, height));
            numbers.push(Base::Item(number as u32));
        }
        for base in bases {
            run.check()?;
            // One that can't be read is as good as none.
            if let Some(size) = self.size(&base.id) {
                candidates.push(candidate(base, size, true, None, 0));
                numbers.push(Base::AtReceiver(base.id.into()));
            }
        }
        let not_sent: HashSet<ObjectId> = bases.iter().map(|base| base.id).collect();
        let not_packed = items.iter().filter(|item| item.sent_as.is_not_packed());
        let not_packed: HashSet<ObjectId> = not_packed.map(|item| item.object.id).collect();
        let fault = Mutex::new(None);
        // A handle can go to another thread, but not be shared with it.
        let odb = Mutex::new(self.odb.clone());
        let texts = self.texts;
        let open = || {
            let odb = odb.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut loose = LooseObjects::at(self.folders);
            let (fault, not_sent, not_packed) = (&fault, &not_sent, &not_packed);
            move |id: &oid, content: &mut Vec<u8>| match read_tree(texts, id, content)
                || not_packed.contains(id) && loose.read(id, content).is_some()
                || matches!(odb.try_find(id, content), Ok(Some(_)))
            {
                true => Ok(()),
                false => {
                    let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
                    // The search does without what can only be a base.
                    if !not_sent.contains(id) {
                        *fault = Some(id.to_owned());
                    }
                    Err(Error::new(ErrorKind::Corrupt, "an object can't be read"))
                }
            }
        };
        let found = delta_search::search(&candidates, open, &limits(run), run);
        if let Some(fault) = fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(NoPack::unreadable(fault));
        }
        for (number, delta) in numbers.iter().zip(found?) {
            if let (Base::Item(number), Some(delta)) = (number, delta) {
                let base = numbers[delta.base].clone();
                items[*number as usize].sent_as = SentAs::Delta(delta.into(), base);
            }
        }
        Ok(())
    }

    fn size(&self, id: &oid) -> Option<u64> {
        match self.texts.get(id) {
            Some(text) => Some(text.len() as u64),
            None => Some(self.odb.try_header(id).ok()??.size),
        }
    }

    /// Reads what nobody has read so far: a pack that has begun can only be broken off.
    fn check_readable(&self, items: &mut [Item], run: &SyncContext) -> Result<(), NoPack> {
        let mut loose = LooseObjects::at(self.folders);
        let mut buffer = Vec::new();
        for item in items
            .iter_mut()
            .filter(|item| matches!(item.sent_as, SentAs::Whole(_)))
        {
            run.check()?;
            let id = &item.object.id;
            if self.texts.get(id).is_some() || loose.read(id, &mut buffer).is_some() {
                continue;
            }
            if let Some(size) = streamed_size(&mut loose, &item.object, run)? {
                item.sent_as = SentAs::LooseWhole(size);
            } else if !matches!(self.odb.try_find(id, &mut buffer), Ok(Some(_))) {
                return Err(NoPack::unreadable(*id));
            }
        }
        Ok(())
    }
}

/// The size of a large loose object that is the one that its name says.
fn streamed_size(
    loose: &mut LooseObjects,
    object: &Selected,
    run: &SyncContext,
) -> Result<Option<u64>, NoPack> {
    let found = loose.stream(&object.id);
    let Some((kind, size, mut content)) = found.filter(|(kind, ..)| *kind == object.kind) else {
        return Ok(None);
    };
    let mut hasher = gix::hash::hasher(object.id.kind());
    hasher.update(&loose_header(kind, size));
    loop {
        run.check()?;
        let ready = match content.fill_buf() {
            Ok([]) => break,
            Ok(ready) => ready,
            Err(_) => return Ok(None),
        };
        hasher.update(ready);
        let ready = ready.len();
        content.consume(ready);
    }
    let made = hasher.try_finalize();
    Ok(made.is_ok_and(|made| made == object.id).then_some(size))
}

/// Whether all that is sent whole lies in one and the same pack.
fn is_one_pack(items: &[Item]) -> bool {
    let mut packs = items.iter().filter_map(|item| match item.sent_as {
        SentAs::StoredWhole(place, _) => Some(Some(place.pack)),
        SentAs::Whole(_) | SentAs::LooseWhole(_) => Some(None),
        SentAs::StoredDelta(..) | SentAs::Delta(..) => None,
    });
    let Some(first) = packs.next() else {
        return true;
    };
    first.is_some() && packs.all(|pack| pack == first)
}

/// Three quarters of the memory that the run may take; caches take the rest.
fn limits(run: &SyncContext) -> Limits {
    let memory = run.limits().memory / 4 * 3;
    Limits::within(usize::try_from(memory).unwrap_or(usize::MAX))
}

fn read_tree(texts: &TreeTexts, id: &oid, content: &mut Vec<u8>) -> bool {
    let text = texts.get(id);
    if let Some(text) = text {
        content.clear();
        content.extend_from_slice(text);
    }
    text.is_some()
}

fn candidate(
    object: &Selected,
    size: u64,
    is_base_only: bool,
    whole_in: Option<u32>,
    height: u32,
) -> Candidate {
    Candidate {
        id: object.id,
        kind: object.kind,
        name_hash: object.name_hash,
        size,
        is_base_only,
        whole_in,
        height,
    }
}
