//! A push: its commands are recorded, git follows them, and the event `push` tells of those that it has followed.

use std::{collections::HashMap, time::Duration};

use axum::{
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bytes::Bytes;
use refsync::{LocalStore, RefSource as _, SyncContext, SyncOptions};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    GitHttp, GitService, Wanted,
    answer::Refusal,
    commands::{Commands, CommandsEnd, Report, Unreadable},
    exchange::{self, Client, End},
    input::Input,
    journal::{Entry, Journal},
};
use crate::{Error, ErrorKind, Service, chain, clock, records::Repo, work::settle_head};

/// The time that a start waits for git's programs of a process that died.
const ORPHANS: Duration = Duration::from_secs(10);
/// The time between two looks for pushes without their event.
const AGAIN: Duration = Duration::from_secs(60);

/// Answers a push.
pub(super) async fn receive(
    git: GitHttp,
    place: OwnedSemaphorePermit,
    repo: Repo,
    headers: &HeaderMap,
    mut input: Input,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let read = read_commands(&git, &mut input).await?;
    let commands = Commands::of(&read);
    if !commands.is_empty() {
        settle(&git.service, &git.journal, Some(&repo)).await;
    }
    let (journal, id) = (git.journal.clone(), repo.id.clone());
    let entry = tokio::task::spawn_blocking(move || journal.begin(&id, &read)).await;
    let entry = entry.map_err(|err| Refusal::internal(&err))?;
    let entry = entry.map_err(|err| Refusal::internal(&err))?;
    let errors = entry.errors().map_err(|err| Refusal::internal(&err))?;
    let pushing = git.service.repos.pushing(&repo.id);
    let wanted = Wanted::Call(GitService::ReceivePack);
    let mut backend = git.backend(wanted, &repo, headers, errors)?;
    git.spawn(
        place,
        input,
        async move |git: GitHttp, mut client: Client| {
            let mut answer = Vec::new();
            // The bound is that of the whole request.
            let time = git.service.config.git.time.saturating_sub(began.elapsed());
            let end = exchange::carry(
                &mut backend,
                &mut client,
                Some(&mut answer),
                time,
                &git.stop,
            )
            .await;
            let report = Report::of(&answer, commands.has_side_band);
            if let End::Done(status) = &end
                && !status.success()
            {
                tracing::debug!(%status, "git receive-pack has failed");
            }
            if let Err(err) = settle_one(&git.service, &entry, &commands, &report).await {
                // The file stays, and is looked at again.
                tracing::error!(
                    error = chain(&err),
                    "the event of a push is not written yet"
                );
            }
            drop(pushing);
            (client, end)
        },
    )
    .await
}

/// Reads the commands, in the time of a request.
async fn read_commands(git: &GitHttp, input: &mut Input) -> Result<Bytes, Refusal> {
    let mut end = CommandsEnd::default();
    let unavailable = |text| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text);
    tokio::select! {
        read = input.read_until(|read| end.is_in(read).map_err(unreadable)) => read,
        () = tokio::time::sleep(git.service.config.git.time) => {
            Err(unavailable("the request has taken too long"))
        }
        () = git.stop.cancelled() => Err(unavailable("the service stops")),
    }
}

fn unreadable(fault: Unreadable) -> Refusal {
    match fault {
        Unreadable::Malformed => Refusal::new(
            StatusCode::BAD_REQUEST,
            "the body does not begin as a push does",
        ),
        Unreadable::TooLarge => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the push has too many commands",
        ),
    }
}

/// Writes the event of a push that has ended, and the tip of the default branch.
async fn announce(
    service: &Service,
    repo: &Repo,
    entry: &Entry,
    commands: &Commands,
    report: &Report,
) -> Result<(), Error> {
    if !commands.is_empty() {
        let refs = if commands.are_in(report) {
            HashMap::new()
        } else {
            current_refs(service, repo).await?
        };
        let updates = commands.updates(report, |name| refs.get(name).cloned());
        let head = tip(service, repo).await?;
        let event = entry.event.clone();
        service
            .store
            .emit_push(event, repo, &updates, head.as_deref(), clock::now())
            .await?;
        settle_head(service, &repo.id).await?;
    }
    forget(entry)
}

async fn tip(service: &Service, repo: &Repo) -> Result<Option<String>, Error> {
    let (repos, id, branch) = (
        service.repos.clone(),
        repo.id.clone(),
        repo.default_bookmark.clone(),
    );
    blocking(move || repos.head(&id, &branch)).await
}

async fn current_refs(service: &Service, repo: &Repo) -> Result<HashMap<String, String>, Error> {
    let path = service.repos.path(&repo.id);
    blocking(move || {
        let prefixes = ["refs/heads/".into(), "refs/tags/".into()];
        let context = SyncContext::new(&SyncOptions::default());
        let list =
            LocalStore::open(path)?.list(refsync::Service::UploadPack, &prefixes, &context)?;
        Ok(list
            .iter()
            .map(|found| (found.name.to_string(), found.target.to_string()))
            .collect())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, refsync::Error> + Send + 'static,
) -> Result<T, Error> {
    let failed = || Error::new(ErrorKind::Git, "reading the refs of a repository failed");
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|err| failed().because(err)),
        Err(err) => Err(failed().because(err)),
    }
}

/// Writes the events of the pushes that a dead process has left, once git's programs of them have ended.
pub(super) async fn settle_left(service: &Service, journal: &Journal) {
    let start = Instant::now();
    loop {
        settle(service, journal, None).await;
        if journal.is_empty().unwrap_or(true) || start.elapsed() > ORPHANS {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Looks every now and then for pushes that have ended without their event: the database may have failed at their end.
pub(super) async fn settle_again(service: Service, journal: Journal, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => settle(&service, &journal, None).await,
            () = stop.cancelled() => return,
        }
    }
}

/// Writes the events of the pushes that have ended without: those of `repo`, or all.
async fn settle(service: &Service, journal: &Journal, repo: Option<&Repo>) {
    let left = match journal.left(repo.map(|repo| &repo.id)) {
        Ok(left) => left,
        Err(err) => {
            tracing::error!(error = chain(&err), "the pushes under way can't be read");
            return;
        }
    };
    for entry in left {
        if let Err(err) = settle_left_one(service, &entry).await {
            tracing::error!(repo = %entry.repo, error = chain(&err), "the event of a push is not written yet");
        }
    }
}

async fn settle_left_one(service: &Service, entry: &Entry) -> Result<(), Error> {
    let failed = |err| Error::new(ErrorKind::Io, "reading a push failed").because(err);
    let commands = Commands::of(&entry.content().map_err(failed)?);
    settle_one(service, entry, &commands, &Report::default()).await
}

/// Writes the event of a push that has ended. A repository that was removed meanwhile has none.
async fn settle_one(
    service: &Service,
    entry: &Entry,
    commands: &Commands,
    report: &Report,
) -> Result<(), Error> {
    match service.store.repo(&entry.repo).await? {
        Some(repo) => announce(service, &repo, entry, commands, report).await,
        None => forget(entry),
    }
}

fn forget(entry: &Entry) -> Result<(), Error> {
    let ended = entry.end();
    ended.map_err(|err| Error::new(ErrorKind::Io, "forgetting a push failed").because(err))
}
