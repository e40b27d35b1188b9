//! [`RetryPolicy`], the rule for the next attempt of a run.

use std::time::Duration;

use super::Time;

/// The longest `Retry-After` of a host that the engine reports. No other wait is longer.
const LONGEST_OF_HOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The rule for the next attempt of a run whose attempt has failed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The number of failed attempts after which a run fails. 5 by default.
    pub attempts: i64,
    /// The wait before the second attempt. 10 s by default.
    pub first_wait: Duration,
    /// The factor of each further wait. 4 by default.
    pub factor: u32,
    /// The longest wait. 10 min by default.
    pub longest_wait: Duration,
    /// The share of a wait by which it is shortened or lengthened at random. 0.2 by default.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 5,
            first_wait: Duration::from_secs(10),
            factor: 4,
            longest_wait: Duration::from_secs(600),
            jitter: 0.2,
        }
    }
}

/// The decision after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at this time.
    Attempt(Time),
    /// The run fails.
    Fail,
}

impl RetryPolicy {
    /// The decision after the failure number `tries` of a run, at `now`. `random` is in 0..1. The next attempt never
    /// starts before the time that the host asked to wait.
    pub fn after_failure(
        &self,
        tries: i64,
        is_retryable: bool,
        retry_after: Option<Duration>,
        now: Time,
        random: f64,
    ) -> Next {
        if !is_retryable || tries >= self.attempts {
            return Next::Fail;
        }
        let wait = self
            .wait(tries)
            .mul_f64(1.0 + self.jitter * (2.0 * random - 1.0));
        Next::Attempt(now.plus(wait.max(retry_after.unwrap_or_default())))
    }

    /// The longest wait that any host or rule can lead to.
    pub fn longest(&self) -> Duration {
        let own = self.longest_wait.mul_f64(1.0 + self.jitter);
        own.max(LONGEST_OF_HOST)
    }

    fn wait(&self, tries: i64) -> Duration {
        let exponent = u32::try_from(tries - 1).unwrap_or(0);
        let factor = self.factor.checked_pow(exponent);
        let wait = factor.and_then(|factor| self.first_wait.checked_mul(factor));
        wait.map_or(self.longest_wait, |wait| wait.min(self.longest_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let policy = RetryPolicy {
            attempts: 40,
            ..RetryPolicy::default()
        };
        for (tries, random, millis) in [
            (1, 0.5, 10_000),
            (1, 0.0, 8_000),
            (2, 0.5, 40_000),
            (3, 0.5, 160_000),
            (4, 0.5, 600_000),
            (39, 0.5, 600_000),
        ] {
            let next = policy.after_failure(tries, true, None, Time(0), random);
            assert_eq!(next, Next::Attempt(Time(millis)), "{tries}");
        }
    }

    #[test]
    fn a_host_that_asks_to_wait_is_waited_for() {
        let policy = RetryPolicy::default();
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(
            policy.after_failure(1, true, hour, Time(0), 0.5),
            Next::Attempt(Time(3_600_000))
        );
    }

    #[test]
    fn attempts_end() {
        let policy = RetryPolicy::default();
        assert_eq!(
            policy.after_failure(5, true, None, Time(0), 0.5),
            Next::Fail
        );
        assert_eq!(
            policy.after_failure(1, false, None, Time(0), 0.5),
            Next::Fail
        );
    }
}
