//! Sealing all secrets anew, for a new master key.

use super::{
    Store, db,
    tx::{execute, read},
};
use crate::{
    Error, ErrorKind,
    secrets::{Place, Sealer},
};

/// The secrets of one transaction.
const BATCH: i64 = 100;

/// The columns with secrets: the statement that reads some after an id, the one that replaces one, and the place that
/// they are sealed for.
const COLUMNS: [(&str, &str, &str, &str); 5] = [
    (
        "select repo, auth from upstreams where auth is not null and repo > $1 order by repo limit $2",
        "update upstreams set auth = $1 where repo = $2 and auth = $3",
        "upstreams",
        "auth",
    ),
    (
        "select id, secret from hooks where id > $1 order by id limit $2",
        "update hooks set secret = $1 where id = $2 and secret = $3",
        "hooks",
        "secret",
    ),
    (
        "select id, secret from targets where id > $1 order by id limit $2",
        "update targets set secret = $1 where id = $2 and secret = $3",
        "targets",
        "secret",
    ),
    (
        "select id, old_secret from targets where old_secret is not null and id > $1 order by id limit $2",
        "update targets set old_secret = $1 where id = $2 and old_secret = $3",
        "targets",
        "secret",
    ),
    (
        "select name, value from settings where name > $1 order by name limit $2",
        "update settings set value = $1 where name = $2 and value = $3",
        "settings",
        "value",
    ),
];

impl Store {
    /// The rows whose secret `sealer` can't open, as the name of the table and the id.
    pub async fn unreadable(&self, sealer: &Sealer) -> Result<Vec<(&'static str, String)>, Error> {
        let mut unreadable = Vec::new();
        for (select, _, table, column) in COLUMNS {
            let mut after = String::new();
            while let Some(rows) = self.next_secrets(select, &mut after).await? {
                for (row, text) in rows {
                    let place = Place {
                        table,
                        row: &row,
                        column,
                    };
                    if sealer.open(place, &text).is_err() {
                        unreadable.push((table, row));
                    }
                }
            }
        }
        Ok(unreadable)
    }

    /// The next rows of a column of secrets, with their ids, after the id `after`, which moves on; `None` after the last.
    async fn next_secrets(
        &self,
        select: &'static str,
        after: &mut String,
    ) -> Result<Option<Vec<(String, String)>>, Error> {
        let query = db::query_as(select).bind(&*after).bind(BATCH);
        let rows: Vec<(String, String)> = read!(self, c => query.fetch_all(c))?;
        let Some((last, _)) = rows.last() else {
            return Ok(None);
        };
        after.clone_from(last);
        Ok(Some(rows))
    }

    /// Seals all secrets with the first key of `sealer` that are sealed with another one; the number of them.
    ///
    /// # Errors
    /// [`ErrorKind::Secret`] if one can't be opened; those before it are sealed anew.
    pub async fn reseal(&self, sealer: &Sealer) -> Result<u64, Error> {
        let mut resealed = 0;
        for (select, update, table, column) in COLUMNS {
            let mut after = String::new();
            while let Some(rows) = self.next_secrets(select, &mut after).await? {
                let mut tx = self.begin().await?;
                for (row, old) in &rows {
                    let place = Place { table, row, column };
                    let new = sealer.reseal(place, old).map_err(|err| {
                        Error::new(
                            ErrorKind::Secret,
                            format!("the secret of {row} can't be opened"),
                        )
                        .because(err)
                    })?;
                    let Some(new) = new else { continue };
                    let query = db::query(update).bind(new).bind(row).bind(old);
                    resealed += execute!(tx, query)?;
                }
                tx.commit().await?;
            }
        }
        Ok(resealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock, ids,
        records::{AuthKind, Change, HookId, Name, Provider, RepoId, TargetId},
        secrets::MasterKey,
        store::{NewHook, NewRepo, NewTarget, NewUpstream, Sealed},
    };

    /// A database with one secret of each kind, sealed by `sealer`.
    async fn filled(folder: &std::path::Path, sealer: &Sealer) -> (Store, [String; 3]) {
        let store = Store::open(&folder.join("db")).await.expect("a store");
        let (repo, target): (RepoId, TargetId) = (ids::new(), ids::new());
        let seal = |table, row, column| {
            let place = Place { table, row, column };
            sealer.seal(place, b"plain").expect("sealed")
        };
        let slug = Name::new("a").expect("a name");
        let org = store.create_org(&slug, "a", clock::now()).await;
        let org = org.expect("an answer").expect("a new one").id;
        let upstream = NewUpstream {
            url: "https://a.example/r".into(),
            origin: "https://a.example:443".into(),
            host: "a.example".into(),
            schedule: Change::Keep,
            auth: Change::Set(Sealed {
                kind: AuthKind::Token,
                text: seal("upstreams", repo.as_str(), "auth"),
            }),
        };
        let new = NewRepo {
            id: repo.clone(),
            org: org.clone(),
            name: slug,
            default_bookmark: "main".into(),
            default_given: false,
            tags: Default::default(),
            home: "local".into(),
            upstream: Some(upstream),
        };
        let made = store.create_repo(new, clock::now()).await;
        let made = made.expect("an answer").expect("a new name");
        let new = NewTarget {
            id: target.clone(),
            org,
            url: "https://a.example/".into(),
            name: None,
            events: vec!["push".into()],
            repo_ids: None,
            secret: seal("targets", target.as_str(), "secret"),
        };
        store
            .create_target(new, clock::now())
            .await
            .expect("a target");
        let hook: HookId = ids::new();
        let new = NewHook {
            provider: Provider::Github,
            token: [0; 32],
            secret: seal("hooks", hook.as_str(), "secret"),
            id: hook.clone(),
        };
        let stored = store.put_hook(&made, &new, clock::now()).await;
        assert!(stored.expect("an answer"), "the repository has an upstream");
        (
            store,
            [repo.to_string(), target.to_string(), hook.to_string()],
        )
    }

    #[tokio::test]
    async fn all_secrets_are_sealed_with_the_new_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (
            MasterKey::generate().expect("a key"),
            MasterKey::generate().expect("a key"),
        );
        let (store, [repo, target, hook]) = filled(folder.path(), &Sealer::new(&old, &[])).await;
        let other = store.reseal(&Sealer::new(&new, &[])).await;
        assert_eq!(other.map_err(|err| err.kind()), Err(ErrorKind::Secret));
        let both = Sealer::new(&new, &[old]);
        assert_eq!(store.reseal(&both).await.expect("resealed"), 3);
        assert_eq!(store.reseal(&both).await.expect("resealed"), 0);

        let alone = Sealer::new(&new, &[]);
        for (sql, table, row, column) in [
            ("select auth from upstreams", "upstreams", &repo, "auth"),
            ("select secret from hooks", "hooks", &hook, "secret"),
            ("select secret from targets", "targets", &target, "secret"),
        ] {
            let text: Result<String, sqlx::Error> =
                read!(store, c => db::query_scalar(sql).fetch_one(c));
            let place = Place { table, row, column };
            let plain = alone.open(place, &text.expect("a secret")).expect("opened");
            assert_eq!(&plain[..], b"plain");
        }
    }
}
