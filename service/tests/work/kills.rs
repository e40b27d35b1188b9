//! The process dies in the middle of a run: at each statement, and at any moment. After the next start each run has
//! exactly one end, the events are those of its history, and nothing waits.

use std::{path::Path, time::Duration};

use refsync_service::records::{Repo, SyncRun};

use crate::{
    daemon::{Crash, Daemon, Scene, copy},
    world::memory_folder,
};

/// Kills at the statement with the number `at`. The time in which the next process has emptied the queue; `None` if
/// the run had ended before.
async fn kill_at(
    scene: &Scene,
    template: &Path,
    run: &(Repo, SyncRun),
    at: u64,
) -> Option<Duration> {
    let folder = memory_folder();
    let data = folder.path().join("data");
    copy(template, &data);
    let store = scene.store(&data).await;
    let mut daemon = Daemon::start(&data, Crash::at(at), &["--workers", "2"]);
    let died = daemon.dies_at_work(&store, at).await;
    drop(daemon);
    let time = scene.recover(&data, &store).await;
    scene
        .check(&data, &store, run, &format!("statement {at}"))
        .await;
    store.close().await;
    died.then_some(time)
}

/// Kills at every statement of a run; the longest time that a restarted process took to empty the queue.
async fn sweep() -> Duration {
    let scene = Scene::new();
    let store = scene.store(scene.data.path()).await;
    let run = scene.queue(&store, "app").await;
    store.close().await;
    let (mut at, mut longest) = (1, Duration::ZERO);
    while let Some(time) = kill_at(&scene, scene.data.path(), &run, at).await {
        (at, longest) = (at + 1, longest.max(time));
    }
    assert!(at > 10, "{at}");
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_statement_of_a_run() {
    sweep().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "asserts on time; the same kills are made without"]
#[allow(clippy::print_stdout, reason = "the figure is what it is asked for")]
async fn the_queue_is_empty_within_five_seconds_of_a_restart() {
    let longest = sweep().await;
    println!("from the start to an empty queue: {longest:?} at most");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_with_several_runs() {
    let scene = Scene::new();
    let data = scene.data.path();
    let store = scene.store(data).await;
    let mut runs = Vec::new();
    for at in 0..6 {
        runs.push(scene.queue(&store, &format!("r{at}")).await);
    }
    // Different moments, the same in each run of the test as far as a clock allows.
    for millis in [40, 90, 150, 220] {
        let daemon = Daemon::start(data, Crash::NONE, &["--workers", "2"]);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(daemon);
    }
    scene.recover(data, &store).await;
    for run in &runs {
        scene.check(data, &store, run, "any moment").await;
    }
}
