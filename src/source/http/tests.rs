//! Pushes to real git behind a server of this process.

use std::{
    io::{Cursor, Write as _},
    process::Stdio,
};

use bstr::ByteSlice as _;

use self::support::{
    git::{self, Repo, Sandbox},
    server::{Answer, GitServer},
};
use super::SmartHttp;
use crate::{
    Credentials, Error, ErrorKind, NetworkPolicy, ObjectFormat, ObjectId, Push as _, PushAnswer,
    RefUpdate, Run, Service, SyncOptions,
};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "these tests use a part of what all others share"
)]
#[path = "../../../tests/support"]
mod support {
    pub mod fast_import;
    pub mod git;
    pub mod server;
}

const MAIN: &str = "refs/heads/main";
const OTHER: &str = "refs/heads/other";

/// A repository to push from and one to push to, with the same two commits of `main` in the former
/// and only the older one in the latter.
struct Ends {
    source: Repo,
    destination: Repo,
    old: String,
    new: String,
    server: GitServer,
    remote: SmartHttp,
    // Last: its directory outlives the server.
    _sandbox: Sandbox,
}

fn ends() -> Ends {
    ends_of(git::ObjectFormat::Sha1)
}

fn ends_of(format: git::ObjectFormat) -> Ends {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", format);
    let old = source.commit("main", &[], "one", &[("a", "1")], 1);
    let new = source.commit("main", &[&old], "two", &[("a", "2")], 2);
    let destination = sandbox.init_bare("destination.git", format);
    send(&source, &destination, &format!("{old}:{MAIN}"));
    let server = GitServer::builder(sandbox.path())
        .auth("me", "canary")
        .receive_pack(true)
        .start();
    let remote = SmartHttp::new(&server.url("destination.git"))
        .expect("a valid URL")
        .with_credentials(Credentials::username_password("me", "canary"))
        .with_network_policy(NetworkPolicy::any());
    Ends {
        source,
        destination,
        old,
        new,
        server,
        remote,
        _sandbox: sandbox,
    }
}

fn send(from: &Repo, to: &Repo, refspec: &str) {
    let to = to.path.to_str().expect("a path in UTF-8");
    from.git(&["push", "--quiet", to, refspec]);
}

fn run() -> Run {
    Run::new(&SyncOptions::default())
}

fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("hex")
}

fn update(name: &str, expected: Option<&str>, new: &str) -> RefUpdate {
    RefUpdate {
        name: name.into(),
        expected: expected.map(id),
        new: id(new),
    }
}

/// What git packs for `revisions`.
fn pack(repo: &Repo, revisions: &str) -> Vec<u8> {
    let mut child = git::command(&repo.path)
        .args(["pack-objects", "--quiet", "--revs", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("a piped stdin");
    writeln!(stdin, "{revisions}").expect("written");
    drop(stdin);
    child.wait_with_output().expect("git ends").stdout
}

/// Thin packs, and offset deltas.
fn takes(remote: &SmartHttp) -> (bool, bool) {
    let takes = remote.takes();
    (takes.thin, takes.ofs_delta)
}

impl Ends {
    /// Pushes with what is missing for `new`.
    fn push(&self, updates: &[RefUpdate]) -> Result<Vec<PushAnswer>, Error> {
        self.push_in(&run(), updates)
    }

    fn push_in(&self, run: &Run, updates: &[RefUpdate]) -> Result<Vec<PushAnswer>, Error> {
        let pack = pack(&self.source, &format!("{}\n^{}", self.new, self.old));
        self.push_pack(updates, &pack, run)
    }

    fn push_pack(
        &self,
        updates: &[RefUpdate],
        pack: &[u8],
        run: &Run,
    ) -> Result<Vec<PushAnswer>, Error> {
        (&self.remote).push(updates, &mut Cursor::new(pack), run)
    }

    fn no_objects(&self) -> Vec<u8> {
        pack(&self.source, "")
    }

    fn tip(&self, name: &str) -> Option<String> {
        let refs = self.destination.for_each_ref();
        refs.into_iter().find(|r| r.0 == name).map(|r| r.1)
    }

    fn requests(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        requests
            .map(|r| format!("{} {}", r.method, r.path))
            .collect()
    }
}

const GET: &str = "GET /destination.git/info/refs";
const POST: &str = "POST /destination.git/git-receive-pack";

#[test]
fn what_receive_pack_lists() {
    let ends = ends();
    ends.destination.tag_annotated("v1", "main");
    ends.destination.set_ref("refs/pull/1/head", &ends.old);
    // Borrowed from another repository, whose tips are not refs of this one.
    let lender = ends.source.path.join("objects");
    let alternates = ends.destination.path.join("objects/info/alternates");
    std::fs::write(alternates, format!("{}\n", lender.display())).expect("written");

    let list = ends.remote.list_for_push(&run()).expect("a list");
    assert_eq!(list.object_format, ObjectFormat::Sha1);
    let listed: Vec<_> = list
        .refs
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
        let list = ends.remote.list_for_push(&run()).expect("a list");
        assert_eq!((list.refs, list.haves), (vec![], vec![]));
        assert_eq!(list.object_format, expected);
        assert_eq!(takes(&ends.remote), (true, true));
    }
}

#[test]
fn refs_are_created_and_moved_over_one_connection() {
    for format in [git::ObjectFormat::Sha1, git::ObjectFormat::Sha256] {
        let ends = ends_of(format);
        let run = run();
        ends.remote.list_for_push(&run).expect("a list");
        let updates = [
            update(MAIN, Some(&ends.old), &ends.new),
            update(OTHER, None, &ends.new),
        ];
        let answers = ends.push_in(&run, &updates).expect("an answer");
        assert_eq!(answers, [PushAnswer::Done, PushAnswer::Done]);
        assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.new));
        assert_eq!(ends.tip(OTHER).as_ref(), Some(&ends.new));
        ends.destination.fsck();

        // The objects are there already.
        let again = [update("refs/tags/v1", None, &ends.new)];
        let answers = ends
            .push_pack(&again, &ends.no_objects(), &run)
            .expect("an answer");
        assert_eq!(answers, [PushAnswer::Done]);
        assert_eq!(ends.tip("refs/tags/v1").as_ref(), Some(&ends.new));

        assert_eq!(ends.requests(), [GET, POST, POST]);
        let (received, sent) = ends.server.wire_bytes();
        let traffic = run.traffic();
        assert_eq!(traffic.requests, 3);
        assert_eq!(
            (traffic.bytes_sent, traffic.bytes_received),
            (received, sent)
        );
        let connections = ends.server.requests().into_iter().map(|r| r.connection);
        assert!(connections.max() == Some(0), "one connection");
    }
}

#[test]
fn a_pack_of_many_megabytes_is_streamed_after_a_probe() {
    let ends = ends();
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 3_000_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.extend_from_slice(format!("{:016x}", state).as_bytes());
    }
    let noise = String::from_utf8(noise).expect("hex");
    let big = ends
        .source
        .commit("big", &[&ends.new], "big", &[("b", &noise)], 3);
    let pack = pack(&ends.source, &format!("{big}\n^{}", ends.old));
    assert!(pack.len() > 1_100_000, "{}", pack.len());
    let answers = ends
        .push_pack(&[update(MAIN, Some(&ends.old), &big)], &pack, &run())
        .expect("an answer");
    assert_eq!(answers, [PushAnswer::Done]);
    assert_eq!(ends.tip(MAIN), Some(big));
    ends.destination.fsck();
    assert_eq!(ends.requests(), [GET, POST, POST]);
    assert_eq!(ends.server.requests()[1].request_bytes, 4);
}

#[test]
fn one_ref_that_is_refused_stops_no_other() {
    let ends = ends();
    let hook = ends.destination.path.join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\ntest \"$1\" != refs/heads/protected\n").expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&hook, executable).expect("executable");
    }
    let updates = [
        // It is elsewhere by now.
        update(MAIN, Some(&ends.new), &ends.new),
        update("refs/heads/protected", None, &ends.new),
        update(OTHER, None, &ends.new),
    ];
    let answers = ends.push(&updates).expect("an answer");
    let refused = |text: &str| PushAnswer::Refused {
        text: text.to_owned(),
    };
    assert_eq!(
        answers,
        [
            refused("failed to update ref"),
            refused("hook declined"),
            PushAnswer::Done
        ]
    );
    assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.old));
    assert_eq!(ends.tip("refs/heads/protected"), None);
    assert_eq!(ends.tip(OTHER).as_ref(), Some(&ends.new));
}

#[test]
fn what_the_server_says_of_a_bad_pack_is_passed_on() {
    let ends = ends();
    let updates = [update(MAIN, Some(&ends.old), &ends.new)];
    let answers = ends.push_pack(&updates, b"nonsense", &run());
    let answers = answers.expect("an answer");
    let [PushAnswer::Refused { text }] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert!(text.starts_with("unpacker error ("), "{text}");
    assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.old));
}

#[test]
fn an_answer_that_is_lost_is_unclear_and_its_connection_is_not_used_again() {
    let answers: [fn() -> Answer; 4] = [
        || Answer::TruncateAfter(0),
        || Answer::TruncateAfter(30),
        || Answer::status(500),
        || Answer::Garble(|body| *body = b"0009\x01whatever".to_vec()),
    ];
    for answer in answers {
        let ends = ends();
        ends.server
            .intercept(move |request| (request.method == "POST").then(answer));
        let answers = ends
            .push(&[update(MAIN, Some(&ends.old), &ends.new)])
            .expect("an answer that was lost is no error");
        assert!(
            matches!(&answers[..], [PushAnswer::Unclear { detail }] if !detail.is_empty()),
            "{answers:?}"
        );

        ends.server.intercept(|_| None);
        let found = ends.tip(MAIN);
        let answers = ends.push_pack(
            &[update(OTHER, None, &ends.old)],
            &ends.no_objects(),
            &run(),
        );
        assert_eq!(answers.expect("an answer"), [PushAnswer::Done]);
        assert_eq!(ends.requests(), [GET, POST, GET, POST], "{found:?}");
    }
}

#[test]
fn what_was_reported_before_the_cut_stays() {
    let ends = ends();
    ends.server.intercept(|request| {
        (request.method == "POST").then_some({
            Answer::Garble(|body| {
                let report = b"000eunpack ok\n0017ok refs/heads/main\n0018ok refs/heads/other\n";
                *body = format!("{:04x}\x01", 5 + report.len()).into_bytes();
                body.extend_from_slice(report);
            })
        })
    });
    let updates = [
        update(MAIN, Some(&ends.old), &ends.new),
        update(OTHER, None, &ends.new),
        update("refs/heads/third", None, &ends.new),
    ];
    let answers = ends.push(&updates).expect("an answer");
    let unclear = PushAnswer::Unclear {
        detail: "the server's report is cut off or makes no sense".to_owned(),
    };
    // Options may have followed the second line.
    assert_eq!(answers, [PushAnswer::Done, unclear.clone(), unclear]);
}

#[test]
fn cancelled_or_timed_out_while_the_server_works_is_unclear() {
    let ends = ends();
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let options = SyncOptions {
        cancel: Some(flag.clone()),
        ..SyncOptions::default()
    };
    ends.server.intercept(move |request| {
        (request.method == "POST").then(|| {
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
            Answer::Stall
        })
    });
    let updates = [update(MAIN, Some(&ends.old), &ends.new)];
    let answers = ends.push_in(&Run::new(&options), &updates);
    let detail = "the run was cancelled".to_owned();
    assert_eq!(
        answers.expect("it was sent"),
        [PushAnswer::Unclear { detail }]
    );
}

#[test]
fn a_request_that_is_refused_as_a_whole_is_an_error() {
    use ErrorKind::*;
    let cases: [(fn() -> Answer, ErrorKind); 4] = [
        (|| Answer::status(401), Authentication),
        (|| Answer::status(403), PermissionDenied),
        (|| Answer::status(413), Remote),
        (
            || Answer::Garble(|body| *body = b"0012ERR not today\n".to_vec()),
            Remote,
        ),
    ];
    for (answer, kind) in cases {
        let ends = ends();
        ends.server
            .intercept(move |request| (request.method == "POST").then(answer));
        let err = ends
            .push(&[update(MAIN, Some(&ends.old), &ends.new)])
            .expect_err("refused");
        assert_eq!(err.kind(), kind, "{err}");
        assert!(!format!("{err} {err:?} {:?}", ends.remote).contains("canary"));
    }
}

#[test]
fn who_may_not_push_learns_it_from_the_list() {
    let ends = ends();
    let anonymous = SmartHttp::new(ends.remote.url().as_str())
        .expect("a valid URL")
        .with_network_policy(NetworkPolicy::any());
    let err = anonymous.list_for_push(&run()).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::Authentication);

    let read_only = GitServer::builder(ends._sandbox.path()).start();
    let remote = SmartHttp::new(&read_only.url("destination.git"))
        .expect("a valid URL")
        .with_network_policy(NetworkPolicy::any());
    let err = remote.list_for_push(&run()).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_server_may_answer_in_protocol_v1() {
    let ends = ends();
    ends.server.intercept(|request| {
        (request.method == "GET").then_some({
            Answer::Garble(|body| {
                let announced = b"001f# service=git-receive-pack\n0000";
                assert!(body.starts_with(announced));
                let version = b"000eversion 1\n".iter().copied();
                body.splice(announced.len()..announced.len(), version);
            })
        })
    });
    let list = ends.remote.list_for_push(&run()).expect("a list");
    assert_eq!(list.refs.len(), 1);
    let answers = ends.push(&[update(MAIN, Some(&ends.old), &ends.new)]);
    assert_eq!(answers.expect("an answer"), [PushAnswer::Done]);
}

#[test]
fn a_server_need_not_offer_anything() {
    let unclear = PushAnswer::Unclear {
        detail: "the server reported nothing about this ref".to_owned(),
    };
    type Case = (fn(&mut Vec<u8>), PushAnswer);
    let cases: [Case; 3] = [
        (|listing| hide(listing, "side-band-64k"), PushAnswer::Done),
        (
            |listing| hide(listing, "report-status-v2"),
            PushAnswer::Done,
        ),
        (|listing| hide(listing, "report-status"), unclear),
    ];
    for (hide, answer) in cases {
        let ends = ends();
        ends.server
            .intercept(move |request| (request.method == "GET").then_some(Answer::Garble(hide)));
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
    ends.server.intercept(|request| {
        const LISTING: &[u8] = b"001f# service=git-receive-pack\n00000000";
        (request.method == "GET").then_some(Answer::Garble(|body| *body = LISTING.to_vec()))
    });
    let list = ends.remote.list_for_push(&run()).expect("a list");
    assert_eq!((list.refs, list.haves), (vec![], vec![]));
    assert_eq!(takes(&ends.remote), (true, false));
}

#[test]
fn nothing_to_push_is_no_request() {
    let ends = ends();
    let answers = ends
        .push_pack(&[], &ends.no_objects(), &run())
        .expect("no answers");
    assert_eq!(answers, []);
    assert_eq!(ends.requests(), [""; 0]);
}

#[test]
fn fetching_and_pushing_share_a_session() {
    use crate::RefSource as _;
    let ends = ends();
    let run = run();
    for _ in 0..2 {
        ends.remote
            .list(Service::UploadPack, &[], &run)
            .expect("a list");
        ends.remote.list_for_push(&run).expect("a list");
        let name = format!("refs/heads/{}", ends.requests().len());
        let answers = ends.push_pack(&[update(&name, None, &ends.old)], &ends.no_objects(), &run);
        assert_eq!(answers.expect("an answer"), [PushAnswer::Done]);
    }
    let connections = ends.server.requests().into_iter().map(|r| r.connection);
    assert!(connections.max() == Some(0), "one connection");
}
