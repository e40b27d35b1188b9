//! A database, and deliveries whose time moves only when a test moves it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use refsync::NetworkPolicy;
use refsync_service::{
    hooks::{Courier, Deliveries, client::Client, system_look_up},
    ids,
    records::{Delivery, Name, Org, PushUpdate, RefAction, Repo, TargetId, Time},
    secrets::{MasterKey, Sealer, webhook_secret},
    store::{NewRepo, NewTarget, Page, Store},
};

use crate::listener::Listener;

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const HOUR: i64 = 3_600_000;

/// A database, and a clock that a test moves.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) org: Org,
    pub(crate) now: Arc<AtomicI64>,
    /// Whether the clock panics, once.
    pub(crate) breaks: Arc<AtomicBool>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.expect("a folder");
        let store = Store::open(&folder.path().join("db"))
            .await
            .expect("a store");
        let slug = Name::new("acme").expect("a name");
        let org = store.create_org(&slug, "Acme", Time(START)).await;
        Fixture {
            store,
            sealer: Arc::new(Sealer::new(&MasterKey::generate().expect("a key"), &[])),
            org: org.expect("stored").expect("a new one"),
            now: Arc::new(AtomicI64::new(START)),
            breaks: Arc::default(),
            _folder: folder,
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.now.load(Ordering::SeqCst))
    }

    /// Moves the clock and has the loop look at it.
    pub(crate) fn set(&self, now: Time) {
        self.now.store(now.0, Ordering::SeqCst);
        self.store.deliveries_changed().notify_one();
    }

    pub(crate) fn start(&self, attempt_time: Duration) -> Deliveries {
        let policy = NetworkPolicy::any();
        let client = Client::new(policy, attempt_time, system_look_up(), Vec::new());
        let (now, breaks) = (self.now.clone(), self.breaks.clone());
        Deliveries::start(Courier {
            store: self.store.clone(),
            sealer: self.sealer.clone(),
            client: client.expect("a client"),
            metrics: self.store.metrics().clone(),
            node: "node".into(),
            clock: Arc::new(move || {
                assert!(!breaks.swap(false, Ordering::SeqCst), "the clock breaks");
                Time(now.load(Ordering::SeqCst))
            }),
        })
    }

    pub(crate) async fn target(&self, listener: &Listener) -> (TargetId, String) {
        let id: TargetId = ids::new();
        let secret = webhook_secret::generate().expect("a secret");
        let new = NewTarget {
            id: id.clone(),
            org: self.org.id.clone(),
            url: listener.url(),
            name: None,
            events: vec!["push".into()],
            repo_ids: None,
            secret: webhook_secret::seal(&self.sealer, &id, &secret).expect("sealed"),
        };
        self.store
            .create_target(new, self.now())
            .await
            .expect("stored");
        (id, secret.to_string())
    }

    pub(crate) async fn repo(&self, name: &str) -> Repo {
        let new = NewRepo {
            id: ids::new(),
            org: self.org.id.clone(),
            name: Name::new(name).expect("a name"),
            default_bookmark: "main".into(),
            default_given: true,
            tags: BTreeMap::new(),
            home: "node".into(),
            upstream: None,
        };
        let made = self.store.create_repo(new, self.now()).await;
        made.expect("stored").expect("a new name")
    }

    pub(crate) async fn push(&self, repo: &Repo) {
        let update = PushUpdate {
            name: "refs/heads/main".into(),
            bookmark: "main".into(),
            before: "0".repeat(40),
            after: "1".repeat(40),
            action: RefAction::Created,
        };
        let written = self
            .store
            .emit_push(ids::new(), repo, &[update], None, self.now())
            .await;
        assert!(written.expect("stored"));
    }

    /// The deliveries to the target, the oldest first.
    pub(crate) async fn deliveries(&self, target: &TargetId) -> Vec<Delivery> {
        let page = Page {
            after: None,
            limit: 100,
        };
        let mut rows = self
            .store
            .deliveries(target, page)
            .await
            .expect("read")
            .rows;
        rows.reverse();
        rows
    }

    /// The first delivery to the target, once `attempt` attempts have ended, each of which was
    /// [`Behaviour::Counted`].
    pub(crate) async fn after_attempt(&self, target: &TargetId, attempt: i64) -> Delivery {
        for _ in 0..3000 {
            let first = self.deliveries(target).await.remove(0);
            if first.last_body == Some(attempt.to_string()) {
                assert_eq!(first.attempt, attempt);
                return first;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "attempt {attempt} never ended: {:?}",
            self.deliveries(target).await
        );
    }

    pub(crate) async fn is_enabled(&self, target: &TargetId) -> bool {
        let target = self.store.target(&self.org.id, target).await;
        target.expect("read").expect("a target").enabled
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
