//! The listing of a server before a push.

use bstr::ByteSlice as _;

use super::*;
use crate::ObjectFormat;

#[test]
fn what_receive_pack_lists() {
    let ends = ends();
    ends.destination.tag_annotated("v1", "main");
    ends.destination.set_ref("refs/pull/1/head", &ends.old);
    // Borrowed from another repository, whose tips are not refs of this one.
    let lender = ends.source.path.join("objects");
    let alternates = ends.destination.path.join("objects/info/alternates");
    std::fs::write(alternates, format!("{}\n", lender.display())).expect("written");

    let list = ends.remote.list_for_push(&context()).expect("a list");
    assert_eq!(list.object_format, ObjectFormat::Sha1);
    let listed: Vec<_> = list
        .iter()
        .map(|r| (r.name.to_string(), r.target.to_string()))
        .collect();
    assert_eq!(listed, ends.destination.for_each_ref());
    let mut expected = [id(&ends.old), id(&ends.new)];
    expected.sort();
    assert_eq!(list.haves, expected);
    assert_eq!(takes(&ends.remote), (true, true));

    let requests = ends.server.requests();
    assert_eq!(ends.requests(), [GET]);
    assert_eq!(requests[0].query, "service=git-receive-pack");
    assert_eq!(requests[0].git_protocol, None);
}

#[test]
fn an_empty_repository_lists_nothing() {
    for (format, expected) in [
        (git::ObjectFormat::Sha1, ObjectFormat::Sha1),
        (git::ObjectFormat::Sha256, ObjectFormat::Sha256),
    ] {
        let ends = ends_of(format);
        ends.destination.delete_ref(MAIN);
        assert_eq!(takes(&ends.remote), (false, false));
        let list = ends.remote.list_for_push(&context()).expect("a list");
        assert_eq!((list.len(), list.haves), (0, vec![]));
        assert_eq!(list.object_format, expected);
        assert_eq!(takes(&ends.remote), (true, true));
    }
}

#[test]
fn who_may_not_push_learns_it_from_the_list() {
    let ends = ends();
    let anonymous = SmartHttp::new(ends.remote.url().as_str())
        .expect("a valid URL")
        .with_network_policy(NetworkPolicy::any());
    let err = anonymous.list_for_push(&context()).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::Authentication);

    let read_only = GitServer::builder(ends.sandbox.path()).start();
    let remote = SmartHttp::new(&read_only.url("destination.git"))
        .expect("a valid URL")
        .with_network_policy(NetworkPolicy::any());
    let err = remote.list_for_push(&context()).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_server_may_answer_in_protocol_v1() {
    let ends = ends();
    ends.garble("GET", |listing| {
        let announced = b"001f# service=git-receive-pack\n0000";
        assert!(listing.starts_with(announced));
        let version = b"000eversion 1\n".iter().copied();
        listing.splice(announced.len()..announced.len(), version);
    });
    let list = ends.remote.list_for_push(&context()).expect("a list");
    assert_eq!(list.len(), 1);
    let answers = ends.push(&[update(MAIN, Some(&ends.old), &ends.new)]);
    assert_eq!(answers.expect("an answer"), [PushAnswer::Done]);
}

#[test]
fn a_server_need_not_offer_anything() {
    let unclear = PushAnswer::Unclear {
        detail: "the server reported nothing about this ref".to_owned(),
    };
    let cases: [(Change, PushAnswer); 3] = [
        (|listing| hide(listing, "side-band-64k"), PushAnswer::Done),
        (
            |listing| hide(listing, "report-status-v2"),
            PushAnswer::Done,
        ),
        (|listing| hide(listing, "report-status"), unclear),
    ];
    for (hide, answer) in cases {
        let ends = ends();
        ends.garble("GET", hide);
        let answers = ends
            .push(&[update(MAIN, Some(&ends.old), &ends.new)])
            .expect("an answer");
        assert_eq!(answers, [answer]);
        assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.new));
    }
}

/// Makes an unknown word of a capability, and of those that begin like it.
fn hide(listing: &mut Vec<u8>, capability: &str) {
    let hidden = listing.replace(capability, "x".repeat(capability.len()));
    assert!(hidden != *listing, "{capability} was not offered");
    *listing = hidden;
}

#[test]
fn a_server_without_refs_and_capabilities_has_nothing_to_offer() {
    let ends = ends();
    ends.garble("GET", |listing| {
        *listing = b"001f# service=git-receive-pack\n00000000".to_vec();
    });
    let list = ends.remote.list_for_push(&context()).expect("a list");
    assert_eq!((list.len(), list.haves), (0, vec![]));
    assert_eq!(takes(&ends.remote), (true, false));
}
