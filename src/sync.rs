//! The run: the one place where its steps meet.

use std::collections::{HashMap, HashSet};

use crate::{
    Error, ErrorKind, ObjectId, Outcome, PackAnswer, PackRequest, Phase, Quarantine, Reason,
    RefList, RefSource, RefUpdate, Relation, Run, SyncOptions, SyncRunRef, SyncRunStats, ancestry,
    classify,
    plan::{self, PlannedRef, Step},
    refs::Namespace,
};

/// How many commits are offered to the source. One round with the newest ones costs less than
/// finding the exact common ancestors in several.
const MAX_HAVES: usize = 256;

/// How many packs are asked for, should one after the other turn out to lack a tip.
const MAX_PACKS: usize = 8;

/// How often the source may say that it doesn't hand out a tip, each time another one.
const MAX_REFUSALS: usize = 64;

/// Brings the destination's branches and tags up to the source's, wherever that is safe.
///
/// Refs are created and fast-forwarded; never deleted, never forced. A ref that can't be updated
/// safely is left alone, its reason is in the stats, and the others go through.
///
/// An error means that the run as a whole could not do its work; refs are moved at the very end,
/// so none has moved then.
pub fn sync(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
) -> Result<SyncRunStats, Error> {
    let span = tracing::info_span!("sync", dry_run = options.dry_run);
    let _entered = span.enter();
    let run = Run::new(options);

    let (offered, held) = list(source, destination, options, &run)?;
    let mut planned = plan::plan(&offered, &held, options);
    if planned.iter().any(PlannedRef::is_open) {
        let mut quarantine = destination.receive_pack(&run)?;
        move_objects(source, &mut *quarantine, &mut planned, &run)?;
        compare(&mut *quarantine, &mut planned, options, &run)?;
        if !options.dry_run {
            apply(&mut *quarantine, &mut planned, &run)?;
            look_again(destination, &mut planned, options, &run);
        }
    }
    Ok(stats(planned, &run))
}

fn list(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
    run: &Run,
) -> Result<(RefList, RefList), Error> {
    let _span = tracing::debug_span!("list").entered();
    run.advance(Phase::List, 0, None);
    let all = || Namespace::ALL.map(|namespace| namespace.prefix().into());
    let (wanted, present) = match options.list_excluded {
        true => (all().into(), all().into()),
        false => (
            options.globs.prefixes(),
            options.globs.prefixes_with_parents(),
        ),
    };
    // The destination first: it is the cheaper one to be wrong about.
    let held = destination.list(&present, run)?;
    run.check()?;
    let offered = source.list(&wanted, run)?;
    run.check()?;
    run.advance(
        Phase::List,
        offered.refs.len() as u64,
        Some(offered.refs.len() as u64),
    );
    if offered.object_format != held.object_format {
        let text = format!(
            "the source uses {}, the destination {}",
            offered.object_format, held.object_format
        );
        return Err(Error::new(ErrorKind::ObjectFormatMismatch, text));
    }
    Ok((offered, held))
}

/// Fetches what the open refs need and the destination lacks. A tip that can't be had, or that
/// arrives without all of its history, is rejected, and the others are fetched without it.
fn move_objects(
    source: &dyn RefSource,
    quarantine: &mut dyn Quarantine,
    planned: &mut [PlannedRef],
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("move objects").entered();
    let mut wants = missing(quarantine, planned, run)?;
    if wants.is_empty() {
        return Ok(());
    }
    let haves = quarantine.haves(&tips_to_move(planned), MAX_HAVES, run)?;
    let (mut packs, mut refusals) = (0, 0);
    while !wants.is_empty() && packs < MAX_PACKS && refusals < MAX_REFUSALS {
        let mut request = PackRequest {
            wants,
            haves: haves.clone(),
            shallow: quarantine.shallow().to_vec(),
        };
        let answer =
            source.upload_pack(&request, &mut |pack| take_in(quarantine, pack, run), run)?;
        run.check()?;
        let faults = match answer {
            PackAnswer::Sent => {
                packs += 1;
                incomplete(quarantine, &request.wants, run)?
            }
            PackAnswer::Unavailable { tip, detail } => {
                refusals += 1;
                HashMap::from([(tip, Reason::Unavailable { detail })])
            }
        };
        if faults.is_empty() {
            return Ok(());
        }
        // A pack with a broken tip in it is not worth keeping: none of it has been let in yet.
        quarantine.discard()?;
        reject(planned, &faults);
        request.wants.retain(|want| !faults.contains_key(want));
        wants = request.wants;
    }
    let given_up = |want| {
        let detail = "given up: each time it was asked for, another tip was at fault".to_owned();
        (want, Reason::Unavailable { detail })
    };
    reject(planned, &wants.into_iter().map(given_up).collect());
    Ok(())
}

/// The tips to ask for, each once, in the order of the refs.
fn missing(
    quarantine: &mut dyn Quarantine,
    planned: &[PlannedRef],
    run: &Run,
) -> Result<Vec<ObjectId>, Error> {
    let mut seen = HashSet::new();
    let open = planned.iter().filter(|planned| planned.is_open());
    let tips: Vec<_> = open
        .map(|planned| planned.source)
        .filter(|tip| seen.insert(*tip))
        .collect();
    let incomplete = quarantine.incomplete(&tips, run)?;
    Ok(incomplete.into_iter().map(|(tip, _)| tip).collect())
}

fn tips_to_move(planned: &[PlannedRef]) -> Vec<ObjectId> {
    let open = planned.iter().filter(|planned| planned.is_open());
    open.filter_map(|planned| planned.before).collect()
}

fn take_in(
    quarantine: &mut dyn Quarantine,
    pack: &mut dyn std::io::BufRead,
    run: &Run,
) -> Result<(), Error> {
    let received = quarantine.receive(pack, run)?;
    run.add_traffic(received);
    Ok(())
}

fn incomplete(
    quarantine: &mut dyn Quarantine,
    tips: &[ObjectId],
    run: &Run,
) -> Result<HashMap<ObjectId, Reason>, Error> {
    let faults = quarantine.incomplete(tips, run)?.into_iter();
    Ok(faults
        .map(|(tip, detail)| (tip, Reason::Incomplete { detail }))
        .collect())
}

fn reject(planned: &mut [PlannedRef], faults: &HashMap<ObjectId, Reason>) {
    for planned in planned.iter_mut().filter(|planned| planned.is_open()) {
        if let Some(reason) = faults.get(&planned.source) {
            planned.reject(reason.clone());
        }
    }
}

/// Settles every open ref that may not move; those that stay open may.
fn compare(
    quarantine: &mut dyn Quarantine,
    planned: &mut [PlannedRef],
    options: &SyncOptions,
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("compare").entered();
    let mut kinds = Vec::new();
    let mut pairs = Vec::new();
    for planned in planned.iter().filter(|planned| planned.is_open()) {
        run.check()?;
        let source = quarantine.kind(&planned.source)?;
        let destination = planned
            .before
            .map(|before| quarantine.kind(&before))
            .transpose()?;
        kinds.push((source, destination));
        pairs.extend(planned.before.map(|before| (before, planned.source)));
    }
    run.advance(Phase::Compare, 0, Some(kinds.len() as u64));
    let relations = ancestry::compare(&mut *quarantine.commits()?, &pairs, &|| run.is_cancelled())?;
    run.advance(Phase::Compare, kinds.len() as u64, Some(kinds.len() as u64));

    let mut relations = relations.into_iter();
    let open = planned.iter_mut().filter(|planned| planned.is_open());
    for (planned, (source, destination)) in open.zip(kinds) {
        let verdict = match destination {
            None => classify::creation(planned.namespace, source),
            Some(destination) => {
                let relation = relations.next().unwrap_or(Relation::Unknown);
                classify::movement(
                    planned.namespace,
                    options.tags,
                    destination,
                    source,
                    relation,
                )
            }
        };
        if let Err(reason) = verdict {
            planned.reject(reason);
        }
    }
    Ok(())
}

fn apply(
    quarantine: &mut dyn Quarantine,
    planned: &mut [PlannedRef],
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("apply").entered();
    let open = planned.iter_mut().filter(|planned| planned.is_open());
    let (mut open, updates): (Vec<_>, Vec<_>) = open
        .map(|planned| {
            let update = RefUpdate {
                name: planned.name.clone(),
                expected: planned.before,
                new: planned.source,
            };
            (planned, update)
        })
        .unzip();
    if updates.is_empty() {
        return Ok(());
    }
    // The last chance to cancel: a run that has begun to move refs moves them all.
    run.advance(Phase::Apply, 0, Some(updates.len() as u64));
    run.check()?;
    for (planned, answer) in open.iter_mut().zip(quarantine.apply(&updates, run)?) {
        if let Err(reason) = answer {
            planned.reject(reason);
        }
    }
    Ok(())
}

/// Learns where somebody else has moved the refs that they raced us for.
fn look_again(
    destination: &dyn RefSource,
    planned: &mut [PlannedRef],
    options: &SyncOptions,
    run: &Run,
) {
    let is_raced = |planned: &PlannedRef| {
        matches!(
            planned.step,
            Step::Settled(Outcome::Rejected, Some(Reason::Raced))
        )
    };
    if !planned.iter().any(is_raced) {
        return;
    }
    // Refs have moved by now: a run that did its work doesn't fail for want of a better report.
    let Ok(now) = destination.list(&options.globs.prefixes(), run) else {
        return;
    };
    for planned in planned.iter_mut().filter(|planned| is_raced(planned)) {
        let found = now.find(planned.name.as_ref());
        planned.held = found.map(|found| found.target);
    }
}

/// A ref that is still open by now has moved, or would have in a dry run.
fn stats(planned: Vec<PlannedRef>, run: &Run) -> SyncRunStats {
    let outcome = |planned: PlannedRef| {
        let (outcome, reason) = match planned.step {
            Step::Settled(outcome, reason) => (outcome, reason),
            Step::Create | Step::Compare => (Outcome::Updated, None),
        };
        tracing::debug!(name = ?planned.name, %outcome, ?reason);
        let stayed = planned
            .held
            .unwrap_or_else(|| ObjectId::null(planned.source.kind()));
        SyncRunRef {
            name: planned.name,
            before: planned.before,
            after: if outcome == Outcome::Updated {
                planned.source
            } else {
                stayed
            },
            source: planned.source,
            outcome,
            reason,
        }
    };
    SyncRunStats {
        refs: planned.into_iter().map(outcome).collect(),
        traffic: run.traffic(),
    }
}
