use crate::support::{Answer, GitServer, ObjectFormat};
use crate::{DATE, exchange, origin};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

#[test]
fn a_lost_answer_is_an_error_to_git_but_the_request_took_effect() {
    let (sandbox, origin) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let url = server.url("origin.git");
    server.intercept(|head| (head.method == "POST").then_some(Answer::TruncateAfter(0)));
    let local = sandbox.init_bare("local.git", ObjectFormat::Sha1);
    let pushed = local.commit("new", &[], "new\n", &[], DATE);
    assert!(!local.try_git(&["push", &url, "new"]).status.success());
    assert_eq!(origin.git(&["rev-parse", "new"]), pushed);

    server.reset_counts();
    server.intercept(|head| {
        (head.command().as_deref() == Some("fetch")).then_some(Answer::TruncateAfter(100))
    });
    assert!(!sandbox.try_git(&["clone", &url, "clone"]).status.success());
    let fetch = server.requests().pop().unwrap();
    assert_eq!((fetch.status, fetch.response_bytes), (Some(200), 100));

    server.intercept(|_| Some(Answer::TruncateAfter(u64::MAX)));
    assert!(
        !sandbox.try_git(&["ls-remote", &url]).status.success(),
        "cut before the end at least"
    );
}

#[test]
fn garbled_scripted_and_raw_answers_arrive_as_given() {
    let (sandbox, _) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path()).start();
    let url = server.url("origin.git");
    server.intercept(|_| Some(Answer::Garble(|_| {})));
    sandbox.git(&["clone", "--quiet", &url, "unharmed"]);
    server.intercept(|head| {
        let flip_near_the_end = |body: &mut Vec<u8>| {
            let at = body.len() - 20;
            body[at] ^= 1;
        };
        (head.command()? == "fetch").then_some(Answer::Garble(flip_near_the_end))
    });
    assert!(!sandbox.try_git(&["clone", &url, "harmed"]).status.success());

    server.reset_counts();
    let elsewhere = url.clone();
    server.intercept(move |head| match head.number {
        0 => Some(Answer::redirect(
            302,
            &format!("{elsewhere}/info/refs?{}", head.query),
        )),
        1 => Some(Answer::status(503)),
        _ => Some(Answer::Raw(b"no HTTP at all".to_vec())),
    });
    assert!(
        !sandbox
            .try_git(&["ls-remote", &server.url("moved.git")])
            .status
            .success()
    );
    let seen: Vec<_> = server
        .requests()
        .into_iter()
        .map(|r| (r.path, r.status))
        .collect();
    let expected = [
        ("/moved.git/info/refs", 302),
        ("/origin.git/info/refs", 503),
    ];
    assert_eq!(
        seen,
        expected.map(|(path, status)| (path.to_owned(), Some(status)))
    );
    assert_eq!(
        exchange(&server, "GET / HTTP/1.1\r\n\r\n"),
        "no HTTP at all"
    );
}

#[test]
fn an_intercept_may_change_a_ref_between_listing_and_fetch() {
    let (sandbox, origin) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path()).start();
    let listed = origin.git(&["rev-parse", "main"]);
    let (repo, parent) = (origin.clone(), listed.clone());
    server.intercept(move |head| {
        if head.command()? == "fetch" {
            repo.commit("main", &[&parent], "raced\n", &[], DATE);
        }
        None
    });
    sandbox.git(&["clone", "--quiet", &server.url("origin.git"), "clone"]);
    assert_eq!(sandbox.repo("clone").git(&["rev-parse", "HEAD"]), listed);
    assert_eq!(origin.git(&["rev-parse", "main^"]), listed);
}

#[test]
fn dropping_the_server_ends_a_stall() {
    stall_until_dropped(false, || Answer::Stall);
    stall_until_dropped(true, || Answer::Stall);
    stall_until_dropped(false, || Answer::StallAfter(u64::MAX));
}

fn stall_until_dropped(tls: bool, stall: fn() -> Answer) {
    let (sandbox, _) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path()).tls(tls).start();
    let (asked, is_asked) = mpsc::channel();
    server.intercept(move |_| {
        asked.send(()).unwrap();
        Some(stall())
    });
    let url = server.url("origin.git");
    let listing = thread::scope(|scope| {
        let git = || sandbox.try_git(&["-c", "http.sslVerify=false", "ls-remote", &url]);
        let listing = scope.spawn(git);
        is_asked.recv().unwrap();
        drop(server);
        listing.join().unwrap()
    });
    assert!(!listing.status.success());
}

#[cfg(unix)]
#[test]
fn dropping_the_server_kills_a_hook_that_is_running() {
    use std::os::unix::fs::PermissionsExt;

    let (sandbox, origin) = origin(ObjectFormat::Sha1);
    let hook = origin.path.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\n: >began; sleep 20; : >ended\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let local = sandbox.init_bare("local.git", ObjectFormat::Sha1);
    local.commit("new", &[], "new\n", &[], DATE);

    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let url = server.url("origin.git");
    thread::scope(|scope| {
        let push = scope.spawn(|| local.try_git(&["push", &url, "new"]));
        while !origin.path.join("began").exists() && !push.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        drop(server);
        assert!(!push.join().unwrap().status.success());
    });
    assert!(origin.path.join("began").exists());
    assert!(!origin.path.join("ended").exists());
    assert!(
        origin
            .try_git(&["rev-parse", "--verify", "new"])
            .status
            .code()
            != Some(0)
    );
}

#[test]
#[should_panic(expected = "a thread of the server panicked")]
fn a_panic_in_an_intercept_is_the_tests() {
    let (sandbox, _) = origin(ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path()).start();
    server.intercept(|_| panic!("as an assertion would"));
    assert!(
        !sandbox
            .try_git(&["ls-remote", &server.url("origin.git")])
            .status
            .success()
    );
}
