//! The versions of the schema. A database is brought to the newest one when it is opened.

use sqlx::AssertSqlSafe;

use super::{
    Store, Tx, db,
    tx::{On, execute, on},
};
use crate::{Error, ErrorKind};

/// The texts of the migrations; the first one leads to version 1.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/1.sql")];

/// The version that this program works with.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the database to the newest version, all steps in one transaction: of several processes that open it at
/// once, the first one does the work.
pub(super) async fn run(store: &Store) -> Result<(), Error> {
    let mut tx = store.begin().await?;
    tx.lock_schema().await?;
    let table = "create table if not exists refsync_schema (version bigint primary key)";
    execute!(tx, db::query(table))?;
    let version = "select coalesce(max(version), 0) from refsync_schema";
    let version: i64 = on!(tx, c => db::query_scalar(version).fetch_one(c))?;
    let known = newest();
    if version > known {
        return Err(newer(version, known));
    }
    if version == known {
        return Ok(());
    }
    for (number, text) in (1_i64..)
        .zip(MIGRATIONS)
        .filter(|(number, _)| *number > version)
    {
        let text = text_for(&tx, text);
        execute!(tx, sqlx::raw_sql(AssertSqlSafe(text)))?;
        let sql = "insert into refsync_schema (version) values ($1)";
        execute!(tx, db::query(sql).bind(number))?;
    }
    tx.commit().await
}

fn text_for(tx: &Tx, text: &str) -> String {
    match &tx.on {
        On::Sqlite(_) => text
            .replace("{bytes}", "blob")
            .replace("{serial}", "integer primary key autoincrement"),
        // Texts are ordered by their bytes, whatever the language of the database: cursors and ids rely on it.
        On::Postgres(_) => text
            .replace("{bytes}", "bytea")
            .replace(
                "{serial}",
                "bigint generated always as identity primary key",
            )
            .replace(" text", " text collate \"C\""),
    }
}

fn newer(version: i64, known: i64) -> Error {
    let message = format!(
        "the database has version {version}, and this program knows versions up to {known}: start a newer program, \
         or restore a backup"
    );
    Error::new(ErrorKind::DatabaseNewer, message)
}
