//! The requests of a run, its reports about them, and the requests that it saves.

use super::{Destination, Setup, Source};
use crate::support::pull::{created, grow, rejected};
use refsync::{Phase, Progress, Reason, RefGlobs, SyncOptions};
use std::sync::{Arc, Mutex};

pub fn globs_narrow_the_listing(setup: &Setup) {
    let ends = setup.ends();
    let listings = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&listings);
    ends.server.intercept(move |head| {
        if head.command().as_deref() == Some("ls-refs") {
            let body = String::from_utf8_lossy(&head.plain_body()).into_owned();
            recorded.lock().unwrap().push(body);
        }
        None
    });
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("topic/*"), None).unwrap();
    let pulled = ends.pull_with(&options);
    assert_eq!(pulled.stats.refs.len(), 1);
    let side = ends.tip("topic/side");
    assert_eq!(pulled.fate_of("refs/heads/topic/side"), created(&side));
    let listings = listings.lock().unwrap();
    let mut expected = Vec::new();
    // At the destination, `topic` would stand in the way.
    let is_remote = setup.destination == Destination::Http && setup.protocol == 2;
    expected.extend(is_remote.then_some("refs/heads/topic"));
    expected.extend(ends.speaks_v2().then_some("refs/heads/topic/"));
    let asked_for = |listing: &String| {
        let prefixes = listing.split("ref-prefix ").skip(1);
        let prefixes = prefixes.filter_map(|rest| rest.split('\n').next());
        // Beside the refs a source is asked for its default branch.
        let mut prefixes = prefixes.filter(|prefix| *prefix != "HEAD");
        let prefix = prefixes.next();
        assert_eq!(prefixes.next(), None, "{listing:?}");
        prefix.map(str::to_owned)
    };
    let mut asked_for: Vec<_> = listings.iter().filter_map(asked_for).collect();
    asked_for.sort();
    assert_eq!(asked_for, expected);
    let tips = &["topic/side"];
    ends.assert_moved(&pulled, ends.count_objects(tips), tips);
}

pub fn a_previous_run_spares_the_fetch(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let name = "refs/heads/trunk";
    let ours = grow(&ends.destination, "trunk", &[&ends.tip("trunk")]);
    let theirs = ends.advance("trunk");
    let first = ends.pull();
    assert_eq!(first.asked, ends.listing_and(&["fetch"]));
    let mut options = SyncOptions::default();
    options.previous = Some(first.stats);
    let again = ends.pull_with(&options);
    assert_eq!(again.asked, ends.listing_and(&[]));
    assert_eq!(
        again.fate_of(name),
        rejected(&*ours, &theirs, Reason::Diverged)
    );

    let further = ends.advance("trunk");
    let moved_on = ends.pull_with(&options);
    assert_eq!(moved_on.asked, ends.listing_and(&["fetch"]));
    assert_eq!(
        moved_on.fate_of(name),
        rejected(&*ours, &further, Reason::Diverged)
    );
}

pub fn the_connection_is_kept(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let first = ends.server.requests();
    ends.advance("trunk");
    ends.pull();
    let mut connections: Vec<_> = first
        .iter()
        .chain(&ends.server.requests())
        .map(|request| request.connection)
        .collect();
    connections.sort_unstable();
    connections.dedup();
    let remotes = 1 + usize::from(setup.is_relay());
    assert_eq!(connections.len(), remotes, "one for each remote");
}

pub fn traffic_is_counted_at_the_socket(setup: &Setup) {
    let ends = setup.ends();
    let traffic = ends.pull().stats.traffic;
    assert_eq!(traffic.requests, ends.server.requests().len() as u64);
    assert_eq!(
        ends.server.wire_bytes(),
        (traffic.bytes_sent, traffic.bytes_received)
    );
}

/// Everything it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<(Phase, u64, Option<u64>)>>);

impl Progress for Notes {
    fn advance(&self, phase: Phase, done: u64, total: Option<u64>) {
        self.0.lock().unwrap().push((phase, done, total));
    }
}

pub fn progress_is_told_in_order(setup: &Setup) {
    let ends = setup.ends();
    let notes = Arc::new(Notes::default());
    let mut options = SyncOptions::default();
    options.progress = Some(notes.clone());
    ends.pull_with(&options);
    let notes = notes.0.lock().unwrap();
    let mut phases: Vec<_> = notes.iter().map(|(phase, ..)| *phase).collect();
    phases.dedup();
    use Phase::*;
    // What is missing is found out by the same walk that verifies what has arrived.
    let received = [List, Verify, Receive, Verify, Compare];
    let expected = match (setup.source, setup.destination) {
        (Source::Http, Destination::Http) => [&received[..], &[Apply, Count, Send, Apply]].concat(),
        (Source::Local, Destination::Http) => vec![List, Compare, Apply, Count, Send, Apply],
        (Source::Http, _) => [&received[..], &[Apply]].concat(),
        (Source::Local, _) => {
            // The pack is taken in while it is made.
            assert!(phases.contains(&Count) && phases.contains(&Send));
            phases.retain(|phase| ![Count, Send].contains(phase));
            phases.dedup();
            [&received[..], &[Apply]].concat()
        }
    };
    assert_eq!(phases, expected);
    for (phase, done, total) in notes.iter() {
        assert!(
            total.is_none_or(|total| *done <= total),
            "{phase:?} {done} {total:?}"
        );
    }
    let refs = Some(4);
    for phase in [List, Compare, Apply] {
        let last = notes.iter().rfind(|(found, ..)| *found == phase);
        assert_eq!(last, Some(&(phase, 4, refs)));
    }
}
