//! The names of nodes: each belongs to a data folder, and to the last process that serves it.

use refsync_service::{
    records::Time,
    store::{NewNode, Released},
};

use crate::database::{Database, NODE, at, on_each_database};

/// A process of the node with the repositories of the cases.
fn process(folder: &str, process: &str) -> NewNode {
    NewNode {
        name: NODE.into(),
        folder: folder.into(),
        process: process.into(),
        public_url: "http://one".into(),
    }
}

async fn enters(db: &Database, node: &NewNode, now: Time) -> bool {
    db.store.enter_node(node, now).await.expect("an answer")
}

async fn is_seen(db: &Database, node: &NewNode, now: Time) -> bool {
    db.store.see_node(node, now).await.expect("an answer")
}

async fn release(db: &Database, name: &str, now: Time) -> Released {
    db.store.release_node(name, now).await.expect("an answer")
}

#[test]
fn a_name_belongs_to_its_folder_once_there_are_repositories() {
    on_each_database(async |db| {
        let (own, other) = (process("own", "1"), process("other", "2"));
        let is_alone = !db.store.is_shared();
        assert!(enters(&db, &own, at(0)).await);
        assert_eq!(enters(&db, &other, at(29)).await, is_alone, "it lives");
        assert!(
            enters(&db, &other, at(60)).await,
            "there is nothing to lose"
        );
        assert_eq!(enters(&db, &own, at(61)).await, is_alone, "it lives");
        db.repo("r").await;
        let later = at(1_000_000);
        assert_eq!(
            enters(&db, &own, later).await,
            is_alone,
            "it has a repository"
        );
        assert!(enters(&db, &other, later).await);
        db.store.leave_node(&other).await.expect("stored");
        assert_eq!(enters(&db, &own, later).await, is_alone, "it has stopped");
    });
}

#[test]
fn a_process_whose_folder_another_one_serves_is_replaced() {
    on_each_database(async |db| {
        let (first, second) = (process("own", "1"), process("own", "2"));
        assert!(enters(&db, &first, at(0)).await);
        assert!(is_seen(&db, &first, at(1)).await);
        assert!(enters(&db, &second, at(2)).await, "no wait after a crash");
        assert!(!is_seen(&db, &first, at(3)).await);
        // Its end is not that of the other one.
        db.store.leave_node(&first).await.expect("stored");
        assert_eq!(db.number("select seen_at from nodes").await, at(2).0);
        assert!(is_seen(&db, &second, at(4)).await);
    });
}

/// A restore to an earlier point, or a failover that has lost the last seconds, brings the row of a process that has ended.
#[test]
fn a_row_of_an_older_process_with_the_same_folder_is_taken_again() {
    on_each_database(async |db| {
        let (older, newer) = (process("own", "01"), process("own", "0b"));
        assert!(enters(&db, &newer, at(0)).await);
        db.execute("update nodes set process = '01', public_url = 'old'")
            .await;
        assert!(is_seen(&db, &newer, at(1)).await);
        assert_eq!(
            db.number(
                "select count(*) from nodes where process = '0b' and public_url = 'http://one'"
            )
            .await,
            1
        );
        assert!(!is_seen(&db, &older, at(2)).await);
        db.execute("update nodes set process = '01', folder = 'other'")
            .await;
        assert!(!is_seen(&db, &newer, at(3)).await, "it was given away");
    });
}

#[test]
fn an_operator_gives_away_the_name_of_a_node_that_is_silent() {
    on_each_database(async |db| {
        let (own, other) = (process("own", "1"), process("other", "2"));
        assert_eq!(release(&db, NODE, at(0)).await, Released::Unknown);
        assert!(enters(&db, &own, at(0)).await);
        db.repo("r").await;
        assert_eq!(release(&db, NODE, at(29)).await, Released::Lives);
        assert_eq!(release(&db, NODE, at(60)).await, Released::Done);
        assert!(!is_seen(&db, &own, at(61)).await);
        assert!(enters(&db, &other, at(62)).await);
        assert!(!is_seen(&db, &own, at(63)).await);
        let is_alone = !db.store.is_shared();
        assert_eq!(enters(&db, &own, at(1_000)).await, is_alone);
    });
}

#[test]
fn a_node_whose_clock_was_far_ahead_is_silent() {
    on_each_database(async |db| {
        let own = process("own", "1");
        assert!(enters(&db, &own, at(3_600)).await);
        let emptiest = async |now| db.store.emptiest_node("two", now).await.expect("a node");
        assert_eq!(emptiest(at(3_540)).await, NODE, "clocks differ a little");
        assert_eq!(emptiest(at(3_539)).await, "two");
        assert!(enters(&db, &process("other", "2"), at(0)).await);
        assert!(enters(&db, &process("other", "3"), at(3_600)).await);
        db.repo("r").await;
        assert_eq!(release(&db, NODE, at(3_540)).await, Released::Lives);
        assert_eq!(release(&db, NODE, at(3_539)).await, Released::Done);
    });
}
