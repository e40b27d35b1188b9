//! What a run did, ref by ref.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::{Duration, SystemTime},
};

use bstr::{BStr, BString, ByteSlice};

use crate::{ObjectId, text::Escaped};

mod refs;
#[cfg(feature = "serde")]
mod wire;

pub(crate) use refs::RefOutcome;
pub use refs::SyncRunRefs;

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
    /// A short digest of the tag policy and the fsck rules that the run went by. A run with others decides
    /// anew where these stats are [`previous`](crate::SyncOptions::previous) and one of them turned a ref
    /// away.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "String::is_empty")
    )]
    pub rules: String,
    /// What went over the wire. Not part of the JSON.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub traffic: Traffic,
    /// What the remote and its hooks printed in the last push that it declined in part or whole: the
    /// first 20 lines, 4 KiB in all, safe to print. In JSON `messages`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "messages", default, skip_serializing_if = "Vec::is_empty")
    )]
    pub remote_messages: Vec<String>,
    /// How long the remote asked to wait (`Retry-After`) when it took a part of the refs and was
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

/// What happened to one ref.
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
    /// What happened.
    pub outcome: Outcome,
    /// Why, for a ref that was filtered or rejected.
    #[cfg_attr(
        feature = "serde",
        serde(
            serialize_with = "wire::optional",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub reason: Option<&'a Reason>,
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

/// What happened to a ref, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Outcome {
    /// The destination's ref was created or moved to the source's tip.
    Updated,
    /// Both ends had the same tip already.
    Unchanged,
    /// The ref takes no part in syncs.
    Filtered,
    /// The ref could not be updated safely and was left alone.
    Rejected,
}

/// Why a ref was filtered or rejected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The source's tip is an ancestor of the destination's.
    DestinationAhead,
    /// Each side has commits that the other one lacks.
    Diverged,
    /// Ancestry can't be known: shallow, missing or corrupt history.
    HistoryUnknown,
    /// The destination's tip is not in the source, so nobody knows how they relate. Pull first.
    DestinationUnknown,
    /// A branch has to point to a commit, and the source's does not.
    NotACommit,
    /// The tag exists with another target, and moving it is no fast-forward between commits.
    TagExists,
    /// The name can't exist beside another one, for example `a` beside `a/b`.
    NameConflict {
        /// The full name of the ref in the way.
        with: BString,
    },
    /// The destination's ref changed while the run was under way.
    Raced,
    /// The branch is checked out in a worktree of the destination.
    CheckedOut,
    /// The source lists this tip but doesn't hand it out.
    Unavailable {
        /// The source's own words, made safe to print.
        detail: String,
    },
    /// What the source sent for this tip is not all of its history, or not what it claims to be.
    Incomplete {
        /// Which object is at fault, and how.
        detail: String,
    },
    /// Git's fsck objects to something that the source sent for this tip. See
    /// [`FsckRules`](crate::FsckRules).
    Faulty {
        /// Which object it is, git's name for what is wrong with it, and the rules that let it in.
        detail: String,
    },
    /// The destination could not write this ref.
    NotWritten {
        /// The system's words.
        detail: String,
    },
    /// The destination, a remote, refused to update this ref: a hook, a protected branch.
    Remote {
        /// The remote's own words, made safe to print.
        text: String,
    },
    /// The destination, a remote, did not say what became of this ref, and does not have the
    /// source's tip now. The update may still be under way there.
    Unconfirmed {
        /// What was wrong with its answer.
        detail: String,
    },
    /// Git doesn't allow the name.
    InvalidName,
    /// The ref is a symbolic ref at one of the ends.
    SymbolicRef,
    /// The destination can't hold a name this long.
    NameTooLong,
    /// The globs exclude it.
    Excluded,
}

impl Outcome {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
            Outcome::Filtered => "filtered",
            Outcome::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Reason {
    /// Whether the reason is taken to hold as long as the two tips do. Most follow from them; what
    /// a source sent incomplete it is not asked for again, since it may be large.
    pub(crate) fn is_settled_by_tips(&self) -> bool {
        use Reason::*;
        matches!(
            self,
            DestinationAhead
                | Diverged
                | NotACommit
                | TagExists
                | Incomplete { .. }
                | Faulty { .. }
        )
    }

    /// Whether it rests on the tag policy or the fsck rules as well.
    fn depends_on_rules(&self) -> bool {
        matches!(self, Reason::TagExists | Reason::Faulty { .. })
    }

    fn code_and_detail(&self) -> (&'static str, Option<&BStr>) {
        use Reason::*;
        match self {
            DestinationAhead => ("destination ahead", None),
            Diverged => ("diverged", None),
            HistoryUnknown => ("history unknown", None),
            DestinationUnknown => ("destination unknown", None),
            NotACommit => ("not a commit", None),
            TagExists => ("tag exists", None),
            NameConflict { with } => ("name conflict", Some(with.as_bstr())),
            Raced => ("raced", None),
            CheckedOut => ("checked out", None),
            Unavailable { detail } => ("unavailable", Some(detail.as_bytes().as_bstr())),
            Incomplete { detail } => ("incomplete", Some(detail.as_bytes().as_bstr())),
            Faulty { detail } => ("faulty", Some(detail.as_bytes().as_bstr())),
            NotWritten { detail } => ("not written", Some(detail.as_bytes().as_bstr())),
            Remote { text } => ("remote", Some(text.as_bytes().as_bstr())),
            Unconfirmed { detail } => ("unconfirmed", Some(detail.as_bytes().as_bstr())),
            InvalidName => ("invalid name", None),
            SymbolicRef => ("symbolic ref", None),
            NameTooLong => ("name too long", None),
            Excluded => ("excluded", None),
        }
    }

    #[cfg(feature = "serde")]
    fn parse(text: &str) -> Option<Reason> {
        use Reason::*;
        let (code, detail) = text.split_once(": ").unwrap_or((text, ""));
        let detail = || detail.to_owned();
        Some(match code {
            "destination ahead" => DestinationAhead,
            "diverged" => Diverged,
            "history unknown" => HistoryUnknown,
            "destination unknown" => DestinationUnknown,
            "not a commit" => NotACommit,
            "tag exists" => TagExists,
            "name conflict" => NameConflict {
                with: detail().into(),
            },
            "raced" => Raced,
            "checked out" => CheckedOut,
            "unavailable" => Unavailable { detail: detail() },
            "incomplete" => Incomplete { detail: detail() },
            "faulty" => Faulty { detail: detail() },
            "not written" => NotWritten { detail: detail() },
            "remote" => Remote { text: detail() },
            "unconfirmed" => Unconfirmed { detail: detail() },
            "invalid name" => InvalidName,
            "symbolic ref" => SymbolicRef,
            "name too long" => NameTooLong,
            "excluded" => Excluded,
            _ => return None,
        })
    }
}

/// A fixed phrase, followed by `: ` and the particulars if there are any, with characters that could
/// play tricks on a terminal as their codes. This is also the JSON.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, detail) = self.code_and_detail();
        f.write_str(code)?;
        detail.map_or(Ok(()), |detail| write!(f, ": {}", Escaped(detail)))
    }
}

/// What a run sent and received.
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
    /// The refs with this outcome.
    pub fn with_outcome(&self, outcome: Outcome) -> impl Iterator<Item = SyncRunRef<'_>> {
        self.refs.iter().filter(move |r| r.outcome == outcome)
    }

    /// How many refs have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.refs.count(outcome)
    }

    /// The ref of that full name.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<SyncRunRef<'_>> {
        self.refs.iter().find(|r| r.name == name.as_ref())
    }

    /// The tips that their source could not give.
    pub(crate) fn unavailable_tips(&self) -> HashSet<ObjectId> {
        let rejected = self.with_outcome(Outcome::Rejected);
        let unavailable = rejected.filter(|r| matches!(r.reason, Some(Reason::Unavailable { .. })));
        unavailable.map(|r| r.source).collect()
    }

    /// The rejections that hold as long as the two tips do, by ref name, in a run with these rules.
    pub(crate) fn settled_rejections(&self, rules: &str) -> HashMap<&BStr, SyncRunRef<'_>> {
        let are_same = self.rules == rules;
        let holds = |reason: &Reason| match reason {
            Reason::Incomplete { .. } => !self.destination_in_doubt,
            reason => reason.is_settled_by_tips() && (are_same || !reason.depends_on_rules()),
        };
        let rejected = self.with_outcome(Outcome::Rejected);
        let settled = rejected.filter(|r| r.reason.is_some_and(holds));
        settled.map(|r| (r.name, r)).collect()
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests;
