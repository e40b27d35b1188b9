//! Decisions about a run, from plain data alone.

use std::time::Duration;

use refsync::{BStr, ErrorKind, RefGlobs, SyncRunStats};

use super::scrub::Scrub;
use crate::records::{Direction, Next, PushUpdate, RefAction, RetryPolicy, Time};

/// The longest text of an error that is stored, in characters.
const LONGEST_TEXT: usize = 2_000;

/// The reason for which a worker has asked its engine to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody has cancelled the run.
    Cancelled,
    /// The lease is lost, or could not be renewed in time.
    LeaseLost,
    /// The service is shutting down.
    Shutdown,
}

/// The failure of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) text: String,
    pub(crate) is_retryable: bool,
    pub(crate) retry_after: Option<Duration>,
    /// The outcomes, where the attempt has any: they say which refs are uncertain.
    pub(crate) stats: Option<Box<SyncRunStats>>,
}

/// The codes of failures that are not the engine's.
pub(crate) mod code {
    /// The engine has panicked.
    pub(crate) const INTERNAL: &str = "internal";
    /// The stored credential can't be opened.
    pub(crate) const SECRET: &str = "secret";
}

impl Fault {
    /// The failure that the engine returned. `folder` is the path of the repository, which is nobody's business.
    pub(crate) fn of(err: &refsync::Error, folder: &str, scrub: &Scrub) -> Self {
        let mut text = err.to_string();
        let mut source = std::error::Error::source(err);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Fault {
            code: err.kind().as_str(),
            text: shortened(&scrub.text(text.replace(folder, "the repository"))),
            is_retryable: err.is_retryable(),
            retry_after: err.retry_after(),
            stats: err
                .stats()
                .cloned()
                .map(|stats| Box::new(scrub.stats(stats))),
        }
    }

    /// The panic of an engine, which says nothing about the next attempt.
    pub(crate) fn panic() -> Self {
        Fault {
            is_retryable: true,
            ..Fault::lasting(code::INTERNAL, "an internal error ended the attempt")
        }
    }

    /// A failure that another attempt would meet again.
    pub(crate) fn lasting(code: &'static str, text: &str) -> Self {
        Fault {
            code,
            text: text.to_owned(),
            is_retryable: false,
            retry_after: None,
            stats: None,
        }
    }

    fn is_cancelled(&self) -> bool {
        self.code == ErrorKind::Cancelled.as_str()
    }

    /// The time before which the host wants no request, if it said so.
    pub(crate) fn host_not_before(&self, now: Time) -> Option<Time> {
        self.retry_after.map(|wait| now.plus(wait))
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The way in which a failed attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The run fails.
    Fail,
    /// The run waits for another attempt, until this time.
    Retry(Time),
    /// The run is given back, and the attempt does not count.
    GiveBack,
}

/// The ending of an attempt that has failed with `fault`, after `tries` attempts that count, this one included.
pub(crate) fn ending(
    fault: &Fault,
    stop: Option<Stop>,
    tries: i64,
    policy: &RetryPolicy,
    now: Time,
    random: f64,
) -> Ending {
    match stop {
        Some(Stop::Cancelled) => return Ending::Fail,
        Some(Stop::Shutdown) if fault.is_cancelled() || fault.is_retryable => {
            return Ending::GiveBack;
        }
        _ => {}
    }
    // A worker that could not renew its lease is as good as lost; if it is, the fence keeps it from writing.
    let was_stopped = stop == Some(Stop::LeaseLost) && fault.is_cancelled();
    let is_retryable = fault.is_retryable || was_stopped;
    match policy.after_failure(tries, is_retryable, fault.retry_after, now, random) {
        Next::Attempt(at) => Ending::Retry(at),
        Next::Fail => Ending::Fail,
    }
}

/// Whether a push is to expect that refs have to move: a ref of the repository is not where the last push saw it.
/// Without a last push nothing is known.
pub(crate) fn has_moved<'a>(
    local: impl IntoIterator<Item = (&'a BStr, refsync::ObjectId)>,
    globs: &RefGlobs,
    last_push: Option<&SyncRunStats>,
) -> bool {
    let Some(last_push) = last_push else {
        return false;
    };
    // Both are sorted by name.
    let mut seen = last_push.refs.iter().peekable();
    local
        .into_iter()
        .filter(|(name, _)| globs.matches(name))
        .any(|(name, tip)| {
            while seen.next_if(|r| r.name < name).is_some() {}
            seen.next_if(|r| r.name == name)
                .is_none_or(|r| r.source != tip)
        })
}

/// The new default branch after a pull: the upstream's, where nobody has chosen one and the present one does not
/// exist.
pub(crate) fn new_default(
    direction: Direction,
    is_chosen: bool,
    present: &str,
    tip: Option<&str>,
    upstream: Option<&BStr>,
) -> Option<String> {
    if direction == Direction::Push || is_chosen || tip.is_some() {
        return None;
    }
    let name = std::str::from_utf8(upstream?).ok()?;
    let name = name.strip_prefix("refs/heads/")?;
    (name != present && !name.is_empty()).then(|| name.to_owned())
}

/// The data of a `push` event from the stats of a pull: the refs that have moved.
pub(crate) fn moved(stats: &SyncRunStats) -> Vec<PushUpdate> {
    let moved = stats.with_outcome(refsync::Outcome::is_updated);
    moved
        .map(|r| update(r.name, r.before, Some(r.after)))
        .collect()
}

/// The change of one ref between two ids; `None` stands for no ref.
pub(crate) fn update(
    name: &BStr,
    before: Option<refsync::ObjectId>,
    after: Option<refsync::ObjectId>,
) -> PushUpdate {
    let action = match (before, after) {
        (None, _) => RefAction::Created,
        (Some(_), Some(_)) => RefAction::Updated,
        (Some(_), None) => RefAction::Deleted,
    };
    let zeros = |other: Option<refsync::ObjectId>| {
        other.map_or_else(String::new, |id| {
            refsync::ObjectId::null(id.format()).to_string()
        })
    };
    let short = ["refs/heads/", "refs/tags/"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix.as_bytes()));
    PushUpdate {
        name: String::from_utf8_lossy(name).into_owned(),
        bookmark: String::from_utf8_lossy(short.unwrap_or(name)).into_owned(),
        before: before.map_or_else(|| zeros(after), |id| id.to_string()),
        after: after.map_or_else(|| zeros(before), |id| id.to_string()),
        action,
    }
}

#[cfg(test)]
mod tests;
