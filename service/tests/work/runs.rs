//! Runs that do their work.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use refsync_service::{
    records::{Direction, Globs},
    work::{Report, Task},
};

use crate::{
    engine::git::ObjectFormat,
    world::{Overlaps, Scripted, World, completed, failed, outcomes},
};

fn pair(name: &str, outcome: &str) -> (String, String) {
    (name.to_owned(), outcome.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_refs_and_says_so() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    world.upstream("app").tag_annotated("v1", "main");
    world
        .working(async {
            let run = world.sync(&repo, Direction::Pull).await;
            completed(&run);
            assert_eq!(
                outcomes(&run),
                [
                    pair("refs/heads/main", "updated"),
                    pair("refs/tags/v1", "updated")
                ]
            );
            assert_eq!(run.attempt, 1);
            completed(&world.sync(&repo, Direction::Pull).await);
        })
        .await;
    assert_eq!(
        world.local(&repo).for_each_ref(),
        world.upstream("app").for_each_ref()
    );
    world.local(&repo).fsck();
    let tip = world.upstream("app").git(&["rev-parse", "main"]);
    assert_eq!(world.read(&repo).await.head, Some(tip));
    assert_eq!(
        world.local(&repo).git(&["symbolic-ref", "HEAD"]),
        "refs/heads/main"
    );
    let run = ["sync.queued", "sync.in_progress", "sync.completed"];
    let expected = [&run[..], &["push"], &run[..]].concat();
    assert_eq!(world.kinds().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_changes_is_one_request() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    world
        .working(async {
            completed(&world.sync(&repo, Direction::Pull).await);
            world.server.reset_counts();
            let before = world.service.store.counters().commits;
            let run = world.sync(&repo, Direction::Pull).await;
            assert_eq!(outcomes(&run), [pair("refs/heads/main", "unchanged")]);
            assert_eq!(world.service.store.counters().commits - before, 3);
        })
        .await;
    let requests = world.server.requests();
    let commands: Vec<_> = requests.iter().map(|r| r.command.as_deref()).collect();
    assert_eq!(commands, [Some("ls-refs")], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sends_what_the_repository_has() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    world
        .working(async {
            completed(&world.sync(&repo, Direction::Pull).await);
            let local = world.local(&repo);
            let main = local.git(&["rev-parse", "main"]);
            local.commit("main", &[&main], "two", &[("a", "2")], 1_700_000_100);
            let run = world.sync(&repo, Direction::Push).await;
            assert_eq!(outcomes(&run), [pair("refs/heads/main", "updated")]);

            // It has moved since the last push: the listing through upload-pack is spared.
            let main = local.git(&["rev-parse", "main"]);
            local.commit("main", &[&main], "three", &[("a", "3")], 1_700_000_200);
            world.server.reset_counts();
            completed(&world.sync(&repo, Direction::Push).await);
            let requests = world.server.requests();
            assert!(requests.iter().all(|r| r.command.is_none()), "{requests:?}");

            // It has not: that listing is all.
            world.server.reset_counts();
            completed(&world.sync(&repo, Direction::Push).await);
            let requests = world.server.requests();
            assert!(
                requests
                    .iter()
                    .any(|r| r.command.as_deref() == Some("ls-refs")),
                "{requests:?}"
            );
            assert!(
                requests
                    .iter()
                    .all(|r| !r.path.ends_with("git-receive-pack")),
                "{requests:?}"
            );
        })
        .await;
    let tip = world.local(&repo).git(&["rev-parse", "main"]);
    assert_eq!(world.upstream("app").git(&["rev-parse", "main"]), tip);
    assert_eq!(world.read(&repo).await.head, Some(tip));
    assert_eq!(
        world
            .kinds()
            .await
            .iter()
            .filter(|kind| *kind == "push")
            .count(),
        1,
        "the pull alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_history_and_nothing_else() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    world
        .working(async {
            let run = world
                .queue_with(&repo, Direction::Pull, Globs::default(), true)
                .await;
            let run = world.ended(&repo, &run.id).await;
            assert!(run.dry_run);
            assert_eq!(outcomes(&run), [pair("refs/heads/main", "updated")]);
        })
        .await;
    assert!(world.local(&repo).for_each_ref().is_empty());
    assert!(world.kinds().await.is_empty());
    let read = world.read(&repo).await;
    assert!(read.latest_sync.is_none() && read.head.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pull_takes_format_and_default_branch_of_its_upstream() {
    let world = World::new().await;
    let upstream = world.upstreams.init_bare("new.git", ObjectFormat::Sha256);
    upstream.commit("trunk", &[], "one", &[("a", "1")], 1_700_000_000);
    upstream.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let repo = world.repo_at("new", &world.server.url("new.git")).await;
    // Somebody has cloned it: an empty repository of the usual format is there.
    world.service.repos.open_or_init(&repo).expect("made");
    world
        .working(async {
            completed(&world.sync(&repo, Direction::Pull).await);
        })
        .await;
    let local = world.local(&repo);
    assert_eq!(local.git(&["rev-parse", "--show-object-format"]), "sha256");
    assert_eq!(local.git(&["symbolic-ref", "HEAD"]), "refs/heads/trunk");
    let read = world.read(&repo).await;
    assert_eq!(read.default_bookmark, "trunk");
    assert_eq!(read.head, Some(upstream.git(&["rev-parse", "trunk"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_an_empty_repository_in_its_format() {
    let world = World::new().await;
    let upstream = world.upstreams.init_bare("new.git", ObjectFormat::Sha256);
    upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
    let repo = world.repo_at("new", &world.server.url("new.git")).await;
    let format = || {
        world
            .local(&repo)
            .git(&["rev-parse", "--show-object-format"])
    };
    world
        .working(async {
            let dry = world.queue_with(&repo, Direction::Pull, Globs::default(), true);
            let dry = world.ended(&repo, &dry.await.id).await;
            completed(&dry);
            assert_eq!(outcomes(&dry), [pair("refs/heads/main", "updated")]);
            assert_eq!(format(), "sha1");
            let left = std::fs::read_dir(world.data.path().join("repos"));
            assert_eq!(
                left.expect("a folder").count(),
                2,
                "the folder and its lock"
            );
            completed(&world.sync(&repo, Direction::Pull).await);
            assert_eq!(format(), "sha256");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_tip_stays_whoever_writes_last() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    let local = {
        world.service.repos.open_or_init(&repo).expect("made");
        world.local(&repo)
    };
    let commit = |text: &str| local.commit("main", &[], text, &[("a", text)], 1_700_000_000);
    let tips = [commit("1"), commit("2"), commit("3")];
    // A run reads the first tip; before its end is written a push has moved the branch on, and recorded that or not.
    for recorded in [None, Some(&tips[2])] {
        let (store, id, run) = (&world.service.store, &repo.id, tips[0].clone());
        let scripted = Scripted(move |_: &Task| {
            Ok(Report {
                head: Some(run.clone()),
                ..Report::default()
            })
        });
        store.set_head(id, "main", None).await.expect("written");
        let queued = world.queue(&repo, Direction::Pull).await;
        let head = async || world.read(&repo).await.head;
        world
            .with_workers(scripted, async {
                if recorded.is_some() {
                    let tip = recorded.map(String::as_str);
                    store.set_head(id, "main", tip).await.expect("written");
                }
                completed(&world.ended(&repo, &queued.id).await);
            })
            .await;
        assert_eq!(head().await.as_ref(), Some(&tips[2]), "{recorded:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_the_tip_of_its_claim_writes_none() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    let (before, after) = ("1".repeat(40), "2".repeat(40));
    let (store, id) = (world.service.store.clone(), repo.id.clone());
    store
        .set_head(&id, "main", Some(&before))
        .await
        .expect("written");
    let runtime = tokio::runtime::Handle::current();
    let pushed = after.clone();
    // A push is recorded while the run is under way. There is no folder, so that nobody can look again.
    let scripted = Scripted(move |task: &Task| {
        let head = runtime.block_on(store.set_head(&id, "main", Some(&pushed)));
        head.expect("written");
        Ok(Report {
            head: task.repo.head.clone(),
            ..Report::default()
        })
    });
    world
        .with_workers(scripted, async {
            completed(&world.sync(&repo, Direction::Pull).await);
        })
        .await;
    assert_eq!(world.read(&repo).await.head, Some(after));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_objects_keeps_its_format() {
    let world = World::new().await;
    let upstream = world.upstreams.init_bare("new.git", ObjectFormat::Sha256);
    upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
    let repo = world.repo_at("new", &world.server.url("new.git")).await;
    world.service.repos.open_or_init(&repo).expect("made");
    let local = world.local(&repo);
    let tip = local.commit("main", &[], "mine", &[("b", "1")], 1_700_000_000);
    world
        .working(async {
            failed(
                &world.sync(&repo, Direction::Pull).await,
                "object_format_mismatch",
            );
        })
        .await;
    assert_eq!(local.git(&["rev-parse", "main"]), tip);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_repository_has_one_worker_at_a_time() {
    let world = World::with(|config| config.workers = 4).await;
    let repos = [world.repo("a").await, world.repo("b").await];
    let (overlaps, count) = (Arc::new(Overlaps::default()), Arc::new(AtomicUsize::new(0)));
    let engine = {
        let (overlaps, count) = (Arc::clone(&overlaps), Arc::clone(&count));
        Scripted(move |task: &Task| {
            overlaps.enter(task);
            std::thread::sleep(std::time::Duration::from_millis(2));
            overlaps.leave(task);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Report::default())
        })
    };
    world
        .with_workers(engine, async {
            let mut queued = Vec::new();
            for at in 0..20 {
                let repo = &repos[at % 2];
                let globs = Globs {
                    branches: format!("{}", at % 8),
                    tags: String::new(),
                };
                queued.push((
                    repo,
                    world.queue_with(repo, Direction::Pull, globs, false).await,
                ));
            }
            for (repo, run) in queued {
                completed(&world.ended(repo, &run.id).await);
            }
        })
        .await;
    assert_eq!(overlaps.most(), 1);
    assert!(count.load(Ordering::Relaxed) >= 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_with_many_packs_is_repacked() {
    let world = World::new().await;
    let repo = world.repo("app").await;
    world
        .working(async {
            completed(&world.sync(&repo, Direction::Pull).await);
            let local = world.local(&repo);
            for at in 0..51 {
                let file = format!("f{at}");
                let branch = format!("b{at}");
                local.commit(
                    &branch,
                    &[],
                    "x",
                    &[(file.as_str(), "1")],
                    1_700_000_000 + at,
                );
                local.git(&["repack", "-d", "-q"]);
            }
            let upstream = world.upstream("app");
            let main = upstream.git(&["rev-parse", "main"]);
            upstream.commit("main", &[&main], "two", &[("a", "2")], 1_700_000_100);
            completed(&world.sync(&repo, Direction::Pull).await);
            let packs = || {
                let folder = local
                    .path
                    .join("objects/pack")
                    .read_dir()
                    .expect("a folder");
                let names = folder.map(|entry| entry.expect("an entry").file_name());
                names
                    .filter(|name| name.to_string_lossy().ends_with(".pack"))
                    .count()
            };
            let began = std::time::Instant::now();
            while packs() > 50 {
                assert!(began.elapsed() < crate::world::SOON);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    world.local(&repo).fsck();
}
