//! The values of single columns: lists as JSON, identifiers and words as text.

use std::{borrow::Cow, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, records::Name};

fn wrong(what: &str) -> Error {
    let message = format!("the database has a value that is no {what}");
    Error::new(ErrorKind::DatabaseCorrupt, message)
}

/// The identifier or name in a column.
pub(super) fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T, Error> {
    text.parse().map_err(|_| wrong(what))
}

/// The word in a column.
pub(super) fn word<T>(value: Option<T>, what: &str) -> Result<T, Error> {
    value.ok_or_else(|| wrong(what))
}

/// The text without NUL, which PostgreSQL does not store: what a server has said may hold any character.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        return Cow::Owned(text.replace('\0', "\u{fffd}"));
    }
    Cow::Borrowed(text)
}

/// The form by which a name is looked up. Empty for a text that is no name, which finds nothing: a stranger may ask for
/// any text, and PostgreSQL refuses some of them.
pub(super) fn folded(text: &str) -> String {
    Name::new(text).map_or_else(|_| String::new(), |name| name.folded())
}

/// The JSON text of a value.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    let failed = |err| Error::new(ErrorKind::Database, "a value has no JSON").because(err);
    serde_json::to_string(value).map_err(failed)
}

/// The value of a JSON text.
pub(super) fn of_json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|err| wrong("JSON of its column").because(err))
}

/// The value of a JSON text that may be missing.
pub(super) fn of_optional<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Error> {
    text.map(of_json).transpose()
}
