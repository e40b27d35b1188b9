//! Statements for either database. The driver's own belong to one of them from their first parameter on; these take
//! parameters for both and decide when they run.

use std::marker::PhantomData;

use futures_util::TryStreamExt as _;
use sqlx::{
    Arguments as _, Database, Encode, Executor, FromRow, IntoArguments, Postgres, Sqlite, Type,
    error::BoxDynError, postgres::PgArguments, sqlite::SqliteArguments,
};

/// A database that the service can use.
pub(super) trait Driver: Database {
    fn arguments(query: Query) -> Self::Arguments;
}

impl Driver for Sqlite {
    fn arguments(query: Query) -> SqliteArguments {
        query.sqlite
    }
}

impl Driver for Postgres {
    fn arguments(query: Query) -> PgArguments {
        query.postgres
    }
}

/// A value that either database takes as a parameter.
pub(super) trait Value<'q>:
    Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>
{
}

impl<'q, T> Value<'q> for T where
    T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres>
{
}

/// A statement with its parameters.
pub(super) struct Query {
    sql: &'static str,
    sqlite: SqliteArguments,
    postgres: PgArguments,
    failed: Option<BoxDynError>,
}

/// A statement whose rows are records.
pub(super) struct QueryAs<T> {
    query: Query,
    rows: PhantomData<fn() -> T>,
}

/// A statement whose rows are single values.
pub(super) struct QueryScalar<T>(QueryAs<(T,)>);

/// The statement.
pub(super) fn query(sql: &'static str) -> Query {
    Query {
        sql,
        sqlite: SqliteArguments::default(),
        postgres: PgArguments::default(),
        failed: None,
    }
}

/// The statement, whose rows are records.
pub(super) fn query_as<T>(sql: &'static str) -> QueryAs<T> {
    QueryAs {
        query: query(sql),
        rows: PhantomData,
    }
}

/// The statement, whose rows are single values.
pub(super) fn query_scalar<T>(sql: &'static str) -> QueryScalar<T> {
    QueryScalar(query_as(sql))
}

impl Query {
    /// The statement with its next parameter.
    pub(super) fn bind<'q>(mut self, value: impl Value<'q>) -> Self {
        let added = self.sqlite.add(&value);
        let added = added.and_then(|()| self.postgres.add(value));
        self.failed = self.failed.or(added.err());
        self
    }

    /// Runs the statement, which is a single one in a transaction: its first answer is the last. To wait until there is
    /// no other costs another change of threads on SQLite. Outside of a transaction PostgreSQL would say afterwards
    /// whether it was committed.
    pub(super) async fn execute<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<D::QueryResult, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
    {
        let (sql, arguments) = self.parts::<D>()?;
        let mut answers = on.execute_many(sqlx::query_with(sql, arguments));
        Ok(answers.try_next().await?.unwrap_or_default())
    }

    fn parts<D: Driver>(mut self) -> Result<(&'static str, D::Arguments), sqlx::Error> {
        if let Some(failed) = self.failed.take() {
            return Err(sqlx::Error::Encode(failed));
        }
        Ok((self.sql, D::arguments(self)))
    }
}

impl<T> QueryAs<T> {
    /// The statement with its next parameter.
    pub(super) fn bind<'q>(mut self, value: impl Value<'q>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    pub(super) async fn fetch_one<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<T, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
        T: for<'r> FromRow<'r, D::Row> + Send + Unpin,
    {
        let (sql, arguments) = self.query.parts::<D>()?;
        sqlx::query_as_with(sql, arguments).fetch_one(on).await
    }

    pub(super) async fn fetch_optional<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<Option<T>, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
        T: for<'r> FromRow<'r, D::Row> + Send + Unpin,
    {
        let (sql, arguments) = self.query.parts::<D>()?;
        sqlx::query_as_with(sql, arguments).fetch_optional(on).await
    }

    pub(super) async fn fetch_all<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<Vec<T>, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
        T: for<'r> FromRow<'r, D::Row> + Send + Unpin,
    {
        let (sql, arguments) = self.query.parts::<D>()?;
        sqlx::query_as_with(sql, arguments).fetch_all(on).await
    }
}

impl<T> QueryScalar<T> {
    /// The statement with its next parameter.
    pub(super) fn bind<'q>(mut self, value: impl Value<'q>) -> Self {
        self.0 = self.0.bind(value);
        self
    }

    pub(super) async fn fetch_one<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<T, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
        (T,): for<'r> FromRow<'r, D::Row> + Send + Unpin,
    {
        Ok(self.0.fetch_one(on).await?.0)
    }

    pub(super) async fn fetch_optional<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<Option<T>, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
        (T,): for<'r> FromRow<'r, D::Row> + Send + Unpin,
    {
        Ok(self.0.fetch_optional(on).await?.map(|row| row.0))
    }

    pub(super) async fn fetch_all<'c, D: Driver>(
        self,
        on: impl Executor<'c, Database = D>,
    ) -> Result<Vec<T>, sqlx::Error>
    where
        D::Arguments: IntoArguments<D>,
        (T,): for<'r> FromRow<'r, D::Row> + Send + Unpin,
    {
        let rows = self.0.fetch_all(on).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }
}
