//! [`Schedule`], the times at which an upstream is synced by itself.

use std::{ops::RangeInclusive, time::Duration};

use serde::Serialize;

use super::{Direction, Globs, Time};

/// The schedule of an upstream. Its next time is kept beside it, in [`Health`](super::Health).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// The direction of its runs.
    pub direction: Direction,
    /// The time from one run to the next one, in seconds.
    pub interval_seconds: u32,
    /// The globs of its runs.
    pub ref_globs: Globs,
}

/// The longest wait of an upstream that fails, before the jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The share of an interval by which a wait is shortened or lengthened at random: upstreams that were configured
/// together do not stay together.
const JITTER: f64 = 0.1;
/// The shortest wait for a place in a queue that is full.
const SHORTEST_PUT_OFF: Duration = Duration::from_secs(60);

impl Schedule {
    /// The intervals that a caller may choose, in seconds.
    pub const INTERVALS: RangeInclusive<u32> = 60..=86_400;

    /// The longest time from now to a next run.
    pub fn longest_wait() -> Duration {
        jittered(LONGEST_WAIT, 1.0)
    }

    /// The time of the first run of a schedule that was set at `now`: soon, but not all at once where many are set.
    /// `random` is in 0..1 here and below.
    pub fn first_run(&self, now: Time, random: f64) -> Time {
        now.plus(self.interval().mul_f64(JITTER * random))
    }

    /// The time of the run after one that was queued or has ended at `now`, after so many failures in a row: each of
    /// them doubles the interval, up to a day.
    pub fn next_run(&self, failures: i64, now: Time, random: f64) -> Time {
        let factor = u32::try_from(failures)
            .ok()
            .and_then(|failures| 2_u32.checked_pow(failures));
        let wait = factor.and_then(|factor| self.interval().checked_mul(factor));
        let wait = wait.map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
        now.plus(jittered(wait, random))
    }

    /// The time at which a run is wanted again that found the queue full: an eighth of an interval later, because
    /// the upstreams of a large organization would else ask for a place all the time.
    pub fn put_off(&self, now: Time, random: f64) -> Time {
        let wait = (self.interval() / 8).max(SHORTEST_PUT_OFF);
        now.plus(jittered(wait, random))
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.into())
    }
}

fn jittered(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(interval_seconds: u32) -> Schedule {
        Schedule {
            direction: Direction::Pull,
            interval_seconds,
            ref_globs: Globs::default(),
        }
    }

    #[test]
    fn each_failure_doubles_the_interval_up_to_a_day() {
        for (interval, failures, random, millis) in [
            (60, 0, 0.5, 60_000),
            (60, 0, 0.0, 54_000),
            (60, 0, 1.0, 66_000),
            (60, 1, 0.5, 120_000),
            (60, 4, 0.5, 960_000),
            (60, 10, 0.5, 61_440_000),
            (60, 11, 0.5, 86_400_000),
            (60, 31, 0.5, 86_400_000),
            (60, 32, 0.5, 86_400_000),
            (60, i64::MAX, 0.5, 86_400_000),
            (43_200, 1, 0.5, 86_400_000),
            (43_200, 2, 0.5, 86_400_000),
            (86_400, 0, 0.5, 86_400_000),
            (86_400, 3, 1.0, 95_040_000),
        ] {
            let next = every(interval).next_run(failures, Time(7), random);
            assert_eq!(next, Time(7 + millis), "{interval} {failures} {random}");
        }
    }

    #[test]
    fn first_runs_come_soon_and_not_all_at_once() {
        for (interval, random, millis) in [
            (60, 0.0, 0),
            (60, 0.5, 3_000),
            (60, 1.0, 6_000),
            (86_400, 1.0, 8_640_000),
        ] {
            let first = every(interval).first_run(Time(7), random);
            assert_eq!(first, Time(7 + millis), "{interval} {random}");
        }
    }

    #[test]
    fn a_full_queue_is_asked_again_later() {
        for (interval, random, millis) in [
            (60, 0.5, 60_000),
            (480, 0.5, 60_000),
            (3_600, 0.5, 450_000),
            (3_600, 0.0, 405_000),
            (86_400, 0.5, 10_800_000),
        ] {
            let next = every(interval).put_off(Time(7), random);
            assert_eq!(next, Time(7 + millis), "{interval} {random}");
        }
    }
}
