//! API keys, which are looked up by the hash of their secret, and public keys, which are looked up by themselves.

use super::{
    Page, Rows, Store, cells, db,
    orgs::{OrgRow, org_columns},
    page::List,
    repos::{JoinedRepo, repo_columns},
    tx::{execute, read},
};
use crate::{
    Error,
    records::{Key, KeyId, Org, OrgId, Repo, RepoId, Scope, Time},
    secrets::{jwt::PublicKey, public_key},
};

/// The proof that its holder brings of a key. Kept in two columns: the bytes of a public key are no secret, and must
/// never pass for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A secret with this SHA-256.
    Hash([u8; 32]),
    /// Signatures that this public key verifies.
    PublicKey(PublicKey),
}

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The identifier.
    pub id: KeyId,
    /// The name that its maker gave it.
    pub name: Option<String>,
    /// The proof that its holder will bring.
    pub proof: Proof,
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
    public_key: Option<Vec<u8>>,
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

#[derive(sqlx::FromRow)]
struct KeyAndRepo {
    #[sqlx(flatten)]
    key: KeyOfOrg,
    #[sqlx(flatten)]
    repo: JoinedRepo,
}

macro_rules! key_columns {
    () => {
        "k.id, k.name, k.public_key, k.scopes, k.repo_ids, k.created_at, k.expires_at"
    };
}

pub(super) const KEY_AND_REPO: &str = concat!(
    "select ",
    key_columns!(),
    ", ",
    org_columns!(),
    ", ",
    repo_columns!(),
    " from keys k join orgs o on o.id = k.org
      left join repos p on p.org || '/' || p.folded = o.id || '/' || $2 and p.removed_at is null
      left join upstreams u on u.repo = p.id where k.hash = $1"
);

impl KeyRow {
    fn record(self) -> Result<Key, Error> {
        let bytes = self.public_key.map(PublicKey::try_from).transpose();
        let public_key = cells::word(bytes.ok(), "public key")?;
        Ok(Key {
            id: cells::parsed(&self.id, "id of a key")?,
            name: self.name,
            public_key: public_key.as_ref().map(public_key::to_text),
            read_only: Vec::new(),
            scopes: cells::of_json(&self.scopes)?,
            repo_ids: cells::of_optional(self.repo_ids.as_deref())?,
            created_at: Time(self.created_at),
            expires_at: self.expires_at.map(Time),
        })
    }
}

impl Store {
    /// Stores a key of the organization; `None` if it is a public key that the organization has already.
    pub async fn create_key(
        &self,
        org: &OrgId,
        new: NewKey,
        now: Time,
    ) -> Result<Option<Key>, Error> {
        let scopes = cells::to_json(&new.scopes)?;
        let repo_ids = new.repo_ids.as_ref().map(cells::to_json).transpose()?;
        let (hash, public) = match &new.proof {
            Proof::Hash(hash) => (Some(&hash[..]), None),
            Proof::PublicKey(key) => (None, Some(key)),
        };
        let mut tx = self.begin().await?;
        let sql = "insert into keys (id, org, name, hash, public_key, scopes, repo_ids, created_at, expires_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            on conflict (org, public_key) where public_key is not null do nothing";
        let query = db::query(sql).bind(new.id.as_str()).bind(org.as_str());
        let query = query.bind(&new.name).bind(hash);
        let query = query.bind(public.map(|key| &key[..]));
        let query = query.bind(&scopes).bind(repo_ids);
        let query = query.bind(now.0).bind(new.expires_at.map(|at| at.0));
        if execute!(tx, query)? == 0 {
            return Ok(None);
        }
        tx.audit(
            org.as_str(),
            "key.created",
            new.id.as_str(),
            Some(&scopes),
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(Some(Key {
            id: new.id,
            name: new.name,
            public_key: public.map(public_key::to_text),
            scopes: new.scopes,
            repo_ids: new.repo_ids,
            read_only: Vec::new(),
            created_at: now,
            expires_at: new.expires_at,
        }))
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
            read!(self, c => db::query_as(sql).bind(&hash[..]).fetch_optional(c))?;
        let records = |row: KeyOfOrg| Ok((row.org.record()?, row.key.record()?));
        row.map(records).transpose()
    }

    /// [`Store::key_by_hash`] with the repository of this name in the organization, in one statement: each request
    /// for a repository begins with it.
    pub async fn key_and_repo(
        &self,
        hash: &[u8; 32],
        name: &str,
    ) -> Result<Option<(Org, Key, Option<Repo>)>, Error> {
        let query = db::query_as(KEY_AND_REPO).bind(&hash[..]);
        let query = query.bind(cells::folded(name));
        let row: Option<KeyAndRepo> = read!(self, c => query.fetch_optional(c))?;
        let records = |row: KeyAndRepo| {
            let repo = row.repo.0.map(|repo| repo.record(None)).transpose()?;
            Ok((row.key.org.record()?, row.key.key.record()?, repo))
        };
        row.map(records).transpose()
    }

    /// The public key of the organization with this slug, and the organization. A key that has expired is found, too.
    pub async fn key_by_public_key(
        &self,
        slug: &str,
        key: &PublicKey,
    ) -> Result<Option<(Org, Key)>, Error> {
        let sql = concat!(
            "select ",
            key_columns!(),
            ", ",
            org_columns!(),
            " from keys k join orgs o on o.id = k.org where o.folded = $1 and k.public_key = $2"
        );
        let query = db::query_as(sql).bind(cells::folded(slug));
        let row: Option<KeyOfOrg> = read!(self, c => query.bind(&key[..]).fetch_optional(c))?;
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
        let query = db::query_as(sql).bind(org.as_str()).bind(id.as_str());
        let row: Option<KeyRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(KeyRow::record).transpose()
    }

    /// The keys of the organization that are `wanted`, the oldest first.
    pub async fn keys(
        &self,
        org: &OrgId,
        page: Page,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<Rows<Key>, Error> {
        let mut after = page.last::<KeyId>(List::Keys)?;
        let sql = concat!(
            "select ",
            key_columns!(),
            " from keys k where k.org = $1 and k.id > $2 order by k.id limit $3"
        );
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let query = db::query_as(sql).bind(org.as_str());
            let query = query.bind(after.as_ref().map_or("", KeyId::as_str));
            let query = query.bind(page.fetched());
            let rows: Vec<KeyRow> = read!(self, c => query.fetch_all(c))?;
            let rows = rows.into_iter().map(KeyRow::record);
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let is_end = page.is_end(rows.len());
            after = rows.last().map(|key| key.id.clone());
            keys.extend(rows.into_iter().filter(&wanted));
            if is_end || page.is_full(keys.len()) {
                return Ok(Rows::of(keys, &page, List::Keys, |key| key.id.as_str()));
            }
        }
    }

    /// Removes a key of the organization; false if there is none with this id.
    pub async fn delete_key(&self, org: &OrgId, id: &KeyId, now: Time) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let sql = "delete from keys where org = $1 and id = $2";
        let gone = execute!(tx, db::query(sql).bind(org.as_str()).bind(id.as_str()))? > 0;
        if gone {
            tx.audit(org.as_str(), "key.removed", id.as_str(), None, now)
                .await?;
        }
        tx.commit().await?;
        Ok(gone)
    }
}
