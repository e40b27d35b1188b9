//! The transitions that a worker makes with its claim: renewal, the end, another attempt.

use std::time::Instant;

use refsync::SyncRunStats;

use super::{
    claim::Fence,
    open::{End, OpenRun},
    stats,
};
use crate::{
    Error, ids,
    records::{Direction, EventType, PushUpdate, Time},
    store::{
        Store, Tx, db,
        events::{NewEvent, push_data},
        tx::{execute, on},
    },
};

/// The answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// The worker has the run.
    Held {
        /// Whether somebody has asked the run to stop.
        cancelled: bool,
    },
    /// The worker has lost the run.
    Lost,
}

/// The result of a run that has done its work.
#[derive(Debug, Clone, Default)]
pub struct Completed {
    /// The stats.
    pub stats: SyncRunStats,
    /// The server's profile for the next run.
    pub profile: Option<String>,
    /// The tip of `branch`; `None` leaves what is stored.
    pub head: Option<String>,
    /// The default branch as the worker knew it, or as the first pull has found it.
    pub branch: String,
    /// Whether the first pull has found `branch`; it becomes the default branch unless a caller has chosen one.
    pub found_branch: bool,
    /// The refs of the repository that moved.
    pub push: Option<Vec<PushUpdate>>,
    /// The time before which no run of the host may start.
    pub host_not_before: Option<Time>,
}

/// The failure of an attempt.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    /// The reason, for people.
    pub error: String,
    /// The reason, for programs.
    pub code: String,
    /// The stats, if the attempt has any.
    pub stats: Option<SyncRunStats>,
    /// The lines that the upstream printed.
    pub messages: Vec<String>,
    /// The time before which no run of the host may start.
    pub host_not_before: Option<Time>,
}

/// The code of a run that somebody has cancelled.
pub(super) const CANCELLED: &str = "cancelled";

impl Store {
    /// Extends a lease, and by the time on top for which this has waited for the database.
    pub async fn renew(&self, fence: &Fence, lease_until: Time) -> Result<Lease, Error> {
        let asked = Instant::now();
        let mut tx = self.begin().await?;
        let lease_until = lease_until.plus(asked.elapsed());
        let sql = "update sync_runs set lease_until = $3 where id = $1 and claim = $2 and lease_until is not null
            returning cancelled";
        let query = db::query_scalar(sql).bind(fence.id.as_str());
        let query = query.bind(fence.claim).bind(lease_until.0);
        let cancelled: Option<bool> = on!(tx, c => query.fetch_optional(c))?;
        let Some(cancelled) = cancelled else {
            return Ok(Lease::Lost);
        };
        tx.commit().await?;
        Ok(Lease::Held { cancelled })
    }

    /// Ends a run as completed. False if the lease was lost; then nothing was written.
    pub async fn complete(&self, fence: &Fence, done: Completed, now: Time) -> Result<bool, Error> {
        let messages = done.stats.remote_messages.clone();
        let packed = stats::pack(done.stats).await?;
        let mut tx = self.begin().await?;
        let Some(mut open) = tx.held(fence).await? else {
            return Ok(false);
        };
        // A cancelled run may be of an upstream that was removed, and set again since, with the same version.
        let is_of_upstream = fence.is_of(open.more.version) && !open.more.cancelled;
        let end = End {
            stats: Some(&packed),
            messages: &messages,
            is_of_other: !is_of_upstream,
            ..End::default()
        };
        if !tx.end(&mut open, end, now).await? {
            return Ok(false);
        }
        let is_new = open.more.last_digest.as_ref() != Some(&packed.digest);
        if is_of_upstream && !open.run.dry_run {
            tx.put_profile(&open, done.profile.as_deref(), is_new)
                .await?;
        }
        if done.found_branch {
            tx.put_default_bookmark(&open, &done.branch).await?;
        }
        let head = done
            .head
            .filter(|head| Some(head) != open.more.head.as_ref());
        if let Some(head) = head {
            let repo = &open.run.repo_id;
            tx.put_head(repo, &done.branch, Some(&head)).await?;
        }
        tx.throttle(&open, done.host_not_before).await?;
        if let Some(updates) = done.push.filter(|updates| !updates.is_empty()) {
            tx.emit_push_of(&open, &updates, now).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a run as failed. False if the lease was lost; then nothing was written.
    pub async fn fail(&self, fence: &Fence, failure: Failure, now: Time) -> Result<bool, Error> {
        let packed = match failure.stats {
            Some(stats) => Some(stats::pack(stats).await?),
            None => None,
        };
        let mut tx = self.begin().await?;
        let Some(mut open) = tx.held(fence).await? else {
            return Ok(false);
        };
        let end = End {
            error: Some(&failure.error),
            error_code: Some(if open.more.cancelled {
                CANCELLED
            } else {
                &failure.code
            }),
            messages: &failure.messages,
            stats: packed.as_ref(),
            is_of_other: !fence.is_of(open.more.version),
        };
        let ended = tx.end(&mut open, end, now).await?;
        tx.throttle(&open, failure.host_not_before).await?;
        if ended {
            tx.commit().await?;
        }
        Ok(ended)
    }

    /// Lets a run wait for its next attempt after a failure, or ends it if it was cancelled meanwhile. False if the
    /// lease was lost; then nothing was written.
    pub async fn retry(
        &self,
        fence: &Fence,
        failure: Failure,
        run_at: Time,
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let Some(mut open) = tx.held(fence).await? else {
            return Ok(false);
        };
        let tries = open.more.tries + 1;
        let written = tx.wait_or_cancel(&mut open, run_at, tries, now).await?;
        tx.throttle(&open, failure.host_not_before).await?;
        if written {
            tx.commit().await?;
        }
        Ok(written)
    }

    /// Gives a run back whose attempt was stopped for no fault of its own: it is due at once, and no try is counted.
    /// False if the lease was lost; then nothing was written.
    pub async fn give_back(&self, fence: &Fence, now: Time) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let Some(mut open) = tx.held(fence).await? else {
            return Ok(false);
        };
        let tries = open.more.tries;
        let written = tx.wait_or_cancel(&mut open, now, tries, now).await?;
        if written {
            tx.commit().await?;
        }
        Ok(written)
    }
}

impl Tx {
    /// The run of a claim, if the claim still holds.
    async fn held(&mut self, fence: &Fence) -> Result<Option<OpenRun>, Error> {
        let open = self.open_run(fence.id.as_str()).await?;
        Ok(open.filter(|open| open.more.is_leased && open.more.claim == fence.claim))
    }

    /// Lets a run wait, unless it was cancelled.
    pub(super) async fn wait_or_cancel(
        &mut self,
        open: &mut OpenRun,
        run_at: Time,
        tries: i64,
        now: Time,
    ) -> Result<bool, Error> {
        if !open.more.cancelled {
            return self.wait(open, run_at, tries).await;
        }
        self.end_cancelled(open, now).await
    }

    /// Ends a run that somebody has cancelled.
    pub(super) async fn end_cancelled(
        &mut self,
        open: &mut OpenRun,
        now: Time,
    ) -> Result<bool, Error> {
        let end = End {
            error: Some("the run was cancelled"),
            error_code: Some(CANCELLED),
            ..End::default()
        };
        self.end(open, end, now).await
    }

    async fn put_profile(
        &mut self,
        open: &OpenRun,
        profile: Option<&str>,
        is_new: bool,
    ) -> Result<(), Error> {
        let is_other = profile != open.more.profile.as_deref();
        if !is_new && !is_other {
            return Ok(());
        }
        let last = is_new.then(|| open.run.id.as_str());
        let is_pull = open.run.direction == Direction::Pull;
        let (pull, push) = if is_pull { (last, None) } else { (None, last) };
        let sql = "update upstreams set profile = $2, last_pull = coalesce($3, last_pull),
                last_push = coalesce($4, last_push)
            where repo = $1 and version = $5";
        let query = db::query(sql).bind(open.run.repo_id.as_str()).bind(profile);
        let query = query.bind(pull).bind(push).bind(open.more.version);
        execute!(self, query)?;
        Ok(())
    }

    /// Records the default branch that a pull has found, unless a caller chose one.
    async fn put_default_bookmark(&mut self, open: &OpenRun, branch: &str) -> Result<(), Error> {
        let sql = "update repos set default_bookmark = $2, default_given = true where id = $1 and not default_given";
        let query = db::query(sql).bind(open.run.repo_id.as_str()).bind(branch);
        execute!(self, query)?;
        Ok(())
    }

    /// Lets no run of the host start before `not_before`.
    async fn throttle(&mut self, open: &OpenRun, not_before: Option<Time>) -> Result<(), Error> {
        let Some(not_before) = not_before else {
            return Ok(());
        };
        self.host_waits();
        let sql = "insert into hosts (host, not_before) values ($1, $2) on conflict (host) do update set not_before =
            case when excluded.not_before > hosts.not_before then excluded.not_before else hosts.not_before end";
        execute!(
            self,
            db::query(sql).bind(&open.more.host).bind(not_before.0)
        )?;
        Ok(())
    }

    async fn emit_push_of(
        &mut self,
        open: &OpenRun,
        updates: &[PushUpdate],
        now: Time,
    ) -> Result<(), Error> {
        let event = NewEvent {
            id: ids::new(),
            kind: EventType::Push,
            org: &open.more.org,
            repo: &open.run.repo_id,
            repo_name: &open.more.repo_name,
            subject: open.run.repo_id.as_str(),
            has_targets: open.more.has_targets,
        };
        self.emit(event, || push_data(updates), now).await?;
        Ok(())
    }
}
