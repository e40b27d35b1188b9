//! In which form each object of a pack is sent, and in which order.
//!
//! What lies in a pack as a delta of something that is sent, or that the receiver has, is sent as it
//! lies there. For the rest a delta is sought, and what remains is sent whole.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use gix::{
    ObjectId,
    objs::{Find, FindHeader, Kind},
    oid,
};

use super::{
    NoPack,
    loose::LooseObjects,
    scan::Scanned,
    search::{self, Candidate, Delta, Limits},
    selection::{Selected, Selection},
    stored::{Form, Place, StoredPacks},
    survey::{PackOrder, Survey},
    texts::TreeTexts,
};
use crate::{Error, ErrorKind, Phase, Run};

/// An object and how it is sent. There is one for each object of the pack, so what is rare is boxed.
pub(super) struct Item {
    pub(super) object: Selected,
    pub(super) sent_as: SentAs,
}

pub(super) enum SentAs {
    /// Compressed when its turn comes; its size, where that is known already.
    Whole(Option<u64>),
    /// Whole and of this size, as it lies in a pack.
    StoredWhole(Place, u64),
    /// A delta, as it lies in a pack.
    StoredDelta(Place, Base),
    /// A delta that was made for this pack.
    Delta(Box<Delta>, Base),
}

/// What a delta is one of.
#[derive(Clone)]
pub(super) enum Base {
    /// Another item, which comes before.
    Item(u32),
    /// An object that the receiver has, or gets with a pack that is sent as it is.
    AtReceiver(Box<ObjectId>),
}

/// The objects of a pack in the order in which they are written.
pub(super) fn lay_out(
    odb: &gix::odb::Handle,
    packs: &StoredPacks,
    folders: &[PathBuf],
    selection: Selection,
    thin: bool,
    run: &Run,
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
    sources.check_readable(&items, run)?;
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
    odb: &'a gix::odb::Handle,
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
        run: &Run,
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
    fn find_deltas(&self, items: &mut [Item], bases: &[Selected], run: &Run) -> Result<(), NoPack> {
        let heights = heights(items);
        let mut candidates = Vec::new();
        let mut numbers = Vec::new();
        for (number, item) in items.iter().enumerate() {
            run.check()?;
            let (whole_in, size) = match item.sent_as {
                SentAs::Whole(size) => (None, size.or_else(|| self.size(&item.object.id))),
                SentAs::StoredWhole(place, size) => (Some(place.pack), Some(size)),
                SentAs::StoredDelta(..) | SentAs::Delta(..) => continue,
            };
            let size = size.ok_or_else(|| NoPack::unreadable(item.object.id))?;
            let height = heights[number];
            candidates.push(candidate(&item.object, size, false, whole_in, height));
            numbers.push(Base::Item(number as u32));
        }
        // What lies in one pack was compared when that was written.
        let pack = candidates.first().and_then(|first| first.whole_in);
        let is_one_pack = |candidate: &Candidate| pack.is_some() && candidate.whole_in == pack;
        if bases.is_empty() && candidates.iter().all(is_one_pack) {
            return Ok(());
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
            let mut odb = odb.lock().unwrap_or_else(PoisonError::into_inner).clone();
            odb.unset_object_cache();
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
        let found = search::search(&candidates, open, &Limits::default(), run);
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
    fn check_readable(&self, items: &[Item], run: &Run) -> Result<(), NoPack> {
        let mut loose = LooseObjects::at(self.folders);
        let mut buffer = Vec::new();
        for item in items
            .iter()
            .filter(|item| matches!(item.sent_as, SentAs::Whole(_)))
        {
            run.check()?;
            if self.texts.get(&item.object.id).is_none()
                && loose.read(&item.object.id, &mut buffer).is_none()
                && !matches!(self.odb.try_find(&item.object.id, &mut buffer), Ok(Some(_)))
            {
                return Err(NoPack::unreadable(item.object.id));
            }
        }
        Ok(())
    }
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

impl SentAs {
    /// Or in a pack that is damaged.
    fn is_not_packed(&self) -> bool {
        matches!(self, SentAs::Whole(Some(_)))
    }

    /// The item that has to come before.
    fn base(&self) -> Option<usize> {
        match self {
            SentAs::StoredDelta(_, Base::Item(base)) | SentAs::Delta(_, Base::Item(base)) => {
                Some(*base as usize)
            }
            _ => None,
        }
    }
}

/// Within one pack deltas can't lead in a circle; taken from several they can.
fn break_cycles(items: &mut [Item]) {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        OnPath,
        Done,
    }
    let mut states = vec![State::New; items.len()];
    let mut path = Vec::new();
    for start in 0..items.len() {
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| states[*at] == State::New) {
            states[at] = State::OnPath;
            path.push(at);
            next = items[at].sent_as.base();
            if next.is_some_and(|next| states[next] == State::OnPath) {
                items[at].sent_as = SentAs::Whole(None);
            }
        }
        for at in path.drain(..) {
            states[at] = State::Done;
        }
    }
}

/// How many deltas deep the chains are that hang on each item.
fn heights(items: &[Item]) -> Vec<u32> {
    let mut children = vec![0_u32; items.len()];
    for base in items.iter().filter_map(|item| item.sent_as.base()) {
        children[base] += 1;
    }
    let mut heights = vec![0; items.len()];
    let leaves = (0..items.len()).filter(|at| children[*at] == 0);
    let mut done: Vec<usize> = leaves.collect();
    while let Some(at) = done.pop() {
        if let Some(base) = items[at].sent_as.base() {
            heights[base] = heights[base].max(heights[at] + 1);
            children[base] -= 1;
            if children[base] == 0 {
                done.push(base);
            }
        }
    }
    heights
}

/// Each base before its deltas; apart from that first what is not in packs, then each pack's objects
/// as they lie there, which reads it from start to end.
fn order(mut items: Vec<Item>) -> Vec<Item> {
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by_cached_key(|at| match items[*at].sent_as {
        SentAs::StoredWhole(place, _) | SentAs::StoredDelta(place, _) => {
            Some((place.pack, place.offset))
        }
        SentAs::Whole(_) | SentAs::Delta(..) => None,
    });
    let mut new_places = vec![u32::MAX; items.len()];
    let mut placed = 0;
    let mut chain = Vec::new();
    for start in sorted {
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| new_places[*at] == u32::MAX) {
            chain.push(at);
            next = items[at].sent_as.base();
        }
        for at in chain.drain(..).rev() {
            new_places[at] = placed;
            placed += 1;
        }
    }
    for item in &mut items {
        if let SentAs::StoredDelta(_, Base::Item(base)) | SentAs::Delta(_, Base::Item(base)) =
            &mut item.sent_as
        {
            *base = new_places[*base as usize];
        }
    }
    for at in 0..items.len() {
        while new_places[at] as usize != at {
            let to = new_places[at] as usize;
            items.swap(at, to);
            new_places.swap(at, to);
        }
    }
    items
}
