//! [`Health`], what the ends of its runs say about an upstream.

use super::{Direction, Schedule, Time, sync_run::words};

words! {
    /// The state of an upstream.
    HealthState {
        /// Its last run has completed, or there was none.
        Ok = "ok",
        /// Its last run has failed.
        Failing = "failing",
        /// It has failed so often, and in such a way, that no run starts by itself any more.
        Parked = "parked",
    }
}

/// The health of an upstream, kept with or without a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// The runs that have failed since the last one that completed.
    pub failures: i64,
    /// Those of them that the upstream has refused, which is not likely to end by itself.
    pub refusals: i64,
    /// Whether no run starts by itself until somebody changes the upstream or asks for a run.
    pub is_parked: bool,
    /// The code of the last failure.
    pub reason: Option<String>,
    /// The time of the next run by the schedule.
    pub next_run_at: Option<Time>,
}

/// The codes of failures after which another run fails as well, unless somebody does something: those of
/// [`refsync::ErrorKind`] for a credential, a permission and an address that are not good.
const REFUSALS: [refsync::ErrorKind; 3] = [
    refsync::ErrorKind::Authentication,
    refsync::ErrorKind::PermissionDenied,
    refsync::ErrorKind::NotFound,
];

impl Health {
    /// The state.
    pub fn state(&self) -> HealthState {
        match (self.is_parked, self.failures) {
            (true, _) => HealthState::Parked,
            (false, 0) => HealthState::Ok,
            (false, _) => HealthState::Failing,
        }
    }

    /// The health of an upstream that was set at `now`. `random` is in 0..1 here and below.
    pub fn at_first(schedule: Option<&Schedule>, now: Time, random: f64) -> Self {
        Health {
            next_run_at: schedule.map(|schedule| schedule.first_run(now, random)),
            ..Health::default()
        }
    }

    /// The health after a caller has set the upstream again, whose schedule was `before`: earlier failures say
    /// nothing about it. A schedule that stays the same, of an upstream that is well, keeps its time.
    #[must_use]
    pub fn after_change(
        &self,
        before: Option<&Schedule>,
        schedule: Option<&Schedule>,
        now: Time,
        random: f64,
    ) -> Self {
        if self.state() == HealthState::Ok && before == schedule {
            return self.clone();
        }
        Health::at_first(schedule, now, random)
    }

    /// The health after a caller has asked for a run. What was counted stays: if that run fails as those before, the
    /// upstream is parked again.
    #[must_use]
    pub fn resumed(&self, schedule: Option<&Schedule>, now: Time, random: f64) -> Self {
        let next_run = |schedule: &Schedule| schedule.next_run(self.failures, now, random);
        Health {
            is_parked: false,
            next_run_at: schedule.map(next_run),
            ..self.clone()
        }
    }

    /// Whether the end of a run says something about the health of its upstream: a dry run does not,
    /// nor does one in the other direction than the schedule's, whose credential may be for reading alone.
    pub fn counts(direction: Direction, is_dry: bool, schedule: Option<&Schedule>) -> bool {
        let is_other = schedule.is_some_and(|schedule| schedule.direction != direction);
        !is_dry && !is_other
    }

    /// The health after a run that counts has completed, or has failed with a code; `None` where nothing changes.
    /// With `park_after` refusals since the last run that completed the upstream is parked: other failures in between
    /// say nothing about the credential.
    #[must_use]
    pub fn after_run(
        &self,
        error_code: Option<&str>,
        schedule: Option<&Schedule>,
        park_after: i64,
        now: Time,
        random: f64,
    ) -> Option<Self> {
        let Some(code) = error_code else {
            let was_well = self.failures == 0 && !self.is_parked;
            let next_run = |schedule: &Schedule| schedule.next_run(0, now, random);
            return (!was_well).then(|| Health {
                next_run_at: schedule.map(next_run),
                ..Health::default()
            });
        };
        let failures = self.failures.saturating_add(1);
        let is_refusal = REFUSALS.iter().any(|kind| kind.as_str() == code);
        let refusals = self.refusals.saturating_add(i64::from(is_refusal));
        // A run that was asked for while nothing is parked may end after the one that parks.
        let is_parked = self.is_parked || is_refusal && refusals >= park_after;
        let schedule = schedule.filter(|_| !is_parked);
        Some(Health {
            failures,
            refusals,
            is_parked,
            reason: Some(code.to_owned()),
            next_run_at: schedule.map(|schedule| schedule.next_run(failures, now, random)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Globs;

    const NOW: Time = Time(1_000);
    const MINUTE: i64 = 60_000;

    fn minutely(direction: Direction) -> Schedule {
        Schedule {
            direction,
            interval_seconds: 60,
            ref_globs: Globs::default(),
        }
    }

    fn health(failures: i64, refusals: i64, is_parked: bool) -> Health {
        Health {
            failures,
            refusals,
            is_parked,
            reason: (failures > 0).then(|| "before".into()),
            next_run_at: (!is_parked).then_some(Time(5)),
        }
    }

    /// State, failures, refusals, and the minutes to the next run, after one that has ended with a code.
    fn ended(before: &Health, code: Option<&str>) -> Option<(HealthState, i64, i64, Option<i64>)> {
        let schedule = minutely(Direction::Pull);
        let after = before.after_run(code, Some(&schedule), 3, NOW, 0.5)?;
        assert_eq!(after.reason.as_deref(), code);
        let minutes = after.next_run_at.map(|at| (at.0 - NOW.0) / MINUTE);
        Some((after.state(), after.failures, after.refusals, minutes))
    }

    #[test]
    fn ends_of_runs() {
        use HealthState::{Failing, Ok, Parked};
        let well = health(0, 0, false);
        let failing = health(2, 1, false);
        let nearly = health(2, 2, false);
        let parked = health(3, 3, true);
        for (before, code, after) in [
            (&well, None, None),
            (&failing, None, Some((Ok, 0, 0, Some(1)))),
            (&parked, None, Some((Ok, 0, 0, Some(1)))),
            (&well, Some("network"), Some((Failing, 1, 0, Some(2)))),
            (
                &well,
                Some("authentication"),
                Some((Failing, 1, 1, Some(2))),
            ),
            (
                &failing,
                Some("permission_denied"),
                Some((Failing, 3, 2, Some(8))),
            ),
            (&nearly, Some("authentication"), Some((Parked, 3, 3, None))),
            (
                &nearly,
                Some("permission_denied"),
                Some((Parked, 3, 3, None)),
            ),
            (&nearly, Some("not_found"), Some((Parked, 3, 3, None))),
            // Nothing is said about the credential: neither for nor against it.
            (&nearly, Some("network"), Some((Failing, 3, 2, Some(8)))),
            (
                &nearly,
                Some("rate_limited"),
                Some((Failing, 3, 2, Some(8))),
            ),
            (&nearly, Some("secret"), Some((Failing, 3, 2, Some(8)))),
            (&nearly, Some("worker_lost"), Some((Failing, 3, 2, Some(8)))),
            // A run that was under way when another one was the last straw.
            (&parked, Some("network"), Some((Parked, 4, 3, None))),
        ] {
            assert_eq!(ended(before, code), after, "{before:?} {code:?}");
        }
    }

    #[test]
    fn health_is_kept_without_a_schedule() {
        let mut health = Health::default();
        for expected in [HealthState::Failing, HealthState::Parked] {
            let after = health.after_run(Some("not_found"), None, 2, NOW, 0.5);
            health = after.expect("a change");
            assert_eq!((health.state(), health.next_run_at), (expected, None));
        }
        let after = health.after_run(None, None, 2, NOW, 0.5);
        assert_eq!(after, Some(Health::default()));
    }

    #[test]
    fn a_caller_who_asks_for_a_run_resumes_and_the_same_failure_parks_again() {
        let schedule = minutely(Direction::Pull);
        let parked = health(3, 3, true);
        let resumed = parked.resumed(Some(&schedule), NOW, 0.5);
        assert_eq!(resumed.state(), HealthState::Failing);
        assert_eq!(resumed.next_run_at, Some(Time(NOW.0 + 8 * MINUTE)));
        let again = ended(&resumed, Some("authentication"));
        assert_eq!(again, Some((HealthState::Parked, 4, 4, None)));
    }

    #[test]
    fn a_change_begins_anew_unless_all_is_well() {
        let (pull, push) = (minutely(Direction::Pull), minutely(Direction::Push));
        let (well, failing, parked) =
            (health(0, 0, false), health(1, 0, false), health(3, 3, true));
        let first = Some(pull.first_run(NOW, 0.5));
        for (health, before, after, next) in [
            (&well, Some(&pull), Some(&pull), Some(Time(5))),
            (&well, Some(&push), Some(&pull), first),
            (&well, None, Some(&pull), first),
            (&well, Some(&pull), None, None),
            (&failing, Some(&pull), Some(&pull), first),
            (&parked, Some(&pull), Some(&pull), first),
            (&parked, None, None, None),
        ] {
            let changed = health.after_change(before, after, NOW, 0.5);
            assert_eq!(changed.next_run_at, next, "{health:?}");
            assert_eq!(changed.state(), HealthState::Ok, "{health:?}");
            assert_eq!(changed.reason, None, "{health:?}");
        }
    }

    #[test]
    fn runs_that_count() {
        let (pull, push) = (minutely(Direction::Pull), minutely(Direction::Push));
        for (is_dry, schedule, expected) in [
            (false, None, true),
            (false, Some(&pull), true),
            (false, Some(&push), false),
            (true, Some(&pull), false),
            (true, None, false),
        ] {
            let counted = Health::counts(Direction::Pull, is_dry, schedule);
            assert_eq!(counted, expected, "{is_dry} {schedule:?}");
        }
    }
}
