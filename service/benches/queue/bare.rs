//! [`Bare`], a connection to either database with nothing around it.

use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Connection as _, Database, Encode, FromRow,
    PgConnection, Postgres, Row as _, Sqlite, SqliteConnection, Type,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};

use super::place::address;

pub enum Bare {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub enum Value {
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Number(i64),
    Bool(bool),
}

/// Runs one expression on whichever database it is, `$D`.
macro_rules! on {
    ($bare:expr, $c:ident, $D:ident => $e:expr) => {
        match $bare {
            Bare::Sqlite($c) => {
                type $D = Sqlite;
                $e
            }
            Bare::Postgres($c) => {
                type $D = Postgres;
                $e
            }
        }
    };
}

/// The settings of the store's own sessions that make plans.
const SESSION: &str = "set jit = off; set plan_cache_mode = force_generic_plan; set enable_bitmapscan = off;
    set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off; set enable_sort = off";

impl Bare {
    /// A connection with the settings of the store's own.
    pub async fn open(database: &str) -> Self {
        if let Some(file) = address(database).file() {
            let options = SqliteConnectOptions::new()
                .filename(file)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true);
            let connection = SqliteConnection::connect_with(&options).await;
            return Bare::Sqlite(connection.expect("a database"));
        }
        let connection = PgConnection::connect(database).await;
        let mut bare = Bare::Postgres(connection.expect("a database"));
        bare.script(SESSION).await;
        bare
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Bare::Postgres(_))
    }

    /// Begins a transaction as the store does.
    pub async fn begin(&mut self) {
        let how = match self {
            Bare::Sqlite(_) => "begin immediate",
            Bare::Postgres(_) => "begin isolation level read committed",
        };
        self.script(how).await;
    }

    pub async fn commit(&mut self) {
        self.script("commit").await;
    }

    /// Executes a prepared statement; the number of rows that it has changed.
    pub async fn execute(&mut self, sql: &'static str, values: &[Value]) -> u64 {
        on!(self, c, D => {
            let query = sqlx::query_with(sql, arguments::<D>(values));
            query.execute(c).await.expect(sql).rows_affected()
        })
    }

    /// The first row of a prepared statement.
    pub async fn find<T>(&mut self, sql: &'static str, values: &[Value]) -> Option<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        on!(self, c, D => {
            let query = sqlx::query_as_with::<D, T, _>(sql, arguments::<D>(values));
            query.fetch_optional(c).await.expect(sql)
        })
    }

    /// Executes statements without parameters.
    pub async fn script(&mut self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        on!(self, c, D => {
            let done: Result<<D as Database>::QueryResult, _> = sqlx::raw_sql(sql).execute(c).await;
            done.expect("executed");
        });
    }

    /// The names of the columns of a table that has a row.
    pub async fn columns(&mut self, table: &str) -> Vec<String> {
        let sql = AssertSqlSafe(format!("select * from {table} limit 1"));
        on!(self, c, D => {
            let row = sqlx::query::<D>(sql).fetch_one(c).await.expect("a row");
            row.columns().iter().map(|column| column.name().to_owned()).collect()
        })
    }

    /// The plan of a statement; PostgreSQL executes it and says how often each step was done.
    pub async fn plan(&mut self, sql: &str, values: &[Value]) -> Vec<String> {
        match self {
            Bare::Sqlite(c) => {
                let sql = AssertSqlSafe(format!("explain query plan {sql}"));
                let rows = sqlx::query_with(sql, arguments::<Sqlite>(values))
                    .fetch_all(c)
                    .await;
                let rows = rows.expect("a plan");
                rows.iter().map(|row| row.get("detail")).collect()
            }
            Bare::Postgres(c) => {
                let how = "analyze, costs off, timing off, summary off";
                let sql = AssertSqlSafe(format!("explain ({how}) {sql}"));
                let rows = sqlx::query_with(sql, arguments::<Postgres>(values))
                    .fetch_all(c)
                    .await;
                let rows = rows.expect("a plan");
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}

fn arguments<D: Database>(values: &[Value]) -> D::Arguments
where
    for<'q> Option<String>: Encode<'q, D> + Type<D>,
    for<'q> Option<Vec<u8>>: Encode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Type<D>,
    for<'q> bool: Encode<'q, D> + Type<D>,
{
    let mut arguments = D::Arguments::default();
    for value in values {
        let added = match value.clone() {
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Number(number) => arguments.add(number),
            Value::Bool(yes) => arguments.add(yes),
        };
        added.expect("a value that fits");
    }
    arguments
}
