//! The claim of a run by a worker.

use std::{
    io,
    time::{Duration, Instant},
};

use refsync::SyncRunStats;

use super::{
    RunRow,
    aside::{Outlook, Signs},
    open::{More, OpenRun},
    search::{CANDIDATE, FIND},
    stats,
};
use crate::{
    Error,
    records::{AuthKind, EventType, Org, Repo, RepoId, Status, SyncId, SyncRun, Time},
    store::{
        Store, Tx, cells, db,
        orgs::OrgRow,
        repos::RepoRow,
        tx::{Wake, execute, is_unique_violation, on},
    },
};

/// A worker that claims runs.
#[derive(Debug, Clone)]
pub struct Claimer {
    /// The node whose repositories it works on.
    pub node: String,
    /// The name of the worker.
    pub worker: String,
    /// The number of runs of one host at a time.
    pub per_host: i64,
}

/// The proof of a claim. A transition with the fence of a lost lease writes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The run.
    pub id: SyncId,
    /// The number of the claim.
    pub claim: i64,
    /// The version of the upstream that the run works with.
    pub(super) upstream: i64,
}

/// The upstream of a claimed run.
#[derive(Debug, Clone)]
pub struct StoredUpstream {
    /// The address, without a credential.
    pub url: String,
    /// The scheme, host and port of the address.
    pub origin: String,
    /// The host, by which runs are throttled.
    pub host: String,
    /// The kind of the credential.
    pub auth_kind: Option<AuthKind>,
    /// The sealed credential.
    pub sealed: Option<String>,
    /// The server's profile, as its last run has left it.
    pub profile: Option<String>,
}

/// A claimed run and what it needs.
#[derive(Debug)]
pub struct Job {
    /// The run, in progress.
    pub run: SyncRun,
    /// The proof of the claim.
    pub fence: Fence,
    /// The number of attempts that have failed.
    pub tries: i64,
    /// The organization.
    pub org: Org,
    /// The repository, without its last run.
    pub repo: Repo,
    /// The upstream.
    pub upstream: StoredUpstream,
    /// The stats of the last completed run of the same direction.
    pub previous: Option<SyncRunStats>,
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claimed<G> {
    /// A run, and the guard of its repository's lock.
    Run(Box<Job>, G),
    /// There is nothing to do.
    Nothing {
        /// The time at which there may be something, if it is known.
        next_at: Option<Time>,
    },
}

/// The time by which a run is moved whose repository's lock is taken.
const TAKEN_WAIT: Duration = Duration::from_secs(1);
/// The time by which a run is moved whose repository cannot be locked.
const BROKEN_WAIT: Duration = Duration::from_secs(10);
/// The number of runs that one claim may move.
const MOST_MOVED: usize = 16;
/// The number of times that one claim may set organizations aside and look at further ones. Others may write in between.
const MOST_LOOKS: usize = 1_000;

#[derive(sqlx::FromRow)]
struct JobRow {
    #[sqlx(flatten)]
    run: RunRow,
    #[sqlx(flatten)]
    more: More,
    #[sqlx(flatten)]
    repo: RepoRow,
    #[sqlx(flatten)]
    org: OrgRow,
    upstream_host: String,
    sealed: Option<String>,
    previous_stats: Option<String>,
    previous_full: Option<Vec<u8>>,
    #[sqlx(flatten)]
    signs: Signs,
}

/// The answer of a search.
enum Found {
    /// A run, with whose repository and host nobody else begins anything.
    Run(Box<JobRow>),
    /// The answer that another run is the next one, since the locked one changed before. It is searched in a transaction
    /// of its own: one that kept the locks of several repositories could wait in a circle.
    Another,
    Nothing(Outlook),
}

impl Found {
    /// The signs that others are to be looked at, after so many looks: before a run starts once, since others may come
    /// first.
    fn signs(&self, looks: usize) -> Option<Signs> {
        match self {
            Found::Run(row) if looks == 0 => Some(row.signs),
            Found::Nothing(outlook) if looks < MOST_LOOKS => Some(outlook.signs),
            _ => None,
        }
    }
}

impl Store {
    /// Claims the next run of the node's repositories, and the lock of its repository, which `lock` takes without
    /// waiting. A run whose lock is taken is moved a little, as one is whose lock cannot be taken at all: a caller who
    /// wants such a run to fail returns a guard that says so. The lease gets the time on top for which this has waited
    /// for the database.
    pub async fn claim<G>(
        &self,
        claimer: &Claimer,
        now: Time,
        lease_until: Time,
        mut lock: impl FnMut(&RepoId) -> io::Result<Option<G>>,
    ) -> Result<Claimed<G>, Error> {
        let asked = Instant::now();
        // Claims of a node come one after another. Those of a process wait here, where they take no connection from
        // others.
        let _turn = self.inner.claims.lock().await;
        let mut tx = self.begin().await?;
        let (mut moved, mut looks) = (0, 0);
        while moved < MOST_MOVED {
            let found = tx.find_job(claimer, now).await?;
            if let Some(signs) = found.signs(looks)
                && tx.sort_out(signs, claimer, now).await?
            {
                tx = self.another(tx).await?;
                looks += 1;
                continue;
            }
            let row = match found {
                Found::Run(row) => *row,
                Found::Nothing(outlook) => {
                    let is_settled = looks < MOST_LOOKS;
                    let next_at = if is_settled {
                        outlook.next_at()
                    } else {
                        Some(now)
                    };
                    return Ok(Claimed::Nothing { next_at });
                }
                Found::Another => {
                    drop(tx);
                    tx = self.begin().await?;
                    moved += 1;
                    continue;
                }
            };
            let repo: RepoId = cells::parsed(&row.run.repo, "id of a repository")?;
            let guard = match lock(&repo) {
                Ok(Some(guard)) => guard,
                Ok(None) => {
                    tx.move_run(&row.run.id, now.plus(TAKEN_WAIT)).await?;
                    tx = self.another(tx).await?;
                    moved += 1;
                    continue;
                }
                Err(err) => {
                    tracing::warn!(repo = repo.as_str(), %err, "the repository cannot be locked");
                    tx.move_run(&row.run.id, now.plus(BROKEN_WAIT)).await?;
                    tx = self.another(tx).await?;
                    moved += 1;
                    continue;
                }
            };
            let lease_until = lease_until.plus(asked.elapsed());
            if let Some(job) = tx.start(claimer, row, now, lease_until).await? {
                tx.commit().await?;
                return Ok(Claimed::Run(Box::new(job.finish().await?), guard));
            }
            // Another node has taken the repository: everything is looked up again.
            drop(tx);
            tx = self.begin().await?;
        }
        let next_at = tx.outlook(claimer, now).await?.next_at();
        Ok(Claimed::Nothing { next_at })
    }

    /// Another transaction: one that kept the locks of several repositories or counters could wait in a circle.
    async fn another(&self, tx: Tx) -> Result<Tx, Error> {
        tx.commit().await?;
        self.begin().await
    }
}

/// A job whose previous stats are still packed.
struct Started {
    job: Job,
    stats: Option<String>,
    full: Option<Vec<u8>>,
}

impl Started {
    async fn finish(mut self) -> Result<Job, Error> {
        // Damaged stats only cost the work that they would have saved.
        self.job.previous = stats::read(self.stats, self.full).await.ok().flatten();
        Ok(self.job)
    }
}

impl Tx {
    async fn find_job(&mut self, claimer: &Claimer, now: Time) -> Result<Found, Error> {
        self.lock_claims(&claimer.node).await?;
        let locked = if self.has_many_writers() {
            let Some(locked) = self.lock_candidate(claimer, now).await? else {
                return Ok(Found::Nothing(self.outlook(claimer, now).await?));
            };
            Some(locked)
        } else {
            None
        };
        let query = db::query_as(FIND).bind(&claimer.node).bind(now.0);
        let query = query.bind(claimer.per_host);
        let row: Option<JobRow> = on!(self, c => query.fetch_optional(c))?;
        let Some(row) = row else {
            return Ok(Found::Nothing(self.outlook(claimer, now).await?));
        };
        let is = |(repo, host): &_| *repo == row.run.repo && *host == row.more.host;
        Ok(if locked.as_ref().is_none_or(is) {
            Found::Run(Box::new(row))
        } else {
            Found::Another
        })
    }

    /// Locks the repository and the host of the next run.
    async fn lock_candidate(
        &mut self,
        claimer: &Claimer,
        now: Time,
    ) -> Result<Option<(String, String)>, Error> {
        let query = db::query_as(CANDIDATE).bind(&claimer.node).bind(now.0);
        let query = query.bind(claimer.per_host);
        let candidate: Option<(String, String)> = on!(self, c => query.fetch_optional(c))?;
        if let Some((repo, host)) = &candidate {
            self.lock_repo(repo).await?;
            self.lock_host(host).await?;
        }
        Ok(candidate)
    }

    async fn move_run(&mut self, id: &str, run_at: Time) -> Result<(), Error> {
        let sql = "update sync_runs set run_at = $2 where id = $1 and lease_until is null and finished_at is null";
        execute!(self, db::query(sql).bind(id).bind(run_at.0))?;
        Ok(())
    }

    /// Starts an attempt; `None` if another worker has a lease of the repository or has taken the run.
    async fn start(
        &mut self,
        claimer: &Claimer,
        row: JobRow,
        now: Time,
        lease_until: Time,
    ) -> Result<Option<Started>, Error> {
        let sql = "update sync_runs set status = 'in_progress', attempt = attempt + 1, claim = claim + 1,
                run_at = null, lease_until = $3, node = $4, worker = $5, started_at = coalesce(started_at, $6)
            where id = $1 and claim = $2 and lease_until is null and finished_at is null";
        let query = db::query(sql).bind(&row.run.id).bind(row.more.claim);
        let query = query.bind(lease_until.0).bind(&claimer.node);
        let query = query.bind(&claimer.worker).bind(now.0);
        match execute!(self, query) {
            Ok(0) => return Ok(None),
            Err(err) if is_unique_violation(&err) => return Ok(None),
            done => done?,
        };
        let sql = "update work set queued = queued - 1, running = running + 1, served_at = $3
            where home = $1 and org = $2";
        let query = db::query(sql).bind(&row.more.home).bind(&row.more.org);
        execute!(self, query.bind(now.0))?;
        if row.more.others_wait {
            self.wake(Wake::One);
        }

        let mut open = OpenRun {
            run: row.run.record()?,
            more: row.more,
        };
        let is_first = open.run.status == Status::Queued;
        open.run.status = Status::InProgress;
        open.run.attempt += 1;
        open.run.next_attempt_at = None;
        open.run.started_at = open.run.started_at.or(Some(now));
        if is_first {
            self.emit_run(&open, EventType::SyncInProgress, None, now)
                .await?;
        }
        let repo = row.repo.record(None)?;
        let upstream = cells::word(repo.upstream.clone(), "upstream")?;
        let job = Job {
            fence: Fence {
                id: open.run.id.clone(),
                claim: open.more.claim + 1,
                upstream: open.more.version.unwrap_or(0),
            },
            run: open.run,
            tries: open.more.tries,
            org: row.org.record()?,
            upstream: StoredUpstream {
                url: upstream.url,
                origin: upstream.origin,
                host: row.upstream_host,
                auth_kind: upstream.auth_kind,
                sealed: row.sealed,
                profile: open.more.profile,
            },
            repo,
            previous: None,
        };
        Ok(Some(Started {
            job,
            stats: row.previous_stats,
            full: row.previous_full,
        }))
    }
}

impl Fence {
    /// The direction's column of the upstream is written by a run of this version alone.
    pub(super) fn is_of(&self, version: Option<i64>) -> bool {
        version == Some(self.upstream)
    }
}
