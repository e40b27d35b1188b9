//! Packs on their way into a quarantine, and out of a repository.

use std::{collections::BTreeSet, error::Error as _, io::BufRead};

use gix::{
    ObjectId,
    hash::Kind as HashKind,
    objs::{Find, Kind, compute_hash},
};

use super::{
    bytes::{Bytes, Pieces},
    made_packs::{Form, damage, forms, pack as write, resolvable},
    objects::{Maker, Object, Store, closure, is_whole},
};
use crate::{
    Error, FsckRules, LocalStore, ObjectFormat, PackAnswer, PackRequest, Quarantine, RefSource,
    SyncContext, SyncOptions,
    local::{LocalQuarantine, Scratch},
};

/// A pack behind a byte for what it is: one that is made from the input and maybe damaged, or the
/// input itself with a checksum behind it.
///
/// What the indexer takes has the ids that hashing says, in whichever pieces it comes. What is whole
/// is taken. A tip is found complete only if a plain walk finds everything behind it.
pub fn pack(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mode = Mode::of(bytes.byte());
    EMPTY.with(|stores| {
        let store = &stores[usize::from(mode.hash == HashKind::Sha256)];
        if mode.is_raw {
            let mut pack = bytes.0.to_vec();
            super::made_packs::seal(&mut pack, mode.hash);
            let received = mode.receive(store, &pack);
            if let Ok(received) = received {
                mode.check(received, &[], false);
            }
        } else {
            made(&mut bytes, &mode, store, &[]);
        }
    });
}

/// The same into a repository that has some objects, with deltas of those. A pack is taken if the
/// base of each delta is somewhere, and only then.
pub fn thin_pack(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mode = Mode {
        hash: HashKind::Sha1,
        ..Mode::of(bytes.byte())
    };
    FULL.with(|(store, known)| made(&mut bytes, &mode, store, known));
}

fn made(bytes: &mut Bytes<'_>, mode: &Mode, store: &Scratch, known: &[Object]) {
    let mut maker = Maker {
        hash: mode.hash,
        holes: bytes.bit(),
        known,
        made: Vec::new(),
    };
    for _ in 0..bytes.below(24) {
        maker.make(bytes);
    }
    let objects = maker.made;
    let forms = forms(&objects, known, bytes);
    let mut pack = write(&objects, known, &forms, mode.hash);
    let is_damaged = damage(&mut pack, mode.hash, bytes);
    let received = mode.receive(store, &pack);
    let in_store = known
        .iter()
        .map(|object| (object.id, (object.kind, object.content.clone())));
    let (resolved, depth) = resolvable(&objects, &forms, &in_store.collect());
    let is_whole = !is_damaged && resolved == objects.len();
    match &received {
        Ok(_) if is_damaged => {}
        Ok(received) => {
            assert!(is_whole, "a delta has no base");
            let limits = mode.context.limits();
            let sizes = objects.iter().map(|object| object.content.len() as u64);
            assert!(sizes.sum::<u64>() <= limits.inflated_bytes);
            assert!(depth <= limits.delta_depth);
            let (index, odb) = received.received();
            let mut buffer = Vec::new();
            for object in &objects {
                assert!(index.is_some_and(|index| index.lookup(object.id).is_some()));
                let found = odb
                    .try_find(&object.id, &mut buffer)
                    .expect("readable")
                    .expect("there");
                assert_eq!((found.kind, found.data), (object.kind, &object.content[..]));
            }
            let ids: BTreeSet<_> = objects.iter().map(|object| object.id).collect();
            if let Some(index) = index {
                let own = index
                    .iter()
                    .filter(|entry| ids.contains(&entry.oid))
                    .count();
                assert_eq!(own, objects.len());
                let bases = known.iter().filter(|base| !ids.contains(&base.id));
                let added = bases.filter(|base| index.lookup(base.id).is_some()).count();
                assert_eq!(index.num_objects() as usize, objects.len() + added);
            }
        }
        Err(err) => {
            let excused = mode.is_narrow
                || (!mode.lenient && has_one_twice(&objects))
                || may_go_in_circles(&objects, &forms, known);
            assert!(!is_whole || excused, "{err}: {:?}", err.source());
        }
    }
    if let Ok(received) = received {
        mode.check(received, known, !is_damaged);
    }
}

/// `git index-pack --strict` takes no such pack either.
fn has_one_twice(objects: &[Object]) -> bool {
    let ids: BTreeSet<_> = objects.iter().map(|object| object.id).collect();
    ids.len() < objects.len()
}

/// Whether one who looks for a base by its id has a choice, and could even find what is built on it.
fn may_go_in_circles(objects: &[Object], forms: &[Form], known: &[Object]) -> bool {
    // That of the receiver is added where those in the pack wait for each other.
    let is_twice = |id: &ObjectId| {
        let all = objects.iter().chain(known);
        all.filter(|object| object.id == *id).count() > 1
    };
    let mut deltas = forms
        .iter()
        .zip(objects)
        .filter(|(form, _)| !matches!(form, Form::Whole));
    let named = forms.iter().filter_map(|form| match form {
        Form::DeltaById(base) => Some(base),
        _ => None,
    });
    let mut named = named.peekable();
    named.peek().is_some()
        && (deltas.any(|(_, object)| is_twice(&object.id)) || named.any(is_twice))
}

/// A repository made from the input, and what is asked of it. The pack that comes of it is taken by
/// one that has what it is said to have, and makes the tips complete there.
pub fn outgoing_pack(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mode = bytes.byte();
    let hash = if mode & 1 == 0 {
        HashKind::Sha1
    } else {
        HashKind::Sha256
    };
    let mut maker = Maker {
        hash,
        holes: false,
        known: &[],
        made: Vec::new(),
    };
    for _ in 0..1 + bytes.below(40) {
        maker.make(&mut bytes);
    }
    let mut seen = BTreeSet::new();
    let objects: Vec<_> = maker
        .made
        .into_iter()
        .filter(|object| is_whole(object) && seen.insert(object.id))
        .collect();
    let all: Store = objects
        .iter()
        .map(|object| (object.id, (object.kind, object.content.clone())))
        .collect();
    let (wants, haves) = (tips(&objects, 4, &mut bytes), tips(&objects, 4, &mut bytes));
    if wants.is_empty() {
        return;
    }
    let behind = |tips: &[ObjectId]| -> BTreeSet<ObjectId> {
        let each = tips
            .iter()
            .map(|tip| closure(*tip, &all).expect("complete"));
        each.flatten().collect()
    };
    let (needed, held) = (behind(&wants), behind(&haves));
    let mut sound = forms(&objects, &[], &mut bytes);
    for form in &mut sound {
        if matches!(form, Form::DeltaById(_)) {
            *form = Form::Whole;
        }
    }
    let context = SyncContext::new(&SyncOptions::default());
    let source = store_of(&objects, &sound, hash, &context);
    let held_objects: Vec<_> = objects
        .into_iter()
        .filter(|object| held.contains(&object.id))
        .collect();
    let whole = vec![Form::Whole; held_objects.len()];
    let destination = store_of(&held_objects, &whole, hash, &context);

    let request = PackRequest {
        wants: wants.iter().copied().map(crate::ObjectId).collect(),
        haves: haves.into_iter().map(crate::ObjectId).collect(),
        thin: mode & 2 != 0,
        ofs_delta: mode & 4 != 0,
        ..PackRequest::default()
    };
    let mut pack = Vec::new();
    let answer = source.store.upload_pack(
        &request,
        &mut |stream| {
            stream.read_to_end(&mut pack).expect("a pack");
            Ok(())
        },
        &context,
    );
    assert_eq!(answer.expect("an answer"), PackAnswer::Sent);
    let mut received = receive(&destination.store, &mut &pack[..], &context).expect("our own pack");
    let announced = u32::from_be_bytes(pack[8..12].try_into().expect("a header"));
    check_sent(&mut received, &needed, &held, &request, announced, &all);
    let incomplete = received
        .find_incomplete(&request.wants, &context)
        .expect("an answer");
    assert_eq!(incomplete, []);
}

/// Picks fewer than `most` commits and tags.
fn tips(objects: &[Object], most: usize, bytes: &mut Bytes<'_>) -> Vec<ObjectId> {
    let fit = objects
        .iter()
        .rev()
        .filter(|object| matches!(object.kind, Kind::Commit | Kind::Tag));
    let fit: Vec<_> = fit.collect();
    let count = bytes.below(most);
    let picked = (0..count)
        .filter_map(|_| fit.get(bytes.below(fit.len())))
        .map(|object| object.id);
    picked.collect()
}

/// Asserts that a received pack has the needed objects and nothing else but bases.
fn check_sent(
    received: &mut LocalQuarantine,
    needed: &BTreeSet<ObjectId>,
    held: &BTreeSet<ObjectId>,
    request: &PackRequest,
    announced: u32,
    all: &Store,
) {
    let (index, odb) = received.received();
    let count = index.map_or(0, |index| index.num_objects());
    assert!(count >= announced && (request.thin || count == announced));
    let sent: BTreeSet<_> = index
        .into_iter()
        .flat_map(|index| index.iter().map(|entry| entry.oid))
        .collect();
    assert_eq!(sent.len(), count as usize, "each once");
    assert!(
        needed.difference(held).all(|id| sent.contains(id)),
        "all that is needed"
    );
    let extra = sent.iter().filter(|id| !needed.contains(*id)).count();
    assert!(
        extra <= (count - announced) as usize,
        "nothing else but bases"
    );
    let mut buffer = Vec::new();
    for id in &sent {
        let found = odb
            .try_find(id, &mut buffer)
            .expect("readable")
            .expect("there");
        let (kind, content) = &all[id];
        assert_eq!((found.kind, found.data), (*kind, &content[..]));
    }
}

struct Mode {
    hash: HashKind,
    is_raw: bool,
    in_pieces: bool,
    is_narrow: bool,
    lenient: bool,
    seed: u8,
    context: SyncContext,
    /// The same in small windows.
    in_windows: SyncContext,
}

impl Mode {
    fn of(seed: u8) -> Self {
        let mut options = SyncOptions::default();
        let is_narrow = seed & 0x70 == 0x10;
        if is_narrow {
            let limits = &mut options.limits;
            (limits.object_size, limits.inflated_bytes) = (1000, 3000);
            (limits.delta_depth, limits.thin_bases) = (2, 100);
        }
        options.limits.memory = if seed & 8 == 0 {
            1024 * 1024
        } else {
            64 * 1024
        };
        let lenient = seed & 4 == 0;
        if lenient {
            options.fsck = FsckRules::none();
        }
        let mut in_windows = SyncContext::new(&options);
        in_windows.tuning.window = 1 + u64::from(seed >> 2);
        Mode {
            hash: if seed & 1 == 0 {
                HashKind::Sha1
            } else {
                HashKind::Sha256
            },
            is_raw: seed & 2 != 0,
            in_pieces: seed & 0x80 != 0,
            is_narrow,
            lenient,
            seed,
            context: SyncContext::new(&options),
            in_windows,
        }
    }

    /// In pieces it comes to the same, and so it does in windows but for which of several faults is
    /// told.
    fn receive(&self, store: &Scratch, pack: &[u8]) -> Result<LocalQuarantine, Error> {
        let whole = receive(&store.store, &mut &*pack, &self.context);
        if self.in_pieces {
            let pieces = receive(
                &store.store,
                &mut Pieces::new(pack, self.seed),
                &self.context,
            );
            let said = |received: &Result<LocalQuarantine, Error>| match received {
                Err(err) => Err((err.kind(), err.to_string())),
                Ok(received) => Ok(received.received().0.map(|index| index.pack_checksum())),
            };
            assert_eq!(said(&whole), said(&pieces));

            let windows = receive(&store.store, &mut &*pack, &self.in_windows);
            assert_eq!(said(&whole).ok(), said(&windows).ok(), "{}", self.seed);
        }
        whole
    }

    fn check(&self, mut received: LocalQuarantine, known: &[Object], is_well_made: bool) {
        let mut all: Store = known
            .iter()
            .map(|object| (object.id, (object.kind, object.content.clone())))
            .collect();
        let (index, odb) = received.received();
        let mut tips: Vec<_> = all.keys().copied().collect();
        let mut buffer = Vec::new();
        for entry in index.into_iter().flat_map(|index| index.iter()) {
            let found = odb
                .try_find(&entry.oid, &mut buffer)
                .expect("readable")
                .expect("there");
            let id = compute_hash(self.hash, found.kind, found.data).expect("no collision");
            assert_eq!(id, entry.oid);
            tips.push(id);
            // What is too large came in, and nothing that needs it is complete.
            if found.data.len() as u64 <= self.context.limits().object_size {
                all.insert(id, (found.kind, found.data.to_vec()));
            }
        }
        tips.push(self.hash.null());
        let tips: Vec<_> = tips.into_iter().map(crate::ObjectId).collect();
        let faults = match received.find_incomplete(&tips, &self.context) {
            Ok(faults) => faults,
            Err(err) => {
                assert!(!self.lenient, "{err}");
                return;
            }
        };
        for tip in tips {
            let is_complete = closure(tip.0, &all).is_some();
            match faults.iter().find(|(faulty, _)| *faulty == tip) {
                None => assert!(is_complete, "{tip} lacks something"),
                Some((_, reason)) => assert!(
                    !is_complete || !self.lenient || !is_well_made,
                    "{tip}: {reason}"
                ),
            }
        }
    }
}

fn receive(
    store: &LocalStore,
    pack: &mut dyn BufRead,
    context: &SyncContext,
) -> Result<LocalQuarantine, Error> {
    let mut quarantine = store.quarantine(context)?;
    quarantine.receive(pack, context)?;
    Ok(quarantine)
}

/// A repository with these objects, and no refs.
pub(super) fn store_of(
    objects: &[Object],
    forms: &[Form],
    hash: HashKind,
    context: &SyncContext,
) -> Scratch {
    let format = ObjectFormat::of(hash);
    let store = Scratch::create(None, format).expect("a folder");
    let pack = write(objects, &[], forms, hash);
    let mut received = receive(&store.store, &mut &pack[..], context).expect("a pack");
    received.apply(&[], context).expect("moved in");
    store
}

thread_local! {
    static EMPTY: [Scratch; 2] = [ObjectFormat::Sha1, ObjectFormat::Sha256]
        .map(|format| Scratch::create(None, format).expect("a folder"));

    /// And what it has.
    static FULL: (Scratch, Vec<Object>) = {
        let mut maker = Maker {
            hash: HashKind::Sha1,
            holes: false,
            known: &[],
            made: Vec::new(),
        };
        // Two blobs, two trees, three commits and a tag.
        let plan: [&[u8]; 8] = [
            &[0, 20, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
            &[0, 3, 3, b'a', b'b', b'c'],
            &[80, 0, 2, 0, 1],
            &[80, 2, 2, 0, 0],
            &[150, 0, 4, 1],
            &[150, 1, 0, 0, 2],
            &[150, 0, 3, 0, 1, 3],
            &[230, 0, 0],
        ];
        for object in plan {
            maker.make(&mut Bytes(object));
        }
        assert!(maker.made.iter().all(is_whole));
        let forms = vec![Form::Whole; maker.made.len()];
        let context = SyncContext::new(&SyncOptions::default());
        let store = store_of(&maker.made, &forms, HashKind::Sha1, &context);
        (store, maker.made)
    };
}
