//! The checks after many runs of which some were disturbed.
//!
//! An overlap is seen at the upstream, where each attempt has a connection of its own: one that asks for something after
//! a later one has. An attempt that has nothing more to ask for is not seen; what it wrote late would be a `push` that
//! does not begin where the one before it has ended, or a second end.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    engine::git,
    fleet::{Event, Fleet},
    storms::Repo,
    support::Receiver,
    world::SOON,
};

/// The repositories of which a connection has asked for something after a later one had. A request is a path and the
/// number of its connection.
pub fn overlaps<'a>(requests: impl IntoIterator<Item = (&'a str, usize)>) -> Vec<&'a str> {
    let mut connections: BTreeMap<&str, (usize, BTreeSet<usize>)> = BTreeMap::new();
    let mut found = Vec::new();
    for (path, connection) in requests {
        let repo = path.split(".git").next().expect("a path");
        let first = || (connection, BTreeSet::new());
        let (last, earlier) = connections.entry(repo).or_insert_with(first);
        if *last != connection {
            earlier.insert(std::mem::replace(last, connection));
        }
        if earlier.contains(&connection) {
            found.push(repo);
        }
    }
    found
}

#[test]
fn an_overlap_is_a_connection_that_goes_on_after_a_later_one() {
    let refs = [
        "/a.git/info/refs",
        "/b.git/info/refs",
        "/a.git/git-upload-pack",
    ];
    let [a, b, more_of_a] = refs;
    for (requests, expected) in [
        (
            vec![(a, 1), (more_of_a, 1), (a, 2), (b, 1), (more_of_a, 2)],
            vec![],
        ),
        (vec![(a, 1), (b, 2), (more_of_a, 1)], vec![]),
        (vec![(a, 1), (a, 2), (more_of_a, 1)], vec!["/a"]),
        (
            vec![(a, 1), (a, 2), (a, 3), (more_of_a, 1), (more_of_a, 3)],
            vec!["/a", "/a"],
        ),
    ] {
        assert_eq!(overlaps(requests.clone()), expected, "{requests:?}");
    }
}

/// The refs of a repository as its `push` events tell them, each of which begins where the one before has ended.
fn told<'a>(pushes: impl Iterator<Item = &'a Event>) -> BTreeMap<String, String> {
    let mut refs = BTreeMap::new();
    for event in pushes {
        assert_eq!(event.kind, "push");
        let data: Value = serde_json::from_str(event.data.as_deref().expect("data")).expect("JSON");
        for update in data["updates"].as_array().expect("updates") {
            let text = |key: &str| update[key].as_str().expect(key).to_owned();
            let before = refs.insert(text("ref"), text("after"));
            let before = before.unwrap_or_else(|| "0".repeat(40));
            assert_eq!(before, text("before"), "{update}");
        }
    }
    refs
}

/// Checks all runs, events and repositories; the number of runs, and of those that took more than one attempt.
pub fn check(fleet: &Fleet, repos: &[Repo]) -> (usize, usize) {
    let events = fleet.events();
    let mut of_subject: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &events {
        of_subject.entry(&event.subject).or_default().push(event);
    }
    let (mut count, mut again) = (0, 0);
    for repo in repos {
        for run in fleet.nodes[0].client().all(&repo.syncs(), "syncs", 100) {
            assert_eq!(run["status"], "completed", "{run}");
            let history = of_subject.remove(run["id"].as_str().expect("an id"));
            let kinds: Vec<&str> = history
                .iter()
                .flatten()
                .map(|event| event.kind.as_str())
                .collect();
            assert_eq!(
                kinds,
                ["sync.queued", "sync.in_progress", "sync.completed"],
                "{run}"
            );
            count += 1;
            again += usize::from(run["attempt"].as_u64() > Some(1));
        }
        let pushes = of_subject.remove(repo.id.as_str()).unwrap_or_default();
        let refs: Vec<_> = told(pushes.into_iter()).into_iter().collect();
        assert_eq!(refs, repo.upstream.for_each_ref(), "{}", repo.name);
        let data = fleet.nodes[repo.home].data.path();
        let local = git::Repo::at(data.join("repos").join(format!("{}.git", repo.id)));
        assert_eq!(refs, local.for_each_ref(), "{}", repo.name);
        local.fsck();
    }
    assert!(
        of_subject.is_empty(),
        "events of nothing: {:?}",
        of_subject.keys()
    );
    (count, again)
}

/// Checks that each event was delivered.
pub fn check_deliveries(fleet: &Fleet, receiver: &Receiver) {
    let events = fleet.events();
    let began = Instant::now();
    loop {
        let received = receiver.received();
        let ids: BTreeSet<&str> = received
            .iter()
            .filter_map(|got| got.header("webhook-id"))
            .collect();
        let missing = events
            .iter()
            .filter(|event| !ids.contains(event.id.as_str()))
            .count();
        if missing == 0 {
            return;
        }
        assert!(
            began.elapsed() < SOON,
            "{missing} of {} were not delivered",
            events.len()
        );
        sleep(Duration::from_millis(100));
    }
}

/// Checks that nothing is left that an operator has to mend.
pub fn doctor(fleet: &Fleet) {
    for node in &fleet.nodes {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refsyncd"));
        command.arg("doctor").arg("--data").arg(node.data.path());
        let mut arguments = fleet.arguments(node.name);
        arguments.retain(|argument| !fleet.more().contains(argument));
        let output = command.args(arguments).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {text}", node.name);
    }
}
