//! [`DatabaseAddress`], the place of a database.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

use crate::{Error, ErrorKind};

/// The place of a database: a file of SQLite or a server of PostgreSQL. Its text may hold a password, so it is never
/// shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseAddress {
    /// The path of a file of SQLite.
    Sqlite(PathBuf),
    /// A server of PostgreSQL.
    Postgres(PostgresUrl),
}

/// The address of a database of PostgreSQL, `postgres://USER:PASSWORD@HOST:PORT/NAME` with parameters as libpq has
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Zeroizing<String>);

/// The reason why a text is no address of a database. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAddress(&'static str);

/// The parameters that the driver knows. It logs others with their values.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// The settings of every session; times are in milliseconds.
///
/// A process that stands still in a transaction must not keep its locks for as long as its lease; one that waits for a
/// lock asks again. No statement is worth being compiled, nor being planned for the values that it is given: that would
/// take many times as long as the search for a run.
///
/// A plan is made once, often of tables that are empty or small, where reading all of one is the cheapest way to a row.
/// It stays until the table is analyzed, so no plan may read a table as a whole where an index has the rows, or in another
/// order than wanted. A way that is off is still taken where there is no other one.
const SETTINGS: [(&str, &str); 10] = [
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    ("enable_sort", "off"),
    ("idle_in_transaction_session_timeout", "10000"),
    ("jit", "off"),
    ("lock_timeout", "15000"),
    ("plan_cache_mode", "force_generic_plan"),
    ("statement_timeout", "60000"),
];

/// The text of an address that was not looked at yet.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "String")]
pub struct AddressText(Zeroizing<String>);

impl AddressText {
    /// The address.
    ///
    /// # Errors
    /// The text is none.
    pub fn read(&self) -> Result<DatabaseAddress, InvalidAddress> {
        self.0.parse()
    }
}

impl From<String> for AddressText {
    fn from(text: String) -> Self {
        AddressText(Zeroizing::new(text))
    }
}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressText")
    }
}

impl DatabaseAddress {
    /// The file, if the database is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            DatabaseAddress::Sqlite(path) => Some(path),
            DatabaseAddress::Postgres(_) => None,
        }
    }
}

impl PostgresUrl {
    pub(super) fn options(&self) -> Result<PgConnectOptions, Error> {
        let failed = |_| Error::new(ErrorKind::Config, UNUSABLE.to_string());
        let options: PgConnectOptions = self.0.parse().map_err(failed)?;
        Ok(options.options(SETTINGS))
    }
}

const UNUSABLE: InvalidAddress = InvalidAddress(
    "the address of the database can't be read: postgres://USER@HOST/NAME is expected",
);

impl FromStr for DatabaseAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_empty = path.is_empty();
            let path = DatabaseAddress::Sqlite(path.into());
            return Some(path)
                .filter(|_| !is_empty)
                .ok_or(InvalidAddress("sqlite: is followed by the path of a file"));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(InvalidAddress(
                "sqlite: and the path of a file, or postgres:// and a server is expected",
            ));
        }
        let parameters = text
            .split_once('?')
            .map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            let key = parameter.split('=').next().unwrap_or_default();
            if !PARAMETERS.contains(&key) {
                return Err(InvalidAddress(
                    "the address of the database has an unknown parameter",
                ));
            }
        }
        let url = PostgresUrl(Zeroizing::new(text.to_owned()));
        url.options().map_err(|_| UNUSABLE)?;
        Ok(DatabaseAddress::Postgres(url))
    }
}

impl From<&Path> for DatabaseAddress {
    fn from(path: &Path) -> Self {
        DatabaseAddress::Sqlite(path.to_owned())
    }
}

impl From<PathBuf> for DatabaseAddress {
    fn from(path: PathBuf) -> Self {
        DatabaseAddress::Sqlite(path)
    }
}

impl From<&PathBuf> for DatabaseAddress {
    fn from(path: &PathBuf) -> Self {
        DatabaseAddress::Sqlite(path.clone())
    }
}

impl From<&DatabaseAddress> for DatabaseAddress {
    fn from(address: &DatabaseAddress) -> Self {
        address.clone()
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseAddress::Sqlite(path) => write!(f, "{}", path.display()),
            DatabaseAddress::Postgres(_) => f.write_str("on the server of PostgreSQL"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresUrl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_never_shown() {
        let file = |path: &str| Ok(DatabaseAddress::Sqlite(path.into()));
        assert_eq!("sqlite:a/b.db".parse(), file("a/b.db"));
        assert_eq!("sqlite:///a/b.db".parse(), file("/a/b.db"));
        for text in [
            "postgres://me:S3CRET@db.example:5433/refsync?sslmode=verify-full",
            "postgresql:///refsync?host=/run/postgresql&user=me&password=S3CRET",
            "postgres://",
        ] {
            let address: DatabaseAddress = text.parse().expect(text);
            assert_eq!(address.file(), None);
            assert!(!format!("{address:?} {address}").contains("S3CRET"));
        }
        for text in [
            "",
            "sqlite:",
            "refsyncd.db",
            "mysql://S3CRET",
            "postgres://me:S3CRET@host:port/x",
            "postgres://me@host/x?sslmode=S3CRET",
            "postgres://me@host/x?pasword=S3CRET",
        ] {
            let err = text.parse::<DatabaseAddress>().expect_err(text);
            assert!(!format!("{err:?} {err}").contains("S3CRET"), "{text}");
        }
    }
}
