//! The run: the one place where its steps meet.

use std::{panic::resume_unwind, thread};

use crate::{
    Error, ErrorKind, ObjectId, Objects, Outcome, Phase, Reason, ReceivePack, RefList, RefSource,
    Relation, Run, Service, SyncOptions, SyncRunRef, SyncRunStats, TipKind, ancestry, classify,
    plan::{self, PlannedRef, Step},
    pull, push,
    refs::Namespace,
    source::Scratch,
};

/// Brings the destination's branches and tags up to the source's, wherever that is safe.
///
/// Refs are created and fast-forwarded; never deleted, never forced. A ref that can't be updated
/// safely is left alone, its reason is in the stats, and the others go through.
///
/// An error means that the run as a whole could not do its work, and no ref has moved: refs are
/// moved at the very end. The one exception is an error with [`stats`](Error::stats): a remote's
/// answer to a push was lost, and the stats say which refs are uncertain.
pub fn sync(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
) -> Result<SyncRunStats, Error> {
    let span = tracing::info_span!("sync", dry_run = options.dry_run);
    let _entered = span.enter();
    let run = Run::new(options);

    let (held, mut planned) = list_and_plan(source, destination, options, &run)?;
    let mut certain = Ok(());
    if planned.iter().any(PlannedRef::is_open) {
        match destination.receive_pack(&run)? {
            ReceivePack::Quarantine(mut quarantine) => {
                pull::move_objects(source, &mut *quarantine, &mut planned, &run)?;
                compare(
                    &mut *quarantine,
                    &mut planned,
                    &Reason::HistoryUnknown,
                    options,
                    &run,
                )?;
                if !options.dry_run {
                    pull::apply(&mut *quarantine, &mut planned, &run)?;
                    pull::look_again(destination, &mut planned, options, &run);
                }
            }
            ReceivePack::Push(mut push) => {
                let scratch;
                let (source, mut objects) = match source.objects(&run)? {
                    Some(objects) => (source, objects),
                    None => {
                        scratch = Scratch::create(options.scratch.as_deref(), held.object_format)?;
                        pull::into_scratch(source, scratch.store(), &mut planned, &run)?;
                        (scratch.store() as &dyn RefSource, scratch.objects()?)
                    }
                };
                compare(
                    &mut *objects,
                    &mut planned,
                    &Reason::DestinationUnknown,
                    options,
                    &run,
                )?;
                if !options.dry_run {
                    let answers =
                        push::send(source, &mut *push, &held, &mut planned, options, &run)?;
                    certain = push::settle(destination, answers, &mut planned, options, &run);
                }
            }
        }
    }
    let stats = stats(planned, &run);
    match certain {
        Ok(()) => Ok(stats),
        Err(err) => Err(err.with_stats(stats)),
    }
}

/// What the destination holds, and what is left to do.
fn list_and_plan(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
    run: &Run,
) -> Result<(RefList, Vec<PlannedRef>), Error> {
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
    let list = || destination.list(Service::ReceivePack, &present, run);
    // At once: one of the two is usually waiting for a network.
    let span = tracing::Span::current();
    let (held, offered) = thread::scope(|scope| {
        let held = scope.spawn(|| {
            let _entered = span.enter();
            Ok(match destination.glance(&present, run)? {
                Some(glanced) => Held::Glanced(glanced),
                None => Held::Listed(list()?),
            })
        });
        let offered = source.list(Service::UploadPack, &wanted, run);
        let held = held.join().unwrap_or_else(|panic| resume_unwind(panic));
        (held, offered)
    });
    let (held, offered) = (held?, offered?);
    run.check()?;
    run.advance(
        Phase::List,
        offered.refs.len() as u64,
        Some(offered.refs.len() as u64),
    );
    let held = match held {
        Held::Listed(listed) => listed,
        Held::Glanced(glanced) => {
            check_formats(&offered, &glanced)?;
            let planned = plan::plan(offered.clone(), &glanced, options);
            if !planned.iter().any(PlannedRef::is_open) {
                return Ok((glanced, planned));
            }
            list()?
        }
    };
    check_formats(&offered, &held)?;
    let planned = plan::plan(offered, &held, options);
    Ok((held, planned))
}

/// The destination's refs, as it shows them to those who fetch or to those who push.
enum Held {
    Glanced(RefList),
    Listed(RefList),
}

fn check_formats(offered: &RefList, held: &RefList) -> Result<(), Error> {
    if offered.object_format == held.object_format {
        return Ok(());
    }
    let text = format!(
        "the source uses {}, the destination {}",
        offered.object_format, held.object_format
    );
    Err(Error::new(ErrorKind::ObjectFormatMismatch, text))
}

/// Settles every open ref that may not move; those that stay open may. `absent` is the reason where
/// the destination's tip is not among the `objects`.
fn compare(
    objects: &mut dyn Objects,
    planned: &mut [PlannedRef],
    absent: &Reason,
    options: &SyncOptions,
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("compare").entered();
    let mut kinds = kinds(objects, planned, run)?;
    let lacks = |(source, destination): &(TipKind, Option<TipKind>)| {
        *source == TipKind::Unknown || *destination == Some(TipKind::Unknown)
    };
    if kinds.iter().any(lacks) {
        objects.refresh()?;
        kinds = self::kinds(objects, planned, run)?;
    }
    run.advance(Phase::Compare, 0, Some(kinds.len() as u64));
    let open = planned.iter().filter(|planned| planned.is_open());
    let (mut pairs, mut have_both_tips) = (Vec::new(), Vec::new());
    for (planned, kinds) in open.zip(&kinds) {
        pairs.extend(planned.before.map(|before| (before, planned.source)));
        have_both_tips.extend(planned.before.map(|_| !lacks(kinds)));
    }
    let has_to_end = || run.check().is_err();
    let mut relations = ancestry::compare(&mut *objects.commits()?, &pairs, &has_to_end);
    let seems_cut_off = |relations: &Vec<Relation>| {
        let mut both = relations.iter().zip(&have_both_tips);
        both.any(|(relation, has_both_tips)| *relation == Relation::Unknown && *has_both_tips)
    };
    if relations.as_ref().is_ok_and(seems_cut_off) {
        objects.refresh()?;
        relations = ancestry::compare(&mut *objects.commits()?, &pairs, &has_to_end);
    }
    let relations = relations.map_err(|err| run.check().err().unwrap_or(err))?;
    run.advance(Phase::Compare, kinds.len() as u64, Some(kinds.len() as u64));

    let mut relations = relations.into_iter();
    let open = planned.iter_mut().filter(|planned| planned.is_open());
    for (planned, (source, destination)) in open.zip(kinds) {
        let verdict = match destination {
            None => classify::creation(planned.namespace, source),
            Some(destination) => {
                let relation = relations.next().unwrap_or(Relation::Unknown);
                let verdict = classify::movement(
                    planned.namespace,
                    options.tags,
                    destination,
                    source,
                    relation,
                );
                match (verdict, destination) {
                    (Err(Reason::HistoryUnknown), TipKind::Unknown) => Err(absent.clone()),
                    (verdict, _) => verdict,
                }
            }
        };
        if let Err(reason) = verdict {
            planned.reject(reason);
        }
    }
    Ok(())
}

/// What the tips of each open ref are, the source's first.
fn kinds(
    objects: &mut dyn Objects,
    planned: &[PlannedRef],
    run: &Run,
) -> Result<Vec<(TipKind, Option<TipKind>)>, Error> {
    let open = planned.iter().filter(|planned| planned.is_open());
    open.map(|planned| {
        run.check()?;
        let source = objects.kind(&planned.source)?;
        let before = planned.before.map(|before| objects.kind(&before));
        Ok((source, before.transpose()?))
    })
    .collect()
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
