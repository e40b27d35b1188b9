use crate::support::wire::noise;
use crate::support::{GitServer, ObjectFormat, ref_heavy};
use crate::{DATE, exchange, origin};
use std::fs;
use std::sync::{Arc, Mutex};

#[test]
fn git_clones_fetches_pushes_and_lists_over_any_protocol() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        for tls in [false, true] {
            for version in 0..=2 {
                round_trip(format, tls, version);
            }
        }
    }
}

fn round_trip(format: ObjectFormat, tls: bool, version: u8) {
    let (sandbox, origin) = origin(format);
    let builder = GitServer::builder(sandbox.path())
        .tls(tls)
        .receive_pack(true);
    let server = builder.max_protocol(version).start();
    let url = server.url("origin.git");
    assert_eq!(url.starts_with("https://localhost:"), tls);
    let certificate = sandbox.path().join("server.pem");
    if tls {
        assert!(
            !sandbox.try_git(&["ls-remote", &url]).status.success(),
            "an unknown certificate"
        );
        fs::write(&certificate, server.certificate_pem()).unwrap();
    }
    let trust = format!("http.sslCAInfo={}", certificate.display());

    sandbox.git(&["-c", &trust, "clone", "--quiet", &url, "clone"]);
    let clone = sandbox.repo("clone");
    let tip = origin.git(&["rev-parse", "main"]);
    assert_eq!(clone.git(&["rev-parse", "HEAD"]), tip);

    let fetched = origin.commit("main", &[&tip], "fetched\n", &[("f", "1")], DATE);
    clone.git(&["-c", &trust, "fetch", "--quiet"]);
    assert_eq!(clone.git(&["rev-parse", "origin/main"]), fetched);

    let pushed = clone.commit("main", &[&fetched], "pushed\n", &[("p", "1")], DATE);
    clone.git(&["-c", &trust, "push", "--quiet", "origin", "main"]);
    assert_eq!(origin.git(&["rev-parse", "main"]), pushed);

    server.reset_counts();
    let listed = sandbox.git(&["-c", &trust, "ls-remote", &url, "refs/heads/main"]);
    assert_eq!(listed, format!("{pushed}\trefs/heads/main"));
    assert_eq!(server.requests().len(), if version == 2 { 2 } else { 1 });
    origin.fsck();
}

#[test]
fn the_backend_speaks_no_later_protocol_than_allowed() {
    let (sandbox, _) = origin(ObjectFormat::Sha1);
    for (version, says) in [
        (0, None),
        (1, Some("version 1\n")),
        (2, Some("version 2\n")),
    ] {
        let server = GitServer::builder(sandbox.path())
            .max_protocol(version)
            .start();
        let listing = exchange(
            &server,
            "GET /origin.git/info/refs?service=git-upload-pack HTTP/1.1\r\n\
             Git-Protocol: version=2\r\nConnection: close\r\n\r\n",
        );
        let said = ["version 1\n", "version 2\n"]
            .into_iter()
            .find(|line| listing.contains(line));
        assert_eq!(said, says, "{listing}");
        assert_eq!(
            server.requests()[0].git_protocol.as_deref(),
            Some("version=2")
        );
    }
}

#[test]
fn requests_and_bytes_are_counted() {
    let (sandbox, _) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path()).start();
    sandbox.git(&["ls-remote", &server.url("origin.git")]);
    let requests = server.requests();
    let [refs, list] = requests.as_slice() else {
        panic!("{requests:#?}")
    };
    assert_eq!(
        (refs.method.as_str(), refs.path.as_str()),
        ("GET", "/origin.git/info/refs")
    );
    assert_eq!(
        (refs.query.as_str(), &refs.command),
        ("service=git-upload-pack", &None)
    );
    assert_eq!(
        (list.method.as_str(), list.path.as_str()),
        ("POST", "/origin.git/git-upload-pack")
    );
    assert_eq!(list.command.as_deref(), Some("ls-refs"));
    for request in &requests {
        assert_eq!(request.status, Some(200));
        assert_eq!(request.connection, refs.connection, "kept alive");
        assert_eq!(request.git_protocol.as_deref(), Some("version=2"));
        assert!(
            request
                .user_agent
                .as_deref()
                .is_some_and(|agent| agent.starts_with("git/"))
        );
        assert!(!request.authorization);
    }
    let content = (
        list.request_bytes,
        refs.response_bytes + list.response_bytes,
    );
    let wire = server.wire_bytes();
    assert!(
        content.0 > 0 && wire.0 > content.0 && wire.1 > content.1,
        "{wire:?} {content:?}"
    );

    server.reset_counts();
    assert_eq!((server.requests().len(), server.wire_bytes()), (0, (0, 0)));
    sandbox.git(&["clone", "--quiet", &server.url("origin.git"), "clone"]);
    let commands: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.command)
        .collect();
    assert_eq!(
        commands,
        [None, Some("ls-refs".to_owned()), Some("fetch".to_owned())]
    );
}

#[test]
fn compressed_chunked_and_expected_bodies_are_read() {
    let (sandbox, origin) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let url = server.url("origin.git");
    let many = sandbox.init_bare("many.git", ObjectFormat::Sha1);
    ref_heavy(&many, 100, 60);
    let header = seen_headers(&server, "content-encoding");
    sandbox.git(&[
        "clone",
        "--quiet",
        "--mirror",
        &server.url("many.git"),
        "mirror.git",
    ]);
    assert_eq!(
        sandbox.repo("mirror.git").for_each_ref(),
        many.for_each_ref()
    );
    assert_eq!(
        header.lock().unwrap().last(),
        Some(&Some("gzip".to_owned()))
    );
    assert_eq!(
        server.requests().last().unwrap().command.as_deref(),
        Some("fetch")
    );

    let header = seen_headers(&server, "transfer-encoding");
    let local = sandbox.init_bare("local.git", ObjectFormat::Sha1);
    let large = local.commit("large", &[], "large\n", &[("noise", &noise(200_000))], DATE);
    local.git(&[
        "-c",
        "http.postBuffer=65536",
        "push",
        "--quiet",
        &url,
        "large",
    ]);
    assert_eq!(origin.git(&["rev-parse", "large"]), large);
    assert!(header.lock().unwrap().contains(&Some("chunked".to_owned())));

    let answer = exchange(
        &server,
        "POST /origin.git/git-upload-pack HTTP/1.1\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\n\
         Content-Length: 24\r\nConnection: close\r\n\r\n0014command=ls-refs\n0000",
    );
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "),
        "{answer}"
    );
    assert!(
        answer.contains("refs/heads/main") && answer.ends_with("\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn credentials_and_pushes_are_asked_for_or_refused() {
    let (sandbox, _) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path())
        .auth("us/er", "p@ss")
        .start();
    let url = server.url("origin.git");
    let login = |name: &str| url.replace("://", &format!("://{name}@"));
    let statuses = || {
        let asked: Vec<_> = server
            .requests()
            .iter()
            .map(|r| (r.authorization, r.status))
            .collect();
        server.reset_counts();
        asked
    };
    assert!(!sandbox.try_git(&["ls-remote", &url]).status.success());
    assert_eq!(statuses(), [(false, Some(401))]);
    assert!(
        !sandbox
            .try_git(&["ls-remote", &login("us%2fer:wrong")])
            .status
            .success()
    );
    assert_eq!(statuses(), [(false, Some(401)), (true, Some(401))]);
    sandbox.git(&["ls-remote", &login("us%2fer:p%40ss")]);
    assert_eq!(
        statuses(),
        [(false, Some(401)), (true, Some(200)), (true, Some(200))]
    );

    let local = sandbox.init_bare("local.git", ObjectFormat::Sha1);
    local.commit("new", &[], "new\n", &[], DATE);
    assert!(
        !local
            .try_git(&["push", &login("us%2fer:p%40ss"), "new"])
            .status
            .success()
    );
    assert_eq!(statuses().last(), Some(&(true, Some(403))));
}

fn seen_headers(server: &GitServer, name: &'static str) -> Arc<Mutex<Vec<Option<String>>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_there = Arc::clone(&seen);
    server.intercept(move |head| {
        seen_there
            .lock()
            .unwrap()
            .push(head.header(name).map(str::to_owned));
        None
    });
    seen
}
