//! [`Change`], a value of a PATCH that may be left out, null or given.

use serde::{Deserialize, Deserializer};

/// A change of one value: left out it stays, null clears it, anything else replaces it as a whole. The field needs
/// `#[serde(default)]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// The value stays.
    #[default]
    Keep,
    /// The value is cleared.
    Clear,
    /// The value is replaced.
    Set(T),
}

impl<T> Change<T> {
    /// The change of the value that `map` makes of this one.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(value) => Change::Set(map(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Change::Clear, Change::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        value: Change<u8>,
    }

    #[test]
    fn left_out_is_not_null() {
        for (body, change) in [
            ("{}", Change::Keep),
            (r#"{"value":null}"#, Change::Clear),
            (r#"{"value":1}"#, Change::Set(1)),
        ] {
            assert_eq!(
                serde_json::from_str::<Body>(body).expect("a body").value,
                change
            );
        }
    }
}
