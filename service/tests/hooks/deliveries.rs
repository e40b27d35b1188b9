//! The loop of deliveries over a real database. Time moves only when a test moves it; attempts are counted.

use std::time::Duration;

use refsync_service::{
    hooks::signature,
    records::{DeliveryState, Time},
    secrets::webhook_secret,
    store::TargetChange,
};

use crate::{
    fixture::{Fixture, HOUR, START, until},
    listener::{Behaviour, Listener},
};

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
            .redeliver(&target, None, &ends[0].id, f.now())
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
        .change_target(&target, None, change, f.now())
        .await
        .expect("stored");
    listener.behave(Behaviour::status("200 OK"));
    let deliveries = f.start(TIME);
    let again = f
        .store
        .redeliver(&target, None, &ends[0].id, f.now())
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
            .rotate_secret(&target, None, sealed, f.now())
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

#[tokio::test]
async fn deliveries_go_on_after_a_panic() {
    let f = Fixture::new().await;
    let listener = Listener::start(Behaviour::status("204 No Content")).await;
    f.target(&listener).await;
    let repo = f.repo("app").await;
    f.breaks.store(true, std::sync::atomic::Ordering::SeqCst);
    let deliveries = f.start(TIME);
    f.push(&repo).await;
    until("the delivery comes", || listener.requests().len() == 1).await;
    deliveries.stop().await;
    let metrics = f.store.metrics().text();
    let line = r#"refsyncd_panics_total{part="deliveries"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}
