//! The parts of the stats as JSON.

use bstr::{BStr, ByteSlice};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap as _,
};

use super::Outcome;

pub(super) fn name<S: Serializer>(name: &BStr, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&name.to_str_lossy())
}

/// The word, and the text of the reason if there is one.
pub(super) fn outcome<S: Serializer>(it: &Outcome, to: S) -> Result<S::Ok, S::Error> {
    let reason = it.reason().map(ToString::to_string);
    let mut map = to.serialize_map(None)?;
    map.serialize_entry("outcome", it.as_str())?;
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        map.serialize_entry("reason", &reason)?;
    }
    map.end()
}

pub(super) mod optional_name {
    use bstr::BString;

    use super::*;

    pub(in crate::outcome) fn serialize<S: Serializer>(
        name: &Option<BString>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let text = name.as_ref().map(|name| name.to_str_lossy());
        text.serialize(to)
    }

    pub(in crate::outcome) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<BString>, D::Error> {
        let name = Option::<String>::deserialize(from)?;
        Ok(name.map(BString::from))
    }
}

pub(super) fn is_false(it: &bool) -> bool {
    !it
}

pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A time span in whole seconds.
pub(super) mod seconds {
    use std::time::Duration;

    use super::*;

    pub(in crate::outcome) fn serialize<S: Serializer>(
        it: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        // Not a moment too early.
        it.map(|it| it.as_secs() + u64::from(it.subsec_nanos() > 0))
            .serialize(to)
    }

    pub(in crate::outcome) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<u64>::deserialize(from)?;
        Ok(seconds.map(Duration::from_secs))
    }
}

/// A point in time, in whole seconds since 1970.
pub(super) mod timestamp {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    pub(in crate::outcome) fn serialize<S: Serializer>(
        at: &SystemTime,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.serialize_u64(since.as_secs())
    }

    pub(in crate::outcome) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SystemTime, D::Error> {
        let seconds = Duration::from_secs(u64::deserialize(from)?);
        let at = UNIX_EPOCH.checked_add(seconds);
        at.ok_or_else(|| D::Error::custom("the time is out of range"))
    }
}
