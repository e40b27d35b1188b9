//! [`CappedStats`], the stats of a run with a bounded number of refs.

use refsync::{Outcome, SyncRunRef, SyncRunRefs, SyncRunStats};
use serde::{Deserialize, Serialize};

/// The numbers of refs by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Refs that moved.
    pub updated: u64,
    /// Refs that are equal at both ends.
    pub unchanged: u64,
    /// Refs that were left out.
    pub filtered: u64,
    /// Refs that could not be moved safely.
    pub rejected: u64,
}

impl Counts {
    /// The numbers of refs in `stats`.
    pub fn of(stats: &SyncRunStats) -> Self {
        let mut counts = Counts::default();
        for r in &stats.refs {
            match r.outcome {
                Outcome::Updated => counts.updated += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::Filtered(_) => counts.filtered += 1,
                Outcome::Rejected(_) => counts.rejected += 1,
            }
        }
        counts
    }

    /// Whether no ref moved and none was left behind, so that the list says nothing that the run before did not say.
    pub fn is_all_unchanged(&self) -> bool {
        self.updated == 0 && self.filtered == 0 && self.rejected == 0
    }
}

/// The stats of a run with at most some of its refs: moved and rejected ones first, each group in its order.
/// Its JSON has the keys of the stats, and `counts` and `truncated`.
#[derive(Debug, Clone, Serialize)]
pub struct CappedStats {
    #[serde(flatten)]
    stats: SyncRunStats,
    counts: Counts,
    truncated: bool,
}

impl CappedStats {
    /// The largest number of refs in lists of runs.
    pub const IN_LISTS: usize = 100;
    /// The largest number of refs in an event.
    pub const IN_EVENTS: usize = 1_000;

    /// `stats` with at most `most` refs.
    pub fn of(stats: &SyncRunStats, most: usize) -> Self {
        let counts = Counts::of(stats);
        let truncated = stats.refs.len() > most;
        let mut capped = SyncRunStats::default();
        capped.default_branch.clone_from(&stats.default_branch);
        capped.faulty_objects = stats.faulty_objects;
        capped.destination_in_doubt = stats.destination_in_doubt;
        capped.rules.clone_from(&stats.rules);
        capped.remote_messages.clone_from(&stats.remote_messages);
        capped.retry_after = stats.retry_after;
        capped.refs = first_refs(stats, most, truncated);
        CappedStats {
            stats: capped,
            counts,
            truncated,
        }
    }
}

fn first_refs(stats: &SyncRunStats, most: usize, truncated: bool) -> SyncRunRefs {
    if !truncated {
        return stats.refs.clone();
    }
    let is_first = |r: &SyncRunRef<'_>| r.outcome.is_updated() || r.outcome.is_rejected();
    let first = stats.refs.iter().filter(is_first);
    let others = stats.refs.iter().filter(|r| !is_first(r));
    first.chain(others).take(most).collect()
}
