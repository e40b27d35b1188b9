//! The refs of a run as JSON.

use std::fmt;

use bstr::ByteSlice as _;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

use super::{Outcome, Refusal, SyncRunRef, SyncRunRefs};
use crate::{
    ObjectId,
    outcome::{FilterReason, Reason},
};

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
                before: found.before,
                after: found.after,
                source: found.source,
                outcome: &found.outcome.with(&found.reason),
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
    /// The tip before the run. It may be `null`, but not missing.
    #[serde(deserialize_with = "Option::deserialize")]
    before: Option<ObjectId>,
    after: ObjectId,
    source: ObjectId,
    outcome: Word,
    /// Empty in stats of another service, which has no reasons.
    #[serde(default)]
    reason: String,
    #[serde(default)]
    refusal: Option<Refusal>,
}

/// An [`Outcome`] without its reason.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Updated,
    Unchanged,
    Filtered,
    Rejected,
}

impl Word {
    fn with(self, reason: &str) -> Outcome {
        match self {
            Word::Updated => Outcome::Updated,
            Word::Unchanged => Outcome::Unchanged,
            Word::Filtered => Outcome::Filtered(FilterReason::parse(reason)),
            Word::Rejected => Outcome::Rejected(Reason::parse(reason)),
        }
    }
}
