//! Opening of a database: its versions, and several processes at once.

use refsync_service::{
    ErrorKind,
    store::{DatabaseAddress, Store},
};

use crate::{
    database::{at, name, on_each_database, on_sqlite},
    postgres,
};

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    on_each_database(async |db| {
        db.execute("insert into refsync_schema (version) values (99)")
            .await;
        let err = Store::open(&db.address).await.expect_err("refused");
        assert_eq!(err.kind(), ErrorKind::DatabaseNewer);
        assert!(err.to_string().contains("99"), "{err}");
        assert_eq!(
            db.number("select max(version) from refsync_schema").await,
            99
        );
        assert_eq!(db.number("select count(*) from orgs").await, 1);
    });
}

#[test]
fn several_that_open_a_new_database_at_once_make_it_once() {
    on_each_database(async |db| {
        let address = db.another_address();
        let open = || {
            let address = address.clone();
            // A runtime of its own, as another process has.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    let store = Store::open(&address).await.expect("a store");
                    store.ping().await.expect("an answer");
                    store.close().await;
                });
            })
        };
        let threads: Vec<_> = (0..4).map(|_| open()).collect();
        for thread in threads {
            thread.join().expect("opened");
        }
        let store = Store::open(&address).await.expect("a store");
        assert!(!store.has_orgs().await.expect("read"));
    });
}

#[test]
fn a_file_that_is_no_database_is_named_so() {
    on_sqlite(async |db| {
        let file = db.file("text");
        std::fs::write(&file, "no database".repeat(100)).expect("written");
        let err = Store::open(&file).await.expect_err("refused");
        assert_eq!(err.kind(), ErrorKind::DatabaseCorrupt);
    });
}

/// As those to a server are that another one has replaced, and that goes on answering reads.
#[test]
fn a_connection_that_can_only_be_read_is_not_kept() {
    let Some(server) = postgres::Server::start() else {
        return;
    };
    let url = server.database("standby");
    let address: DatabaseAddress = url.parse().expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        Store::open(&address).await.expect("a store").close().await;
        // A session has the setting that its role had when it began: the operator needs a single one.
        let single = sqlx::postgres::PgPoolOptions::new().max_connections(1);
        let operator = single.connect(&url).await.expect("a connection");
        let set = async |sql: &'static str| {
            sqlx::query(sql).execute(&operator).await.expect("set");
        };
        set("alter role postgres set default_transaction_read_only = on").await;
        let (store, _) = Store::open_as_it_is(&address).await.expect("a store");
        let slug = name("refused");
        let refused = store.create_org(&slug, "refused", at(0)).await;
        let refused = refused.expect_err("the session can only be read");
        assert!(refused.is_retryable(), "{refused:?}");
        set("alter role postgres reset default_transaction_read_only").await;
        for number in 0..8 {
            let slug = name(&format!("o{number}"));
            let made = store.create_org(&slug, "made", at(0)).await;
            made.expect("another connection").expect("not taken");
        }
        store.close().await;
        operator.close().await;
    });
}
