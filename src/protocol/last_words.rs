//! What a server says on the error channel of a side-band before it gives up on a pack.

use std::sync::{Arc, Mutex, PoisonError};

use gix::progress::{Count, Id, MessageLevel, NestedProgress, Progress, Step, StepShared, Unit};

use super::printable;

/// gix hands the server's words to a progress; this one keeps those that are an error.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<Option<String>>>);

impl LastWords {
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Progress for LastWords {
    fn init(&mut self, _: Option<Step>, _: Option<Unit>) {}
    fn set_name(&mut self, _: String) {}
    fn name(&self) -> Option<String> {
        None
    }
    fn id(&self) -> Id {
        gix::progress::UNKNOWN
    }
    fn message(&self, level: MessageLevel, message: String) {
        if level == MessageLevel::Failure {
            let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            words.get_or_insert_with(|| printable(message.as_bytes()));
        }
    }
}

impl NestedProgress for LastWords {
    type SubProgress = Self;

    fn add_child(&mut self, _: impl Into<String>) -> Self {
        self.clone()
    }
    fn add_child_with_id(&mut self, _: impl Into<String>, _: Id) -> Self {
        self.clone()
    }
}

/// Nothing is counted here.
impl Count for LastWords {
    fn set(&self, _: Step) {}
    fn step(&self) -> Step {
        0
    }
    fn inc_by(&self, _: Step) {}
    fn counter(&self) -> StepShared {
        StepShared::default()
    }
}
