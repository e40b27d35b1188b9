//! What a run did, ref by ref.

use std::{collections::HashMap, fmt, time::Duration};

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
/// `after` and `outcome` are exactly its keys; `source`, `reason` and `faulty_objects` are added to them.
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

    /// The rejections that hold as long as the two tips do, by ref name.
    pub(crate) fn settled_rejections(&self) -> HashMap<&BStr, SyncRunRef<'_>> {
        let settled = self.with_outcome(Outcome::Rejected).filter(|r| {
            let reason = r.reason.as_ref();
            reason.is_some_and(|reason| reason.is_settled_by_tips())
        });
        settled.map(|r| (r.name, r)).collect()
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex")
    }

    #[test]
    fn json_is_the_contract_plus_added_keys() {
        let reason = Reason::NameConflict {
            with: "refs/tags/a/b".into(),
        };
        let stats = SyncRunStats {
            refs: SyncRunRefs::from_iter([
                SyncRunRef {
                    name: "refs/heads/main".into(),
                    before: None,
                    after: id('a'),
                    source: id('a'),
                    outcome: Outcome::Updated,
                    reason: None,
                },
                SyncRunRef {
                    name: "refs/tags/a".into(),
                    before: Some(id('b')),
                    after: id('b'),
                    source: id('c'),
                    outcome: Outcome::Rejected,
                    reason: Some(&reason),
                },
            ]),
            default_branch: Some("refs/heads/main".into()),
            ..SyncRunStats::default()
        };
        let json = serde_json::to_value(&stats).expect("serializes");
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let expected = serde_json::json!({"refs": [
            {"name": "refs/heads/main", "before": null, "after": a, "source": a, "outcome": "updated"},
            {"name": "refs/tags/a", "before": b, "after": b, "source": c, "outcome": "rejected",
             "reason": "name conflict: refs/tags/a/b"},
        ], "default_branch": "refs/heads/main"});
        assert_eq!(json, expected);
        let back: SyncRunStats = serde_json::from_value(json).expect("reads back");
        assert_eq!(back, stats);
    }

    #[test]
    fn unchanged_refs_are_told_from_others_wherever_they_are() {
        let reasons = [Reason::Excluded, Reason::Diverged];
        let [a, b] = ['a', 'b'].map(id);
        let found = |name, before, after, source, outcome, reason| SyncRunRef {
            name,
            before,
            after,
            source,
            outcome,
            reason,
        };
        use Outcome::*;
        let expected = [
            found("a".into(), Some(a), a, a, Unchanged, None),
            found("b".into(), None, a, a, Updated, None),
            found("c".into(), Some(a), a, a, Filtered, Some(&reasons[0])),
            found("d".into(), Some(b), b, a, Rejected, Some(&reasons[1])),
            found("e".into(), Some(b), b, b, Unchanged, None),
            found("f".into(), Some(b), a, b, Unchanged, None),
        ];
        let refs = SyncRunRefs::from_iter(expected);
        assert_eq!(refs.iter().collect::<Vec<_>>(), expected);
        assert_eq!(refs.iter().len(), 6);
        assert_eq!(refs, SyncRunRefs::from_iter(&refs));
        assert_ne!(refs, SyncRunRefs::from_iter(refs.iter().skip(1)));
        let stats = SyncRunStats {
            refs,
            ..SyncRunStats::default()
        };
        let outcomes = [Unchanged, Updated, Filtered, Rejected];
        assert_eq!(outcomes.map(|outcome| stats.count(outcome)), [3, 1, 1, 1]);
        for one in expected {
            assert_eq!(stats.find(one.name), Some(one));
        }
        let json = serde_json::to_string(&stats).expect("serializes");
        assert!(!json.contains("default_branch"));
        let back: SyncRunStats = serde_json::from_str(&json).expect("reads back");
        assert_eq!(back, stats);
    }

    #[test]
    fn faulty_objects_are_in_the_json_where_there_are_any() {
        let stats = SyncRunStats {
            faulty_objects: 2,
            ..SyncRunStats::default()
        };
        let json = serde_json::to_value(&stats).expect("serializes");
        assert_eq!(json, serde_json::json!({"refs": [], "faulty_objects": 2}));
        let back: SyncRunStats = serde_json::from_value(json).expect("reads back");
        assert_eq!(back, stats);
    }

    #[test]
    fn a_name_in_a_reason_cannot_play_tricks_on_a_terminal() {
        let with = "refs/heads/\u{9b}2J\u{202e}cod".into();
        let text = Reason::NameConflict { with }.to_string();
        assert_eq!(text, "name conflict: refs/heads/\\u{9b}2J\\u{202e}cod");
    }

    #[test]
    fn every_reason_reads_back() {
        let detail = || "object x: y".to_owned();
        for reason in [
            Reason::DestinationAhead,
            Reason::Diverged,
            Reason::HistoryUnknown,
            Reason::DestinationUnknown,
            Reason::NotACommit,
            Reason::TagExists,
            Reason::NameConflict {
                with: "refs/heads/a".into(),
            },
            Reason::Raced,
            Reason::CheckedOut,
            Reason::Unavailable { detail: detail() },
            Reason::Incomplete { detail: detail() },
            Reason::Faulty { detail: detail() },
            Reason::NotWritten { detail: detail() },
            Reason::Remote { text: detail() },
            Reason::Unconfirmed { detail: detail() },
            Reason::InvalidName,
            Reason::SymbolicRef,
            Reason::NameTooLong,
            Reason::Excluded,
        ] {
            assert_eq!(Reason::parse(&reason.to_string()), Some(reason));
        }
        assert_eq!(Reason::parse("from a later version"), None);
    }
}
