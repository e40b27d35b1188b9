//! The value that a run returns.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bstr::{BStr, BString};

#[cfg(feature = "serde")]
use super::wire;
use super::{Outcome, Reason, SyncRunRef, SyncRunRefs, reason::Basis};
use crate::ObjectId;

/// The result of a run: what happened to every selected ref of the source.
///
/// With the feature `serde` this is the `stats` object of the upstream-sync API: `name`, `before`,
/// `after` and `outcome` are exactly its keys; all others are added to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SyncRunStats {
    /// The source's refs, sorted by name.
    pub refs: SyncRunRefs,
    /// The full name of the branch that the source's HEAD names, born or not; `None` if it names
    /// none or the source doesn't say. In JSON the key is left out then.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            with = "wire::optional_name",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub default_branch: Option<BString>,
    /// Received objects that the [`FsckRules`](crate::FsckRules) refused, whichever refs need them.
    /// Missing in the JSON where it is 0.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "wire::is_zero")
    )]
    pub faulty_objects: u64,
    /// Whether refs may be [`Incomplete`](Reason::Incomplete) for what the destination's own refs vouch for and
    /// it has lost, or for want of memory. With these stats as [`previous`](crate::SyncOptions::previous) they
    /// are asked for again. Missing in the JSON where it is false.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "wire::is_false")
    )]
    pub destination_in_doubt: bool,
    /// A short digest of the tag policy, the fsck rules and the limits on the size of one object that the
    /// run went by. A run with others decides anew where these stats are
    /// [`previous`](crate::SyncOptions::previous) and one of them turned a ref away.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "String::is_empty")
    )]
    pub rules: String,
    /// The traffic of the run. Not part of the JSON.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub traffic: Traffic,
    /// The lines that the remote and its hooks printed in the last push that it declined in part or whole:
    /// the first 20, 4 KiB in all, safe to print. In JSON `messages`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "messages", default, skip_serializing_if = "Vec::is_empty")
    )]
    pub remote_messages: Vec<String>,
    /// The time that the remote asked to wait (`Retry-After`) when it took a part of the refs and was
    /// overloaded for the rest, which are [`Unconfirmed`](Reason::Unconfirmed). In JSON whole seconds.
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
    /// Objects in the packs that were sent or received, thin pack bases not counted.
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
    /// The refs with an outcome of that kind, such as [`Outcome::is_rejected`].
    pub fn with_outcome(
        &self,
        is_wanted: impl Fn(&Outcome) -> bool,
    ) -> impl Iterator<Item = SyncRunRef<'_>> {
        self.refs.iter().filter(move |r| is_wanted(r.outcome))
    }

    /// The number of refs with an outcome of that kind, such as [`Outcome::is_updated`].
    pub fn count(&self, is_wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.refs.count(is_wanted)
    }

    /// The rejected refs, each with its reason.
    pub fn rejected(&self) -> impl Iterator<Item = (SyncRunRef<'_>, &Reason)> {
        self.refs
            .iter()
            .filter_map(|r| Some((r, r.outcome.rejection()?)))
    }

    /// The ref of that full name.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<SyncRunRef<'_>> {
        self.refs.iter().find(|r| r.name == name.as_ref())
    }

    /// The tips that their source could not give.
    pub(crate) fn unavailable_tips(&self) -> HashSet<ObjectId> {
        let is_unavailable = |reason: &Reason| matches!(reason, Reason::Unavailable { .. });
        self.rejected()
            .filter(|(_, reason)| is_unavailable(reason))
            .map(|(r, _)| r.source)
            .collect()
    }

    /// The rejections that hold as long as the two tips do, by ref name, in a run with these rules.
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
