//! One attempt of a claimed run: the task is prepared, the engine runs, and the end is written.

use std::{io, time::Duration};

use tokio::{
    sync::broadcast,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    Report, Task,
    decisions::{Ending, Fault, code, ending},
    heads::settle_head,
    journal::Journal,
    lease::LeaseWatch,
    maintenance::MOST_PACKS,
    scrub::Scrub,
    workers::{Guard, Shared},
};
use crate::{
    Error, clock,
    records::{Direction, Status, SyncId},
    secrets,
    store::{Completed, Failure, Job},
    tasks,
};

/// The wait before an end that could not be written is written again.
const WRITE_AGAIN: Duration = Duration::from_millis(250);

/// Carries out one attempt of a claimed run. `cancels` was subscribed to before the claim.
pub(super) async fn attempt(
    shared: &Shared,
    job: Job,
    guard: Guard,
    watch: LeaseWatch,
    cancels: broadcast::Receiver<SyncId>,
) {
    let began = Instant::now();
    let _counted = shared.service.metrics.attempt();
    let done = tokio::select! {
        done = run(shared, &job, guard, &watch) => done,
        never = watch.keep(shared, &job.fence, cancels) => match never {},
    };
    let end = match done {
        Ok(report) => {
            if report.packs > MOST_PACKS {
                shared.maintenance.ask(&job.repo.id);
            }
            End::Complete(Box::new(completed(&job, report)))
        }
        Err(fault) => failed(shared, &job, fault, &watch),
    };
    write(shared, &job, end, &watch, began).await;
}

/// Runs the engine. Its thread has the lock of the repository: nobody else gets it before the engine has returned.
async fn run(
    shared: &Shared,
    job: &Job,
    guard: Guard,
    watch: &LeaseWatch,
) -> Result<Report, Fault> {
    let lock = match guard {
        Guard::Held(lock) => lock,
        Guard::Broken(err) => {
            tracing::error!(repo = job.repo.id.as_str(), %err, "the repository can't be locked");
            let text = "the repository can't be locked";
            return Err(Fault::lasting(refsync::ErrorKind::LocalIo.as_str(), text));
        }
    };
    let (task, scrub) = prepare(shared, job, watch).await?;
    let engine = shared.engine.clone();
    let done = spawn_blocking(move || {
        let _lock = lock;
        engine.run(&task)
    });
    let folder = shared.service.repos.path(&job.repo.id);
    match done.await {
        Ok(Ok(report)) => Ok(scrubbed(report, &scrub)),
        Ok(Err(err)) => Err(Fault::of(&err, &folder.to_string_lossy(), &scrub)),
        Err(err) => {
            tasks::panicked("engine", &shared.service.metrics, &err);
            Err(Fault::panic())
        }
    }
}

/// The report without the run's credential, which a hostile server may repeat in whatever it says.
fn scrubbed(report: Report, scrub: &Scrub) -> Report {
    Report {
        stats: scrub.stats(report.stats),
        profile: report.profile.filter(|profile| !scrub.is_in(profile)),
        ..report
    }
}

async fn prepare(shared: &Shared, job: &Job, watch: &LeaseWatch) -> Result<(Task, Scrub), Fault> {
    let service = &shared.service;
    let mut scrub = Scrub::default();
    let credentials = match &job.upstream.sealed {
        None => None,
        Some(sealed) => {
            let auth = secrets::auth::open(&service.sealer, &job.repo.id, sealed);
            let auth = auth.map_err(|err| {
                tracing::error!(repo = job.repo.id.as_str(), %err, "a credential can't be opened");
                Fault::lasting(code::SECRET, "the stored credential can't be opened")
            })?;
            scrub = Scrub::of(&auth);
            Some(secrets::auth::credentials(auth))
        }
    };
    let moves_refs = job.run.direction == Direction::Pull && !job.run.dry_run;
    let task = Task {
        repo: job.repo.clone(),
        direction: job.run.direction,
        globs: job.run.ref_globs.clone(),
        dry_run: job.run.dry_run,
        url: job.upstream.url.clone(),
        credentials,
        profile: job.upstream.profile.clone(),
        previous: job.previous.clone(),
        recovers: moves_refs && recovers(shared, job).await?,
        run: job.run.id.to_string(),
        cancel: watch.cancel(),
    };
    Ok((task, scrub))
}

/// Whether an earlier attempt has left a journal of which nobody was told. One of a run that has completed is removed:
/// its event was written with its end.
async fn recovers(shared: &Shared, job: &Job) -> Result<bool, Fault> {
    let path = shared.service.repos.journal_path(&job.repo.id);
    let io = |err: io::Error| {
        tracing::error!(repo = job.repo.id.as_str(), %err, "the journal of refs can't be read");
        let text = "the refs before the last change can't be read";
        Fault::lasting(refsync::ErrorKind::LocalIo.as_str(), text)
    };
    let read = || async {
        let path = path.clone();
        spawn_blocking(move || Journal::read(&path)).await
    };
    if !path.exists() {
        return Ok(false);
    }
    let Some(journal) = read()
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(io)?
    else {
        return Ok(false);
    };
    let run = match journal.run.parse() {
        Ok(id) => shared.service.store.sync_run(&job.repo.id, &id).await,
        Err(_) => Ok(None),
    };
    let run = run.map_err(|err| {
        tracing::warn!(%err, "a run can't be read");
        Fault {
            is_retryable: true,
            ..Fault::lasting(code::INTERNAL, "the database did not answer")
        }
    })?;
    // A run that is no longer in the history has ended long ago.
    let is_told = run.is_none_or(|run| run.status == Status::Completed);
    let id = job.run.id.to_string();
    let settle = move || {
        if is_told {
            return Journal::remove(&path);
        }
        // This run tells it, and once it has completed nobody tells it again.
        journal.hand_over(id, &path)
    };
    let settled = spawn_blocking(settle).await.map_err(io::Error::other);
    settled.flatten().map_err(io)?;
    Ok(!is_told)
}

/// The end of an attempt, to be written.
enum End {
    Complete(Box<Completed>),
    Fail(Failure),
    Retry(Failure, crate::records::Time),
    GiveBack,
}

fn completed(job: &Job, report: Report) -> Completed {
    let wait = report.stats.retry_after;
    // What was known at the claim is not written: a push may have recorded a newer tip meanwhile.
    let is_new = report.default_bookmark.is_some() || report.head != job.repo.head;
    let pulls = job.run.direction == Direction::Pull;
    Completed {
        stats: report.stats,
        profile: report.profile,
        head: report.head.filter(|_| is_new),
        found_branch: report.default_bookmark.is_some(),
        branch: report
            .default_bookmark
            .unwrap_or_else(|| job.repo.default_bookmark.clone()),
        push: pulls.then_some(report.moved),
        host_not_before: wait.map(|wait| clock::now().plus(wait)),
    }
}

fn failed(shared: &Shared, job: &Job, fault: Fault, watch: &LeaseWatch) -> End {
    let (now, random) = (clock::now(), clock::random());
    let policy = &shared.service.config.retry;
    let how = ending(&fault, watch.stopped(), job.tries + 1, policy, now, random);
    let host_not_before = fault.host_not_before(now);
    let failure = Failure {
        error: fault.text,
        code: fault.code.to_owned(),
        messages: fault
            .stats
            .as_ref()
            .map_or_else(Vec::new, |stats| stats.remote_messages.clone()),
        stats: fault.stats.map(|stats| *stats),
        host_not_before,
    };
    match how {
        Ending::Fail => End::Fail(failure),
        Ending::Retry(at) => End::Retry(failure, at),
        Ending::GiveBack => End::GiveBack,
    }
}

/// Writes the end. A database that fails is asked again as long as the lease lasts; afterwards the reaper has the run.
async fn write(shared: &Shared, job: &Job, end: End, watch: &LeaseWatch, began: Instant) {
    let deadline = watch.renewed() + shared.service.config.lease;
    loop {
        match write_once(shared, job, &end).await {
            Ok(true) => {
                count(shared, job, &end, began.elapsed());
                return settle(shared, job, &end).await;
            }
            Ok(false) => {
                tracing::warn!(
                    run = job.run.id.as_str(),
                    "the run was lost to another worker"
                );
                return shared.service.metrics.lease_lost();
            }
            Err(err) => {
                tracing::error!(run = job.run.id.as_str(), %err, "the end of a run can't be written");
            }
        }
        if Instant::now() + WRITE_AGAIN >= deadline {
            return shared.service.metrics.lease_lost();
        }
        sleep(WRITE_AGAIN).await;
    }
}

/// Sees to it that no older tip stays than the repository has, if the end has recorded one.
async fn settle(shared: &Shared, job: &Job, end: &End) {
    let has_head = matches!(end, End::Complete(done) if done.head.is_some());
    if !has_head {
        return;
    }
    if let Err(err) = settle_head(&shared.service, &job.repo.id).await {
        tracing::warn!(run = job.run.id.as_str(), %err, "the head of a repository can't be looked at");
    }
}

async fn write_once(shared: &Shared, job: &Job, end: &End) -> Result<bool, Error> {
    let (store, now) = (&shared.service.store, clock::now());
    let fence = &job.fence;
    match end {
        End::Complete(done) => store.complete(fence, Completed::clone(done), now).await,
        End::Fail(failure) => store.fail(fence, failure.clone(), now).await,
        End::Retry(failure, at) => store.retry(fence, failure.clone(), *at, now).await,
        End::GiveBack => store.give_back(fence, now).await,
    }
}

fn count(shared: &Shared, job: &Job, end: &End, time: Duration) {
    let (metrics, direction) = (&shared.service.metrics, job.run.direction);
    let run = job.run.id.as_str();
    match end {
        End::Complete(_) => {
            tracing::info!(run, "completed");
            metrics.last_attempt(direction, time);
        }
        End::Fail(failure) => {
            tracing::info!(run, code = failure.code, error = failure.error, "failed");
            metrics.last_attempt(direction, time);
        }
        End::Retry(failure, at) => {
            tracing::info!(run, code = failure.code, error = failure.error, %at, "waits");
            metrics.run_retried(&failure.code);
        }
        End::GiveBack => tracing::info!(run, "given back"),
    }
}
