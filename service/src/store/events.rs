//! Events and the deliveries that they lead to, written in the transaction of what happened.

use super::{
    Store, Tx, cells, db,
    tx::{execute, on},
};
use crate::{
    Error, ids,
    records::{
        DeliveryId, EventId, EventType, PushData, PushUpdate, Repo, RepoId, Time, name_asked_for,
    },
};

/// An event to write.
pub(super) struct NewEvent<'a> {
    pub(super) id: EventId,
    pub(super) kind: EventType,
    pub(super) org: &'a str,
    pub(super) repo: &'a RepoId,
    pub(super) repo_name: &'a str,
    /// The run or repository whose events reach a target in order.
    pub(super) subject: &'a str,
    /// Whether the organization has targets at all.
    pub(super) has_targets: bool,
}

#[derive(sqlx::FromRow)]
struct Subscriber {
    id: String,
    events: String,
    repo_ids: Option<String>,
}

impl Subscriber {
    fn name_of(&self, kind: EventType, repo: &RepoId) -> Result<Option<&'static str>, Error> {
        let events: Vec<String> = cells::of_json(&self.events)?;
        let repo_ids: Option<Vec<RepoId>> = cells::of_optional(self.repo_ids.as_deref())?;
        Ok(name_asked_for(
            &events,
            repo_ids.as_deref(),
            kind,
            Some(repo),
        ))
    }
}

/// Whether the organization in a column has a target that is enabled.
macro_rules! has_targets {
    ($org:literal) => {
        concat!(
            "exists (select 1 from targets a where a.org = ",
            $org,
            " and a.enabled) as has_targets"
        )
    };
}
pub(super) use has_targets;

impl Tx {
    /// Writes an event and its deliveries; false if the event is there already. The data is made only if a target
    /// has asked for it.
    pub(super) async fn emit(
        &mut self,
        event: NewEvent<'_>,
        data: impl FnOnce() -> Result<String, Error>,
        now: Time,
    ) -> Result<bool, Error> {
        let mut asked = Vec::new();
        if event.has_targets {
            self.lock_targets_of(event.org).await?;
            let sql =
                "select id, events, repo_ids from targets where org = $1 and enabled order by id";
            let query = db::query_as(sql).bind(event.org);
            let subscribers: Vec<Subscriber> = on!(self, c => query.fetch_all(c))?;
            for subscriber in subscribers {
                if let Some(name) = subscriber.name_of(event.kind, event.repo)? {
                    asked.push((subscriber.id, name));
                }
            }
        }
        let data = if asked.is_empty() {
            None
        } else {
            Some(data()?)
        };
        let sql = "insert into events (id, org, repo, repo_name, subject, type, data, at)
            values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing returning sequence";
        let query = db::query_scalar(sql)
            .bind(event.id.as_str())
            .bind(event.org);
        let query = query.bind(event.repo.as_str()).bind(event.repo_name);
        let query = query.bind(event.subject).bind(event.kind.as_str());
        let query = query.bind(data).bind(now.0);
        let sequence: Option<i64> = on!(self, c => query.fetch_optional(c))?;
        let Some(sequence) = sequence else {
            return Ok(false);
        };
        for (target, name) in asked {
            self.put_delivery(&event, sequence, &target, name, now)
                .await?;
        }
        Ok(true)
    }

    async fn put_delivery(
        &mut self,
        event: &NewEvent<'_>,
        sequence: i64,
        target: &str,
        name: &str,
        now: Time,
    ) -> Result<(), Error> {
        let id: DeliveryId = ids::new();
        let sql = "insert into deliveries
            (id, event, sequence, target, subject, type, state, attempt, next_at, created_at)
            values ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $7)";
        let query = db::query(sql).bind(id.as_str()).bind(event.id.as_str());
        let query = query.bind(sequence).bind(target).bind(event.subject);
        let query = query.bind(name).bind(now.0);
        execute!(self, query)?;
        self.deliveries_change();
        Ok(())
    }
}

/// The JSON of the data of a `push`.
pub(super) fn push_data(updates: &[PushUpdate]) -> Result<String, Error> {
    cells::to_json(&PushData::of(updates))
}

impl Store {
    /// Records the tip of the default branch and, if refs have moved, the event `push` with this id. False if the
    /// event is there already; then nothing is written.
    pub async fn emit_push(
        &self,
        id: EventId,
        repo: &Repo,
        updates: &[PushUpdate],
        head: Option<&str>,
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        tx.lock_repo(repo.id.as_str()).await?;
        if !updates.is_empty() {
            let sql = concat!("select ", has_targets!("$1"));
            let query = db::query_scalar(sql).bind(repo.org.as_str());
            let has_targets: bool = on!(tx, c => query.fetch_one(c))?;
            let event = NewEvent {
                id,
                kind: EventType::Push,
                org: repo.org.as_str(),
                repo: &repo.id,
                repo_name: repo.name.as_str(),
                subject: repo.id.as_str(),
                has_targets,
            };
            if !tx.emit(event, || push_data(updates), now).await? {
                return Ok(false);
            }
        }
        tx.put_head(&repo.id, &repo.default_bookmark, head).await?;
        tx.commit().await?;
        Ok(true)
    }
}
