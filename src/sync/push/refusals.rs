//! The refs that the destination refused in the previous run.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::answer::RefAnswer;
use crate::{
    Refusal, SyncOptions, SyncRunRef,
    sync::planned_ref::{PlannedRef, Refused},
};

/// Applies the refusals of the previous run. An open ref that was refused stays rejected while neither tip moves and
/// the time of the next attempt has not come.
pub(in crate::sync) fn recall(
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    now: SystemTime,
) {
    let Some(previous) = &options.previous else {
        return;
    };
    let refused = previous.refs.iter().filter(|known| known.refusal.is_some());
    let refused: HashMap<_, _> = refused.map(|known| (known.name, known)).collect();
    for planned in planned.iter_mut().filter(|planned| planned.is_open()) {
        let Some(known) = refused.get(planned.name()) else {
            continue;
        };
        let (Some(refusal), Some(reason)) = (known.refusal.copied(), known.outcome.rejection())
        else {
            continue;
        };
        if is_same(known, planned) && holds(refusal, options.refusal_backoff, now) {
            planned.reject(reason.clone());
        }
        planned.refused = Some(Refused::new(refusal, reason.clone()));
    }
}

fn is_same(known: &SyncRunRef<'_>, planned: &PlannedRef<'_>) -> bool {
    (known.before, known.source) == (planned.before(), planned.source())
}

/// Whether it is too early for the next attempt. A time that is further ahead than the backoff does not count: it was set
/// by another clock, or with another value of the option.
fn holds(refusal: Refusal, backoff: Duration, now: SystemTime) -> bool {
    let left = refusal.retry_at.duration_since(now).unwrap_or_default();
    !left.is_zero() && left <= backoff
}

/// The time of the next attempt, in whole seconds.
pub(super) fn retry_at(now: SystemTime, backoff: Duration) -> SystemTime {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs().saturating_add(backoff.as_secs());
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    at.unwrap_or(UNIX_EPOCH)
}

/// The open refs: those of the first push, and those that are pushed after it, each by itself, the longest waiting
/// first. The default branch is always in the first push, because the others could use up all pushes.
pub(super) fn queues(
    planned: &[PlannedRef<'_>],
    default_branch: Option<usize>,
) -> (Vec<usize>, Vec<usize>) {
    let open = (0..planned.len()).filter(|at| planned[*at].is_open());
    let alone = |at: &usize| {
        let refused = planned[*at].refused.as_ref();
        Some(*at) != default_branch && refused.is_some_and(|refused| refused.refusal.alone)
    };
    let (mut last, first): (Vec<_>, Vec<_>) = open.partition(alone);
    last.sort_by_key(|at| {
        let refused = planned[*at].refused.as_ref();
        refused.map(|refused| refused.refusal.retry_at)
    });
    (first, last)
}

/// Rejects the refused refs again that were in no push of this run.
pub(super) fn keep(planned: &mut [PlannedRef<'_>], answers: &HashMap<usize, RefAnswer>) {
    for (at, planned) in planned.iter_mut().enumerate() {
        if !planned.is_open() || answers.contains_key(&at) {
            continue;
        }
        if let Some(refused) = &planned.refused {
            let reason = refused.reason.clone();
            planned.reject(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_its_time_has_come() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let cases = [
            (100, 10, 99, true),
            (100, 10, 91, true),
            (100, 10, 100, false),
            (100, 10, 101, false),
            (100, 10, 89, false),
            (100, 0, 99, false),
        ];
        for (retry_at, backoff, now, expected) in cases {
            let refusal = Refusal {
                retry_at: at(retry_at),
                alone: true,
            };
            let holds = holds(refusal, Duration::from_secs(backoff), at(now));
            assert_eq!(holds, expected, "{retry_at} {backoff} {now}");
        }
        let backoff = Duration::from_millis(3_900);
        let now = at(100) + Duration::from_millis(999);
        assert_eq!(retry_at(now, backoff), at(103));
        assert_eq!(retry_at(now, Duration::MAX), UNIX_EPOCH);
    }
}
