//! [`OpenRun`], a run as a transition finds it, and the writes that transitions share.

use super::{RunRow, finish::CANCELLED, run_columns, run_tables, stats::Packed};
use crate::{
    Error, ids,
    records::{EventType, Status, SyncRun, Time},
    store::{
        Tx, cells, db,
        events::{NewEvent, has_targets},
        schedules::{HealthRow, health_columns},
        tx::{Wake, execute, on},
    },
};

/// Whether another run than `r` waits for a worker of its node. If so, one of the first two organizations has it; their
/// order is that of an index, which PostgreSQL would leave for all organizations without it.
macro_rules! others_wait {
    () => {
        "exists (select 1 from (select m.org, m.queued from work m where m.home = r.home and m.queued > 0 \
                order by m.look_at, m.running, m.served_at, m.org limit 2) m \
            where m.org <> r.org or m.queued > 1 or r.run_at is null) as others_wait"
    };
}
pub(super) use others_wait;

/// The columns and tables of an [`OpenRow`].
macro_rules! open_run {
    ($where:literal) => {
        concat!(
            "select ",
            run_columns!(),
            ", r.org, r.home as run_home, r.host as run_host, r.tries, r.claim, r.cancelled, \
             r.lease_until, r.lease_until is not null as is_leased, p.name as open_repo_name, p.head as open_head, \
             u.version, u.profile as open_profile, l.id as last_id, l.digest as last_digest, ",
            health_columns!(),
            ", ",
            has_targets!("r.org"),
            ", ",
            others_wait!(),
            " from ",
            run_tables!(),
            " join repos p on p.id = r.repo left join upstreams u on u.repo = r.repo
              left join sync_runs l
                on l.id = case r.direction when 'pull' then u.last_pull else u.last_push end
              where ",
            $where
        )
    };
}

#[derive(sqlx::FromRow)]
struct OpenRow {
    #[sqlx(flatten)]
    run: RunRow,
    #[sqlx(flatten)]
    more: More,
}

/// A run's columns beside its record.
#[derive(sqlx::FromRow)]
pub(super) struct More {
    pub(super) org: String,
    #[sqlx(rename = "run_home")]
    pub(super) home: String,
    #[sqlx(rename = "run_host")]
    pub(super) host: String,
    pub(super) tries: i64,
    pub(super) claim: i64,
    pub(super) cancelled: bool,
    pub(super) lease_until: Option<i64>,
    pub(super) is_leased: bool,
    #[sqlx(rename = "open_repo_name")]
    pub(super) repo_name: String,
    #[sqlx(rename = "open_head")]
    pub(super) head: Option<String>,
    pub(super) version: Option<i64>,
    #[sqlx(rename = "open_profile")]
    pub(super) profile: Option<String>,
    pub(super) last_id: Option<String>,
    pub(super) last_digest: Option<Vec<u8>>,
    pub(super) has_targets: bool,
    #[sqlx(flatten)]
    pub(super) health: HealthRow,
    pub(super) others_wait: bool,
}

/// A run as a transition finds it.
pub(super) struct OpenRun {
    pub(super) run: SyncRun,
    pub(super) more: More,
}

/// The end of a run.
#[derive(Default)]
pub(super) struct End<'a> {
    pub(super) error: Option<&'a str>,
    pub(super) error_code: Option<&'a str>,
    pub(super) messages: &'a [String],
    pub(super) stats: Option<&'a Packed>,
    /// Whether the run says nothing about the upstream that is there now.
    pub(super) is_of_other: bool,
}

impl OpenRow {
    fn open(self) -> Result<OpenRun, Error> {
        Ok(OpenRun {
            run: self.run.record()?,
            more: self.more,
        })
    }
}

impl Tx {
    /// The run with this id, whatever its status, for a transition: its repository is locked.
    pub(super) async fn open_run(&mut self, id: &str) -> Result<Option<OpenRun>, Error> {
        self.lock_repo_of(id).await?;
        let query = db::query_as(open_run!("r.id = $1")).bind(id);
        let row: Option<OpenRow> = on!(self, c => query.fetch_optional(c))?;
        row.map(OpenRow::open).transpose()
    }

    /// The runs of the repository that have not ended. The repository is locked by the caller.
    pub(super) async fn open_runs(&mut self, repo: &str) -> Result<Vec<OpenRun>, Error> {
        let query = db::query_as(open_run!(
            "r.repo = $1 and (coalesce(r.run_at, -1) >= 0 or r.lease_until is not null) order by r.id"
        ));
        let rows: Vec<OpenRow> = on!(self, c => query.bind(repo).fetch_all(c))?;
        rows.into_iter().map(OpenRow::open).collect()
    }

    /// Ends a run, with its event. False if somebody else has changed it since it was read.
    pub(super) async fn end(
        &mut self,
        open: &mut OpenRun,
        end: End<'_>,
        now: Time,
    ) -> Result<bool, Error> {
        let (run, more) = (&mut open.run, &open.more);
        let is_failure = end.error.is_some();
        run.status = if is_failure {
            Status::Failed
        } else {
            Status::Completed
        };
        let messages = (!end.messages.is_empty()).then_some(end.messages);
        let messages = messages.map(cells::to_json).transpose()?;
        let holder = more.last_id.as_ref().filter(|_| {
            let digest = end.stats.map(|stats| &stats.digest);
            !is_failure && digest.is_some() && digest == more.last_digest.as_ref()
        });
        let own = end.stats.filter(|_| holder.is_none());
        let sql = "update sync_runs set status = $4, run_at = null, lease_until = null, node = null, worker = null,
                stats = $5, full_stats = $6, stats_of = $7, digest = $8, messages = $9, error = $10,
                error_code = $11, finished_at = $12
            where id = $1 and claim = $2 and (lease_until is not null) = $3 and finished_at is null";
        let query = db::query(sql).bind(run.id.as_str()).bind(more.claim);
        let query = query.bind(more.is_leased).bind(run.status.as_str());
        let query = query.bind(own.map(|stats| &stats.capped));
        let query = query.bind(own.and_then(|stats| stats.full.as_ref()));
        let query = query.bind(holder).bind(own.map(|stats| &stats.digest));
        let query = query.bind(messages).bind(end.error.map(cells::storable));
        let query = query.bind(end.error_code).bind(now.0);
        if execute!(self, query)? == 0 {
            return Ok(false);
        }
        let (queued, running) = if more.is_leased { (0, -1) } else { (-1, 0) };
        self.count_work(more, queued, running).await?;
        run.error = end.error.map(str::to_owned);
        run.error_code = end.error_code.map(str::to_owned);
        run.messages = end.messages.to_vec();
        run.next_attempt_at = None;
        run.finished_at = Some(now);
        self.run_ends(run);
        // On PostgreSQL another run may have been queued since this one was read.
        if more.others_wait || self.has_many_writers() {
            self.wake(Wake::One);
        }
        let was_cancelled = end.error_code == Some(CANCELLED);
        if more.version.is_some() && !end.is_of_other && !was_cancelled {
            self.count_end(run, &more.org, &more.health, now).await?;
        }
        let kind = if is_failure {
            EventType::SyncFailed
        } else {
            EventType::SyncCompleted
        };
        self.emit_run(
            open,
            kind,
            end.stats.map(|stats| stats.in_events.as_str()),
            now,
        )
        .await?;
        Ok(true)
    }

    /// Lets a run wait for its next attempt, which is of the host that the upstream has by then: while an attempt ran,
    /// it counted for the host that it spoke to. False if somebody else has changed it since it was read.
    pub(super) async fn wait(
        &mut self,
        open: &OpenRun,
        run_at: Time,
        tries: i64,
    ) -> Result<bool, Error> {
        let sql = "update sync_runs set lease_until = null, node = null, worker = null, run_at = $3, tries = $4,
                host = coalesce((select u.host from upstreams u where u.repo = sync_runs.repo), host)
            where id = $1 and claim = $2 and lease_until is not null";
        let query = db::query(sql).bind(open.run.id.as_str());
        let query = query.bind(open.more.claim).bind(run_at.0).bind(tries);
        if execute!(self, query)? == 0 {
            return Ok(false);
        }
        self.count_work(&open.more, 1, -1).await?;
        self.wake(Wake::All);
        Ok(true)
    }

    async fn count_work(&mut self, more: &More, queued: i64, running: i64) -> Result<(), Error> {
        let sql = "update work set queued = queued + $3, running = running + $4, look_at = 0
            where home = $1 and org = $2";
        let query = db::query(sql).bind(&more.home).bind(&more.org);
        execute!(self, query.bind(queued).bind(running))?;
        Ok(())
    }

    /// Writes the event of a run. A dry run has none.
    pub(super) async fn emit_run(
        &mut self,
        open: &OpenRun,
        kind: EventType,
        stats: Option<&str>,
        now: Time,
    ) -> Result<(), Error> {
        if open.run.dry_run {
            return Ok(());
        }
        let event = NewEvent {
            id: ids::new(),
            kind,
            org: &open.more.org,
            repo: &open.run.repo_id,
            repo_name: &open.more.repo_name,
            subject: open.run.id.as_str(),
            has_targets: open.more.has_targets,
        };
        self.emit(event, || sync_data(&open.run, stats), now)
            .await?;
        Ok(())
    }
}

/// The JSON of the data of a run's event.
pub(super) fn sync_data(run: &SyncRun, stats: Option<&str>) -> Result<String, Error> {
    let mut run = run.clone();
    let stats = stats.map(|stats| serde_json::value::RawValue::from_string(stats.to_owned()));
    run.stats = cells::word(stats.transpose().ok(), "JSON of stats")?;
    Ok(format!(r#"{{"sync":{}}}"#, cells::to_json(&run)?))
}
