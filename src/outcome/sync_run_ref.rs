//! The outcome of one ref.

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
    /// The full ref name. In JSON, bytes that are no UTF-8 are replaced.
    #[cfg_attr(feature = "serde", serde(serialize_with = "wire::name"))]
    pub name: &'a BStr,
    /// The destination's tip before the run; `None` if it had no such ref.
    #[cfg_attr(feature = "serde", serde(serialize_with = "wire::optional"))]
    pub before: Option<ObjectId>,
    /// The destination's tip after the run, equal to `before` when nothing moved; the null id
    /// when it still has no such ref. In a dry run: what it would be.
    #[cfg_attr(feature = "serde", serde(serialize_with = "wire::text"))]
    pub after: ObjectId,
    /// The source's tip.
    #[cfg_attr(feature = "serde", serde(serialize_with = "wire::text"))]
    pub source: ObjectId,
    /// The outcome. In JSON `outcome` is its word, and `reason` the text of its reason.
    #[cfg_attr(feature = "serde", serde(flatten, serialize_with = "wire::outcome"))]
    pub outcome: &'a Outcome,
    /// For a ref that a remote refused for itself: when it is sent again, and how.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub refusal: Option<&'a Refusal>,
}

/// A remote's refusal of one ref, rather than of a push that it was a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Refusal {
    /// Runs that have these stats as [`previous`](crate::SyncOptions::previous) don't send the ref before
    /// that, unless one of its tips moves. In JSON seconds since 1970 (UTC).
    #[cfg_attr(feature = "serde", serde(with = "wire::timestamp"))]
    pub retry_at: SystemTime,
    /// Whether it was refused in a push of its own. Such a ref may be why others were declined: it is
    /// sent behind all others, and again by itself.
    pub alone: bool,
}
