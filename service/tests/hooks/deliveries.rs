//! The loop of deliveries over a real database. Time moves only when a test moves it; attempts are counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use refsync::NetworkPolicy;
use refsync_service::{
    hooks::{Courier, Deliveries, client::Client, signature, system_look_up},
    ids,
    metrics::Metrics,
    records::{Delivery, DeliveryState, Name, Org, PushUpdate, RefAction, Repo, TargetId, Time},
    secrets::{MasterKey, Sealer, webhook_secret},
    store::{NewRepo, NewTarget, Page, Store, TargetChange},
};

use crate::listener::{Behaviour, Listener};

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    sealer: Arc<Sealer>,
    org: Org,
    now: Arc<AtomicI64>,
}

impl Fixture {
    async fn new() -> Self {
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
            _folder: folder,
        }
    }

    fn now(&self) -> Time {
        Time(self.now.load(Ordering::SeqCst))
    }

    /// Moves the clock and has the loop look at it.
    fn set(&self, now: Time) {
        self.now.store(now.0, Ordering::SeqCst);
        self.store.deliveries_changed().notify_one();
    }

    fn start(&self, attempt_time: Duration) -> Deliveries {
        let policy = NetworkPolicy::any();
        let client = Client::new(policy, attempt_time, system_look_up(), Vec::new());
        let now = self.now.clone();
        Deliveries::start(Courier {
            store: self.store.clone(),
            sealer: self.sealer.clone(),
            client: client.expect("a client"),
            metrics: Metrics::default(),
            node: "node".into(),
            clock: Arc::new(move || Time(now.load(Ordering::SeqCst))),
        })
    }

    async fn target(&self, listener: &Listener) -> (TargetId, String) {
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

    async fn repo(&self, name: &str) -> Repo {
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

    async fn push(&self, repo: &Repo) {
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
    async fn deliveries(&self, target: &TargetId) -> Vec<Delivery> {
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
    async fn after_attempt(&self, target: &TargetId, attempt: i64) -> Delivery {
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

    async fn is_enabled(&self, target: &TargetId) -> bool {
        let target = self.store.target(&self.org.id, target).await;
        target.expect("read").expect("a target").enabled
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

const TIME: Duration = Duration::from_secs(20);

fn failing() -> Behaviour {
    Behaviour::Counted("500 No")
}

#[tokio::test]
async fn nine_attempts_are_made_each_signed_anew() {
    let f = Fixture::new().await;
    let listener = Listener::start(failing()).await;
    let (target, secret) = f.target(&listener).await;
    let repo = f.repo("app").await;
    f.push(&repo).await;
    let deliveries = f.start(TIME);
    for attempt in 1..=8 {
        let delivery = f.after_attempt(&target, attempt).await;
        assert_eq!(delivery.last_status, Some(500));
        assert_eq!(delivery.state, DeliveryState::Pending);
        f.set(delivery.next_attempt_at.expect("another attempt"));
    }
    let last = f.after_attempt(&target, 9).await;
    assert_eq!(last.state, DeliveryState::Failed);
    deliveries.stop().await;
    let requests = listener.requests();
    assert_eq!(requests.len(), 9);
    for request in &requests {
        let header = |name| request.header(name).expect(name).to_owned();
        assert_eq!(header("webhook-id"), last.event_id.as_str());
        let seconds: i64 = header("webhook-timestamp").parse().expect("seconds");
        let body = request.body.as_bytes();
        assert_eq!(
            header("x-mesa-signature"),
            signature::mesa(&secret, seconds, body)
        );
        let standard =
            signature::standard([secret.as_str()], last.event_id.as_str(), seconds, body);
        assert_eq!(header("webhook-signature"), standard);
        assert_eq!(request.body, requests[0].body);
    }
    let times: std::collections::BTreeSet<_> = requests
        .iter()
        .map(|r| r.header("webhook-timestamp"))
        .collect();
    assert_eq!(times.len(), 9, "each attempt has its own time");
    assert!(
        f.is_enabled(&target).await,
        "a day of failures is not three"
    );
}

#[tokio::test]
async fn events_of_one_subject_arrive_in_order() {
    let f = Fixture::new().await;
    let listener = Listener::start(failing()).await;
    let (target, _) = f.target(&listener).await;
    let repo = f.repo("app").await;
    f.push(&repo).await;
    f.push(&repo).await;
    let deliveries = f.start(TIME);
    let first = f.after_attempt(&target, 1).await;
    listener.behave(Behaviour::status("204 Fine"));
    f.set(first.next_attempt_at.expect("another attempt"));
    until("three requests", || listener.requests().len() == 3).await;
    deliveries.stop().await;
    let ids: Vec<_> = listener
        .requests()
        .iter()
        .map(|r| r.header("webhook-id").map(str::to_owned))
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
    let ends: Vec<_> = f
        .deliveries(&target)
        .await
        .iter()
        .map(|d| (d.state, d.attempt))
        .collect();
    assert_eq!(
        ends,
        [(DeliveryState::Delivered, 2), (DeliveryState::Delivered, 1)]
    );
}

#[tokio::test]
async fn a_target_that_is_gone_is_disabled() {
    let f = Fixture::new().await;
    let listener = Listener::start(Behaviour::Counted("410 Gone")).await;
    let (target, _) = f.target(&listener).await;
    let repo = f.repo("app").await;
    f.push(&repo).await;
    f.push(&repo).await;
    let deliveries = f.start(TIME);
    f.after_attempt(&target, 1).await;
    deliveries.stop().await;
    assert!(!f.is_enabled(&target).await);
    let ends = f.deliveries(&target).await;
    assert!(
        ends.iter().all(|d| d.state == DeliveryState::Failed),
        "{ends:?}"
    );
    assert_eq!(listener.requests().len(), 1);
    f.push(&repo).await;
    assert_eq!(f.deliveries(&target).await.len(), 2);
    assert!(
        f.store
            .redeliver(&target, &ends[0].id, f.now())
            .await
            .expect("read")
            .is_none()
    );
    // Enabled again, it gets what is delivered anew.
    let change = TargetChange {
        enabled: Some(true),
        ..TargetChange::default()
    };
    f.store
        .change_target(&target, change, f.now())
        .await
        .expect("stored");
    listener.behave(Behaviour::status("200 OK"));
    let deliveries = f.start(TIME);
    let again = f
        .store
        .redeliver(&target, &ends[0].id, f.now())
        .await
        .expect("stored");
    assert_eq!(again.expect("a delivery").event_id, ends[0].event_id);
    until("the second request", || listener.requests().len() == 2).await;
    deliveries.stop().await;
    let ids: Vec<_> = listener
        .requests()
        .iter()
        .map(|r| r.header("webhook-id").map(str::to_owned))
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn three_days_of_failures_disable_a_target() {
    for (hours, is_enabled) in [(71, true), (73, false)] {
        let f = Fixture::new().await;
        let listener = Listener::start(failing()).await;
        let (target, _) = f.target(&listener).await;
        f.push(&f.repo("app").await).await;
        let deliveries = f.start(TIME);
        f.after_attempt(&target, 1).await;
        f.set(Time(START + hours * HOUR));
        f.after_attempt(&target, 2).await;
        deliveries.stop().await;
        assert_eq!(f.is_enabled(&target).await, is_enabled, "{hours}");
    }
}

#[tokio::test]
async fn a_slow_target_does_not_hold_up_others() {
    let f = Fixture::new().await;
    let (slow, quick) = (
        Listener::start(Behaviour::Stall).await,
        Listener::start(Behaviour::status("200 OK")).await,
    );
    f.target(&slow).await;
    f.target(&quick).await;
    // More than there are places.
    for number in 0..70 {
        f.push(&f.repo(&format!("app-{number}")).await).await;
    }
    let _deliveries = f.start(Duration::from_secs(3600));
    until("all arrive", || quick.requests().len() == 70).await;
    until("the slow one has what it may", || slow.connections() == 4).await;
}

#[tokio::test]
async fn an_attempt_under_way_is_ended_at_a_stop() {
    let f = Fixture::new().await;
    // The answer is complete only when the attempt's time is over.
    let listener = Listener::start(Behaviour::StallBody).await;
    let (target, _) = f.target(&listener).await;
    f.push(&f.repo("app").await).await;
    let deliveries = f.start(Duration::from_millis(500));
    until("a request", || listener.requests().len() == 1).await;
    deliveries.stop().await;
    let [delivery] = &f.deliveries(&target).await[..] else {
        panic!("one delivery");
    };
    assert_eq!(delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn what_a_dead_process_had_under_way_is_made_again() {
    let f = Fixture::new().await;
    let listener = Listener::start(Behaviour::status("200 OK")).await;
    let (target, _) = f.target(&listener).await;
    f.push(&f.repo("app").await).await;
    let now = f.now();
    let lease = now.plus(Duration::from_secs(30));
    let lost = f
        .store
        .due_deliveries("node", now, lease, 10, &[])
        .await
        .expect("read");
    assert_eq!(lost.len(), 1);
    let again = f
        .store
        .due_deliveries("node", now, lease, 10, &[])
        .await
        .expect("read");
    assert!(again.is_empty(), "it is leased");
    let deliveries = f.start(TIME);
    until("a request", || listener.requests().len() == 1).await;
    deliveries.stop().await;
    assert_eq!(f.deliveries(&target).await[0].attempt, 2);
}

#[tokio::test]
async fn both_secrets_sign_while_one_is_rotated() {
    let f = Fixture::new().await;
    let listener = Listener::start(Behaviour::status("200 OK")).await;
    let (target, old) = f.target(&listener).await;
    let repo = f.repo("app").await;
    let new = webhook_secret::generate().expect("a secret");
    let sealed = webhook_secret::seal(&f.sealer, &target, &new).expect("sealed");
    assert!(
        f.store
            .rotate_secret(&target, sealed, f.now())
            .await
            .expect("stored")
    );
    let deliveries = f.start(TIME);
    f.push(&repo).await;
    until("a request", || listener.requests().len() == 1).await;
    f.set(Time(START + 25 * HOUR));
    f.push(&repo).await;
    until("another request", || listener.requests().len() == 2).await;
    deliveries.stop().await;
    for (request, secrets) in listener
        .requests()
        .iter()
        .zip([vec![new.as_str(), &old], vec![&new]])
    {
        let header = |name| request.header(name).expect(name);
        let seconds: i64 = header("webhook-timestamp").parse().expect("seconds");
        let body = request.body.as_bytes();
        let expected = signature::standard(secrets, header("webhook-id"), seconds, body);
        assert_eq!(header("webhook-signature"), expected);
        assert_eq!(
            header("x-mesa-signature"),
            signature::mesa(&new, seconds, body)
        );
    }
}
