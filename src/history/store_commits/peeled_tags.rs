//! The targets of tags.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use gix::{
    ObjectId,
    objs::{Find, Kind, TagRefIter},
    oid,
};

use super::StoreCommits;
use crate::{Error, SyncContext};

/// The peeled target of each tag that was read. Each is read once: many tags can lead to each other.
pub(crate) type PeeledTags = Rc<RefCell<HashMap<ObjectId, ObjectId>>>;

impl StoreCommits<'_> {
    /// Shares `peeled` with other readers of the store.
    pub(crate) fn with_peeled(mut self, peeled: &PeeledTags) -> Self {
        self.peeled = Rc::clone(peeled);
        self
    }

    /// The target of a tag that was [peeled](Self::peel) before.
    pub(crate) fn peeled(&self, tag: &oid) -> Option<ObjectId> {
        self.peeled.borrow().get(tag).copied()
    }

    /// Follows tags to their target, as far as they can be read.
    pub(crate) fn peel(&mut self, id: ObjectId, context: &SyncContext) -> Result<ObjectId, Error> {
        let mut peeled = id;
        let mut tags = Vec::new();
        loop {
            if let Some(known) = self.peeled(&peeled) {
                peeled = known;
                break;
            }
            match self.kind(&peeled) {
                Some(Kind::Tag) => context.check()?,
                Some(_) => break,
                // Not remembered: a second look may find the object.
                None => return Ok(peeled),
            }
            let Ok(Some(tag)) = self.odb.try_find(&peeled, &mut self.buffer) else {
                return Ok(peeled);
            };
            let Ok(target) = TagRefIter::from_bytes(tag.data, peeled.kind()).target_id() else {
                return Ok(peeled);
            };
            tags.push(peeled);
            peeled = target;
        }
        let known = tags.into_iter().map(|tag| (tag, peeled));
        self.peeled.borrow_mut().extend(known);
        Ok(peeled)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::atomic::Ordering};

    use super::*;
    use crate::{
        ErrorKind, SyncOptions,
        fuzzing::made_packs::{Form, Object, pack},
        stored_packs::odb::Odb,
        test_support::git_cli,
    };

    /// A run that is over reads no more tags, which shows what was read.
    #[test]
    fn tags_of_tags_are_read_once_each_and_can_be_left_in_the_middle() {
        let mut objects = vec![Object::new(
            Kind::Blob,
            b"1".to_vec(),
            gix::hash::Kind::Sha1,
        )];
        let blob = objects[0].id;
        for number in 0..1500 {
            let (target, kind) = objects
                .last()
                .map(|last| (last.id, last.kind))
                .expect("one");
            let tag = format!("object {target}\ntype {kind}\ntag {number}\n\n");
            objects.push(Object::new(
                Kind::Tag,
                tag.into_bytes(),
                gix::hash::Kind::Sha1,
            ));
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        git_cli::git(dir.path(), &["init", "--quiet", "--bare"], b"");
        let forms = vec![Form::Whole; objects.len()];
        let pack = pack(&objects, &[], &forms, gix::hash::Kind::Sha1);
        git_cli::git(dir.path(), &["index-pack", "--stdin"], &pack);
        let odb = Odb::at(dir.path().join("objects"), gix::hash::Kind::Sha1).expect("a store");

        let (going, over) = (
            SyncContext::new(&SyncOptions::default()),
            SyncContext::new(&SyncOptions::default()),
        );
        over.cancel_flag().store(true, Ordering::Relaxed);
        let (none, peeled) = (HashSet::new(), PeeledTags::default());
        let commits = || StoreCommits::new(&odb, None, &none).with_peeled(&peeled);
        let peel = |tip: usize, context| commits().peel(objects[tip].id, context);
        assert_eq!(peel(0, &over).ok(), Some(blob));
        let err = peel(1, &over).expect_err("cancelled");
        assert_eq!(err.kind(), ErrorKind::Cancelled);
        assert_eq!(peel(1000, &going).ok(), Some(blob));
        assert!((0..=1000).all(|tip| peel(tip, &over).ok() == Some(blob)));
        assert!(peel(1001, &over).is_err());
        assert_eq!(peel(1500, &going).ok(), Some(blob));
        assert_eq!(commits().peeled(&objects[1500].id), Some(blob));
        assert_eq!(commits().peeled(&blob), None);
    }
}
