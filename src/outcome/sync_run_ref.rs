//! [`SyncRunRef`]: the outcome of one ref, with its tips.

use std::time::SystemTime;

use bstr::BStr;

use super::Outcome;
#[cfg(feature = "serde")]
use super::wire;
use crate::ObjectId;

/// The outcome of one ref, with its tips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SyncRunRef<'a> {
    /// The full ref name. In JSON, bytes that are not UTF-8 are replaced.
    #[cfg_attr(feature = "serde", serde(serialize_with = "wire::name"))]
    pub name: &'a BStr,
    /// The destination's tip before the run; `None` if the ref did not exist there.
    pub before: Option<ObjectId>,
    /// The destination's tip after the run: equal to `before` if the ref did not move, the null id if it still
    /// does not exist. In a dry run, the tip that the ref would have.
    pub after: ObjectId,
    /// The source's tip.
    pub source: ObjectId,
    /// The outcome. In JSON, `outcome` is [`Outcome::as_str`] and `reason` the text of the reason.
    #[cfg_attr(feature = "serde", serde(flatten, serialize_with = "wire::outcome"))]
    pub outcome: &'a Outcome,
    /// The remote's refusal of this ref by itself, with the time of the next attempt.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub refusal: Option<&'a Refusal>,
}

/// A remote's refusal of one ref, as opposed to a push that was declined as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Refusal {
    /// The time before which a run with these stats as [`previous`](crate::SyncOptions::previous) does not push
    /// the ref, unless one of its tips moves. In JSON, seconds since 1970 (UTC).
    #[cfg_attr(feature = "serde", serde(with = "wire::timestamp"))]
    pub retry_at: SystemTime,
    /// Whether the ref was refused in a push of its own. Such a ref may have caused the rejection of others:
    /// the next run pushes it after all others, and again by itself.
    pub alone: bool,
}
