//! Runs that fail, are stopped, or lose their worker.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use refsync::{Error, ErrorKind};
use refsync_service::{
    clock,
    records::{Direction, Globs, Status},
    store::Cancel,
    work::{self, Report, Task},
};

use crate::{
    engine::server::Answer,
    world::{GoOn, Overlaps, SOON, Scripted, World, completed, failed},
};

/// Waits as an engine does: until it is told to stop.
fn wait_for_cancel(task: &Task) -> Result<Report, Error> {
    let began = Instant::now();
    while !task.cancel.load(Ordering::Relaxed) && began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::new(ErrorKind::Cancelled, "the run was cancelled"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_server_is_asked_again_when_it_wants() {
    let world = World::with(|config| config.retry.first_wait = Duration::from_millis(1)).await;
    let repo = world.repo("app").await;
    let other = world.repo("other").await;
    world.server.intercept(|head| {
        let mut answer = Answer::status(503);
        if let Answer::Status { headers, .. } = &mut answer {
            headers.push(("Retry-After".into(), "2".into()));
        }
        (head.number < 1).then_some(answer)
    });
    world
        .working(async {
            let run = world.queue(&repo, Direction::Pull).await;
            let waiting = world
                .until(&repo, &run.id, |run| run.next_attempt_at.is_some())
                .await;
            assert_eq!((waiting.status, waiting.attempt), (Status::InProgress, 1));
            let wait = waiting.next_attempt_at.expect("a time").0 - waiting.created_at.0;
            assert!(wait >= 2_000, "{wait}");
            // A run of the same host waits, too, without having asked.
            let second = world.queue(&other, Direction::Pull).await;
            completed(&world.ended(&other, &second.id).await);
            let ended = world.ended(&repo, &run.id).await;
            completed(&ended);
            assert_eq!(ended.attempt, 2);
            let second = world.run(&other, &second.id).await;
            assert!(
                second.started_at >= waiting.next_attempt_at.map(|at| at.plus(Duration::ZERO)),
                "{second:?}"
            );
        })
        .await;
    let refused = world
        .server
        .requests()
        .iter()
        .filter(|r| r.status == Some(503))
        .count();
    assert_eq!(refused, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_used_up() {
    let world = World::with(|config| {
        config.retry.first_wait = Duration::from_millis(1);
        config.retry.attempts = 3;
    })
    .await;
    let repo = world.repo("app").await;
    world.server.intercept(|_| Some(Answer::status(500)));
    world
        .working(async {
            let run = world.sync(&repo, Direction::Pull).await;
            failed(&run, "server_error");
            assert_eq!(run.attempt, 3);
        })
        .await;
    assert_eq!(
        world.kinds().await,
        ["sync.queued", "sync.in_progress", "sync.failed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_failure_is_not_tried_again() {
    let world = World::new().await;
    let repo = world.repo_at("gone", &world.server.url("gone.git")).await;
    world
        .working(async {
            let run = world.sync(&repo, Direction::Pull).await;
            failed(&run, "not_found");
            assert_eq!(run.attempt, 1);
            let text = run.error.expect("a text");
            assert!(
                !text.contains(&*world.data.path().to_string_lossy()),
                "{text}"
            );
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_pull_stops_and_moves_nothing() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    let is_stalled = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_stalled);
    world.server.intercept(move |head| {
        let is_fetch = String::from_utf8_lossy(&head.body).contains("command=fetch");
        is_fetch.then(|| {
            seen.store(true, Ordering::Relaxed);
            Answer::StallAfter(20)
        })
    });
    world
        .working(async {
            let run = world.queue(&repo, Direction::Pull).await;
            while !is_stalled.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let asked = world
                .service
                .store
                .cancel(&repo.id, &run.id, clock::now())
                .await;
            assert!(matches!(asked.expect("an answer"), Cancel::Requested(_)));
            failed(&world.ended(&repo, &run.id).await, "cancelled");
        })
        .await;
    assert!(world.local(&repo).for_each_ref().is_empty());
    assert_eq!(
        world.kinds().await,
        ["sync.queued", "sync.in_progress", "sync.failed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_lease_writes_nothing() {
    let world = World::with(|config| {
        config.workers = 2;
        config.lease = Duration::from_millis(600);
        config.retry.first_wait = Duration::from_millis(1);
    })
    .await;
    let repo = world.repo("app").await;
    let (overlaps, calls) = (Arc::new(Overlaps::default()), Arc::new(AtomicUsize::new(0)));
    let go_on = Arc::new(AtomicBool::new(false));
    let _go_on = GoOn(Arc::clone(&go_on));
    let engine = {
        let (overlaps, calls, go_on) = (
            Arc::clone(&overlaps),
            Arc::clone(&calls),
            Arc::clone(&go_on),
        );
        Scripted(move |task: &Task| {
            overlaps.enter(task);
            // The first attempt does not hear that it has to stop, and ends as if it had done its work.
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                while !go_on.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            overlaps.leave(task);
            Ok(Report {
                head: Some(format!("{:040}", calls.load(Ordering::Relaxed))),
                ..Report::default()
            })
        })
    };
    world
        .with_workers(engine, async {
            let run = world.queue(&repo, Direction::Pull).await;
            while calls.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Somebody takes the lease away, as the reaper would after a stall of the whole process.
            let later = clock::now().plus(Duration::from_secs(3_600));
            let policy = &world.service.config.retry;
            assert_eq!(
                world
                    .service
                    .store
                    .reap(later, policy, 0.5)
                    .await
                    .expect("reaped"),
                1
            );
            make_due(&world).await;
            // The second worker finds the lock taken.
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(calls.load(Ordering::Relaxed), 1);
            go_on.store(true, Ordering::Relaxed);
            completed(&world.ended(&repo, &run.id).await);
        })
        .await;
    assert_eq!((overlaps.most(), calls.load(Ordering::Relaxed)), (1, 2));
    let metrics = world.service.metrics.text();
    assert!(
        metrics.contains("refsyncd_leases_lost_total 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("refsyncd_workers_lost_total 1"),
        "{metrics}"
    );
    assert_eq!(world.read(&repo).await.head, Some(format!("{:040}", 2)));
    assert_eq!(
        world.kinds().await,
        ["sync.queued", "sync.in_progress", "sync.completed"]
    );
}

/// Lets all waiting runs be due.
async fn make_due(world: &World) {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(world.file())
        .busy_timeout(Duration::from_secs(10));
    let pool = sqlx::SqlitePool::connect_with(options)
        .await
        .expect("the database");
    let sql = "update sync_runs set run_at = 1 where run_at is not null";
    sqlx::query(sql).execute(&pool).await.expect("updated");
    // A claim may have set the organization aside until the time before.
    let sql = "update work set look_at = 0";
    sqlx::query(sql).execute(&pool).await.expect("updated");
    pool.close().await;
    world.service.store.queue_changed().notify_waiters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_renew_stops_its_engine() {
    let world = World::with(|config| {
        config.workers = 1;
        config.lease = Duration::from_millis(900);
        config.retry.first_wait = Duration::from_millis(1);
    })
    .await;
    let repo = world.repo("app").await;
    let calls = Arc::new(AtomicUsize::new(0));
    let was_told = Arc::new(AtomicBool::new(false));
    let engine = {
        let (calls, was_told) = (Arc::clone(&calls), Arc::clone(&was_told));
        Scripted(move |task: &Task| {
            if calls.fetch_add(1, Ordering::Relaxed) > 0 {
                return Ok(Report::default());
            }
            let stopped = wait_for_cancel(task);
            was_told.store(true, Ordering::Relaxed);
            stopped
        })
    };
    world
        .with_workers(engine, async {
            let run = world.queue(&repo, Direction::Pull).await;
            while calls.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Another process holds the database until the engine has stopped.
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.file());
            let pool = sqlx::SqlitePool::connect_with(options)
                .await
                .expect("the database");
            let held = pool.begin_with("begin immediate").await.expect("the lock");
            let began = Instant::now();
            while !was_told.load(Ordering::Relaxed) {
                assert!(
                    began.elapsed() < SOON / 4,
                    "nobody but the worker itself can tell it"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(held);
            pool.close().await;
            let run = world.ended(&repo, &run.id).await;
            completed(&run);
            assert_eq!(run.attempt, 2);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_gives_back_what_is_under_way() {
    let world = World::with(|config| config.drain = Duration::from_secs(60)).await;
    let repo = world.repo("app").await;
    let is_stalled = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_stalled);
    world.server.intercept(move |head| {
        let is_fetch = String::from_utf8_lossy(&head.body).contains("command=fetch");
        (is_fetch && !seen.swap(true, Ordering::Relaxed)).then_some(Answer::StallAfter(20))
    });
    let workers = work::start(world.service.clone());
    let run = world.queue(&repo, Direction::Pull).await;
    while !is_stalled.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    workers.stop().await;
    let given_back = world.run(&repo, &run.id).await;
    assert_eq!(
        (given_back.status, given_back.attempt),
        (Status::InProgress, 1)
    );
    assert!(
        given_back
            .next_attempt_at
            .is_some_and(|at| at <= clock::now())
    );

    world
        .working(async {
            let run = world.ended(&repo, &run.id).await;
            completed(&run);
            assert_eq!(run.attempt, 2);
        })
        .await;
    assert_eq!(
        world.kinds().await,
        ["sync.queued", "sync.in_progress", "sync.completed", "push"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_or_damaged_fails_its_runs_alone() {
    let world = World::new().await;
    let (gone, damaged, sound) = (
        world.repo("a").await,
        world.repo("b").await,
        world.repo("c").await,
    );
    world
        .working(async {
            for repo in [&gone, &damaged] {
                completed(&world.sync(repo, Direction::Pull).await);
            }
            fs::remove_dir_all(world.local(&gone).path).expect("removed");
            fs::write(world.local(&damaged).path.join("config"), "[[[").expect("written");
            for direction in [Direction::Pull, Direction::Push] {
                failed(&world.sync(&gone, direction).await, "not_a_repository");
                failed(&world.sync(&damaged, direction).await, "not_a_repository");
            }
            completed(&world.sync(&sound, Direction::Pull).await);
        })
        .await;
    assert!(!world.local(&gone).path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_cannot_be_taken_fails_its_run_alone() {
    let world = World::new().await;
    let (broken, sound) = (world.repo("a").await, world.repo("b").await);
    let lock = world
        .data
        .path()
        .join("repos")
        .join(format!("{}.lock", broken.id));
    fs::create_dir(lock).expect("a folder where the lock should be");
    world
        .working(async {
            failed(&world.sync(&broken, Direction::Pull).await, "local_io");
            completed(&world.sync(&sound, Direction::Pull).await);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_an_earlier_process_end_at_the_start() {
    let world = World::with(|config| config.drain = Duration::from_millis(50)).await;
    let repo = world.repo("app").await;
    let (calls, is_free) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let _go_on = GoOn(Arc::clone(&is_free));
    let stuck = {
        let (calls, is_free) = (Arc::clone(&calls), Arc::clone(&is_free));
        Scripted(move |_: &Task| {
            calls.fetch_add(1, Ordering::Relaxed);
            while !is_free.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(Report::default())
        })
    };
    let workers = work::start_with(world.service.clone(), Arc::new(stuck));
    let globs = Globs {
        branches: "main".into(),
        tags: String::new(),
    };
    let run = world.queue_with(&repo, Direction::Pull, globs, false).await;
    while calls.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The drain's limit passes: the run keeps its lease, as after SIGKILL.
    workers.stop().await;
    assert_eq!(world.run(&repo, &run.id).await.next_attempt_at, None);
    is_free.store(true, Ordering::Relaxed);
    world
        .working(async {
            completed(&world.ended(&repo, &run.id).await);
        })
        .await;
}
