//! The state machine of a run: the states in the database and the actions that lead from one to another.

/// The state of a run. Clients see [`State::Waiting`] as in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No attempt has started.
    Queued,
    /// A worker has the lease.
    Running,
    /// An attempt has ended, and another one will start.
    Waiting,
    /// The run has ended with an outcome for each ref.
    Completed,
    /// The run has ended without having done its work.
    Failed,
}

/// An action on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A worker starts an attempt.
    Start,
    /// The attempt has ended with an outcome for each ref.
    Complete,
    /// The attempt has failed for good.
    Fail,
    /// The attempt has failed, was given back or has lost its worker, and another one will start.
    Retry,
    /// Somebody has cancelled the run, or its upstream or repository is gone. A running attempt is asked to stop
    /// and ends by itself.
    Cancel,
}

impl State {
    /// The states, in the order of a run's life.
    pub const ALL: [State; 5] = [
        State::Queued,
        State::Running,
        State::Waiting,
        State::Completed,
        State::Failed,
    ];

    /// Whether the run has ended. No action leads on from here.
    pub fn is_end(self) -> bool {
        matches!(self, State::Completed | State::Failed)
    }

    /// The state after `action`, or `None` where it is not allowed.
    pub fn after(self, action: Action) -> Option<State> {
        match (self, action) {
            (State::Queued | State::Waiting, Action::Start) => Some(State::Running),
            (State::Running, Action::Complete) => Some(State::Completed),
            (State::Running, Action::Fail) => Some(State::Failed),
            (State::Running, Action::Retry) => Some(State::Waiting),
            (State::Queued | State::Waiting, Action::Cancel) => Some(State::Failed),
            (State::Running, Action::Cancel) => Some(State::Running),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Action::*, State::*, *};

    #[test]
    fn every_pair_of_state_and_action() {
        let actions = [Start, Complete, Fail, Retry, Cancel];
        let table = [
            (Queued, [Some(Running), None, None, None, Some(Failed)]),
            (
                Running,
                [
                    None,
                    Some(Completed),
                    Some(Failed),
                    Some(Waiting),
                    Some(Running),
                ],
            ),
            (Waiting, [Some(Running), None, None, None, Some(Failed)]),
            (Completed, [None; 5]),
            (Failed, [None; 5]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        for (state, row) in table {
            for (action, next) in actions.into_iter().zip(row) {
                assert_eq!(state.after(action), next, "{state:?} {action:?}");
            }
            assert_eq!(state.is_end(), row == [None; 5]);
        }
    }
}
