//! [`SyncRunStats`], the value that a run returns.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bstr::{BStr, BString};

#[cfg(feature = "serde")]
use super::wire;
use super::{Outcome, Reason, SyncRunRef, SyncRunRefs, reason::Basis};
use crate::ObjectId;

/// The result of a run: an outcome for every selected ref of the source, and the run's totals.
///
/// With the feature `serde` this is the `stats` object of the upstream-sync API: `name`, `before`,
/// `after` and `outcome` are exactly its keys; all others are added to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SyncRunStats {
    /// The source's refs, sorted by name.
    pub refs: SyncRunRefs,
    /// The full name of the branch that the source's HEAD names, born or not; `None` if HEAD is detached or
    /// the source does not report it. The JSON then lacks the key.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            with = "wire::optional_name",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub default_branch: Option<BString>,
    /// The number of received objects that the [`FsckRules`](crate::FsckRules) refused, whichever refs need
    /// them. The JSON lacks the key if it is 0.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "wire::is_zero")
    )]
    pub faulty_objects: u64,
    /// Whether refs may be [`Incomplete`](Reason::Incomplete) because the destination has lost objects that its
    /// own refs need, or because memory did not suffice to check that. A run with these stats as
    /// [`previous`](crate::SyncOptions::previous) requests such refs again. The JSON lacks the key if it is false.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "wire::is_false")
    )]
    pub destination_in_doubt: bool,
    /// A short digest of the run's tag policy, fsck rules and limits on the size of one object. A run with
    /// another digest and these stats as [`previous`](crate::SyncOptions::previous) decides again about the
    /// refs that one of these rules rejected.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "String::is_empty")
    )]
    pub rules: String,
    /// The traffic of the run. Not part of the JSON.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub traffic: Traffic,
    /// The lines that the remote and its hooks printed in the last push that was declined in part or as a
    /// whole: the first 20 lines, at most 4 KiB in all, safe to print. The JSON key is `messages`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "messages", default, skip_serializing_if = "Vec::is_empty")
    )]
    pub remote_messages: Vec<String>,
    /// The time that the remote asked to wait (`Retry-After`) after it had updated a part of the refs and was
    /// overloaded for the others, which are [`Unconfirmed`](Reason::Unconfirmed). Whole seconds in JSON.
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "wire::seconds",
            default,
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub retry_after: Option<Duration>,
}

/// The traffic of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// HTTP requests.
    pub requests: u64,
    /// Bytes sent, counted at the socket.
    pub bytes_sent: u64,
    /// Bytes received, counted at the socket.
    pub bytes_received: u64,
    /// Objects in the packs that were sent or received, without the bases that complete thin packs.
    pub objects: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.requests += other.requests;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.objects += other.objects;
    }
}

impl SyncRunStats {
    /// The refs whose outcome satisfies `is_wanted`, such as [`Outcome::is_rejected`].
    pub fn with_outcome(
        &self,
        is_wanted: impl Fn(&Outcome) -> bool,
    ) -> impl Iterator<Item = SyncRunRef<'_>> {
        self.refs.iter().filter(move |r| is_wanted(r.outcome))
    }

    /// The number of refs whose outcome satisfies `is_wanted`, such as [`Outcome::is_updated`].
    pub fn count(&self, is_wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.refs.count(is_wanted)
    }

    /// The rejected refs, each with its reason.
    pub fn rejected(&self) -> impl Iterator<Item = (SyncRunRef<'_>, &Reason)> {
        self.refs
            .iter()
            .filter_map(|r| Some((r, r.outcome.rejection()?)))
    }

    /// The outcome of the ref with the full name `name`.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<SyncRunRef<'_>> {
        self.refs.iter().find(|r| r.name == name.as_ref())
    }

    /// The tips that the source did not send.
    pub(crate) fn unavailable_tips(&self) -> HashSet<ObjectId> {
        let is_unavailable = |reason: &Reason| matches!(reason, Reason::Unavailable { .. });
        self.rejected()
            .filter(|(_, reason)| is_unavailable(reason))
            .map(|(r, _)| r.source)
            .collect()
    }

    /// The rejections that hold while neither tip moves, by ref name, in a run with the digest `rules`.
    pub(crate) fn settled_rejections(&self, rules: &str) -> HashMap<&BStr, SyncRunRef<'_>> {
        let still_holds = |reason: &Reason| match reason.basis() {
            Basis::Tips => true,
            Basis::SourceObjects => !self.destination_in_doubt,
            Basis::TipsAndRules => self.rules == rules,
            Basis::Run => false,
        };
        self.rejected()
            .filter(|(_, reason)| still_holds(reason))
            .map(|(r, _)| (r.name, r))
            .collect()
    }
}
