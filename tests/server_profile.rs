//! The requests of a run that knows its server, and the outcome of one that knows it wrongly.
#![cfg(feature = "http")]

mod support;

use refsync::{
    Credentials, Error, ErrorKind, LocalStore, Outcome, Redirects, RefGlobs, ServerProfile,
    SmartHttp, SyncOptions, SyncRunStats, sync,
};
use support::pull::{FETCHED, LISTED, Pair, asked, copy, grow};
use support::{Answer, GitServer, ObjectFormat, RequestHead, wire};

/// The requests of a run that knows the server and finds nothing to do.
const KNOWN: &[&str] = &["ls-refs"];
/// Those of one that asks a server it knows wrongly, and then as any other run.
const MISTAKEN: &[&str] = &["ls-refs", "info/refs", "ls-refs"];

fn run(pair: &Pair, remote: &SmartHttp) -> Result<SyncRunStats, Error> {
    let local = LocalStore::open(&pair.destination.path).expect("a repository");
    pair.server.reset_counts();
    sync(remote, &local, &SyncOptions::default())
}

#[track_caller]
fn pull(pair: &Pair, remote: &SmartHttp) -> Vec<String> {
    let stats = run(pair, remote).expect("a run that does its work");
    let requests = pair.server.requests();
    assert_eq!(stats.traffic.requests, requests.len() as u64);
    assert_eq!(stats.count(Outcome::is_rejected), 0);
    assert_eq!(
        pair.destination.for_each_ref(),
        pair.upstream.for_each_ref()
    );
    asked(&requests)
}

/// Both ends in step, and what the first run has learnt.
fn known() -> (Pair, ServerProfile) {
    let pair = Pair::in_step();
    let remote = pair.remote();
    assert_eq!(remote.profile(), None);
    pull(&pair, &remote);
    let profile = remote.profile().expect("a v2 server");
    assert_eq!(profile.url(), remote.url());
    (pair, profile)
}

fn stored(profile: &ServerProfile) -> ServerProfile {
    let json = serde_json::to_string(profile).expect("JSON");
    let read: ServerProfile = serde_json::from_str(&json).expect("a profile");
    assert_eq!(read, *profile);
    read.to_string().parse().expect("a profile")
}

#[test]
fn one_request_where_nothing_changed_and_two_for_work() {
    let (pair, profile) = known();
    let again = || pair.remote().with_profile(stored(&profile));
    assert_eq!(pull(&pair, &again()), KNOWN);
    grow(&pair.upstream, "main", &[&pair.tip]);
    assert_eq!(pull(&pair, &again()), ["ls-refs", "fetch"]);
    grow(&pair.upstream, "more", &[&pair.tip]);
    assert_eq!(pull(&pair, &pair.remote()), FETCHED, "without it");
    assert_eq!(pull(&pair, &pair.remote()), LISTED, "without it");
}

#[test]
fn a_value_remembers_and_keeps_its_one_connection() {
    let pair = Pair::in_step();
    let remote = pair.remote();
    let connections = || {
        let requests = pair.server.requests().into_iter();
        let mut connections: Vec<_> = requests.map(|request| request.connection).collect();
        connections.dedup();
        connections
    };
    assert_eq!(pull(&pair, &remote), LISTED);
    let first = connections();
    assert_eq!(first.len(), 1);
    for round in 0..2 {
        let branch = format!("new-{round}");
        grow(&pair.upstream, &branch, &[&pair.tip]);
        assert_eq!(pull(&pair, &remote), ["ls-refs", "fetch"]);
        assert_eq!(connections(), first);
        assert_eq!(pull(&pair, &remote), KNOWN);
        assert_eq!(connections(), first);
    }
}

#[test]
fn a_profile_of_another_url_is_ignored() {
    let (pair, profile) = known();
    let other: ServerProfile = format!("{profile}x").parse().expect("a profile");
    let remote = pair.remote().with_profile(other);
    assert_eq!(remote.profile(), None);
    assert_eq!(pull(&pair, &remote), LISTED);
    assert_eq!(remote.profile(), Some(profile));
}

/// The answers of a server that is asked at once, each with the result of the run.
#[test]
fn every_surprise_costs_one_request() {
    type Mistake = (&'static str, fn() -> Answer);
    let mistakes: [Mistake; 12] = [
        ("400", || Answer::status(400)),
        ("403", || Answer::status(403)),
        ("404", || Answer::status(404)),
        ("405", || Answer::status(405)),
        ("500", || Answer::status(500)),
        ("301", || Answer::redirect(301, "/up.git/git-upload-pack")),
        ("ERR", || wire::result(wire::err_line("no such command"))),
        ("nothing", || wire::result(Vec::new())),
        ("no refs", || wire::listing(&["nonsense".into()])),
        ("html", || wire::ok("text/html", b"<html>".to_vec())),
        ("not HTTP", || Answer::Raw(b"nonsense".to_vec())),
        ("hung up", || Answer::TruncateAfter(30)),
    ];
    for (name, mistake) in mistakes {
        let (pair, profile) = known();
        let first = move |head: &RequestHead| head.number == 0;
        pair.server.intercept(move |head| first(head).then(mistake));
        let remote = pair.remote().with_profile(profile.clone());
        assert_eq!(pull(&pair, &remote), MISTAKEN, "{name}");
        assert_eq!(remote.profile(), Some(profile), "{name}");
        pair.server.intercept(|_| None);
        assert_eq!(pull(&pair, &remote), KNOWN, "{name}");
    }
}

#[test]
fn what_is_no_surprise_is_not_asked_again() {
    let wait = |code| Answer::Status {
        code,
        headers: vec![("Retry-After".into(), "7".into())],
        body: Vec::new(),
    };
    type Answering = Box<dyn Fn() -> Answer + Send + Sync>;
    let cases: [(ErrorKind, Answering); 4] = [
        (ErrorKind::Authentication, Box::new(|| Answer::status(401))),
        (ErrorKind::RateLimited, Box::new(move || wait(403))),
        (ErrorKind::RateLimited, Box::new(move || wait(429))),
        (ErrorKind::ServerError, Box::new(move || wait(503))),
    ];
    for (kind, answer) in cases {
        let (pair, profile) = known();
        pair.server.intercept(move |_| Some(answer()));
        let remote = pair.remote().with_profile(profile);
        let err = run(&pair, &remote).expect_err("refused");
        assert_eq!(err.kind(), kind, "{err}");
        assert_eq!(asked(&pair.server.requests()), KNOWN, "{kind:?}");
    }
}

#[test]
fn a_repository_that_is_gone_is_an_error_after_two_requests() {
    let (pair, profile) = known();
    std::fs::rename(&pair.upstream.path, pair.sandbox.path().join("gone")).expect("renamed");
    let remote = pair.remote().with_profile(profile);
    let err = run(&pair, &remote).expect_err("gone");
    assert_eq!(err.kind(), ErrorKind::NotFound);
    assert_eq!(asked(&pair.server.requests()), ["ls-refs", "info/refs"]);
    assert_eq!(remote.profile(), None);
}

#[test]
fn a_server_that_has_become_old_is_asked_as_one() {
    let (mut pair, _) = known();
    for version in [0, 1] {
        pair.server = GitServer::builder(pair.sandbox.path())
            .max_protocol(version)
            .start();
        let remote = pair.remote();
        let profile = format!("1 v2 sha1 {}", remote.url());
        let remote = remote.with_profile(profile.parse().expect("a profile"));
        grow(&pair.upstream, &format!("new-{version}"), &[&pair.tip]);
        assert_eq!(pull(&pair, &remote), ["ls-refs", "info/refs", "fetch"]);
        assert_eq!(remote.profile(), None, "of no use any more");
        assert_eq!(pull(&pair, &remote), ["info/refs"]);
    }
}

#[test]
fn a_repository_that_was_converted_is_found_out() {
    for (before, after) in [
        (ObjectFormat::Sha1, ObjectFormat::Sha256),
        (ObjectFormat::Sha256, ObjectFormat::Sha1),
    ] {
        let (pair, profile) = known_in(before);
        std::fs::remove_dir_all(&pair.upstream.path).expect("removed");
        let upstream = pair.sandbox.init_bare("up.git", after);
        grow(&upstream, "main", &[]);
        let remote = pair.remote().with_profile(profile);
        let err = run(&pair, &remote).expect_err("another format");
        assert_eq!(err.kind(), ErrorKind::ObjectFormatMismatch);
        assert_eq!(asked(&pair.server.requests()), MISTAKEN);
        let found = remote.profile().expect("a v2 server").object_format();
        assert_eq!(found.to_string(), format(after));
    }
}

fn format(format: ObjectFormat) -> &'static str {
    match format {
        ObjectFormat::Sha1 => "sha1",
        ObjectFormat::Sha256 => "sha256",
    }
}

fn known_in(format: ObjectFormat) -> (Pair, ServerProfile) {
    let mut pair = Pair::in_step();
    for repo in [&pair.upstream, &pair.destination] {
        std::fs::remove_dir_all(&repo.path).expect("removed");
    }
    pair.upstream = pair.sandbox.init_bare("up.git", format);
    pair.destination = pair.sandbox.init_bare("down.git", format);
    grow(&pair.upstream, "main", &[]);
    copy(&pair.upstream, &pair.destination);
    let remote = pair.remote();
    assert_eq!(pull(&pair, &remote), LISTED);
    let profile = remote.profile().expect("a v2 server");
    assert_eq!(
        pull(&pair, &pair.remote().with_profile(profile.clone())),
        KNOWN
    );
    (pair, profile)
}

/// A list without refs doesn't show in which format they would be.
#[test]
fn an_empty_list_takes_the_capabilities_as_well() {
    let (pair, profile) = known();
    let local = LocalStore::open(&pair.destination.path).expect("a repository");
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("release/*"), None).expect("a glob");
    for (format, expected) in [
        ("sha1", &["ls-refs", "info/refs"][..]),
        ("sha256", MISTAKEN),
    ] {
        let profile = profile.to_string().replace("sha1", format);
        let remote = pair.remote();
        let remote = remote.with_profile(profile.parse().expect("a profile"));
        // Not as git, which looks at the format that it is told.
        pair.server.intercept(|head| {
            let is_first = head.number == 0;
            is_first.then(|| wire::listing(&[]))
        });
        pair.server.reset_counts();
        let stats = sync(&remote, &local, &options).expect("a run");
        assert_eq!(stats.refs.len(), 0);
        assert_eq!(asked(&pair.server.requests()), expected, "{format}");
        let found = remote.profile().expect("a v2 server").object_format();
        assert_eq!(found, refsync::ObjectFormat::Sha1);
    }
}

#[test]
fn a_shallow_destination_tells_its_boundary_to_who_understands_it() {
    let pair = Pair::in_step();
    let url = format!("file://{}", pair.upstream.path.display());
    let shallow = pair.sandbox.path().join("shallow.git");
    let (depth, to) = ("--depth=1", shallow.to_string_lossy());
    pair.sandbox
        .git(&["clone", "-q", "--bare", depth, &url, &to]);
    let local = LocalStore::open(&shallow).expect("a repository");
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("main"), None).expect("a glob");
    let remote = pair.remote();
    sync(&remote, &local, &options).expect("a run");
    grow(&pair.upstream, "main", &[&pair.tip]);
    pair.server.reset_counts();
    let stats = sync(&remote, &local, &options).expect("a run");
    assert_eq!(stats.count(Outcome::is_updated), 1, "{stats:?}");
    let asked = asked(&pair.server.requests());
    assert_eq!(asked, ["ls-refs", "info/refs", "fetch"]);
}

/// Its requests may go elsewhere by the next run, and are asked about again.
#[test]
fn a_redirect_is_not_remembered() {
    let pair = Pair::in_step();
    let moved = SmartHttp::new(&pair.server.url("old.git"))
        .expect("a URL")
        .with_network_policy(refsync::NetworkPolicy::any())
        .with_credentials(Credentials::token("canary"))
        .with_redirects(Redirects::SameOrigin);
    pair.server.intercept(|head| {
        let query = "info/refs?service=git-upload-pack";
        let is_old = head.path.starts_with("/old.git/");
        is_old.then(|| Answer::redirect(302, &format!("/up.git/{query}")))
    });
    let redirected = ["info/refs", "info/refs", "ls-refs"];
    for _ in 0..2 {
        assert_eq!(pull(&pair, &moved), redirected);
        assert_eq!(moved.profile(), None);
    }
    // Known as what it was before it moved.
    let profile: ServerProfile = format!("1 v2 sha1 {}", moved.url()).parse().expect("one");
    let moved = moved.with_profile(profile);
    let asked = pull(&pair, &moved);
    assert_eq!(asked[1..], redirected);
    let paths: Vec<_> = pair.server.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(
        paths,
        [
            "/old.git/git-upload-pack",
            "/old.git/info/refs",
            "/up.git/info/refs",
            "/up.git/git-upload-pack"
        ]
    );
    assert_eq!(moved.profile(), None);
}

#[test]
fn nothing_secret_is_in_it() {
    let sandbox = support::Sandbox::new();
    let upstream = sandbox.init_bare("up.git", ObjectFormat::Sha1);
    grow(&upstream, "main", &[]);
    let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path())
        .auth("someone", "canary")
        .start();
    let remote = SmartHttp::new(&server.url("up.git"))
        .expect("a URL")
        .with_network_policy(refsync::NetworkPolicy::any());
    let profile = format!("1 v2 sha1 {}", remote.url());
    let remote = remote.with_profile(profile.parse().expect("a profile"));
    let local = LocalStore::open(&destination.path).expect("a repository");
    let err = sync(&remote, &local, &SyncOptions::default()).expect_err("no credentials");
    assert_eq!(err.kind(), ErrorKind::Authentication);
    assert_eq!(asked(&server.requests()), KNOWN);

    let remote = remote.with_credentials(Credentials::username_password("someone", "canary"));
    sync(&remote, &local, &SyncOptions::default()).expect("a run");
    let found = remote.profile().expect("a v2 server");
    assert_eq!(found.to_string(), profile);
    let json = serde_json::to_string(&found).expect("JSON");
    assert!(!format!("{found:?} {json} {remote:?}").contains("canary"));
}
