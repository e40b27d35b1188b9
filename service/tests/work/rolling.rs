//! All nodes restart one after the other while clients use them through something that spreads calls over all of them,
//! also over the one that is stopping, and tries a call that gets no answer once more, at the next node.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::scope,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    daemon::Daemon,
    fleet::Fleet,
    support::{Answer, Upstream, postgres},
    world::GoOn,
};

/// The distance of the upstreams: runs are under way whenever a node stops.
const ROUND_TRIP: Duration = Duration::from_millis(30);
const USERS: usize = 4;
/// The number of times that each node restarts.
const ROUNDS: usize = 2;

/// The calls and runs of the clients.
#[derive(Default)]
struct Calls {
    made: AtomicUsize,
    repeated: AtomicUsize,
    /// The path of each run that was asked for.
    runs: Mutex<Vec<String>>,
}

impl Calls {
    /// A call, and one more where the first one has failed; its answer.
    #[track_caller]
    fn call(&self, fleet: &Fleet, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let at = self.made.fetch_add(1, Ordering::Relaxed);
        let first = fleet.try_call(at, method, path, body);
        if let Ok(answer) = &first
            && answer.status < 500
        {
            return answer.clone();
        }
        self.repeated.fetch_add(1, Ordering::Relaxed);
        let second = fleet.try_call(at + 1, method, path, body);
        let second = second.unwrap_or_else(|err| panic!("{method} {path}: {first:?}, then {err}"));
        assert!(second.status < 500, "{first:?}, then {second:?}");
        second
    }

    fn use_it(&self, fleet: &Fleet, user: usize, is_over: &AtomicBool) {
        let repo = format!("/v1/default/r{user}");
        let syncs = format!("{repo}/upstream/syncs");
        let mut number = 0;
        while !is_over.load(Ordering::Relaxed) {
            number += 1;
            // None is equal to one that waits.
            let globs = json!({ "branches": "*", "tags": format!("v{number}*") });
            let body = json!({ "direction": "pull", "ref_globs": globs });
            let run = self.call(fleet, "POST", &syncs, Some(&body)).ok(201);
            let path = format!("{syncs}/{}", run["id"].as_str().expect("an id"));
            self.call(fleet, "GET", &format!("{path}?wait=1"), None)
                .ok(200);
            self.runs.lock().expect("a list").push(path);
            let tags = json!({ "tags": { "number": number.to_string() } });
            let changed = self.call(fleet, "PATCH", &repo, Some(&tags)).ok(200);
            let read = self.call(fleet, "GET", &repo, None).ok(200);
            assert_eq!(changed["tags"], read["tags"]);
        }
    }
}

#[test]
fn a_rolling_restart_fails_no_run_and_no_call() {
    let Some(database) = postgres::database() else {
        return;
    };
    let upstream = Upstream::start_with(|server| server.round_trip(ROUND_TRIP));
    let arguments = &["--workers", "2"];
    let fleet = Fleet::start(Some(database), &["a", "b", "c"], "", arguments);
    for user in 0..USERS {
        upstream.repo(&format!("r{user}.git"));
        let url = upstream.url(&format!("r{user}.git"));
        let body = json!({ "name": format!("r{user}"), "upstream": { "url": url } });
        fleet
            .call(user, "POST", "/v1/default/repos", Some(&body))
            .ok(201);
    }
    let calls = Calls::default();
    let is_over = Arc::new(AtomicBool::new(false));
    scope(|scope| {
        for user in 0..USERS {
            let (fleet, calls, is_over) = (&fleet, &calls, &is_over);
            scope.spawn(move || calls.use_it(fleet, user, is_over));
        }
        let _over = GoOn(Arc::clone(&is_over));
        for at in 0..ROUNDS * fleet.nodes.len() {
            fleet.restart(at % fleet.nodes.len(), Daemon::stop);
        }
    });
    assert!(
        calls.repeated.into_inner() > 0,
        "no call met a node that was away"
    );
    let runs = calls.runs.into_inner().expect("a list");
    let histories = fleet.histories_at_rest();
    for path in &runs {
        let run = fleet.ended(0, path);
        assert_eq!(run["status"], "completed", "{run}");
        let expected = ["sync.queued", "sync.in_progress", "sync.completed"];
        assert_eq!(
            histories[run["id"].as_str().expect("an id")],
            expected,
            "{run}"
        );
    }
    assert_eq!(
        histories.len() - USERS,
        runs.len(),
        "runs that nobody knows of"
    );
}
