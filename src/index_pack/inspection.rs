//! The inspection of each received object: fsck, parsability, and its references.

use std::{collections::HashMap, sync::Mutex};

use gix::{ObjectId, objs::Kind};

use super::{
    references::{BaseObject, BaseState, Depths, ReferenceCollector, References},
    tree_pairs::TreePairs,
};
use crate::{
    Error, ErrorKind, FsckMessage, FsckRules, Reason,
    connectivity::Outside,
    object::{
        fsck::{Fsck, FsckFinding, MAX_SPECIAL, Special, SpecialFile},
        tree_entries::changed_ids,
    },
    scoped_workers::{into_inner, lock},
};

/// The most faulty objects in a pack. Each has a text in memory.
const MAX_FINDINGS: usize = 1000;

/// The most objects over a size limit. They are no fault, and large histories have many.
const MAX_LEFT_OUT: usize = 50_000;

/// The findings in a pack so far, shared by the threads that inspect its objects.
pub(super) struct SharedFindings<'a> {
    pub(super) references: References,
    fsck: Fsck<'a>,
    merged: Mutex<ThreadFindings>,
}

/// The findings of one thread, or those of several that were merged.
#[derive(Default)]
struct ThreadFindings {
    faulty: HashMap<ObjectId, Reason>,
    left_out: HashMap<ObjectId, Reason>,
    special: Special,
}

/// The findings once all of a pack was inspected.
#[derive(Default)]
pub(super) struct Findings {
    /// The faulty objects and those over a size limit.
    pub(super) faulty: HashMap<ObjectId, Reason>,
    /// The blobs that trees name `.gitmodules` or `.gitattributes`, still to be checked.
    pub(super) special: Vec<(ObjectId, SpecialFile)>,
    /// The referenced objects outside the pack; `None` if they are unknown.
    pub(super) outside: Option<Outside>,
}

impl<'a> SharedFindings<'a> {
    /// The findings in a pack that declares so many `objects`. `memory` bounds the references to objects outside the
    /// pack, in bytes.
    pub(super) fn new(
        rules: &'a FsckRules,
        hash: gix::hash::Kind,
        objects: usize,
        memory: usize,
    ) -> Self {
        SharedFindings {
            references: References::new(hash, objects, memory),
            fsck: Fsck::new(rules, hash),
            merged: Mutex::default(),
        }
    }

    pub(super) fn inspection(&self) -> Inspection<'_> {
        Inspection {
            shared: self,
            collector: ReferenceCollector::new(&self.references),
            findings: ThreadFindings::default(),
        }
    }

    /// `outside` are the referenced objects outside the pack; `depths` computes their depths in the pack's trees.
    pub(super) fn into_findings(
        self,
        outside: Option<Vec<(Kind, ObjectId)>>,
        depths: impl FnOnce(TreePairs, &[(Kind, ObjectId)]) -> Result<Option<Depths>, Error>,
    ) -> Result<Findings, Error> {
        let mut merged = into_inner(self.merged);
        merged.faulty.extend(merged.left_out);
        Ok(Findings {
            faulty: merged.faulty,
            special: merged.special.into_files(),
            outside: self.references.into_outside(outside, depths)?,
        })
    }
}

impl ThreadFindings {
    fn check(&self) -> Result<(), Error> {
        check_count(self.faulty.len(), MAX_FINDINGS, FAULTY)?;
        check_count(
            self.left_out.len(),
            MAX_LEFT_OUT,
            "objects that are too large",
        )?;
        let what = "files that git reads for itself";
        check_count(self.special.len(), MAX_SPECIAL, what)
    }
}

/// The inspection of objects by one thread. Its findings are merged by [`finish`](Inspection::finish).
pub(super) struct Inspection<'a> {
    shared: &'a SharedFindings<'a>,
    collector: ReferenceCollector<'a>,
    findings: ThreadFindings,
}

impl Inspection<'_> {
    /// Inspects an object; whether nothing is wrong with it. `base` is the delta base that it was reconstructed from, if
    /// that is in memory: a tree that differs from a sound one in a few ids has only these checked.
    pub(super) fn look_at(
        &mut self,
        kind: Kind,
        id: ObjectId,
        content: &[u8],
        base: Option<BaseObject<'_>>,
    ) -> Result<bool, Error> {
        let fsck = &self.shared.fsck;
        if kind == Kind::Tree
            && let Some(base) = base.as_ref().filter(|base| base.state == BaseState::Sound)
            && let Some(changed) = changed_ids(content, base.content, id.kind())
            && fsck.are_ids_sound(changed.iter().map(|(entry, _)| *entry))
        {
            self.collector.note_changed(&id, &changed);
            return Ok(true);
        }
        self.collector.note(kind, &id, content, base);
        // The verdict on an object to skip is not about its content.
        let mut is_sound = !fsck.rules.skips(&id);
        if !fsck.rules.is_none()
            && let Err(finding) = fsck.object(kind, &id, content, &mut self.findings.special)
        {
            is_sound = false;
            let is_parsed =
                finding.message != FsckMessage::BadTree && fsck.can_be_parsed(kind, &id, content);
            add(&mut self.findings.faulty, finding, is_parsed)?;
        } else if !fsck.can_be_parsed(kind, &id, content) {
            is_sound = false;
            let detail = format!("object {id}: git can't parse this {kind}, whatever the rules");
            self.findings.faulty.insert(id, Reason::Faulty { detail });
        }
        self.findings.check()?;
        Ok(is_sound)
    }

    /// Records an object that is not inspected. Its references are unknown, so connectivity needs a walk.
    pub(super) fn leave_out(&mut self, id: ObjectId, reason: Reason) -> Result<(), Error> {
        self.collector.stop();
        self.findings.left_out.insert(id, reason);
        self.findings.check()
    }

    /// Merges the findings into those of the pack. Every inspection has to end with it.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.collector.finish();
        let mut merged = lock(&self.shared.merged);
        merged.faulty.extend(self.findings.faulty);
        merged.left_out.extend(self.findings.left_out);
        merged.special.merge(self.findings.special);
        merged.check()
    }
}

/// Records a faulty object, with the rules that would accept it if git can parse it.
pub(super) fn add(
    faulty: &mut HashMap<ObjectId, Reason>,
    finding: FsckFinding,
    is_parsed: bool,
) -> Result<(), Error> {
    let remedy = if is_parsed {
        finding.remedy()
    } else {
        "git can't parse it, whatever the rules".to_owned()
    };
    let detail = format!("{finding}; {remedy}");
    faulty.insert(finding.object, Reason::Faulty { detail });
    check_count(faulty.len(), MAX_FINDINGS, FAULTY)
}

const FAULTY: &str = "faulty objects";

fn check_count(count: usize, most: usize, what: &str) -> Result<(), Error> {
    if count <= most {
        return Ok(());
    }
    let text = format!("the pack has more than {most} {what}");
    Err(Error::new(ErrorKind::Protocol, text))
}
