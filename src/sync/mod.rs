//! The run: the one place where its steps meet.

use std::{panic::resume_unwind, thread, time::SystemTime};

use bstr::{BString, ByteSlice as _};

use crate::{
    Error, ErrorKind, ObjectId, Outcome, Phase, Reason, ReceivePack, RefList, RefSource, Service,
    SyncContext, SyncOptions, SyncRunRefs, SyncRunStats,
    local::Scratch,
    outcome::RefOutcome,
    refs::{self, Namespace},
};

use self::{
    compare::compare,
    plan::{PlannedRef, Step},
};

mod classify;
pub(crate) mod compare;
pub(crate) mod plan;
mod pull;
mod push;

/// Brings the destination's branches and tags up to the source's, wherever that is safe.
///
/// Refs are created and fast-forwarded; never deleted, never forced. A ref that can't be updated
/// safely is left alone, its reason is in the stats, and the others go through.
///
/// An error means that the run as a whole could not do its work, and no ref has moved: refs are
/// moved at the very end. The one exception is an error with [`stats`](Error::stats): a remote was in
/// no state to answer a push, and the stats say which refs are uncertain.
pub fn sync(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
) -> Result<SyncRunStats, Error> {
    let span = tracing::info_span!("sync", dry_run = options.dry_run);
    let _entered = span.enter();
    let run = SyncContext::new(options);
    let rules = options.rules()?;

    let Listed {
        offered,
        mut held,
        is_glance,
    } = list(source, destination, options, &run)?;
    let check = || run.check();
    let mut planned = plan::plan(&offered, &held, options, check)?;
    push::recall(&mut planned, options, SystemTime::now());
    if is_glance && planned.iter().any(PlannedRef::is_open) {
        drop(planned);
        let prefixes = prefixes(options).1;
        held = destination.list(Service::ReceivePack, &prefixes, &run)?;
        check_formats(&offered, &held)?;
        planned = plan::plan(&offered, &held, options, check)?;
        push::recall(&mut planned, options, SystemTime::now());
    }
    let mut pushed = push::Settled::default();
    if planned.iter().any(PlannedRef::is_open) {
        match destination.receive_pack(&run)? {
            ReceivePack::Quarantine(mut quarantine) => {
                pull::move_objects(source, &mut *quarantine, &mut planned, options, &run)?;
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
                        pull::into_scratch(source, scratch.store(), &mut planned, options, &run)?;
                        (scratch.store() as &dyn RefSource, scratch.objects(&run)?)
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
                    let sent = push::send(
                        (source, destination),
                        &mut *push,
                        &held,
                        offered.default_branch.as_ref(),
                        &mut planned,
                        options,
                        &run,
                    )?;
                    pushed = push::settle(destination, sent, &mut planned, options, &run);
                }
            }
        }
    }
    set_head(destination, offered.default_branch.as_ref(), options, &run);
    let others: Vec<_> = planned.into_iter().map(outcome).collect();
    let stats = SyncRunStats {
        refs: SyncRunRefs::new(offered.refs, others),
        default_branch: offered.default_branch,
        faulty_objects: run.faulty_objects(),
        destination_in_doubt: run.doubts_destination(),
        rules,
        traffic: run.traffic(),
        remote_messages: pushed.messages,
        retry_after: pushed.retry_after,
    };
    match pushed.failure {
        None => Ok(stats),
        Some(err) => Err(err.with_stats(stats)),
    }
}

/// What the two ends list.
struct Listed {
    /// Those of the source's refs that the run is about.
    offered: RefList,
    held: RefList,
    /// Whether the destination showed its refs as to those who fetch.
    is_glance: bool,
}

fn list(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
    run: &SyncContext,
) -> Result<Listed, Error> {
    let _span = tracing::debug_span!("list").entered();
    run.advance(Phase::List, 0, None);
    let (wanted, present) = prefixes(options);
    // At once: one of the two is usually waiting for a network.
    let span = tracing::Span::current();
    let (held, offered) = thread::scope(|scope| {
        let held = scope.spawn(|| {
            let _entered = span.enter();
            if !options.dry_run {
                destination.sweep();
            }
            let glanced = match options.expects_changes {
                true => None,
                false => destination.list_for_fetch(&present, run)?,
            };
            Ok(match glanced {
                Some(glanced) => (glanced, true),
                None => (
                    destination.list(Service::ReceivePack, &present, run)?,
                    false,
                ),
            })
        });
        let offered = source.list(Service::UploadPack, &wanted, run);
        let held = held.join().unwrap_or_else(|panic| resume_unwind(panic));
        (held, offered)
    });
    let ((held, is_glance), mut offered) = (held?, offered?);
    run.check()?;
    let count = offered.len() as u64;
    run.advance(Phase::List, count, Some(count));
    check_formats(&offered, &held)?;
    let is_branch = |name: &BString| refs::is_branch(name.as_bstr());
    offered.default_branch = offered.default_branch.filter(is_branch);
    plan::select(&mut offered, options);
    Ok(Listed {
        offered,
        held,
        is_glance,
    })
}

/// What to list of the source, and of the destination.
fn prefixes(options: &SyncOptions) -> (Vec<BString>, Vec<BString>) {
    if options.list_excluded {
        let all: Vec<_> = Namespace::ALL
            .map(|namespace| namespace.prefix().into())
            .into();
        return (all.clone(), all);
    }
    let globs = &options.globs;
    (globs.prefixes(), globs.prefixes_with_parents())
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

/// Refs have moved by now: where this fails HEAD stays as it was, and the next run tries again.
fn set_head(
    destination: &dyn RefSource,
    branch: Option<&BString>,
    options: &SyncOptions,
    run: &SyncContext,
) {
    let Some(branch) = branch.filter(|_| options.set_head && !options.dry_run) else {
        return;
    };
    if let Err(err) = destination.set_unborn_head(branch.as_bstr(), run) {
        tracing::warn!(%err, %branch, "HEAD stays as it was");
    }
}

/// What happened to a ref. One that is still open by now has moved, or would have in a dry run.
fn outcome(planned: PlannedRef<'_>) -> RefOutcome {
    let (at, source) = (planned.at(), planned.source());
    let (before, held) = (planned.before(), planned.held());
    let name = planned.name();
    let outcome = match planned.step {
        Step::Settled(outcome) => *outcome,
        Step::Create | Step::Compare => Outcome::Updated,
    };
    tracing::debug!(?name, %outcome);
    let is_refused = matches!(
        outcome.rejection(),
        Some(Reason::Remote { .. } | Reason::Unconfirmed { .. })
    );
    let refusal = planned
        .refused
        .filter(|_| is_refused)
        .map(|refused| Box::new(refused.refusal));
    RefOutcome {
        at,
        before,
        after: match outcome {
            Outcome::Updated => source,
            _ => held.unwrap_or_else(|| ObjectId::null(source.kind())),
        },
        outcome,
        refusal,
    }
}
