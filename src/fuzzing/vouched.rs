//! Packs for a repository whose refs vouch for some of its objects, and not for the debris beside them.

use std::collections::BTreeSet;

use gix::{hash::Kind as HashKind, objs::Kind};

use super::{
    bytes::Bytes,
    made_packs::{Form, forms, pack as write},
    objects::{Maker, Object, Store, closure, is_whole},
    packs::store_of,
};
use crate::{FsckRules, Quarantine, RefUpdate, SyncContext, SyncOptions};

/// A repository made from the input, with refs, with objects that lack something, and without some that
/// others name; and a pack whose sender was told of the refs.
///
/// A tip is found complete if a plain walk finds everything behind it, and only then: whatever the pack
/// is built on, and whatever completes it.
pub fn vouched_pack(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mode = bytes.byte();
    let hash = match mode & 1 {
        0 => HashKind::Sha1,
        _ => HashKind::Sha256,
    };
    let mut options = SyncOptions::default();
    let is_lenient = mode & 2 == 0;
    if is_lenient {
        options.fsck = FsckRules::none();
    }
    let mut context = SyncContext::new(&options);

    let mut known = make(&[], hash, &mut bytes);
    known.retain(|_| bytes.byte() < 0xf0);
    let mut all = by_id(&known);
    let vouched = known.iter().filter(|object| {
        let is_tip = matches!(object.kind, Kind::Commit | Kind::Tag);
        is_tip && closure(object.id, &all).is_some()
    });
    let vouched: Vec<_> = vouched.map(|object| object.id).collect();
    let refs = (0..bytes.below(5)).filter_map(|_| vouched.get(bytes.below(vouched.len())));
    let refs: BTreeSet<_> = refs.copied().collect();
    let whole = vec![Form::Whole; known.len()];
    let store = store_of(&known, &whole, hash, &context);
    let names = refs.iter().map(|tip| format!("refs/tags/{tip}"));
    let names: Vec<_> = names.collect();
    let updates = refs.iter().zip(&names).map(|(tip, name)| RefUpdate {
        name: name.as_str().into(),
        expected: None,
        new: crate::ObjectId(*tip),
    });
    let updates: Vec<_> = updates.collect();
    let mut quarantine = store.store.quarantine(&context).expect("a folder");
    let moved = quarantine.apply(&updates, &context).expect("written");
    assert!(moved.iter().all(Result::is_ok));

    // What the sender knows is what the refs lead to, for the most part.
    let behind = |tip| closure(tip, &all).expect("complete");
    let behind: BTreeSet<_> = refs.iter().copied().flat_map(behind).collect();
    known.retain(|object| behind.contains(&object.id) || bytes.byte() < 0x30);
    let objects = make(&known, hash, &mut bytes);
    let forms = forms(&objects, &known, &mut bytes);
    let pack = write(&objects, &known, &forms, hash);
    let mut quarantine = store.store.quarantine(&context).expect("a folder");
    if mode & 4 != 0 {
        context.tuning.window = 1 + u64::from(mode >> 3);
    }
    let haves = quarantine.haves(&[], 32, &context).expect("an answer");
    assert!(haves.iter().all(|have| behind.contains(&have.0)));
    // What is taken at all, `thin_pack` tells.
    if quarantine.receive(&mut &pack[..], &context).is_err() {
        return;
    }

    all.extend(by_id(&objects));
    let tips = all.keys().copied().chain([hash.null()]);
    let tips: Vec<_> = tips.map(crate::ObjectId).collect();
    let faults = match quarantine.find_incomplete(&tips, &context) {
        Ok(faults) => faults,
        Err(err) => {
            assert!(!is_lenient, "{err}");
            return;
        }
    };
    for tip in tips {
        let is_complete = closure(tip.0, &all).is_some();
        match faults.iter().find(|(faulty, _)| *faulty == tip) {
            None => assert!(is_complete, "{tip} lacks something"),
            Some((_, reason)) => assert!(!is_complete || !is_lenient, "{tip}: {reason}"),
        }
    }
}

/// Each once.
fn make(known: &[Object], hash: HashKind, bytes: &mut Bytes<'_>) -> Vec<Object> {
    let mut maker = Maker {
        hash,
        holes: true,
        known,
        made: Vec::new(),
    };
    for _ in 0..1 + bytes.below(24) {
        match bytes.byte() {
            0..176 => maker.make(bytes),
            _ => maker.make_version_of_tree(bytes),
        }
    }
    let mut seen = BTreeSet::new();
    let made = maker.made.into_iter();
    made.filter(|object| is_whole(object) && seen.insert(object.id))
        .collect()
}

fn by_id(objects: &[Object]) -> Store {
    let each = objects.iter();
    each.map(|object| (object.id, (object.kind, object.content.clone())))
        .collect()
}
