//! The run: the one place where its steps meet.

use std::{panic::resume_unwind, thread};

use crate::{
    Error, ErrorKind, ObjectId, Outcome, Phase, Reason, ReceivePack, RefList, RefSource, Run,
    Service, SyncOptions, SyncRunRef, SyncRunStats,
    compare::compare,
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
            let glanced = match options.expects_changes {
                true => None,
                false => destination.glance(&present, run)?,
            };
            Ok(match glanced {
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
