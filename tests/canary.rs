//! No secret is in anything that a run says, logs or leaves on disk, whatever comes of the run.
#![cfg(feature = "http")]
#![expect(
    clippy::print_stdout,
    reason = "what a child says is searched by its parent"
)]

mod support;

use refsync::{
    Credentials, Error, LocalStore, NetworkPolicy, RefGlobs, RemoteUrl, SmartHttp, SyncOptions,
    SyncRunStats, Timeouts, sync,
};
use std::env;
use std::error::Error as _;
use std::fmt::Debug;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::canary::{CANARY, base64, percent_encoded, search, secrets_in};
use support::pull::{copy, grow};
use support::{Answer, GitServer, ObjectFormat, Repo, RequestHead, Sandbox};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const USER: &str = "someone";
const SPEAKS: &str = "REFSYNC_TEST_SPEAKS";
const WITH_WIRE_LOGS: &str = "REFSYNC_TEST_WITH_WIRE_LOGS";
/// The modules of ureq that log the bytes on the wire: requests as they are at the level TRACE, and the headers
/// of responses at DEBUG.
const WIRE_LOGS: [&str; 2] = ["ureq_proto::util", "ureq::run"];
/// The last line of the child's output, which shows its parent that it looks at the right place.
const THE_END: &str = "all runs are over";

/// Everything that could be read by who may not know the secret: what a process of its own prints,
/// which is all that it has logged and all `Debug` forms as well, and every file.
#[test]
fn no_secret_is_said_logged_or_kept() {
    look_for_secrets(&[]);
}

/// Not even in the logs of every byte that goes over the wire.
#[test]
fn no_secret_is_logged_by_who_sends_it() {
    look_for_secrets(&[(WITH_WIRE_LOGS, "1")]);
}

fn look_for_secrets(set: &[(&str, &str)]) {
    let temporary = tempfile::tempdir().unwrap();
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "runs_with_secrets"])
        .env(SPEAKS, temporary.path())
        .env("TMPDIR", temporary.path())
        .envs(set.iter().copied())
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(child.status.success() && text.contains(THE_END), "{text}");
    for expected in [
        "method=POST",
        "status=401",
        "Credentials::Token(..)",
        "Credentials::UsernamePassword(..)",
        "refs/heads/topic",
        "Authentication",
        "Redirected",
        "RateLimited",
        "InvalidUrl",
        "Network",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(secrets_in(&said), [""; 0]);
    let files = search(temporary.path());
    assert!(files > 50, "{files}");
}

#[test]
fn a_secret_would_be_found() {
    let token = base64(format!("x-access-token:{CANARY}").as_bytes());
    let forms = [
        CANARY.to_owned(),
        token,
        base64(CANARY.as_bytes()),
        base64(format!("a{CANARY}").as_bytes()),
        base64(format!("ab{CANARY}").as_bytes()),
        percent_encoded(CANARY),
        format!("{CANARY:?}"),
    ];
    for form in forms {
        assert_ne!(
            secrets_in(format!("before{form}after").as_bytes()),
            [""; 0],
            "{form}"
        );
    }
    assert_eq!(secrets_in(b"nothing to see"), [""; 0]);
}

/// Not a test: what the other one runs in a process of its own.
#[test]
#[ignore = "runs as the child of another test"]
fn runs_with_secrets() {
    if env::var_os(SPEAKS).is_none() {
        return;
    }
    tracing::subscriber::set_global_default(Log).unwrap();
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let token = || Credentials::token(CANARY);
    let password = || Credentials::username_password(USER, CANARY);
    for (credentials, user) in [
        (token(), "x-access-token"),
        (token().with_username(USER), USER),
        (password(), USER),
    ] {
        let right = Place::new(user, CANARY);
        right.both_ways(&credentials, true);
        let wrong = Place::new(user, "another one");
        wrong.both_ways(&credentials, false);
    }
    for answer in ANSWERS {
        let place = Place::new(USER, CANARY);
        place.server.intercept(*answer);
        place.both_ways(&password(), false);
        // Only once the listing was fine.
        place
            .server
            .intercept(|head| (head.method == "POST").then(|| answer(head))?);
        place.both_ways(&token().with_username(USER), false);
    }
    unreachable_places(&token());
    refused_beforehand();
    say(&THE_END);
    // Kept, for the other process to search.
}

type Respond = fn(&RequestHead) -> Option<Answer>;

/// The answers of a server, some with the secret that it was told.
const ANSWERS: &[Respond] = &[
    |head| echo(head, 400),
    |head| echo(head, 403),
    |head| echo(head, 404),
    |head| echo(head, 429),
    |head| echo(head, 503),
    |head| echo(head, 200),
    |head| echo(head, 302),
    |_| {
        Some(Answer::redirect(
            307,
            &format!("https://{USER}:{}@localhost/x", percent_encoded(known())),
        ))
    },
    |_| Some(Answer::Raw(Vec::new())),
    |_| Some(Answer::TruncateAfter(30)),
    |_| Some(Answer::Stall),
    |_| Some(Answer::Garble(|body| body.truncate(40))),
];

/// The secret as a server knows it that says what it was told. What servers say is what ureq logs, so
/// none says it there.
fn known() -> &'static str {
    match env::var_os(WITH_WIRE_LOGS) {
        None => CANARY,
        Some(_) => "nothing",
    }
}

fn echo(head: &RequestHead, code: u16) -> Option<Answer> {
    let secret = known();
    let authorization = head.header("authorization").filter(|_| secret == CANARY);
    let authorization = authorization.unwrap_or_default().to_owned();
    let headers = vec![
        ("X-Echo".to_owned(), authorization.clone()),
        ("Location".to_owned(), format!("/?{authorization}&{secret}")),
        ("Retry-After".to_owned(), "7".to_owned()),
        (
            "WWW-Authenticate".to_owned(),
            format!("Basic realm=\"{authorization}\""),
        ),
    ];
    let body = format!("{authorization} {secret}").into_bytes();
    Some(Answer::Status {
        code,
        headers,
        body,
    })
}

struct Place {
    _sandbox: Sandbox,
    server: GitServer,
    local: Repo,
}

impl Place {
    fn new(user: &str, secret: &str) -> Self {
        let sandbox = Sandbox::new();
        let up = sandbox.init_bare("up.git", ObjectFormat::Sha1);
        let root = grow(&up, "main", &[]);
        let local = sandbox.init_bare("local.git", ObjectFormat::Sha1);
        local.git(&["config", "core.logAllRefUpdates", "always"]);
        copy(&up, &local);
        grow(&up, "main", &[&root]);
        grow(&local, "topic", &[&root]);
        let server = GitServer::builder(sandbox.path());
        let server = server.receive_pack(true).auth(user, secret).start();
        Place {
            _sandbox: sandbox,
            server,
            local,
        }
    }

    /// A pull and a push, and all that there is to print of them.
    fn both_ways(&self, credentials: &Credentials, succeeds: bool) {
        let url = self.server.url("up.git");
        let remote = remote(&url, credentials);
        let local = LocalStore::open(&self.local.path).unwrap();
        say(&(
            credentials,
            &remote,
            &local,
            remote.url(),
            remote.url().origin(),
        ));
        for (branch, is_push) in [("main", false), ("topic", true)] {
            let mut options = SyncOptions::default();
            options.globs = RefGlobs::new(Some(branch), None).unwrap();
            say(&(&options.globs, &options.limits, &options.tags));
            let result = match is_push {
                true => sync(&local, &remote, &options),
                false => sync(&remote, &local, &options),
            };
            assert!(result.is_ok() || !succeeds, "{result:?}");
            say_result(&result);
        }
    }
}

impl Drop for Place {
    /// Puts the findings aside, for the search.
    fn drop(&mut self) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let kept = Path::new(&env::var_os(SPEAKS).unwrap())
            .join(format!("kept-{}", NUMBER.fetch_add(1, Ordering::SeqCst)));
        self.local.copy_to(&kept);
    }
}

fn remote(url: &str, credentials: &Credentials) -> SmartHttp {
    let mut timeouts = Timeouts::default();
    timeouts.idle = Duration::from_millis(500);
    SmartHttp::new(url)
        .unwrap()
        .with_network_policy(NetworkPolicy::any())
        .with_credentials(credentials.clone())
        .with_timeouts(timeouts)
}

/// Nobody there, nobody of that name, and nobody who speaks TLS.
fn unreachable_places(credentials: &Credentials) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let place = Place::new(USER, CANARY);
    let plain = place.server.address().port();
    let local = LocalStore::open(&place.local.path).unwrap();
    for url in [
        format!("http://localhost:{port}/up.git"),
        "http://name.invalid/up.git".to_owned(),
        format!("https://localhost:{plain}/up.git"),
        format!("http://localhost:{plain}/no-such.git"),
    ] {
        let remote = remote(&url, credentials);
        say_result(&sync(&remote, &local, &SyncOptions::default()));
        say_result(&sync(&local, &remote, &SyncOptions::default()));
    }
    let forbidden = remote(&place.server.url("up.git"), credentials);
    let forbidden = forbidden.with_network_policy(NetworkPolicy::public());
    say_result(&sync(&forbidden, &local, &SyncOptions::default()));
}

/// Secrets where none may be, and such as can't be sent.
fn refused_beforehand() {
    let encoded = percent_encoded(CANARY);
    for url in [
        format!("https://{USER}:{encoded}@example.com/up.git"),
        format!("https://{encoded}@example.com/up.git"),
        format!("https://{CANARY}@example.com/up.git"),
        format!("https://example.com/up.git?token={encoded}"),
        format!("https://example.com/up.git#{encoded}"),
        format!("ssh://{USER}:{encoded}@example.com/up.git"),
        format!("{USER}:{CANARY}@example.com/up.git"),
    ] {
        let err = RemoteUrl::parse(&url).expect_err("a secret in it");
        say_error(&err);
        say_error(&SmartHttp::new(&url).expect_err("a secret in it"));
    }
    let place = Place::new(USER, CANARY);
    let local = LocalStore::open(&place.local.path).unwrap();
    for credentials in [
        Credentials::token(format!("{CANARY}\n")),
        Credentials::token(CANARY).with_username(format!("{CANARY}:")),
        Credentials::username_password(format!("{CANARY}\r"), CANARY),
    ] {
        let remote = remote(&place.server.url("up.git"), &credentials);
        say(&(&credentials, &remote));
        say_result(&sync(&remote, &local, &SyncOptions::default()));
    }
}

fn say_result(result: &Result<SyncRunStats, Error>) {
    match result {
        Ok(stats) => {
            say(&stats);
            say(&serde_json::to_string(stats).unwrap());
            for found in &stats.refs {
                say(&found.outcome.reason().map(ToString::to_string));
            }
        }
        Err(err) => say_error(err),
    }
}

fn say_error(err: &Error) {
    say(&(
        err,
        err.kind(),
        err.stats(),
        err.retry_after(),
        err.to_string(),
    ));
    let mut cause = err.source();
    while let Some(err) = cause {
        say(&(err, err.to_string()));
        cause = err.source();
    }
}

/// To where who started the process sees it.
fn say(what: &dyn Debug) {
    println!("{what:?}\n{what:#?}");
}

/// Says all fields of all spans and events of every library, whatever their level.
struct Log;

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        println!("{}={value:?}", field.name());
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Log);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Log);
    }
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Log);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let is_wire = WIRE_LOGS.contains(&record.target());
        if !is_wire || env::var_os(WITH_WIRE_LOGS).is_some() {
            // Without what stands between the lines of a dump.
            let text = text.split_once("  ").map_or(&*text, |(_, bytes)| bytes);
            print!("{text}");
        }
    }
    fn flush(&self) {}
}
