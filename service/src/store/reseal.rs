//! Sealing all secrets anew, for a new master key.

use super::{
    Store,
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
const COLUMNS: [(&str, &str, &str, &str); 3] = [
    (
        "select repo, auth from upstreams where auth is not null and repo > $1 order by repo limit $2",
        "update upstreams set auth = $1 where repo = $2 and auth = $3",
        "upstreams",
        "auth",
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
];

impl Store {
    /// Seals all secrets with the first key of `sealer` that are sealed with another one; the number of them.
    ///
    /// # Errors
    /// [`ErrorKind::Secret`] if one can't be opened; those before it are sealed anew.
    pub async fn reseal(&self, sealer: &Sealer) -> Result<u64, Error> {
        let mut resealed = 0;
        for (select, update, table, column) in COLUMNS {
            let mut after = String::new();
            loop {
                let query = sqlx::query_as(select).bind(&after).bind(BATCH);
                let rows: Vec<(String, String)> = read!(self, c => query.fetch_all(c))?;
                let Some((last, _)) = rows.last() else { break };
                after.clone_from(last);
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
                    let query = sqlx::query(update).bind(new).bind(row).bind(old);
                    resealed += execute!(tx, query)?;
                }
                tx.commit().await?;
            }
        }
        Ok(resealed)
    }
}
