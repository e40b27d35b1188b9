//! Deliveries: what is due, and the ends of attempts.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::{
    Page, Rows, Store, cells, db,
    orgs::{OrgRow, org_columns},
    page::List,
    targets::{TargetRow, target_columns},
    tx::{Tx, execute, on, read},
};
use crate::{
    Error, ids,
    records::{
        Delivery, DeliveryId, DeliveryState, Event, EventId, EventRepo, RepoId, Target, TargetId,
        Time,
    },
};

/// A delivery to make.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// The identifier.
    pub id: DeliveryId,
    /// The event, whose identifier is the same in all attempts.
    pub event_id: EventId,
    /// The number of the attempt.
    pub attempt: i64,
    /// The body: the event as JSON.
    pub body: String,
    /// The target.
    pub target: Target,
    /// The sealed secrets that are valid, the newest first.
    pub secrets: Vec<String>,
}

/// The failure of an attempt to deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempted {
    /// The status, if there was an answer.
    pub status: Option<i64>,
    /// The reason.
    pub error: String,
    /// The beginning of the answer's body.
    pub body: Option<String>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    delivery_id: String,
    delivery_event: String,
    delivery_target: String,
    delivery_type: String,
    state: String,
    attempt: i64,
    next_at: Option<i64>,
    last_status: Option<i64>,
    last_error: Option<String>,
    last_body: Option<String>,
    delivery_created_at: i64,
    finished_at: Option<i64>,
}

/// The columns of a [`DeliveryRow`], of the table `d`.
macro_rules! delivery_columns {
    () => {
        "d.id as delivery_id, d.event as delivery_event, d.target as delivery_target, d.type as delivery_type, \
         d.state, d.attempt, d.next_at, d.last_status, d.last_error, d.last_body, \
         d.created_at as delivery_created_at, d.finished_at"
    };
}

impl DeliveryRow {
    fn record(self) -> Result<Delivery, Error> {
        let state = DeliveryState::of_word(&self.state);
        Ok(Delivery {
            id: cells::parsed(&self.delivery_id, "id of a delivery")?,
            event_id: cells::parsed(&self.delivery_event, "id of an event")?,
            target_id: cells::parsed(&self.delivery_target, "id of a target")?,
            kind: self.delivery_type,
            state: cells::word(state, "state of a delivery")?,
            attempt: self.attempt,
            last_status: self.last_status,
            last_error: self.last_error,
            last_body: self.last_body,
            next_attempt_at: self.next_at.map(Time),
            created_at: Time(self.delivery_created_at),
            finished_at: self.finished_at.map(Time),
        })
    }
}

#[derive(sqlx::FromRow)]
struct DueRow {
    #[sqlx(flatten)]
    delivery: DeliveryRow,
    #[sqlx(flatten)]
    target: TargetRow,
    #[sqlx(flatten)]
    org: OrgRow,
    event_sequence: i64,
    event_at: i64,
    event_repo: Option<String>,
    event_repo_name: Option<String>,
    home_url: Option<String>,
    event_data: Option<String>,
    secret: String,
    old_secret: Option<String>,
    old_until: Option<i64>,
}

/// Whether no earlier delivery of the same target and subject is to be made. The order is that of one index: while few
/// deliveries are pending, PostgreSQL plans to read all of them.
macro_rules! is_first {
    ($row:literal) => {
        concat!(
            "(select p.id from deliveries p where p.state = 'pending' and p.target = ",
            $row,
            ".target and p.subject = ",
            $row,
            ".subject and p.sequence < ",
            $row,
            ".sequence order by p.sequence limit 1) is null"
        )
    };
}

/// Those of the earliest 64 due deliveries that may be made, but for the targets in `$2`.
pub(super) const NEAR: &str = concat!(
    "select d.id, d.target from (select f.id, f.target, f.subject, f.sequence from deliveries f
        where f.state = 'pending' and f.next_at <= $1 order by f.next_at, f.sequence limit 64) d
     where $2 not like '%' || d.target || '%' and ",
    is_first!("d")
);

/// The first due delivery of each target, but for those in `$2`, looked up target by target: what a slow target has yet
/// to get costs one step.
pub(super) const FAR: &str = concat!(
    "with recursive t (target) as (
        select (select f.target from deliveries f where f.state = 'pending' order by f.target limit 1)
        union all select (select f.target from deliveries f where f.state = 'pending' and f.target > t.target
            order by f.target limit 1) from t where t.target is not null)
     select e.id, e.target from t join deliveries e on e.id = (select f.id from deliveries f
            where f.state = 'pending' and f.target = t.target and f.next_at <= $1 and ",
    is_first!("f"),
    " order by f.next_at, f.sequence limit 1)
        where $2 not like '%' || t.target || '%' order by e.next_at, e.sequence limit $3"
);

impl Store {
    /// The deliveries that may be made now, at most one for each target and none for those in `busy`. They are due
    /// again at `lease_until`, unless their ends are recorded before. The events of one subject reach a target in
    /// order: none is due while an earlier one is to be made.
    pub async fn due_deliveries(
        &self,
        node: &str,
        now: Time,
        lease_until: Time,
        limit: usize,
        busy: &[TargetId],
    ) -> Result<Vec<DueDelivery>, Error> {
        let busy: String = busy.iter().map(TargetId::as_str).collect();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = db::query_as(NEAR).bind(now.0).bind(&busy);
        let mut found: Vec<(String, String)> = read!(self, c => query.fetch_all(c))?;
        if found.is_empty() {
            let query = db::query_as(FAR).bind(now.0).bind(&busy);
            found = read!(self, c => query.bind(limit).fetch_all(c))?;
        }
        let mut targets = HashSet::new();
        found.retain(|(_, target)| targets.insert(target.clone()));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let mut due = Vec::with_capacity(found.len());
        for (id, _) in found {
            // Another node may have been faster.
            let sql = "update deliveries set attempt = attempt + 1, next_at = $3, node = $4
                where id = $1 and finished_at is null and next_at <= $2";
            let query = db::query(sql).bind(&id).bind(now.0);
            let leased = execute!(tx, query.bind(lease_until.0).bind(node))? > 0;
            if !leased {
                continue;
            }
            match tx.due_row(&id).await? {
                Some(row) => due.push(row),
                None => tx.drop_delivery(&id, now).await?,
            }
        }
        tx.commit().await?;
        due.into_iter().map(|row| self.due(row, now)).collect()
    }

    fn due(&self, row: DueRow, now: Time) -> Result<DueDelivery, Error> {
        let org = row.org.record()?;
        let delivery = row.delivery.record()?;
        let name = row.event_repo.zip(row.event_repo_name);
        let home_url = row.home_url.as_ref().unwrap_or(&self.inner.public_url);
        let repository = name.map(|(id, name)| {
            Ok::<_, Error>(EventRepo {
                id: cells::parsed(&id, "id of a repository")?,
                url: format!("{home_url}/{}/{name}.git", org.slug),
                name,
            })
        });
        let data = row.event_data.map(RawValue::from_string).transpose();
        let data = data.ok().flatten();
        let event = Event {
            id: delivery.event_id.clone(),
            kind: delivery.kind,
            sequence: row.event_sequence,
            occurred_at: Time(row.event_at),
            organization: org,
            repository: repository.transpose()?,
            data: cells::word(data, "JSON of an event")?,
        };
        let old = row
            .old_secret
            .filter(|_| row.old_until.is_some_and(|end| end > now.0));
        Ok(DueDelivery {
            id: delivery.id,
            event_id: delivery.event_id,
            attempt: delivery.attempt,
            body: cells::to_json(&event)?,
            target: row.target.record()?,
            secrets: std::iter::once(row.secret).chain(old).collect(),
        })
    }

    /// The earliest time after `now` at which a delivery is due.
    pub async fn next_due_delivery(&self, now: Time) -> Result<Option<Time>, Error> {
        let sql = "select next_at from deliveries where state = 'pending' and next_at > $1 order by next_at limit 1";
        let query = db::query_scalar(sql).bind(now.0);
        let next: Option<i64> = read!(self, c => query.fetch_optional(c))?;
        Ok(next.map(Time))
    }

    /// Makes the deliveries due that a process of `node` had under way when it ended.
    pub async fn end_delivery_leases(&self, node: &str, now: Time) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let sql =
            "update deliveries set next_at = $2, node = null where node = $1 and state = 'pending'";
        let ended = execute!(tx, db::query(sql).bind(node).bind(now.0))?;
        tx.deliveries_change();
        tx.commit().await?;
        Ok(ended)
    }

    /// Records that the target has accepted the event.
    pub async fn delivered(
        &self,
        id: &DeliveryId,
        status: i64,
        body: &str,
        now: Time,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.lock_target_of(id.as_str()).await?;
        let sql = "update deliveries set state = 'delivered', next_at = null, node = null, finished_at = $2,
            last_status = $3, last_error = null, last_body = $4 where id = $1 and finished_at is null
            returning target, subject, sequence";
        let query = db::query_as(sql).bind(id.as_str()).bind(now.0);
        let query = query.bind(status).bind(cells::storable(body));
        let place: Option<Place> = on!(tx, c => query.fetch_optional(c))?;
        let Some(place) = place else { return Ok(()) };
        let sql =
            "update targets set failing_since = null where id = $1 and failing_since is not null";
        execute!(tx, db::query(sql).bind(&place.target))?;
        tx.successors_due(&place, now).await?;
        tx.commit().await
    }

    /// Records the failure of an attempt; `next` is the time of the next one. The time since which no delivery to
    /// the target has succeeded.
    pub async fn delivery_failed(
        &self,
        id: &DeliveryId,
        attempted: Attempted,
        next: Option<Time>,
        now: Time,
    ) -> Result<Option<Time>, Error> {
        let mut tx = self.begin().await?;
        tx.lock_target_of(id.as_str()).await?;
        let (state, finished_at) = match next {
            Some(_) => (DeliveryState::Pending, None),
            None => (DeliveryState::Failed, Some(now.0)),
        };
        let sql = "update deliveries set state = $2, next_at = $3, node = null, finished_at = $4, last_status = $5,
            last_error = $6, last_body = $7 where id = $1 and finished_at is null returning target, subject, sequence";
        let query = db::query_as(sql).bind(id.as_str()).bind(state.as_str());
        let query = query.bind(next.map(|at| at.0)).bind(finished_at);
        let query = query.bind(attempted.status);
        let query = query.bind(cells::storable(&attempted.error));
        let query = query.bind(attempted.body.as_deref().map(cells::storable));
        let place: Option<Place> = on!(tx, c => query.fetch_optional(c))?;
        let Some(place) = place else { return Ok(None) };
        tx.successors_due(&place, next.unwrap_or(now)).await?;
        let sql = "update targets set failing_since = coalesce(failing_since, $2) where id = $1 returning failing_since";
        let query = db::query_scalar(sql).bind(&place.target).bind(now.0);
        let since: Option<i64> = on!(tx, c => query.fetch_optional(c))?;
        tx.commit().await?;
        Ok(since.map(Time))
    }

    /// The deliveries to the target, the newest first.
    pub async fn deliveries(&self, target: &TargetId, page: Page) -> Result<Rows<Delivery>, Error> {
        let last = page.last::<DeliveryId>(List::Deliveries)?;
        // Larger than any id.
        let before = last.as_ref().map_or("~", DeliveryId::as_str);
        let sql = concat!(
            "select ",
            delivery_columns!(),
            " from deliveries d where d.target = $1 and d.id < $2 order by d.id desc limit $3"
        );
        let query = db::query_as(sql).bind(target.as_str()).bind(before);
        let query = query.bind(page.fetched());
        let rows: Vec<DeliveryRow> = read!(self, c => query.fetch_all(c))?;
        let records = rows.into_iter().map(DeliveryRow::record);
        let records: Vec<Delivery> = records.collect::<Result<_, _>>()?;
        Ok(Rows::of(records, &page, List::Deliveries, |delivery| {
            delivery.id.as_str()
        }))
    }

    /// Makes a new delivery of the same event, in no order with others; `None` if there is no such delivery, or its
    /// event is gone, or its target is disabled or sees more than the repositories `seen`.
    pub async fn redeliver(
        &self,
        target: &TargetId,
        seen: Option<&[RepoId]>,
        id: &DeliveryId,
        now: Time,
    ) -> Result<Option<Delivery>, Error> {
        let new: DeliveryId = ids::new();
        let mut tx = self.begin().await?;
        if tx.target_within(target, seen).await?.is_none() {
            return Ok(None);
        }
        let sql = "insert into deliveries (id, event, sequence, target, subject, type, state, attempt, next_at, created_at)
            select $3, d.event, d.sequence, d.target, $3, d.type, 'pending', 0, $4, $4
            from deliveries d join events e on e.sequence = d.sequence join targets t on t.id = d.target
            where d.target = $1 and d.id = $2 and e.data is not null and t.enabled";
        let query = db::query(sql).bind(target.as_str()).bind(id.as_str());
        if execute!(tx, query.bind(new.as_str()).bind(now.0))? == 0 {
            return Ok(None);
        }
        let delivery = delivery_record(&mut tx, &new).await?;
        tx.deliveries_change();
        tx.commit().await?;
        Ok(Some(delivery))
    }
}

/// The delivery with this id, which the transaction has just written.
pub(super) async fn delivery_record(tx: &mut Tx, id: &DeliveryId) -> Result<Delivery, Error> {
    let sql = concat!(
        "select ",
        delivery_columns!(),
        " from deliveries d where d.id = $1"
    );
    let query = db::query_as(sql).bind(id.as_str());
    let row: DeliveryRow = on!(tx, c => query.fetch_one(c))?;
    row.record()
}

/// The place of a delivery in the order of its subject's.
#[derive(sqlx::FromRow)]
struct Place {
    target: String,
    subject: String,
    sequence: i64,
}

impl Tx {
    /// Makes the later deliveries of the subject due at `at`, so that they are not looked at before.
    async fn successors_due(&mut self, place: &Place, at: Time) -> Result<(), Error> {
        // The order is that of one index, see [`is_first`].
        let sql = "update deliveries set next_at = $4 where finished_at is null and node is null and id in (
            select d.id from deliveries d where d.target = $1 and d.subject = $2 and d.sequence > $3
                and d.state = 'pending' order by d.sequence)";
        let query = db::query(sql).bind(&place.target).bind(&place.subject);
        if execute!(self, query.bind(place.sequence).bind(at.0))? > 0 {
            self.deliveries_change();
        }
        Ok(())
    }

    /// Ends a delivery whose event is gone.
    async fn drop_delivery(&mut self, id: &str, now: Time) -> Result<(), Error> {
        let sql =
            "update deliveries set state = 'failed', next_at = null, node = null, finished_at = $2,
            last_error = 'the event is gone' where id = $1";
        execute!(self, db::query(sql).bind(id).bind(now.0))?;
        Ok(())
    }

    async fn due_row(&mut self, id: &str) -> Result<Option<DueRow>, Error> {
        let sql = concat!(
            "select ",
            delivery_columns!(),
            ", ",
            target_columns!(),
            ", ",
            org_columns!(),
            ", e.sequence as event_sequence, e.at as event_at, e.repo as event_repo,
                e.repo_name as event_repo_name,
                (select n.public_url from repos p join nodes n on n.name = p.home where p.id = e.repo) as home_url, e.data as event_data, t.secret, t.old_secret, t.old_until
            from deliveries d join targets t on t.id = d.target join events e on e.sequence = d.sequence
                join orgs o on o.id = e.org where d.id = $1"
        );
        let query = db::query_as(sql).bind(id);
        Ok(on!(self, c => query.fetch_optional(c))?)
    }
}
