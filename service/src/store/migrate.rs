//! The versions of the schema. A database is brought to the newest one when it is opened.

use sqlx::{AssertSqlSafe, SqlitePool};

use crate::{Error, ErrorKind};

/// The texts of the migrations; the first one leads to version 1.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/1.sql")];

/// Brings the database to the newest version, all steps in one transaction: of several processes that open it at
/// once, the first one does the work.
pub(super) async fn run(writer: &SqlitePool) -> Result<(), Error> {
    let mut tx = writer.begin_with("begin immediate").await?;
    let table = "create table if not exists refsync_schema (version bigint primary key)";
    sqlx::query(table).execute(&mut *tx).await?;
    let version = "select coalesce(max(version), 0) from refsync_schema";
    let version: i64 = sqlx::query_scalar(version).fetch_one(&mut *tx).await?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version > known {
        return Err(newer(version, known));
    }
    for (number, text) in (1..)
        .zip(MIGRATIONS)
        .filter(|(number, _)| *number > version)
    {
        sqlx::raw_sql(AssertSqlSafe(for_sqlite(text)))
            .execute(&mut *tx)
            .await?;
        sqlx::query("insert into refsync_schema (version) values ($1)")
            .bind::<i64>(number)
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

fn for_sqlite(text: &str) -> String {
    text.replace("{bytes}", "blob")
        .replace("{serial}", "integer primary key autoincrement")
}

fn newer(version: i64, known: i64) -> Error {
    let message = format!(
        "the database has version {version}, and this program knows versions up to {known}: start a newer program, \
         or restore a backup"
    );
    Error::new(ErrorKind::DatabaseNewer, message)
}
