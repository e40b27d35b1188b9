//! One run of [`sync()`]: list, plan, then pull or push, then stats.

use std::time::SystemTime;

use bstr::{BString, ByteSlice as _};

use crate::{
    Error, ObjectId, Outcome, Reason, ReceivePack, RefSource, SyncContext, SyncOptions,
    SyncRunRefs, SyncRunStats, outcome::RefOutcome,
};

use self::{
    listing::Listed,
    planned_ref::{PlannedRef, Step},
    push::Settled,
};

mod classify;
mod compare;
mod listing;
mod plan;
mod planned_ref;
mod pull;
mod push;

/// The detail of a ref for which the destination gave no answer.
const NO_ANSWER: &str = "the destination did not answer for each update";

/// Brings the destination's branches and tags up to the source's, as far as that is safe.
///
/// Refs are created and fast-forwarded; never deleted, never forced. A ref that cannot be updated safely is left
/// alone with a reason in the stats, and the others are synced. The call blocks until the run is over.
///
/// # Errors
/// An error means that the run as a whole could not do its work ([`Error::kind`]). No ref has moved then, because refs
/// move at the very end. The one exception is an error with [`stats`](Error::stats): a remote did not answer a push,
/// and the stats say which refs are uncertain.
pub fn sync(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
) -> Result<SyncRunStats, Error> {
    let span = tracing::info_span!("sync", dry_run = options.dry_run);
    let _entered = span.enter();
    let context = &SyncContext::new(options);
    let rules = options.rules()?;
    let ends = (source, destination);

    let mut listed = listing::list(ends, options, context)?;
    let mut planned = plan(&listed, options, context)?;
    if listed.is_for_fetch && has_open(&planned) {
        drop(planned);
        listed.list_for_push(destination, options, context)?;
        planned = plan(&listed, options, context)?;
    }
    let settled = if has_open(&planned) {
        pull_or_push(ends, &listed, &mut planned, options, context)?
    } else {
        Settled::default()
    };
    let default_branch = listed.source.default_branch.as_ref();
    set_head(destination, default_branch, options, context);
    let outcomes = planned.into_iter();
    let outcomes = outcomes.map(|planned| outcome(planned, options.dry_run));
    let outcomes = outcomes.collect();
    stats(listed, outcomes, rules, settled, context)
}

/// Plans the refs from the two listings and the refusals of the previous run.
fn plan<'a>(
    listed: &'a Listed,
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<Vec<PlannedRef<'a>>, Error> {
    let (source, destination) = (&listed.source, &listed.destination);
    let mut planned = plan::plan(source, destination, options, || context.check())?;
    push::recall(&mut planned, options, SystemTime::now());
    Ok(planned)
}

fn has_open(planned: &[PlannedRef<'_>]) -> bool {
    planned.iter().any(PlannedRef::is_open)
}

/// Moves objects and refs through the destination's quarantine, or by a push.
fn pull_or_push(
    ends: (&dyn RefSource, &dyn RefSource),
    listed: &Listed,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<Settled, Error> {
    let (_, destination) = ends;
    match destination.receive_pack(context)? {
        ReceivePack::Quarantine(mut quarantine) => {
            pull::pull(ends, &mut *quarantine, planned, options, context)?;
            Ok(Settled::default())
        }
        ReceivePack::Push(mut push) => {
            push::push(ends, &mut *push, listed, planned, options, context)
        }
    }
}

/// The stats of the run; within the error if the pushes have failed.
fn stats(
    listed: Listed,
    outcomes: Vec<RefOutcome>,
    rules: String,
    settled: Settled,
    context: &SyncContext,
) -> Result<SyncRunStats, Error> {
    let stats = SyncRunStats {
        refs: SyncRunRefs::new(listed.source.refs, outcomes),
        default_branch: listed.source.default_branch,
        faulty_objects: context.faulty_objects(),
        destination_in_doubt: context.doubts_destination(),
        rules,
        traffic: context.traffic(),
        remote_messages: settled.messages,
        retry_after: settled.retry_after,
    };
    match settled.failure {
        None => Ok(stats),
        Some(err) => Err(err.with_stats(stats)),
    }
}

/// Sets an unborn HEAD to the source's default branch. Refs have moved by now: if this fails HEAD stays as
/// it was, and the next run tries again.
fn set_head(
    destination: &dyn RefSource,
    branch: Option<&BString>,
    options: &SyncOptions,
    context: &SyncContext,
) {
    let Some(branch) = branch.filter(|_| options.set_head && !options.dry_run) else {
        return;
    };
    if let Err(err) = destination.set_unborn_head(branch.as_bstr(), context) {
        tracing::warn!(%err, %branch, "HEAD stays as it was");
    }
}

/// The outcome of a ref. A ref that is still open by now would have moved in a dry run; in any other run the destination
/// did not answer for it.
fn outcome(planned: PlannedRef<'_>, is_dry_run: bool) -> RefOutcome {
    let (at, source) = (planned.at(), planned.source());
    let (before, unmoved) = (planned.before(), planned.unmoved());
    let name = planned.name();
    let outcome = match planned.step {
        Step::Filtered(reason) => Outcome::Filtered(*reason),
        Step::Rejected(reason) => Outcome::Rejected(*reason),
        Step::Moved => Outcome::Updated,
        Step::Create | Step::Compare if is_dry_run => Outcome::Updated,
        Step::Create | Step::Compare => Outcome::Rejected(Reason::Unconfirmed {
            detail: NO_ANSWER.to_owned(),
        }),
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
            _ => unmoved.unwrap_or_else(|| ObjectId::null(source.format())),
        },
        outcome,
        refusal,
    }
}
