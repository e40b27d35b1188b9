//! A run that its caller gives up leaves no trace, and the same ends work again afterwards.

use super::{Destination, Setup, Source};
use crate::support::ends::Ends;
use crate::support::pull::is_fetch;
use crate::support::push::is_push;
use crate::support::server::{Answer, RequestHead};
use refsync::{Error, ErrorKind, Outcome, Phase, Progress, Reason, SyncOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels as soon as it is told of a phase for which `when` holds.
struct CancelWhen<F> {
    when: F,
    cancel: Arc<AtomicBool>,
}

impl<F: Fn(Phase, u64) -> bool + Send + Sync> Progress for CancelWhen<F> {
    fn advance(&self, phase: Phase, done: u64, _: Option<u64>) {
        if (self.when)(phase, done) {
            self.cancel.store(true, Ordering::Relaxed);
        }
    }
}

fn cancelling(when: impl Fn(Phase, u64) -> bool + Send + Sync + 'static) -> SyncOptions {
    let cancel = Arc::new(AtomicBool::new(false));
    let mut options = SyncOptions::default();
    options.progress = Some(Arc::new(CancelWhen {
        when,
        cancel: cancel.clone(),
    }));
    options.cancel = Some(cancel);
    options
}

/// The run ends as cancelled and changes nothing.
#[track_caller]
fn assert_cancelled(ends: &Ends, options: &SyncOptions) -> Error {
    let files = ends.destination.files();
    let err = ends.try_pull(options).expect_err("a cancelled run");
    assert_eq!(err.kind(), ErrorKind::Cancelled, "{err:?}");
    assert!(!err.is_retryable());
    assert_eq!(ends.destination.files(), files);
    err
}

#[track_caller]
fn assert_works_again(ends: &Ends) {
    ends.server.intercept(|_| None);
    assert_eq!(ends.pull().stats.count(Outcome::is_updated), 4);
    ends.assert_in_step();
}

pub fn before_the_start(setup: &Setup) {
    let ends = setup.ends();
    let options = cancelling(|_, _| false);
    options
        .cancel
        .as_ref()
        .unwrap()
        .store(true, Ordering::Relaxed);
    assert_cancelled(&ends, &options);
    assert_eq!(ends.server.requests().len(), 0, "nobody was asked anything");
    assert_works_again(&ends);
}

pub fn in_every_phase(setup: &Setup) {
    let ends = setup.ends();
    use Phase::*;
    let phases: &[_] = match (setup.source, setup.destination) {
        (Source::Http, Destination::Http) => &[List, Receive, Verify, Compare, Count, Send, Apply],
        (Source::Local, Destination::Http) => &[List, Compare, Count, Send, Apply],
        (Source::Http, _) => &[List, Receive, Verify, Compare, Apply],
        (Source::Local, _) => &[List, Count, Send, Receive, Verify, Compare, Apply],
    };
    for at in phases.iter().copied() {
        assert_cancelled(&ends, &cancelling(move |phase, _| phase == at));
    }
    assert_works_again(&ends);
}

/// Once refs have begun to move the run goes through, or its caller would not know which have.
pub fn too_late_to_matter(setup: &Setup) {
    let ends = setup.ends();
    let tip = ends.tip("trunk");
    let many: Vec<_> = (0..70).map(|n| format!("refs/heads/many/{n}")).collect();
    ends.upstream
        .set_refs(many.iter().map(|name| (name.as_str(), tip.as_str())));
    let options = cancelling(|phase, done| phase == Phase::Apply && done > 0);
    let stats = ends.try_pull(&options).expect("a run that went through");
    assert_eq!(stats.count(Outcome::is_updated), 74);
    ends.assert_in_step();
    ends.destination.fsck();
}

pub fn while_the_server_stalls(setup: &Setup) {
    let ends = setup.ends();
    stall(&ends, |_| Some(Answer::Stall));
    stall(&ends, |head| is_fetch(head).then_some(Answer::Stall));
    stall(&ends, |head| {
        is_fetch(head).then_some(Answer::StallAfter(0))
    });
    stall(&ends, |head| {
        is_fetch(head).then_some(Answer::StallAfter(200))
    });
    assert_works_again(&ends);
}

/// Nobody will say any more what became of the refs.
pub fn while_the_remote_takes_in_a_push(setup: &Setup) {
    let ends = setup.ends();
    let options = cancelling(|_, _| false);
    let cancel = options.cancel.clone().unwrap();
    ends.server.intercept(move |head| {
        let is_stalled = is_push(head);
        if is_stalled {
            cancel.store(true, Ordering::Relaxed);
        }
        is_stalled.then_some(Answer::Stall)
    });
    let err = assert_cancelled(&ends, &options);
    let stats = err.stats().expect("what the run did");
    assert_eq!(stats.refs.len(), 4);
    for found in &stats.refs {
        let reason = found.outcome.rejection();
        assert!(
            matches!(reason, Some(Reason::Unconfirmed { .. })),
            "{found:?}"
        );
    }
    assert_works_again(&ends);
}

/// Cancels while, or right before, the client waits for the rest of an answer.
fn stall(ends: &Ends, script: fn(&RequestHead) -> Option<Answer>) {
    let options = cancelling(|_, _| false);
    let cancel = options.cancel.clone().unwrap();
    ends.server.intercept(move |head| {
        let answer = script(head)?;
        cancel.store(true, Ordering::Relaxed);
        Some(answer)
    });
    assert_cancelled(ends, &options);
}
