//! Single attempts: what a target can do, and where an attempt may not go.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use refsync::NetworkPolicy;
use refsync_service::hooks::{
    LookUp, TargetUrl,
    client::{Answer, Client, Message},
    system_look_up,
};
use rustls::pki_types::CertificateDer;

use crate::listener::{Behaviour, Listener, tls};

/// Shorter than that of the service: a stalled target takes all of it.
const TIME: Duration = Duration::from_millis(1500);

fn client(policy: NetworkPolicy, look_up: LookUp, roots: &[CertificateDer<'static>]) -> Client {
    Client::new(policy, TIME, look_up, roots.to_vec()).expect("a client")
}

async fn post_with(client: &Client, url: &str) -> Result<Answer, String> {
    let message = Message {
        body: Bytes::from_static(br#"{"id":"evt_1"}"#),
        headers: vec![("webhook-id", "evt_1".into())],
    };
    let url = TargetUrl::parse(url).expect(url);
    client.post(&url, &message).await
}

async fn post(url: &str) -> Result<Answer, String> {
    let client = client(NetworkPolicy::any(), system_look_up(), &[]);
    post_with(&client, url).await
}

/// A resolver that gives these addresses, one list after the other, the last one for ever; and the number of
/// times that it was asked.
fn resolver(answers: Vec<Vec<SocketAddr>>) -> (LookUp, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let look_up: LookUp = Arc::new(move |_, _| {
        let at = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let answer = answers[at].clone();
        Box::pin(async move { Ok(answer) })
    });
    (look_up, asked)
}

#[tokio::test]
async fn a_success_keeps_status_and_body() {
    let target = Listener::start(Behaviour::status("200 OK")).await;
    let answer = post(&target.url()).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let [request] = &target.requests()[..] else {
        panic!("one request");
    };
    assert!(request.head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"));
    assert_eq!(request.body, r#"{"id":"evt_1"}"#);
    let host = target.address.to_string();
    assert_eq!(request.header("host"), Some(host.as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("webhook-id"), Some("evt_1"));
}

#[tokio::test]
async fn targets_that_fail() {
    let dead = {
        let gone = Listener::start(Behaviour::Close).await;
        gone.url()
    };
    // Bound, but nobody accepts any more: refused or reset, never an answer.
    let err = post(&dead).await.expect_err("nobody listens");
    assert!(err.contains("could not be connected to"), "{err}");
    for behaviour in [
        Behaviour::Close,
        Behaviour::Answer("nonsense\r\n\r\n".into()),
    ] {
        let target = Listener::start(behaviour.clone()).await;
        post(&target.url()).await.expect_err("no answer");
        assert_eq!(target.connections(), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn slow_targets_are_given_up() {
    for behaviour in [Behaviour::Stall, Behaviour::DripHead] {
        let target = Listener::start(behaviour.clone()).await;
        let err = post(&target.url()).await.expect_err("no answer");
        assert!(err.contains("no answer within"), "{behaviour:?}: {err}");
    }
}

#[tokio::test]
async fn a_status_counts_whatever_comes_of_the_body() {
    let target = Listener::start(Behaviour::EndlessBody).await;
    let answer = post(&target.url()).await.expect("an answer");
    assert_eq!((answer.status, answer.body), (200, "y".repeat(1024)));

    let target = Listener::start(Behaviour::StallBody).await;
    let answer = post(&target.url()).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "z"));

    let huge = format!(
        "HTTP/1.1 500 No\r\ncontent-length: 5000000\r\n\r\n{}",
        "w".repeat(5_000_000)
    );
    let target = Listener::start(Behaviour::Answer(huge)).await;
    let answer = post(&target.url()).await.expect("an answer");
    assert_eq!((answer.status, answer.body), (500, "w".repeat(1024)));
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "v".repeat(200_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(500));
    for answer in [head, many] {
        let target = Listener::start(Behaviour::Answer(answer)).await;
        post(&target.url()).await.expect_err("too much");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Listener::start(Behaviour::status("200 OK")).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let location = elsewhere.url();
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let target = Listener::start(Behaviour::Answer(answer)).await;
        let answer = post(&target.url()).await.expect("an answer");
        assert!(!answer.is_accepted(), "{status}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// The public policy, but plain `http`, so that only the address can be the reason.
fn public_by_http() -> NetworkPolicy {
    let mut policy = NetworkPolicy::public();
    policy.allow_plain_http = true;
    policy
}

#[tokio::test]
async fn a_private_address_is_never_connected_to() {
    let target = Listener::start(Behaviour::status("200 OK")).await;
    let port = target.address.port();
    let (by_name, asked) = resolver(vec![vec![target.address]]);
    let by_name = client(public_by_http(), by_name, &[]);
    let by_system = client(public_by_http(), system_look_up(), &[]);
    for (client, host) in [
        (&by_name, "public.example"),
        (&by_system, "127.0.0.1"),
        (&by_system, "[::ffff:127.0.0.1]"),
        (&by_system, "2130706433"),
        (&by_system, "0x7f.1"),
        (&by_system, "127.1"),
        (&by_system, "localhost"),
        (&by_system, "0.0.0.0"),
    ] {
        let err = post_with(client, &format!("http://{host}:{port}/")).await;
        let err = err.expect_err(host);
        // A system without one of these notations fails earlier.
        let refused = err.contains("does not allow") || err.contains("no address");
        assert!(refused, "{host}: {err}");
        assert!(!err.contains("127.0.0.1"), "{err}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(target.connections(), 0);
    // The same listener is reached by a policy that allows it.
    post(&target.url()).await.expect("an answer");
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_each_time() {
    let target = Listener::start(Behaviour::status("200 OK")).await;
    let mut policy = public_by_http();
    policy.allow_private_networks = true;
    // 127.0.0.2 stands for the inner network, 127.0.0.1 for a public address.
    let policy = policy.refusing("127.0.0.2".parse().expect("a network"));
    let inner = SocketAddr::new([127, 0, 0, 2].into(), target.address.port());
    let (look_up, asked) = resolver(vec![vec![target.address], vec![inner]]);
    let client = client(policy, look_up, &[]);
    let url = "http://rebinding.example/";
    let answer = post_with(&client, url).await.expect("an answer");
    assert!(answer.is_accepted());
    let err = post_with(&client, url).await.expect_err("refused");
    assert!(err.contains("does not allow"), "{err}");
    // One lookup for each attempt: there is none between judging and connecting.
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn only_the_allowed_addresses_of_a_name_are_tried() {
    let target = Listener::start(Behaviour::status("200 OK")).await;
    let policy = NetworkPolicy::any().refusing("127.0.0.2".parse().expect("a network"));
    let inner = SocketAddr::new([127, 0, 0, 2].into(), target.address.port());
    let (look_up, _) = resolver(vec![vec![inner, target.address]]);
    let client = client(policy, look_up, &[]);
    let answer = post_with(&client, "http://both.example/").await;
    assert!(answer.expect("an answer").is_accepted());
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn plain_http_needs_a_policy_that_allows_it() {
    let target = Listener::start(Behaviour::status("200 OK")).await;
    let mut policy = NetworkPolicy::any();
    policy.allow_plain_http = false;
    let client = client(policy, system_look_up(), &[]);
    let err = post_with(&client, &target.url())
        .await
        .expect_err("refused");
    assert!(err.contains("plain http"), "{err}");
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_and_of_the_host() {
    let (root, acceptor) = tls("hook.example");
    let target = Listener::with_tls(Behaviour::status("200 OK"), Some(acceptor)).await;
    let (look_up, _) = resolver(vec![vec![target.address]]);
    let (other_root, _) = tls("hook.example");
    for (host, root, good) in [
        ("hook.example", &root, true),
        ("other.example", &root, false),
        ("hook.example", &other_root, false),
    ] {
        let roots = std::slice::from_ref(root);
        let client = client(NetworkPolicy::any(), look_up.clone(), roots);
        let answer = post_with(&client, &format!("https://{host}/")).await;
        match answer {
            Ok(answer) => assert!(good && answer.is_accepted(), "{host}"),
            Err(err) => assert!(!good && err.contains("TLS"), "{host}: {err}"),
        }
    }
    assert_eq!(target.requests().len(), 1);
    // TLS to a port that speaks none fails as well.
    let plain = Listener::start(Behaviour::status("200 OK")).await;
    let (look_up, _) = resolver(vec![vec![plain.address]]);
    let client = client(NetworkPolicy::any(), look_up, &[root]);
    let err = post_with(&client, "https://hook.example/").await;
    err.expect_err("no TLS");
}
