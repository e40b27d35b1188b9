//! Failures of a database, as errors of the service.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

use crate::{Error, ErrorKind};

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        let (kind, message) = describe(&err);
        let error = Error::new(kind, message);
        match &err {
            sqlx::Error::Database(found) => match found.try_downcast_ref::<PgDatabaseError>() {
                Some(found) => error.because(Reported::of(found)),
                None => error.because(err),
            },
            _ => error.because(err),
        }
    }
}

/// The words of PostgreSQL on a failure, without its details: they may hold values of rows.
#[derive(Debug)]
struct Reported {
    code: String,
    message: String,
}

impl Reported {
    fn of(err: &PgDatabaseError) -> Self {
        Reported {
            code: err.code().to_owned(),
            message: err.message().to_owned(),
        }
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Reported {}

const BUSY: (ErrorKind, &str) = (ErrorKind::DatabaseBusy, "the database is busy");
const FULL: (ErrorKind, &str) = (
    ErrorKind::DatabaseFull,
    "the disk with the database is full",
);
const AWAY: (ErrorKind, &str) = (ErrorKind::DatabaseAway, "the database cannot be reached");
const CORRUPT: (ErrorKind, &str) = (ErrorKind::DatabaseCorrupt, "the database is damaged");
const OTHER: (ErrorKind, &str) = (ErrorKind::Database, "the database failed");

fn describe(err: &sqlx::Error) -> (ErrorKind, &'static str) {
    match err {
        sqlx::Error::PoolTimedOut => (
            ErrorKind::DatabaseBusy,
            "the database is busy, or it does not answer",
        ),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => AWAY,
        // The server has closed the connection in the middle of an answer, or before a transaction began.
        sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed | sqlx::Error::WorkerCrashed => AWAY,
        sqlx::Error::Database(err) => {
            let code = err.code();
            let code = code.as_deref().unwrap_or_default();
            if err.try_downcast_ref::<PgDatabaseError>().is_some() {
                of_sqlstate(code)
            } else {
                of_sqlite(code)
            }
        }
        _ => OTHER,
    }
}

/// The kind of a code of SQLite. The lower byte is the primary code, the rest says more.
fn of_sqlite(code: &str) -> (ErrorKind, &'static str) {
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(5 | 6) => (ErrorKind::DatabaseBusy, "the database is locked"),
        Ok(13) => FULL,
        Ok(8 | 10 | 14 | 23) => (
            ErrorKind::DatabaseIo,
            "the database cannot be read or written",
        ),
        Ok(11 | 26) => (
            ErrorKind::DatabaseCorrupt,
            "the file is no database, or it is damaged",
        ),
        _ => OTHER,
    }
}

/// The kind of a code of PostgreSQL. Its first two characters are the class.
fn of_sqlstate(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "53100" => FULL,
        // The server is stopping, starting or has lost its memory; the next one may be another one.
        // 25006: a server that may only be read, which another one has replaced.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25006" => AWAY,
        // Given up for another transaction, a lock or a statement that took too long, or a session that did nothing.
        "40001" | "40P01" | "55P03" | "57014" | "25P03" => BUSY,
        "XX001" | "XX002" => CORRUPT,
        _ => match code.get(..2) {
            Some("08") => AWAY,
            // No connection, no memory, or a limit of the server.
            Some("53") => BUSY,
            Some("58") => (
                ErrorKind::DatabaseIo,
                "the database cannot be read or written",
            ),
            _ => OTHER,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_another_attempt_may_succeed() {
        for (code, kind) in [
            ("40P01", ErrorKind::DatabaseBusy),
            ("40001", ErrorKind::DatabaseBusy),
            ("53300", ErrorKind::DatabaseBusy),
            ("55P03", ErrorKind::DatabaseBusy),
            ("53100", ErrorKind::DatabaseFull),
            ("57P01", ErrorKind::DatabaseAway),
            ("57P03", ErrorKind::DatabaseAway),
            ("25006", ErrorKind::DatabaseAway),
            ("08006", ErrorKind::DatabaseAway),
            ("58030", ErrorKind::DatabaseIo),
            ("XX001", ErrorKind::DatabaseCorrupt),
            ("42P01", ErrorKind::Database),
            ("28P01", ErrorKind::Database),
            ("", ErrorKind::Database),
        ] {
            assert_eq!(of_sqlstate(code).0, kind, "{code}");
        }
        for (code, kind) in [
            ("5", ErrorKind::DatabaseBusy),
            ("517", ErrorKind::DatabaseBusy),
            ("13", ErrorKind::DatabaseFull),
            ("778", ErrorKind::DatabaseIo),
            ("26", ErrorKind::DatabaseCorrupt),
            ("19", ErrorKind::Database),
            ("", ErrorKind::Database),
        ] {
            assert_eq!(of_sqlite(code).0, kind, "{code}");
        }
    }

    #[test]
    fn a_lost_connection_is_worth_another_attempt() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let lost = Error::from(sqlx::Error::Io(lost));
        assert_eq!(lost.kind(), ErrorKind::DatabaseAway);
        assert!(lost.is_retryable());
        assert!(Error::from(sqlx::Error::PoolTimedOut).is_retryable());
    }
}
