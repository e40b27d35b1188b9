//! Deliveries of events to targets.

use std::time::Duration;

use serde::Serialize;

use super::{DeliveryId, EventId, TargetId, Time, sync_run::words};

words! {
    /// The state of a delivery.
    DeliveryState {
        /// Another attempt will be made.
        Pending = "pending",
        /// The target has accepted the event.
        Delivered = "delivered",
        /// All attempts have failed, or the target is gone.
        Failed = "failed",
    }
}

/// A delivery of one event to one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The identifier.
    pub id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The target.
    pub target_id: TargetId,
    /// The name of the event's type, as the target asked for it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state.
    pub state: DeliveryState,
    /// The number of attempts that were made.
    pub attempt: i64,
    /// The status of the last answer.
    pub last_status: Option<i64>,
    /// The reason why the last attempt failed.
    pub last_error: Option<String>,
    /// The beginning of the last answer's body, at most 1 KiB.
    pub last_body: Option<String>,
    /// The time of the next attempt.
    pub next_attempt_at: Option<Time>,
    /// The time of its making.
    pub created_at: Time,
    /// The time of its end.
    pub finished_at: Option<Time>,
}

/// The waits between the attempts of a delivery, in seconds.
const WAITS: [u64; 8] = [5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200];

/// The time of the next attempt of a delivery after its failed attempt number `attempt`, with 20 % jitter; `None`
/// after the last one. `random` is in 0..1.
pub fn next_delivery(attempt: i64, now: Time, random: f64) -> Option<Time> {
    let at = usize::try_from(attempt).ok()?.checked_sub(1)?;
    let seconds = *WAITS.get(at)?;
    Some(now.plus(Duration::from_secs(seconds).mul_f64(0.8 + 0.4 * random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_end_after_the_last_wait() {
        assert_eq!(next_delivery(1, Time(0), 0.5), Some(Time(5_000)));
        assert_eq!(next_delivery(1, Time(0), 0.0), Some(Time(4_000)));
        assert_eq!(next_delivery(8, Time(0), 0.5), Some(Time(43_200_000)));
        assert_eq!(next_delivery(9, Time(0), 0.5), None);
        assert_eq!(next_delivery(0, Time(0), 0.5), None);
    }
}
