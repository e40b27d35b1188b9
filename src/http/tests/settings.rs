//! Settings that change after a run.

use super::*;
use crate::{Redirects, RefSource as _, ServerProfile, Timeouts};

/// An end that has listed its refs and kept the connection.
fn used(ends: &Ends) -> SmartHttp {
    let remote = SmartHttp::new(ends.remote.url().as_str())
        .expect("a valid URL")
        .with_credentials(Credentials::username_password("me", CANARY))
        .with_network_policy(NetworkPolicy::any());
    list(&remote).expect("a list");
    assert!(remote.kept_session().is_some());
    remote
}

fn list(remote: &SmartHttp) -> Result<crate::RefList, Error> {
    remote.list(Service::UploadPack, &[], &context())
}

fn kind_of_list(remote: &SmartHttp) -> ErrorKind {
    list(remote).expect_err("no list").kind()
}

#[test]
fn nobody_gets_a_list_with_the_credentials_of_the_one_before() {
    let ends = ends();
    let other = used(&ends).with_credentials(Credentials::token("another tenant's"));
    assert_eq!(kind_of_list(&other), ErrorKind::Authentication);
    assert_eq!(
        other.profile(),
        None,
        "learnt by who may see the repository"
    );
    let same = other.with_credentials(Credentials::username_password("me", CANARY));
    list(&same).expect("a list");
}

#[test]
fn a_policy_holds_for_connections_that_are_there() {
    let ends = ends();
    let mut no_private = NetworkPolicy::any();
    no_private.allow_private_networks = false;
    for policy in [NetworkPolicy::public(), no_private] {
        let before = ends.requests().len();
        let remote = used(&ends).with_network_policy(policy);
        assert_eq!(kind_of_list(&remote), ErrorKind::Forbidden);
        assert_eq!(ends.requests().len(), before + 2, "those of the first list");
    }
}

#[test]
fn certificates_and_timeouts_hold_from_the_next_request_on() {
    let ends = ends();
    let remote = used(&ends).with_root_certificate(b"no certificate");
    assert_eq!(kind_of_list(&remote), ErrorKind::InvalidOptions);

    let timeouts = Timeouts {
        idle: std::time::Duration::from_millis(50),
        ..Timeouts::default()
    };
    let remote = used(&ends).with_timeouts(timeouts);
    ends.server.intercept(|_| Some(Answer::Stall));
    let err = list(&remote).expect_err("silence");
    let text = "timed out after 50ms: waiting for the server";
    assert_eq!(err.to_string(), text);
}

#[test]
fn each_setting_costs_the_connection_and_what_was_learnt() {
    type Change = fn(SmartHttp) -> SmartHttp;
    let changes: [Change; 7] = [
        |remote| remote.with_credentials(Credentials::username_password("me", CANARY)),
        |remote| remote.with_network_policy(NetworkPolicy::any()),
        |remote| remote.with_redirects(Redirects::SameOrigin),
        |remote| remote.with_timeouts(Timeouts::default()),
        |remote| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
            remote.with_root_certificate(made.expect("a certificate").cert.der().to_vec())
        },
        |remote| {
            let provider = rustls::crypto::ring::default_provider();
            remote.with_crypto_provider(std::sync::Arc::new(provider))
        },
        |remote| remote.with_profile(profile_of("https://elsewhere.example/a.git")),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let ends = ends();
        let remote = change(used(&ends));
        assert_eq!(remote.profile(), None, "{at}");
        list(&remote).expect("a list");
        let connections = ends.server.requests().into_iter().map(|r| r.connection);
        assert_eq!(connections.collect::<Vec<_>>(), [0, 0, 1, 1], "{at}");
    }
}

#[test]
fn a_profile_that_was_given_stays_whatever_else_is_set() {
    let ends = ends();
    let given = profile_of(ends.remote.url().as_str());
    let remote = used(&ends)
        .with_profile(given.clone())
        .with_timeouts(Timeouts::default());
    assert_eq!(remote.profile(), Some(given));
    ends.server.reset_counts();
    list(&remote).expect("a list");
    assert_eq!(ends.requests(), ["POST /destination.git/git-upload-pack"]);
}

fn profile_of(url: &str) -> ServerProfile {
    format!("1 v2 sha1 {url}").parse().expect("a profile")
}
