//! The waking of workers: none looks at the queue in vain, and none that could work sleeps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use refsync_service::{
    records::{Direction, Status, SyncRun},
    work::{Report, Task},
};

use crate::world::{GoOn, Scripted, World, completed};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_alone_takes_three_transactions() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    let engine = Scripted(|_: &Task| Ok(Report::default()));
    world
        .with_workers(engine, async {
            let counters = || world.service.store.counters();
            let mut fewest = u64::MAX;
            // Now and then an idle worker looks by itself, and at first old history is looked for.
            for _ in 0..10 {
                let before = counters();
                completed(&world.sync(&repo, Direction::Pull).await);
                // Whoever wakes in vain does it by now.
                tokio::time::sleep(Duration::from_millis(50)).await;
                fewest = fewest.min(counters().begun - before.begun);
            }
            assert_eq!(fewest, 3, "queued, claimed, completed");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_does_not_keep_a_change_from_an_idle_one() {
    // An idle worker that nobody wakes sleeps for longer than any test waits.
    let world = World::with(|config| config.poll = Duration::from_secs(3_600)).await;
    let (first, second) = (world.repo("one").await, world.repo("two").await);
    let is_over = Arc::new(AtomicBool::new(false));
    let _over = GoOn(Arc::clone(&is_over));
    let engine = {
        let (is_over, first) = (Arc::clone(&is_over), first.id.clone());
        Scripted(move |task: &Task| {
            while task.repo.id == first && !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(Report::default())
        })
    };
    world
        .with_workers(engine, async {
            // Afterwards both workers listen.
            completed(&world.sync(&second, Direction::Pull).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
            let long = world.queue(&first, Direction::Pull).await;
            let has_started = |run: &SyncRun| run.status == Status::InProgress;
            world.until(&first, &long.id, has_started).await;
            // The idle worker has looked after the busy one, and stands behind it if that still listens.
            world.service.store.queue_changed().notify_one();
            tokio::time::sleep(Duration::from_millis(200)).await;
            completed(&world.sync(&second, Direction::Pull).await);
            is_over.store(true, Ordering::Relaxed);
            completed(&world.ended(&first, &long.id).await);
        })
        .await;
}
