//! The stats as JSON.

use std::fmt;

use bstr::{BStr, ByteSlice};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::{Outcome, Reason, Refusal, SyncRunRef, SyncRunRefs};
use crate::ObjectId;

pub(super) fn name<S: Serializer>(name: &BStr, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&name.to_str_lossy())
}

pub(super) fn text<S: Serializer>(it: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(it)
}

pub(super) fn optional<S: Serializer>(
    it: &Option<impl fmt::Display>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match it {
        Some(it) => to.collect_str(it),
        None => to.serialize_none(),
    }
}

pub(super) mod optional_name {
    use bstr::BString;

    use super::*;

    pub(in crate::outcome) fn serialize<S: Serializer>(
        name: &Option<BString>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        optional(name, to)
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
        at.ok_or_else(|| D::Error::custom("a point in time is too far ahead"))
    }
}

impl Serialize for SyncRunRefs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for SyncRunRefs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Refs)
    }
}

struct Refs;

impl<'de> Visitor<'de> for Refs {
    type Value = SyncRunRefs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of refs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<SyncRunRefs, A::Error> {
        let mut refs = SyncRunRefs::default();
        while let Some(found) = seq.next_element::<Found>()? {
            refs.push(SyncRunRef {
                name: found.name.as_bytes().as_bstr(),
                before: found.before.map(|id| id.0),
                after: found.after.0,
                source: found.source.0,
                outcome: found.outcome,
                reason: found.reason.as_deref().and_then(Reason::parse).as_ref(),
                refusal: found.refusal.as_ref(),
            });
        }
        Ok(refs)
    }
}

/// A [`SyncRunRef`] as it is read.
#[derive(Deserialize)]
struct Found {
    name: String,
    /// It may be none, but it may not be missing.
    #[serde(deserialize_with = "Option::deserialize")]
    before: Option<Id>,
    after: Id,
    source: Id,
    outcome: Outcome,
    /// One that this version doesn't know (written by a later one) reads as none.
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    refusal: Option<Refusal>,
}

struct Id(ObjectId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(from)?;
        let id = ObjectId::from_hex(hex.as_bytes());
        let id = id.map_err(|_| D::Error::custom("an object id in hex was expected"))?;
        Ok(Id(id))
    }
}
