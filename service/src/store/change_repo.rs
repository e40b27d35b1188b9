//! Changes and removal of repositories. Runs of an upstream that is removed are cancelled in the same transaction.

use std::collections::BTreeMap;

use super::{
    NewUpstream, Store, Tx, cells, db,
    repos::{RepoRow, is_there, repo_columns, repo_tables},
    tx::{execute, is_unique_violation, on},
};
use crate::{
    Error,
    records::{Change, Name, Repo, RepoId, Time, Upstream},
};

/// A change of a repository. Values that are left out stay.
#[derive(Debug, Clone, Default)]
pub struct RepoChange {
    /// The new name.
    pub name: Option<Name>,
    /// The branch that HEAD names, chosen by a caller.
    pub default_bookmark: Option<String>,
    /// The labels to set; `None` removes one.
    pub tags: BTreeMap<String, Option<String>>,
    /// The change of the upstream.
    pub upstream: Change<NewUpstream>,
}

/// The answer to a [`RepoChange`]. Nothing was changed unless it is [`Changed::Done`].
#[derive(Debug, Clone)]
pub enum Changed {
    /// The repository after the change.
    Done(Box<Repo>),
    /// The organization has another repository with the name.
    Taken,
    /// The credential would follow the address to another origin.
    OriginChanged,
    /// The repository would have too many labels.
    TooManyTags,
    /// There is no such repository.
    Gone,
}

/// The largest number of labels of a repository.
pub const MOST_TAGS: usize = 50;

impl Store {
    /// Changes a repository.
    pub async fn change_repo(
        &self,
        id: &RepoId,
        change: RepoChange,
        now: Time,
    ) -> Result<Changed, Error> {
        let mut tx = self.begin().await?;
        tx.lock_repo(id.as_str()).await?;
        let Some(mut repo) = tx.repo_to_change(id).await? else {
            return Ok(Changed::Gone);
        };
        for (label, value) in change.tags {
            match value {
                Some(value) => repo.tags.insert(label, value),
                None => repo.tags.remove(&label),
            };
        }
        if repo.tags.len() > MOST_TAGS {
            return Ok(Changed::TooManyTags);
        }
        if let Change::Set(new) = &change.upstream
            && let Some(stored) = &repo.upstream
            && stored.gives_credential_to(&new.origin, &new.auth)
        {
            return Ok(Changed::OriginChanged);
        }
        repo.name = change.name.unwrap_or(repo.name);
        if let Some(branch) = change.default_bookmark {
            repo.default_bookmark = branch;
            repo.default_given = true;
        }
        if !tx.put_repo(&repo).await? {
            return Ok(Changed::Taken);
        }
        tx.audit_upstream(&repo, &change.upstream, now).await?;
        match &change.upstream {
            Change::Keep => {}
            Change::Clear => tx.remove_upstream(repo.org.as_str(), id, now).await?,
            Change::Set(new) => match &repo.upstream {
                Some(stored) => tx.replace_upstream(id, new, stored, now).await?,
                None => drop(tx.put_upstream(id, new, now).await?),
            },
        }
        tx.commit().await?;
        let changed = self.repo(id).await?;
        Ok(changed.map_or(Changed::Gone, |repo| Changed::Done(Box::new(repo))))
    }

    /// Removes a repository: its name is free at once, its credential is gone, its runs are cancelled. False if there
    /// is none. [`Store::removed_repos`] has it until [`Store::forget_repo`].
    pub async fn delete_repo(&self, id: &RepoId, now: Time) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let sql = concat!(
            "update repos as p set removed_at = $2 where p.id = $1 and ",
            is_there!(),
            " returning org, home"
        );
        let query = db::query_as(sql).bind(id.as_str()).bind(now.0);
        let found: Option<(String, String)> = on!(tx, c => query.fetch_optional(c))?;
        let Some((org, home)) = found else {
            return Ok(false);
        };
        tx.audit(&org, "repository.removed", id.as_str(), None, now)
            .await?;
        tx.remove_upstream(&org, id, now).await?;
        let sql = "update nodes set repos = repos - 1 where name = $1";
        execute!(tx, db::query(sql).bind(home))?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    async fn repo_to_change(&mut self, id: &RepoId) -> Result<Option<Repo>, Error> {
        let sql = concat!(
            "select ",
            repo_columns!(),
            " from ",
            repo_tables!(),
            " where p.id = $1 and ",
            is_there!()
        );
        let query = db::query_as(sql).bind(id.as_str());
        let row: Option<RepoRow> = on!(self, c => query.fetch_optional(c))?;
        row.map(|row| row.record(None)).transpose()
    }

    /// Writes the values of a repository; false if its name is taken.
    async fn put_repo(&mut self, repo: &Repo) -> Result<bool, Error> {
        let sql = "update repos set name = $2, folded = $3, default_bookmark = $4, default_given = $5, tags = $6,
                head = case when default_bookmark = $4 then head else null end
            where id = $1";
        let query = db::query(sql)
            .bind(repo.id.as_str())
            .bind(repo.name.as_str());
        let query = query.bind(repo.name.folded()).bind(&repo.default_bookmark);
        let query = query
            .bind(repo.default_given)
            .bind(cells::to_json(&repo.tags)?);
        match execute!(self, query) {
            Err(err) if is_unique_violation(&err) => Ok(false),
            done => Ok(done? > 0),
        }
    }

    async fn remove_upstream(&mut self, org: &str, id: &RepoId, now: Time) -> Result<(), Error> {
        self.cancel_all(id, now).await?;
        self.remove_hook(org, id.as_str(), now).await?;
        let sql = "delete from upstreams where repo = $1";
        execute!(self, db::query(sql).bind(id.as_str()))?;
        Ok(())
    }

    /// Writes another upstream. What was learned about the one before is forgotten if the address is another one.
    async fn replace_upstream(
        &mut self,
        id: &RepoId,
        new: &NewUpstream,
        stored: &Upstream,
        now: Time,
    ) -> Result<(), Error> {
        let sql = "update upstreams set origin = $3, host = $4, url = $2,
                version = case when url = $2 then version else version + 1 end,
                profile = case when url = $2 then profile else null end,
                last_pull = case when url = $2 then last_pull else null end,
                last_push = case when url = $2 then last_push else null end
            where repo = $1";
        let query = db::query(sql).bind(id.as_str()).bind(&new.url);
        execute!(self, query.bind(&new.origin).bind(&new.host))?;
        self.change_host(id.as_str(), &new.host).await?;
        let change = &new.schedule;
        self.put_schedule(id, change, Some(stored), now).await?;
        let sealed = match &new.auth {
            Change::Keep => return Ok(()),
            Change::Clear => None,
            Change::Set(sealed) => Some(sealed),
        };
        let sql = "update upstreams set auth_kind = $2, auth = $3 where repo = $1";
        let query = db::query(sql).bind(id.as_str());
        let query = query.bind(sealed.map(|sealed| sealed.kind.as_str()));
        execute!(self, query.bind(sealed.map(|sealed| &sealed.text)))?;
        Ok(())
    }
}
