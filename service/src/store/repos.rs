//! Repositories and their upstreams.

use std::collections::{BTreeMap, HashMap};

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::{
    Page, Rows, Store, Tx, cells, db,
    page::List,
    schedules::HealthRow,
    sync_runs::{RunRow, run_columns, run_tables},
    tx::{execute, on, read},
};
use crate::{
    Error,
    records::{AuthKind, Change, Name, OrgId, Repo, RepoId, Schedule, SyncRun, Time, Upstream},
};

/// A credential that was sealed for the table `upstreams`, the row of the repository's id and the column `auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The kind of the credential.
    pub kind: AuthKind,
    /// The sealed text.
    pub text: String,
}

/// An upstream to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpstream {
    /// The address, without a credential.
    pub url: String,
    /// The scheme, host and port of the address.
    pub origin: String,
    /// The host, by which runs are throttled.
    pub host: String,
    /// The change of the credential.
    pub auth: Change<Sealed>,
    /// The change of the schedule.
    pub schedule: Change<Schedule>,
}

/// A repository to store.
#[derive(Debug, Clone)]
pub struct NewRepo {
    /// The identifier.
    pub id: RepoId,
    /// The organization.
    pub org: OrgId,
    /// The name.
    pub name: Name,
    /// The branch that HEAD names.
    pub default_bookmark: String,
    /// Whether a caller chose that branch.
    pub default_given: bool,
    /// Labels of the caller.
    pub tags: BTreeMap<String, String>,
    /// The node whose disk has the repository.
    pub home: String,
    /// The upstream.
    pub upstream: Option<NewUpstream>,
}

/// The organization has another repository with the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken;

#[derive(sqlx::FromRow)]
pub(super) struct RepoRow {
    repo_id: String,
    repo_org: String,
    repo_name: String,
    default_bookmark: String,
    default_given: bool,
    repo_tags: String,
    head: Option<String>,
    home: String,
    home_url: Option<String>,
    repo_created_at: i64,
    upstream_url: Option<String>,
    upstream_origin: Option<String>,
    auth_kind: Option<String>,
    #[sqlx(flatten)]
    health: HealthRow,
}

/// The repository of a row that may have none.
pub(super) struct JoinedRepo(pub(super) Option<RepoRow>);

impl<'r, R: Row> FromRow<'r, R> for JoinedRepo
where
    RepoRow: FromRow<'r, R>,
    &'static str: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let id: Option<String> = row.try_get("repo_id")?;
        let repo = id.map(|_| RepoRow::from_row(row)).transpose()?;
        Ok(JoinedRepo(repo))
    }
}

/// The columns of a [`RepoRow`], of the tables `p` and `u`.
macro_rules! repo_columns {
    () => {
        concat!("p.id as repo_id, p.org as repo_org, p.name as repo_name, p.default_bookmark, p.default_given, \
         p.tags as repo_tags, p.head, p.home, p.created_at as repo_created_at, \
         (select n.public_url from nodes n where n.name = p.home) as home_url, \
         u.url as upstream_url, u.origin as upstream_origin, u.auth_kind, ", crate::store::schedules::health_columns!())
    };
}
/// The tables of [`repo_columns!`].
macro_rules! repo_tables {
    () => {
        "repos p left join upstreams u on u.repo = p.id"
    };
}
/// Whether the repository of a row, which is looked up by its id, is not removed. The indices of those that are not removed
/// do not have these words: PostgreSQL would read one as a whole for an id while it has no rows.
macro_rules! is_there {
    () => {
        is_there!("p")
    };
    ($row:literal) => {
        concat!("coalesce(", $row, ".removed_at, -1) = -1")
    };
}
pub(super) use {is_there, repo_columns, repo_tables};

/// The id of the last run of the repository `p` that was not a dry run.
macro_rules! latest_sync {
    () => {
        "(select s.id from sync_runs s where s.repo = p.id and not s.dry_run order by s.id desc limit 1)"
    };
}

/// The list `ids`, of the ids of repositories that stand one behind the other in the parameter `$1`: a list in one
/// parameter that both databases search by.
macro_rules! with_ids {
    () => {
        "with recursive ids (id, rest) as (
            select substr(cast($1 as text), 1, 37), substr(cast($1 as text), 38)
            union all select substr(ids.rest, 1, 37), substr(ids.rest, 38) from ids where ids.rest <> '') "
    };
}

pub(super) use with_ids;

pub(super) fn joined<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect()
}

pub(super) const ALL_REPOS: &str = concat!(
    "select ",
    repo_columns!(),
    " from ",
    repo_tables!(),
    " where p.org = $1 and p.id > $2 and p.removed_at is null order by p.id limit $3"
);

/// A cross join keeps its order in SQLite, which would go through all of the organization's repositories otherwise. So
/// would PostgreSQL if `p` had a condition beside its key, or an order that an index has.
pub(super) const SOME_REPOS: &str = concat!(
    with_ids!(),
    "select ",
    repo_columns!(),
    " from ids cross join ",
    repo_tables!(),
    " where p.id = (select k.id from repos k where k.id = ids.id and k.org = $2 and k.id > $3 and ",
    is_there!("k"),
    ") order by p.id || '' limit $4"
);

pub(super) const LATEST_SYNCS: &str = concat!(
    with_ids!(),
    "select ",
    run_columns!(),
    " from ids cross join repos p cross join ",
    run_tables!(),
    " where p.id = ids.id and r.id = ",
    latest_sync!()
);

/// The repositories of the organization `$2` with the names in `$1`, in lower case. Each name has 100 characters there,
/// with spaces at its end, as no name has them. Each is a question of its own: PostgreSQL would join the names with all
/// repositories of an organization that has more than others.
pub(super) const IDS_OF_NAMES: &str = "with recursive names (name, rest) as (
        select rtrim(substr(cast($1 as text), 1, 100)), substr(cast($1 as text), 101)
        union all select rtrim(substr(n.rest, 1, 100)), substr(n.rest, 101) from names n where n.rest <> '')
    select names.name, (select p.id from repos p where p.org || '/' || p.folded = $2 || '/' || names.name
            and p.removed_at is null) from names";

impl RepoRow {
    pub(super) fn record(self, latest_sync: Option<SyncRun>) -> Result<Repo, Error> {
        let upstream = self.upstream_url.zip(self.upstream_origin);
        let auth_kind = self.auth_kind.as_deref().map(AuthKind::of_word);
        let auth_kind = auth_kind.map(|kind| cells::word(kind, "kind of a credential"));
        let auth_kind = auth_kind.transpose()?;
        let (schedule, health) = (self.health.schedule()?, self.health.health());
        Ok(Repo {
            id: cells::parsed(&self.repo_id, "id of a repository")?,
            org: cells::parsed(&self.repo_org, "id of an organization")?,
            name: cells::word(Name::new(self.repo_name).ok(), "name")?,
            default_bookmark: self.default_bookmark,
            default_given: self.default_given,
            tags: cells::of_json(&self.repo_tags)?,
            head: self.head,
            home: self.home,
            home_url: self.home_url,
            upstream: upstream.map(|(url, origin)| Upstream {
                url,
                origin,
                auth_kind,
                schedule,
                health,
            }),
            latest_sync,
            created_at: Time(self.repo_created_at),
        })
    }
}

impl Store {
    /// Stores a repository, with its upstream.
    pub async fn create_repo(&self, new: NewRepo, now: Time) -> Result<Result<Repo, Taken>, Error> {
        let mut tx = self.begin().await?;
        let sql = "insert into repos (id, org, name, folded, default_bookmark, default_given, tags, home, created_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            on conflict ((org || '/' || folded)) where removed_at is null do nothing";
        let query = db::query(sql).bind(new.id.as_str()).bind(new.org.as_str());
        let query = query.bind(new.name.as_str()).bind(new.name.folded());
        let query = query.bind(&new.default_bookmark).bind(new.default_given);
        let query = query
            .bind(cells::to_json(&new.tags)?)
            .bind(&new.home)
            .bind(now.0);
        if execute!(tx, query)? == 0 {
            return Ok(Err(Taken));
        }
        let stored = match &new.upstream {
            Some(upstream) => Some(tx.put_upstream(&new.id, upstream, now).await?),
            None => None,
        };
        let sql = "update nodes set repos = repos + 1 where name = $1 returning public_url";
        let query = db::query_scalar(sql).bind(&new.home);
        let home_url: Option<String> = on!(tx, c => query.fetch_optional(c))?;
        let mut repo = Repo {
            id: new.id,
            org: new.org,
            name: new.name,
            default_bookmark: new.default_bookmark,
            default_given: new.default_given,
            tags: new.tags,
            head: None,
            home: new.home,
            home_url,
            upstream: None,
            latest_sync: None,
            created_at: now,
        };
        if let Some(upstream) = new.upstream {
            tx.audit_upstream(&repo, &Change::Set(upstream), now)
                .await?;
        }
        tx.commit().await?;
        repo.upstream = stored;
        Ok(Ok(repo))
    }

    /// The repository with this name, without regard to case, and without its last run.
    pub async fn repo_by_name(&self, org: &OrgId, name: &str) -> Result<Option<Repo>, Error> {
        let sql = concat!(
            "select ",
            repo_columns!(),
            " from ",
            repo_tables!(),
            " where p.org || '/' || p.folded = $1 || '/' || $2 and p.removed_at is null"
        );
        let query = db::query_as(sql)
            .bind(org.as_str())
            .bind(cells::folded(name));
        let row: Option<RepoRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(|row| row.record(None)).transpose()
    }

    /// Those of the names, in lower case, that are repositories of the organization, and their ids.
    pub async fn repo_ids_of(
        &self,
        org: &OrgId,
        names: impl Iterator<Item = &str>,
    ) -> Result<Vec<(String, RepoId)>, Error> {
        let names = names.filter(|name| Name::new(*name).is_ok());
        let names: String = names.map(|name| format!("{name:100}")).collect();
        let query = db::query_as(IDS_OF_NAMES).bind(names).bind(org.as_str());
        let rows: Vec<(String, Option<String>)> = read!(self, c => query.fetch_all(c))?;
        let found = rows.into_iter().filter_map(|(name, id)| Some((name, id?)));
        let parsed =
            |(name, id): (String, String)| Ok((name, cells::parsed(&id, "id of a repository")?));
        found.map(parsed).collect()
    }

    /// The repository.
    pub async fn repo(&self, id: &RepoId) -> Result<Option<Repo>, Error> {
        let sql = concat!(
            "select ",
            repo_columns!(),
            " from ",
            repo_tables!(),
            " where p.id = $1 and ",
            is_there!()
        );
        let query = db::query_as(sql).bind(id.as_str());
        let row: Option<RepoRow> = read!(self, c => query.fetch_optional(c))?;
        let repo = row.map(|row| row.record(None)).transpose()?;
        let Some(mut repo) = repo else {
            return Ok(None);
        };
        repo.latest_sync = self.latest_sync(id).await?;
        Ok(Some(repo))
    }

    /// The last run of the repository's upstream that was not a dry run.
    pub async fn latest_sync(&self, repo: &RepoId) -> Result<Option<SyncRun>, Error> {
        let sql = concat!(
            "select ",
            run_columns!(),
            " from ",
            run_tables!(),
            " where r.repo = $1 and not r.dry_run order by r.id desc limit 1"
        );
        let query = db::query_as(sql).bind(repo.as_str());
        let row: Option<RunRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(RunRow::record).transpose()
    }

    /// The repositories of the organization, the oldest first; only those in `only`, if that is given.
    pub async fn repos(
        &self,
        org: &OrgId,
        only: Option<&[RepoId]>,
        page: Page,
    ) -> Result<Rows<Repo>, Error> {
        let last = page.last::<RepoId>(List::Repos)?;
        let after = last.as_ref().map_or("", RepoId::as_str);
        let rows: Vec<RepoRow> = if let Some(only) = only {
            let query = db::query_as(SOME_REPOS)
                .bind(joined(only.iter().map(RepoId::as_str)))
                .bind(org.as_str());
            read!(self, c => query.bind(after).bind(page.fetched()).fetch_all(c))?
        } else {
            let query = db::query_as(ALL_REPOS).bind(org.as_str());
            read!(self, c => query.bind(after).bind(page.fetched()).fetch_all(c))?
        };
        let ids = joined(rows.iter().map(|row| row.repo_id.as_str()));
        let runs: Vec<RunRow> =
            read!(self, c => db::query_as(LATEST_SYNCS).bind(ids).fetch_all(c))?;
        let mut runs: HashMap<String, RunRow> = runs
            .into_iter()
            .map(|run| (run.repo.clone(), run))
            .collect();
        let mut record = |row: RepoRow| {
            let latest = runs.remove(&row.repo_id).map(RunRow::record).transpose()?;
            row.record(latest)
        };
        let repos: Vec<Repo> = rows
            .into_iter()
            .map(&mut record)
            .collect::<Result<_, Error>>()?;
        Ok(Rows::of(repos, &page, List::Repos, |repo| repo.id.as_str()))
    }

    /// Records `head` as the tip of `branch`, if that is still the default branch.
    pub async fn set_head(
        &self,
        id: &RepoId,
        branch: &str,
        head: Option<&str>,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.put_head(id, branch, head).await?;
        tx.commit().await
    }
}

impl Tx {
    /// Records `head` as the tip of `branch`, if that is still the default branch and its tip another one.
    pub(super) async fn put_head(
        &mut self,
        id: &RepoId,
        branch: &str,
        head: Option<&str>,
    ) -> Result<(), Error> {
        let sql = "update repos set head = $2
            where id = $1 and default_bookmark = $3 and coalesce(head, '') <> coalesce($2, '')";
        let query = db::query(sql).bind(id.as_str()).bind(head);
        execute!(self, query.bind(branch))?;
        Ok(())
    }

    /// Stores a new upstream.
    pub(super) async fn put_upstream(
        &mut self,
        id: &RepoId,
        new: &NewUpstream,
        now: Time,
    ) -> Result<Upstream, Error> {
        let sealed = if let Change::Set(sealed) = &new.auth {
            Some(sealed)
        } else {
            None
        };
        let sql = "insert into upstreams (repo, home, url, origin, host, version, auth_kind, auth)
            values ($1, (select p.home from repos p where p.id = $1), $2, $3, $4, 1, $5, $6)";
        let query = db::query(sql).bind(id.as_str()).bind(&new.url);
        let query = query.bind(&new.origin).bind(&new.host);
        let query = query.bind(sealed.map(|sealed| sealed.kind.as_str()));
        let query = query.bind(sealed.map(|sealed| &sealed.text));
        execute!(self, query)?;
        let (schedule, health) = self.put_schedule(id, &new.schedule, None, now).await?;
        Ok(Upstream {
            url: new.url.clone(),
            origin: new.origin.clone(),
            auth_kind: sealed.map(|sealed| sealed.kind),
            schedule,
            health,
        })
    }
}
