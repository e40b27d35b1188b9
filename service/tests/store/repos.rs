//! Removal of upstreams and repositories, and pages.

use refsync_service::{
    ErrorKind,
    records::{Change, Direction, Repo, RepoId, Status},
    store::{Changed, Lease, RepoChange},
};

use crate::database::{
    Database, NODE, at, completed, failure, on_each_database, page, stats, upstream,
};

async fn set_upstream(db: &Database, repo: &Repo, change: Change<&str>) {
    let change = RepoChange {
        upstream: match change {
            Change::Set(host) => Change::Set(upstream(host)),
            _ => Change::Clear,
        },
        ..RepoChange::default()
    };
    let changed = db.store.change_repo(&repo.id, change, at(1)).await;
    assert!(matches!(changed, Ok(Changed::Done(_))), "{changed:?}");
}

#[test]
fn runs_of_a_removed_upstream_are_cancelled() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        let queued = db.queue(&repo, Direction::Push, at(0)).await;
        set_upstream(&db, &repo, Change::Clear).await;
        let ended = db.read(&queued).await;
        assert_eq!(ended.status, Status::Failed);
        assert_eq!(ended.error_code.as_deref(), Some("cancelled"));
        let asked = db.store.renew(&job.fence, at(60)).await.expect("asked");
        assert_eq!(asked, Lease::Held { cancelled: true });
        let failed = db.store.fail(&job.fence, failure("cancelled"), at(2)).await;
        assert!(failed.expect("written"));
        assert!(db.claim(at(100)).await.is_none());
        db.assert_counted().await;
    });
}

/// Such a text comes from the address of a request or a token, before anybody has shown a key.
#[test]
fn a_text_that_is_no_name_finds_nothing() {
    on_each_database(async |db| {
        let store = &db.store;
        for text in ["a\0", "", "a/b"] {
            let key = store.key_and_repo(&[0; 32], text).await.expect("an answer");
            assert!(key.is_none(), "{text:?}");
            let key = store.key_by_public_key(text, &[0; 32]).await;
            assert!(key.expect("an answer").is_none(), "{text:?}");
            let repo = store.repo_by_name(&db.org.id, text).await;
            assert!(repo.expect("an answer").is_none(), "{text:?}");
            let org = store.org_by_slug(text).await.expect("an answer");
            assert!(org.is_none(), "{text:?}");
        }
    });
}

#[test]
fn a_run_of_the_upstream_before_writes_no_profile_and_no_base() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        set_upstream(&db, &repo, Change::Set("elsewhere")).await;
        let mut done = completed(stats(1, "updated"));
        done.profile = Some("of the upstream before".into());
        assert!(db.complete(&job, done, at(2)).await);
        db.queue(&repo, Direction::Pull, at(3)).await;
        let next = db.claim(at(3)).await.expect("a run");
        assert_eq!(next.upstream.host, "elsewhere");
        assert!(next.upstream.profile.is_none() && next.previous.is_none());
    });
}

#[test]
fn an_attempt_counts_for_its_own_host_and_the_next_one_for_the_new_one() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        set_upstream(&db, &repo, Change::Set("elsewhere")).await;
        let mut failed = failure("rate_limited");
        failed.host_not_before = Some(at(900));
        let retried = db.store.retry(&job.fence, failed, at(10), at(1)).await;
        assert!(retried.expect("written"));
        // The host that asked to wait was the one before.
        let again = db.claim(at(10)).await.expect("the run");
        assert_eq!(
            (again.run.id, &*again.upstream.host),
            (job.run.id, "elsewhere")
        );
        let other = db.repo("other").await;
        db.queue(&other, Direction::Pull, at(11)).await;
        assert!(db.claim(at(11)).await.is_none(), "its host is throttled");
    });
}

#[test]
fn the_upstream_removed_and_set_again_is_another_one() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        set_upstream(&db, &repo, Change::Clear).await;
        set_upstream(&db, &repo, Change::Set("elsewhere")).await;
        let mut done = completed(stats(1, "updated"));
        done.profile = Some("of the upstream before".into());
        assert!(db.complete(&job, done, at(2)).await);
        db.queue(&repo, Direction::Pull, at(3)).await;
        let next = db.claim(at(3)).await.expect("a run");
        assert!(next.upstream.profile.is_none() && next.previous.is_none());
    });
}

#[test]
fn a_removed_repository_is_forgotten_after_its_runs() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.pull(&repo, stats(1, "updated"), at(0)).await;
        db.queue(&repo, Direction::Pull, at(1)).await;
        let job = db.claim(at(1)).await.expect("a run");
        assert!(
            !db.store.forget_repo(&repo.id).await.expect("asked"),
            "it is there"
        );
        assert!(
            db.store
                .delete_repo(&repo.id, at(2))
                .await
                .expect("removed")
        );
        assert!(!db.store.delete_repo(&repo.id, at(2)).await.expect("asked"));
        assert!(db.store.repo(&repo.id).await.expect("read").is_none());
        let again = db.repo("r").await;
        assert_ne!(again.id, repo.id, "the name is free at once");

        let removed = async || db.store.removed_repos(NODE).await.expect("read");
        assert!(removed().await.is_empty(), "a run has not ended");
        assert!(!db.store.forget_repo(&repo.id).await.expect("asked"));
        let failed = db.store.fail(&job.fence, failure("cancelled"), at(3)).await;
        assert!(failed.expect("written"));
        assert_eq!(removed().await, std::slice::from_ref(&repo.id));
        assert!(
            db.store
                .removed_repos("two")
                .await
                .expect("read")
                .is_empty()
        );
        assert!(db.store.forget_repo(&repo.id).await.expect("forgotten"));
        assert!(removed().await.is_empty());
        assert_eq!(db.number("select count(*) from sync_runs").await, 0);
        assert_eq!(db.number("select count(*) from repos").await, 1);
    });
}

#[test]
fn pages_have_each_row_once() {
    on_each_database(async |db| {
        let mut made = Vec::new();
        for number in 0..5 {
            made.push(db.repo(&format!("r{number}")).await.id);
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let rows = db.store.repos(&db.org.id, None, page(after, 2)).await;
            let rows = rows.expect("read");
            seen.extend(rows.rows.into_iter().map(|repo| repo.id));
            assert_eq!(rows.has_more, seen.len() < 5);
            if !rows.has_more {
                break;
            }
            after = rows.next;
        }
        assert_eq!(seen, made);

        // A limited key sees its own ones, with their last runs, in whatever order it names them.
        let other = db.repo("other").await;
        let run = db.pull(&other, stats(1, "updated"), at(0)).await;
        let foreign = db.another_org("foreign").await;
        let foreign = db.repo_of(&foreign, "foreign", "host").await;
        let only = [&other.id, &made[3], &foreign.id, &made[1]].map(Clone::clone);
        let rows = async |after, limit| {
            let rows = db.store.repos(&db.org.id, Some(&only), page(after, limit));
            rows.await.expect("read")
        };
        let first = rows(None, 2).await;
        let seen: Vec<_> = first.rows.iter().map(|repo| &repo.id).collect();
        assert_eq!((seen, first.has_more), (vec![&made[1], &made[3]], true));
        let second = rows(first.next, 2).await;
        let latest = second.rows[0].latest_sync.as_ref().map(|run| &run.id);
        assert_eq!((&second.rows[0].id, latest), (&other.id, Some(&run)));
        assert!(!second.has_more && second.rows.len() == 1);
        let none = db.store.repos(&db.org.id, Some(&[]), page(None, 2)).await;
        assert!(none.expect("read").rows.is_empty());

        let repo = db.repo("runs").await;
        let mut ids = Vec::new();
        for seconds in 0..3 {
            ids.push(db.pull(&repo, stats(1, "updated"), at(seconds)).await);
        }
        ids.reverse();
        let first = db
            .store
            .sync_runs(&repo.id, page(None, 2))
            .await
            .expect("read");
        // A run that is added meanwhile moves nothing.
        db.pull(&repo, stats(1, "updated"), at(9)).await;
        let rest = db.store.sync_runs(&repo.id, page(first.next.clone(), 2));
        let rest = rest.await.expect("read");
        let seen = first.rows.into_iter().chain(rest.rows);
        let seen: Vec<_> = seen.map(|run| run.id).collect();
        assert_eq!(seen, ids);
        let foreign = db.store.repos(&db.org.id, None, page(first.next, 2)).await;
        assert_eq!(
            foreign.expect_err("refused").kind(),
            ErrorKind::InvalidCursor
        );
        let exact = db
            .store
            .sync_runs(&repo.id, page(None, 4))
            .await
            .expect("read");
        assert!(!exact.has_more && exact.rows.len() == 4);
    });
}

#[test]
fn the_repositories_of_many_names_are_found_by_one_statement() {
    on_each_database(async |db| {
        let other = db.another_org("other").await;
        db.repo_of(&other, "elsewhere", "host").await;
        let gone = db.repo("gone").await;
        assert!(
            db.store
                .delete_repo(&gone.id, at(1))
                .await
                .expect("removed")
        );
        let long = "L".repeat(100);
        let mut expected: Vec<(String, RepoId)> = Vec::new();
        for name in ["One", "t_w-o.", &long] {
            let repo = db.repo(name).await;
            expected.push((name.to_ascii_lowercase(), repo.id));
        }
        expected.sort();
        let none = [
            "elsewhere",
            "gone",
            "",
            "on",
            "one ",
            "o%",
            "t_w-",
            "a/b",
            "\0",
            "\u{e9}",
        ];
        let mut names: Vec<String> = none.map(str::to_owned).into();
        names.push(format!("{}l", long.to_ascii_lowercase()));
        names.extend(expected.iter().map(|(name, _)| name.clone()));
        names.extend((0..236).map(|number| format!("missing-{number}")));
        let before = db.store.counters().reads;
        let names = names.iter().map(String::as_str);
        let found = db.store.repo_ids_of(&db.org.id, names).await;
        let mut found = found.expect("read");
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(db.store.counters().reads - before, 1);
        let none = db.store.repo_ids_of(&db.org.id, [].into_iter()).await;
        assert_eq!(none.expect("read"), []);
    });
}
