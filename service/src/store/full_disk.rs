//! Tests of a disk that fills up and has room again.

use super::Store;
use crate::{Error, ErrorKind, clock, records::Name};

async fn org(store: &Store, number: usize) -> Result<(), Error> {
    let slug = Name::new(format!("org-{number}-{}", "x".repeat(80))).expect("a name");
    store.create_org(&slug, slug.as_str(), clock::now()).await?;
    Ok(())
}

/// Limits the pages of the database to those that it has, or to none.
async fn limit(store: &Store, pages: &str) {
    let mut writer = store.sqlite_writer().await;
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "pragma max_page_count = {pages}"
    )))
    .execute(writer.connection())
    .await
    .expect("a limit");
    writer.give_back();
}

#[tokio::test]
async fn writes_go_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("db"))
        .await
        .expect("a store");
    limit(&store, "1").await;
    let mut made = 0;
    let full = loop {
        match org(&store, made).await {
            Ok(()) => made += 1,
            Err(err) => break err,
        }
        assert!(made < 10_000);
    };
    assert_eq!(full.kind(), ErrorKind::DatabaseFull, "{full:?}");
    assert!(full.is_retryable());
    limit(&store, "1000000").await;
    org(&store, made).await.expect("room");
    for number in 0..=made {
        let slug = format!("org-{number}-{}", "x".repeat(80));
        let found = store.org_by_slug(&slug).await.expect("a database");
        assert!(found.is_some(), "{number}");
    }
}
