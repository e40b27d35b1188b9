//! [`SyncRun`], the record of one run.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Globs, RepoId, SyncId, Time};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word in JSON and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The value of the word.
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = String::deserialize(from)?;
                Self::of_word(&word).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    serde::de::Error::custom(format!("one of {} is expected", words.join(", ")))
                })
            }
        }
    };
}
pub(crate) use words;

words! {
    /// The direction of a run.
    Direction {
        /// From the upstream into the repository.
        Pull = "pull",
        /// From the repository to the upstream.
        Push = "push",
    }
}

words! {
    /// The status of a run as clients see it.
    Status {
        /// No attempt has started yet.
        Queued = "queued",
        /// An attempt has started; the run may be waiting for its next one.
        InProgress = "in_progress",
        /// The run has ended, with an outcome for each ref.
        Completed = "completed",
        /// The run has ended without having done its work.
        Failed = "failed",
    }
}

impl Status {
    /// Whether the run has ended.
    pub fn is_end(self) -> bool {
        matches!(self, Status::Completed | Status::Failed)
    }
}

/// The source of a run, the more urgent ones first. A repeated request for an equal queued run raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The upstream has said that something changed.
    Hook,
    /// A client has asked.
    Api,
    /// It was time for it.
    Schedule,
}

impl Priority {
    /// The number in the database: the smaller, the earlier.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The word in JSON, under the key `source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Hook => "hook",
            Priority::Api => "api",
            Priority::Schedule => "schedule",
        }
    }

    /// The priority with this number.
    pub fn of_number(number: i64) -> Option<Self> {
        [Priority::Hook, Priority::Api, Priority::Schedule]
            .into_iter()
            .find(|p| p.number() == number)
    }
}

/// The record of a run. Its JSON is the Sync object of the API.
#[derive(Debug, Clone, Serialize)]
pub struct SyncRun {
    /// The identifier.
    pub id: SyncId,
    /// The repository.
    pub repo_id: RepoId,
    /// The direction.
    pub direction: Direction,
    /// The status.
    pub status: Status,
    /// The number of attempts that have started.
    pub attempt: i64,
    /// The globs.
    pub ref_globs: Globs,
    /// The stats, as they are stored; `None` until the end.
    pub stats: Option<Box<RawValue>>,
    /// The reason of a failure, for people.
    pub error: Option<String>,
    /// The reason of a failure, for programs: `ErrorKind::as_str()`, or one of the service's own.
    pub error_code: Option<String>,
    /// Whether the run shows what it would do.
    pub dry_run: bool,
    /// The source of the run: `hook`, `api` or `schedule`.
    pub source: &'static str,
    /// The time of the next attempt of a run that waits for one.
    pub next_attempt_at: Option<Time>,
    /// The lines that the upstream printed.
    pub messages: Vec<String>,
    /// The time of its making.
    pub created_at: Time,
    /// The start of its first attempt.
    pub started_at: Option<Time>,
    /// The time of its end.
    pub finished_at: Option<Time>,
}
