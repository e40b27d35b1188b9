//! API keys, which are looked up by the hash of their secret.

use super::{
    Page, Rows, Store, cells,
    orgs::{OrgRow, org_columns},
    page::List,
    tx::{execute, read},
};
use crate::{
    Error,
    records::{Key, KeyId, Org, OrgId, RepoId, Scope, Time},
};

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The identifier.
    pub id: KeyId,
    /// The name that its maker gave it.
    pub name: Option<String>,
    /// The SHA-256 of the secret.
    pub hash: [u8; 32],
    /// The scopes.
    pub scopes: Vec<Scope>,
    /// The repositories that the key is limited to.
    pub repo_ids: Option<Vec<RepoId>>,
    /// The time from which it is refused.
    pub expires_at: Option<Time>,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    name: Option<String>,
    scopes: String,
    repo_ids: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct KeyOfOrg {
    #[sqlx(flatten)]
    key: KeyRow,
    #[sqlx(flatten)]
    org: OrgRow,
}

macro_rules! key_columns {
    () => {
        "k.id, k.name, k.scopes, k.repo_ids, k.created_at, k.expires_at"
    };
}

impl KeyRow {
    fn record(self) -> Result<Key, Error> {
        Ok(Key {
            id: cells::parsed(&self.id, "id of a key")?,
            name: self.name,
            scopes: cells::of_json(&self.scopes)?,
            repo_ids: cells::of_optional(self.repo_ids.as_deref())?,
            created_at: Time(self.created_at),
            expires_at: self.expires_at.map(Time),
        })
    }
}

impl Store {
    /// Stores a key of the organization.
    pub async fn create_key(&self, org: &OrgId, new: NewKey, now: Time) -> Result<Key, Error> {
        let scopes = cells::to_json(&new.scopes)?;
        let repo_ids = new.repo_ids.as_ref().map(cells::to_json).transpose()?;
        let mut tx = self.begin().await?;
        let sql = "insert into keys (id, org, name, hash, scopes, repo_ids, created_at, expires_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8)";
        let query = sqlx::query(sql).bind(new.id.as_str()).bind(org.as_str());
        let query = query.bind(&new.name).bind(&new.hash[..]);
        let query = query.bind(scopes).bind(repo_ids);
        let query = query.bind(now.0).bind(new.expires_at.map(|at| at.0));
        execute!(tx, query)?;
        tx.commit().await?;
        Ok(Key {
            id: new.id,
            name: new.name,
            scopes: new.scopes,
            repo_ids: new.repo_ids,
            created_at: now,
            expires_at: new.expires_at,
        })
    }

    /// The key whose secret has this SHA-256, and its organization. A key that has expired is found, too.
    pub async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<(Org, Key)>, Error> {
        let sql = concat!(
            "select ",
            key_columns!(),
            ", ",
            org_columns!(),
            " from keys k join orgs o on o.id = k.org where k.hash = $1"
        );
        let row: Option<KeyOfOrg> =
            read!(self, c => sqlx::query_as(sql).bind(&hash[..]).fetch_optional(c))?;
        let records = |row: KeyOfOrg| Ok((row.org.record()?, row.key.record()?));
        row.map(records).transpose()
    }

    /// The key of the organization with this id.
    pub async fn key(&self, org: &OrgId, id: &KeyId) -> Result<Option<Key>, Error> {
        let sql = concat!(
            "select ",
            key_columns!(),
            " from keys k where k.org = $1 and k.id = $2"
        );
        let query = sqlx::query_as(sql).bind(org.as_str()).bind(id.as_str());
        let row: Option<KeyRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(KeyRow::record).transpose()
    }

    /// The keys of the organization, the oldest first.
    pub async fn keys(&self, org: &OrgId, page: Page) -> Result<Rows<Key>, Error> {
        let last = page.last::<KeyId>(List::Keys)?;
        let sql = concat!(
            "select ",
            key_columns!(),
            " from keys k where k.org = $1 and k.id > $2 order by k.id limit $3"
        );
        let query = sqlx::query_as(sql).bind(org.as_str());
        let query = query
            .bind(last.as_ref().map_or("", KeyId::as_str))
            .bind(page.fetched());
        let rows: Vec<KeyRow> = read!(self, c => query.fetch_all(c))?;
        let keys: Vec<Key> = rows
            .into_iter()
            .map(KeyRow::record)
            .collect::<Result<_, _>>()?;
        Ok(Rows::of(keys, &page, List::Keys, |key| key.id.as_str()))
    }

    /// Removes a key of the organization; false if there is none with this id.
    pub async fn delete_key(&self, org: &OrgId, id: &KeyId) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let sql = "delete from keys where org = $1 and id = $2";
        let gone = execute!(tx, sqlx::query(sql).bind(org.as_str()).bind(id.as_str()))? > 0;
        tx.commit().await?;
        Ok(gone)
    }
}
