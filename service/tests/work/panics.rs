//! Parts that panic: the others, and the next run, go on.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use refsync::{Error, ErrorKind};
use refsync_service::{
    records::Direction,
    work::{Report, Task},
};

use crate::world::{Scripted, World, completed};

#[track_caller]
fn counted(world: &World, part: &str) {
    let metrics = world.service.metrics.text();
    let line = format!("refsyncd_panics_total{{part=\"{part}\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_attempt() {
    let world = World::with(|config| config.retry.first_wait = Duration::from_millis(1)).await;
    let repo = world.repo("app").await;
    let calls = Arc::new(AtomicUsize::new(0));
    let engine = {
        let calls = Arc::clone(&calls);
        Scripted(move |_: &Task| {
            assert!(
                calls.fetch_add(1, Ordering::Relaxed) > 0,
                "the first attempt panics"
            );
            Ok(Report::default())
        })
    };
    world
        .with_workers(engine, async {
            let run = world.sync(&repo, Direction::Pull).await;
            completed(&run);
            assert_eq!(run.attempt, 2);
        })
        .await;
    counted(&world, "engine");
}

/// An error that nobody can print.
#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("an error that panics")
    }
}

impl std::error::Error for Unprintable {}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_panics_goes_on() {
    let world = World::with(|config| {
        config.workers = 1;
        config.lease = Duration::from_millis(600);
        config.retry.first_wait = Duration::from_millis(1);
    })
    .await;
    let (first, second) = (world.repo("a").await, world.repo("b").await);
    let calls = AtomicUsize::new(0);
    let engine = Scripted(move |_: &Task| {
        if calls.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(Report::default());
        }
        Err(Error::new(ErrorKind::Network, "it failed").with_source(Unprintable))
    });
    world
        .with_workers(engine, async {
            let run = world.queue(&first, Direction::Pull).await;
            // The only worker takes the next run, and the first one again when its lease has ended.
            completed(&world.sync(&second, Direction::Pull).await);
            let run = world.ended(&first, &run.id).await;
            completed(&run);
            assert_eq!(run.attempt, 2);
        })
        .await;
    counted(&world, "worker");
}
