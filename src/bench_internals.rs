//! Internals that `benches/micro` measures and can't reach otherwise. They are not part of the public API:
//! they are behind a feature of their own and change with the code inside.
//!
//! Functions over plain data, each of them a step of the run and nothing more. They panic where the
//! input is not what the step takes.

use std::{collections::HashMap, io::BufRead};

use crate::{
    AdvertisedRef, Limits, LocalStore, ObjectFormat, Objects, PackRequest, Reason, RefList,
    RefUpdate, SyncContext, SyncOptions,
    pack::delta_encode::DeltaBase,
    pack::delta_search::{self, Candidate},
    protocol::{
        advertisement, capabilities::Capabilities, ls_refs::listing, report_status,
        sideband_budget::SidebandBudget,
    },
    sync::{compare, plan, planned_ref::PlannedRef},
};

/// A plan, to be taken further.
#[derive(Clone)]
pub struct Plan<'a>(Vec<PlannedRef<'a>>);

impl Plan<'_> {
    /// The number of refs that may move, as far as the plan has got.
    pub fn open(&self) -> usize {
        self.0.iter().filter(|planned| planned.is_open()).count()
    }
}

/// From the two listings.
pub fn plan<'a>(source: &'a RefList, destination: &'a RefList, options: &SyncOptions) -> Plan<'a> {
    Plan(plan::plan(source, destination, options, || Ok(())).expect("nothing stops it"))
}

/// By what the tips are and how they relate.
pub fn classify(
    objects: &mut dyn Objects,
    plan: &mut Plan<'_>,
    options: &SyncOptions,
    context: &SyncContext,
) {
    let absent = Reason::HistoryUnknown;
    compare::compare(objects, &mut plan.0, &absent, options, context).expect("objects to compare");
}

/// A server's answer to the handshake, of a version before 2.
pub fn v0_advertisement(answer: &[u8], limits: &Limits) -> RefList {
    let advertisement = advertisement::read(answer, "git-upload-pack", limits).expect("an answer");
    RefList::of(
        advertisement.format,
        advertisement.listed.expect("refs").refs,
    )
}

/// A server's answer to `ls-refs`.
pub fn ls_refs(answer: &[u8], format: ObjectFormat, limits: &Limits) -> RefList {
    RefList::of(
        format,
        listing(answer, format, limits).expect("a listing").refs,
    )
}

/// The updates of a push of new refs.
pub struct Updates<'a>(Vec<RefUpdate<'a>>);

impl<'a> Updates<'a> {
    /// To create these.
    pub fn of(refs: &'a RefList) -> Self {
        let update = |new: AdvertisedRef<'a>| RefUpdate {
            name: new.name,
            expected: None,
            new: new.target,
        };
        Updates(refs.iter().map(update).collect())
    }
}

/// A server's answer to a push, in its side-band. Returns how many of the updates it says something
/// about.
pub fn report_status(answer: &[u8], updates: &Updates, limits: &Limits) -> usize {
    let capabilities = Capabilities::of_v0("report-status-v2 side-band-64k");
    let noise = SidebandBudget::up_to(limits.noise);
    let report = report_status::read(answer, &capabilities, &updates.0, noise);
    assert_eq!(report.trouble, None);
    let said = report.verdicts.iter();
    said.filter(|verdict| **verdict != report_status::Verdict::Silent)
        .count()
}

/// The delta that makes `target` of `base`. Returns its size.
pub fn delta(base: Vec<u8>, target: &[u8]) -> usize {
    let delta = DeltaBase::new(base).encode(target, usize::MAX);
    delta.expect("a target that isn't empty").len()
}

/// Objects to find deltas between.
pub struct Versions {
    candidates: Vec<Candidate>,
    contents: HashMap<gix::ObjectId, Vec<u8>>,
}

impl Versions {
    /// Candidates made of files with a number each.
    pub fn of(contents: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Self {
        let mut versions = Versions {
            candidates: Vec::new(),
            contents: HashMap::new(),
        };
        for (file, content) in contents {
            let id =
                gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, &content);
            let id = id.expect("no collision");
            versions.candidates.push(Candidate {
                id,
                kind: gix::objs::Kind::Blob,
                name_hash: file + 1,
                size: content.len() as u64,
                is_base_only: false,
                whole_in: None,
                height: 0,
            });
            versions.contents.insert(id, content);
        }
        versions
    }
}

/// Returns how many are worth sending as a delta.
pub fn delta_search(versions: &Versions, context: &SyncContext) -> usize {
    let open = |_| {
        |id: &gix::oid, buffer: &mut Vec<u8>| {
            buffer.clear();
            buffer.extend_from_slice(&versions.contents[id]);
            Ok(())
        }
    };
    let found = delta_search::search(&versions.candidates, open, &Default::default(), context);
    found.expect("readable").iter().flatten().count()
}

/// A pack with all of its objects found and laid out, and none of its bytes made.
pub fn outgoing_pack<'a>(
    store: &LocalStore,
    request: &PackRequest,
    context: &'a SyncContext,
) -> impl BufRead + 'a {
    store.outgoing_pack(request, context)
}
