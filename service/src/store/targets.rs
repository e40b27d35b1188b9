//! Webhook targets.

use std::time::Duration;

use super::{
    Page, Rows, Store, Tx, cells, db,
    page::List,
    tx::{execute, on, read},
};
use crate::{
    Error,
    records::{Change, OrgId, RepoId, Target, TargetId, Time, covers},
};

/// The time for which the secret before is used beside a new one.
const OLD_SECRET_TIME: Duration = Duration::from_secs(24 * 3600);

/// A webhook target to store.
#[derive(Debug, Clone)]
pub struct NewTarget {
    /// The identifier.
    pub id: TargetId,
    /// The organization.
    pub org: OrgId,
    /// The address.
    pub url: String,
    /// The name that its maker gave it.
    pub name: Option<String>,
    /// The names of the types that it asks for.
    pub events: Vec<String>,
    /// The repositories that it is limited to.
    pub repo_ids: Option<Vec<RepoId>>,
    /// The secret, sealed for the table `targets`, the row of the target's id and the column `secret`.
    pub secret: String,
}

/// A change of a webhook target. Values that are left out stay.
#[derive(Debug, Clone, Default)]
pub struct TargetChange {
    /// The address.
    pub url: Option<String>,
    /// The name.
    pub name: Change<String>,
    /// The names of the types that it asks for.
    pub events: Option<Vec<String>>,
    /// The repositories that it is limited to.
    pub repo_ids: Change<Vec<RepoId>>,
    /// Whether events are delivered to it.
    pub enabled: Option<bool>,
}

#[derive(sqlx::FromRow)]
pub(super) struct TargetRow {
    target_id: String,
    target_url: String,
    target_name: Option<String>,
    target_events: String,
    target_repo_ids: Option<String>,
    target_enabled: bool,
    target_created_at: i64,
    target_updated_at: i64,
}

/// The columns of a [`TargetRow`], of the table `t`.
macro_rules! target_columns {
    () => {
        "t.id as target_id, t.url as target_url, t.name as target_name, t.events as target_events, \
         t.repo_ids as target_repo_ids, t.enabled as target_enabled, t.created_at as target_created_at, \
         t.updated_at as target_updated_at"
    };
}
pub(super) use target_columns;

impl TargetRow {
    pub(super) fn record(self) -> Result<Target, Error> {
        Ok(Target {
            id: cells::parsed(&self.target_id, "id of a target")?,
            url: self.target_url,
            name: self.target_name,
            events: cells::of_json(&self.target_events)?,
            repo_ids: cells::of_optional(self.target_repo_ids.as_deref())?,
            enabled: self.target_enabled,
            created_at: Time(self.target_created_at),
            updated_at: Time(self.target_updated_at),
        })
    }
}

impl Store {
    /// Stores a webhook target.
    pub async fn create_target(&self, new: NewTarget, now: Time) -> Result<Target, Error> {
        let mut tx = self.begin().await?;
        let sql = "insert into targets (id, org, url, name, events, repo_ids, enabled, secret, created_at, updated_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
        let query = db::query(sql).bind(new.id.as_str()).bind(new.org.as_str());
        let query = query.bind(&new.url).bind(&new.name);
        let query = query.bind(cells::to_json(&new.events)?);
        let repo_ids = new.repo_ids.as_ref().map(cells::to_json).transpose()?;
        let query = query.bind(repo_ids).bind(true).bind(&new.secret);
        execute!(tx, query.bind(now.0))?;
        tx.audit_target(&new.id, "target.created", None, now)
            .await?;
        tx.commit().await?;
        Ok(Target {
            id: new.id,
            url: new.url,
            name: new.name,
            events: new.events,
            repo_ids: new.repo_ids,
            enabled: true,
            created_at: now,
            updated_at: now,
        })
    }

    /// The target of the organization.
    pub async fn target(&self, org: &OrgId, id: &TargetId) -> Result<Option<Target>, Error> {
        let sql = concat!(
            "select ",
            target_columns!(),
            " from targets t where t.org = $1 and t.id = $2"
        );
        let query = db::query_as(sql).bind(org.as_str()).bind(id.as_str());
        let row: Option<TargetRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(TargetRow::record).transpose()
    }

    /// The targets of the organization that are `wanted`, the oldest first.
    pub async fn targets(
        &self,
        org: &OrgId,
        page: Page,
        wanted: impl Fn(&Target) -> bool,
    ) -> Result<Rows<Target>, Error> {
        let mut after = page.last::<TargetId>(List::Targets)?;
        let sql = concat!(
            "select ",
            target_columns!(),
            " from targets t where t.org = $1 and t.id > $2 order by t.id limit $3"
        );
        let mut targets: Vec<Target> = Vec::new();
        loop {
            let query = db::query_as(sql).bind(org.as_str());
            let query = query.bind(after.as_ref().map_or("", TargetId::as_str));
            let query = query.bind(page.fetched());
            let rows: Vec<TargetRow> = read!(self, c => query.fetch_all(c))?;
            let rows = rows.into_iter().map(TargetRow::record);
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let is_end = page.is_end(rows.len());
            after = rows.last().map(|target| target.id.clone());
            targets.extend(rows.into_iter().filter(&wanted));
            if is_end || page.is_full(targets.len()) {
                return Ok(Rows::of(targets, &page, List::Targets, |target| {
                    target.id.as_str()
                }));
            }
        }
    }

    /// Changes a target; `None` if there is none with this id. One that is enabled again or gets another address starts
    /// without failures. One that gets other repositories forgets its deliveries about all but these.
    ///
    /// This and the other changes of a target take `seen`, the repositories that the caller's key is limited to: a
    /// target that sees more is none for that caller, also if it does so only since the caller has looked.
    pub async fn change_target(
        &self,
        id: &TargetId,
        seen: Option<&[RepoId]>,
        change: TargetChange,
        now: Time,
    ) -> Result<Option<Target>, Error> {
        let mut tx = self.begin().await?;
        let Some(mut target) = tx.target_within(id, seen).await? else {
            return Ok(None);
        };
        let before = target.clone();
        // The failures of the address before say nothing of a new one.
        let begins_anew = (change.enabled == Some(true) && !target.enabled)
            || change.url.as_ref().is_some_and(|url| *url != target.url);
        let is_narrowed = matches!(change.repo_ids, Change::Set(_));
        target.url = change.url.unwrap_or(target.url);
        target.name = changed(target.name, change.name);
        target.events = change.events.unwrap_or(target.events);
        target.repo_ids = changed(target.repo_ids, change.repo_ids);
        target.enabled = change.enabled.unwrap_or(target.enabled);
        target.updated_at = now;
        let sql = "update targets set url = $2, name = $3, events = $4, repo_ids = $5, enabled = $6, updated_at = $7,
            failing_since = case when $8 then null else failing_since end where id = $1";
        let query = db::query(sql).bind(id.as_str()).bind(&target.url);
        let query = query.bind(&target.name);
        let query = query.bind(cells::to_json(&target.events)?);
        let repo_ids = target.repo_ids.as_ref().map(cells::to_json).transpose()?;
        let query = query.bind(&repo_ids).bind(target.enabled);
        execute!(tx, query.bind(now.0).bind(begins_anew))?;
        if !target.enabled {
            tx.end_deliveries(id, "the target is disabled", now).await?;
        }
        if let Some(repo_ids) = repo_ids.filter(|_| is_narrowed) {
            tx.forget_deliveries(id, &repo_ids).await?;
        }
        let fields = changed_fields(&before, &target);
        if !fields.is_empty() {
            let detail = Some(fields.join(", "));
            tx.audit_target(id, "target.changed", detail.as_deref(), now)
                .await?;
        }
        tx.commit().await?;
        Ok(Some(target))
    }

    /// Removes a target, and ends its deliveries; false if there is none with this id.
    pub async fn delete_target(
        &self,
        id: &TargetId,
        seen: Option<&[RepoId]>,
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        if tx.target_within(id, seen).await?.is_none() {
            return Ok(false);
        }
        tx.audit_target(id, "target.removed", None, now).await?;
        let sql = "delete from targets where id = $1";
        execute!(tx, db::query(sql).bind(id.as_str()))?;
        tx.end_deliveries(id, "the target was removed", now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Replaces the sealed secret. The one before is used beside it for a day. False if there is no such target.
    pub async fn rotate_secret(
        &self,
        id: &TargetId,
        seen: Option<&[RepoId]>,
        sealed: String,
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        if tx.target_within(id, seen).await?.is_none() {
            return Ok(false);
        }
        let sql = "update targets set old_secret = secret, old_until = $2, secret = $3, updated_at = $4 where id = $1";
        let query = db::query(sql).bind(id.as_str());
        let query = query.bind(now.plus(OLD_SECRET_TIME).0).bind(sealed);
        execute!(tx, query.bind(now.0))?;
        tx.audit_target(id, "target.secret_rotated", None, now)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Disables a target that can't be delivered to at `url`, ends its deliveries, and says so in the audit. A target
    /// that has another address by now stays as it is.
    pub async fn disable_target(
        &self,
        id: &TargetId,
        url: &str,
        reason: &str,
        now: Time,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let sql = "update targets set enabled = $2, updated_at = $3 where id = $1 and enabled and url = $4 returning org";
        let query = db::query_scalar(sql).bind(id.as_str()).bind(false);
        let query = query.bind(now.0).bind(url);
        let org: Option<String> = on!(tx, c => query.fetch_optional(c))?;
        let Some(org) = org else { return Ok(()) };
        tx.audit(&org, "target.disabled", id.as_str(), Some(reason), now)
            .await?;
        tx.end_deliveries(id, reason, now).await?;
        tx.commit().await
    }
}

impl Tx {
    /// The target, locked, unless it sees more than the repositories `seen`.
    pub(super) async fn target_within(
        &mut self,
        id: &TargetId,
        seen: Option<&[RepoId]>,
    ) -> Result<Option<Target>, Error> {
        self.lock_target(id.as_str()).await?;
        let sql = concat!(
            "select ",
            target_columns!(),
            " from targets t where t.id = $1"
        );
        let query = db::query_as(sql).bind(id.as_str());
        let row: Option<TargetRow> = on!(self, c => query.fetch_optional(c))?;
        let target = row.map(TargetRow::record).transpose()?;
        Ok(target.filter(|target| covers(seen, target.repo_ids.as_deref())))
    }

    /// Removes the deliveries to the target but for those about repositories in `repo_ids`, a list in JSON, or about
    /// none. Nobody who sees only these can read the others or have them sent again.
    async fn forget_deliveries(&mut self, id: &TargetId, repo_ids: &str) -> Result<(), Error> {
        let sql = "delete from deliveries where target = $1 and not exists (select 1 from events e
            where e.sequence = deliveries.sequence and (e.repo is null or $2 like '%\"' || e.repo || '\"%'))";
        execute!(self, db::query(sql).bind(id.as_str()).bind(repo_ids))?;
        Ok(())
    }

    /// Ends all deliveries to the target that are still to be made.
    async fn end_deliveries(
        &mut self,
        id: &TargetId,
        reason: &str,
        now: Time,
    ) -> Result<(), Error> {
        let sql =
            "update deliveries set state = 'failed', next_at = null, node = null, finished_at = $2,
            last_error = coalesce(last_error, $3) where finished_at is null and id in (
                select d.id from deliveries d where d.target = $1 and d.state = 'pending'
                order by d.subject, d.sequence)";
        let query = db::query(sql).bind(id.as_str()).bind(now.0);
        execute!(self, query.bind(reason))?;
        Ok(())
    }
}

/// The names of what differs. The values stay out of the audit: an address may be a secret.
fn changed_fields(before: &Target, after: &Target) -> Vec<&'static str> {
    let enabled = if after.enabled { "enabled" } else { "disabled" };
    let fields = [
        ("url", before.url != after.url),
        ("name", before.name != after.name),
        ("events", before.events != after.events),
        ("repo_ids", before.repo_ids != after.repo_ids),
        (enabled, before.enabled != after.enabled),
    ];
    let changed = fields.into_iter().filter(|(_, has_changed)| *has_changed);
    changed.map(|(name, _)| name).collect()
}

fn changed<T>(before: Option<T>, change: Change<T>) -> Option<T> {
    match change {
        Change::Keep => before,
        Change::Clear => None,
        Change::Set(value) => Some(value),
    }
}
