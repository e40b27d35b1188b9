//! A pull whose process died after the refs had moved: its `push` event is not lost.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use refsync_service::{
    records::{Direction, Status},
    work::{Engine as _, Refsync, Task},
};

use crate::world::{Scripted, World, completed};

#[tokio::test(flavor = "multi_thread")]
async fn refs_that_moved_before_a_crash_are_told_after_it() {
    let world =
        World::with(|config| config.retry.first_wait = std::time::Duration::from_millis(1)).await;
    let repo = world.repo("app").await;
    let refsync = Refsync {
        folders: world.service.repos.clone(),
        limits: world.service.config.limits.clone(),
        network: world.service.config.network.clone(),
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let engine = {
        let calls = Arc::clone(&calls);
        Scripted(move |task: &Task| {
            let report = refsync.run(task);
            assert!(
                calls.fetch_add(1, Ordering::Relaxed) > 0,
                "the first attempt dies after its work"
            );
            report
        })
    };
    world
        .with_workers(engine, async {
            let run = world.sync(&repo, Direction::Pull).await;
            completed(&run);
            assert_eq!(run.attempt, 2);
            // The journal of a run that has completed tells nothing any more.
            completed(&world.sync(&repo, Direction::Pull).await);
        })
        .await;
    let run = ["sync.queued", "sync.in_progress", "sync.completed"];
    let expected = [&run[..], &["push"], &run[..]].concat();
    assert_eq!(world.kinds().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_run_has_moved_is_told_once() {
    let world = World::with(|config| config.retry.attempts = 1).await;
    let repo = world.repo("app").await;
    let refsync = Refsync {
        folders: world.service.repos.clone(),
        limits: world.service.config.limits.clone(),
        network: world.service.config.network.clone(),
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let engine = {
        let calls = Arc::clone(&calls);
        Scripted(move |task: &Task| {
            let report = refsync.run(task);
            let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            assert!(!is_first, "the run fails after its work");
            report
        })
    };
    world
        .with_workers(engine, async {
            let failed = world.sync(&repo, Direction::Pull).await;
            assert_eq!(failed.status, Status::Failed);
            completed(&world.sync(&repo, Direction::Pull).await);
            completed(&world.sync(&repo, Direction::Pull).await);
        })
        .await;
    let pushes = world.kinds().await;
    let pushes = pushes.iter().filter(|kind| *kind == "push");
    assert_eq!(pushes.count(), 1);
}
