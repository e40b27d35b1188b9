//! Shares of organizations and hosts, with many runs that wait and more than one node.

use refsync_service::{
    records::{Direction, Globs, Org, Priority, Repo},
    store::{Claimer, Completed, NewRun, RunLimits},
};

use crate::database::{Database, NODE, at, claimer, failure, on_each_database};

/// The number of runs of the large organization.
const MANY: usize = 1_000;

async fn queue_globs(db: &Database, repo: &Repo, branches: &str, priority: Priority) {
    let new = NewRun {
        repo,
        direction: Direction::Pull,
        globs: Globs::of_request(Some(branches.into()), None).expect("globs"),
        dry_run: false,
        priority,
    };
    let queued = db.store.enqueue(new, RunLimits::default(), at(0)).await;
    queued.expect("stored").expect("not refused");
}

/// Fills the queue of an organization to its limit, on many hosts.
async fn fill(db: &Database, org: &Org) {
    let per_repo = 16;
    for number in 0..MANY.div_ceil(per_repo) {
        let (name, host) = (format!("large{number}"), format!("host{number}"));
        let repo = db.repo_of(org, &name, &host).await;
        for glob in 0..per_repo.min(MANY - number * per_repo) {
            queue_globs(db, &repo, &format!("b{glob}"), Priority::Hook).await;
        }
    }
}

#[test]
fn one_run_is_next_whatever_another_organization_has_queued() {
    on_each_database(async |db| {
        fill(&db, &db.org).await;
        let small = db.another_org("small").await;
        let repo = db.repo_of(&small, "small", "elsewhere").await;
        let is_small = |id: &_| *id == small.id;
        // One worker: each run has ended before the next one is claimed. The large organization has its turn, too.
        for round in 1..=3 {
            db.queue_with(&repo, Direction::Pull, Priority::Schedule, at(round))
                .await
                .expect("queued");
            let mut turns = Vec::new();
            for _ in 0..2 {
                let job = db.claim(at(round)).await.expect("a run");
                turns.push(is_small(&job.org.id));
                assert!(db.complete(&job, Completed::default(), at(round)).await);
            }
            assert!(turns.contains(&true), "{round}: {turns:?}");
        }
        // Many workers, all of them busy with the large one but the one that is free now.
        for _ in 0..8 {
            let job = db.claim(at(5)).await.expect("a run");
            assert!(!is_small(&job.org.id));
        }
        db.queue(&repo, Direction::Pull, at(6)).await;
        let job = db.claim(at(6)).await.expect("a run");
        assert!(is_small(&job.org.id));
        assert!(!is_small(&db.claim(at(6)).await.expect("a run").org.id));
        db.assert_counted().await;
    });
}

#[test]
fn a_host_has_its_share_whatever_the_nodes_organizations_and_priorities() {
    on_each_database(async |db| {
        let other = db.another_org("other").await;
        let nodes = [NODE, "two"].map(|node| Claimer {
            node: node.into(),
            per_host: 3,
            ..claimer(node)
        });
        let mut waiting = 0;
        for (number, priority) in (0..).zip([Priority::Hook, Priority::Api, Priority::Schedule]) {
            for (node, org) in [(NODE, &db.org), ("two", &db.org), ("two", &other)] {
                let name = format!("{node}{number}");
                let repo = db.repo_at(node, org, &name, "busy").await;
                queue_globs(&db, &repo, "*", priority).await;
                waiting += 1;
            }
        }
        let mut running = Vec::new();
        while waiting > 0 {
            for claimer in nodes.iter().cycle().take(8) {
                running.extend(db.claim_as(claimer, at(1)).await);
            }
            assert!(running.len() <= 3, "{}", running.len());
            assert!(
                running.len() == 3.min(waiting),
                "{} of {waiting}",
                running.len()
            );
            // A place that is free is taken, by whichever node.
            let done = running.remove(0);
            assert!(db.complete(&done, Completed::default(), at(1)).await);
            waiting -= 1;
        }
        db.assert_counted().await;
    });
}

#[test]
fn a_host_that_asks_to_wait_is_left_alone_by_each_node_and_other_hosts_are_not() {
    on_each_database(async |db| {
        let nodes = [NODE, "two"].map(|node| Claimer {
            node: node.into(),
            ..claimer(node)
        });
        let first = db.repo_of(&db.org, "first", "busy").await;
        db.queue(&first, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        let mut limited = failure("rate_limited");
        limited.host_not_before = Some(at(100));
        let written = db.store.retry(&job.fence, limited, at(50), at(1)).await;
        assert!(written.expect("written"));
        for node in [NODE, "two"] {
            for host in ["busy", "free"] {
                let name = format!("{node}-{host}");
                let repo = db.repo_at(node, &db.org, &name, host).await;
                queue_globs(&db, &repo, "*", Priority::Hook).await;
            }
        }
        let claimed = async |now| {
            let mut hosts = Vec::new();
            for claimer in nodes.iter().cycle().take(6) {
                let job = db.claim_as(claimer, at(now)).await;
                hosts.extend(job.map(|job| job.upstream.host));
            }
            hosts
        };
        assert_eq!(claimed(2).await, ["free", "free"]);
        assert!(claimed(99).await.is_empty());
        assert_eq!(claimed(100).await, ["busy", "busy", "busy"]);
        db.assert_counted().await;
    });
}
