//! A whole lifecycle with known secrets, and the search for them everywhere that they must not be.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::engine::server::Answer as RawAnswer;
use crate::support::{Answer, Client, Receiver, Upstream, postgres};

const PASSWORD: &str = "canary-3f9c1d77e2";
const WRONG: &str = "canary-a81b6602cd";
/// The password of the database.
const DATABASE: &str = "canary-77d02b6a19";
/// Base64 of `git:` and each of them, as it stands in an `Authorization` header.
const ENCODED: [&str; 2] = [
    "Z2l0OmNhbmFyeS0zZjljMWQ3N2Uy",
    "Z2l0OmNhbmFyeS1hODFiNjYwMmNk",
];

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts the program at the most verbose level of its log; its client with the admin key.
fn start(folder: &Path, config: &Path) -> (Daemon, Client) {
    let log = File::create(folder.join("stderr")).expect("a file");
    let child = Command::new(env!("CARGO_BIN_EXE_refsyncd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--network", "any"])
        .env("RUST_LOG", "trace")
        .env("REFSYNCD_CONFIG", config)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn();
    let mut daemon = Daemon(child.expect("the program"));
    let out = daemon.0.stdout.take().expect("a pipe");
    let lines = BufReader::new(out).lines().take(2);
    let lines: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    let value = |prefix: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(prefix));
        found
            .unwrap_or_else(|| panic!("{prefix}: {lines:?}"))
            .to_owned()
    };
    let client = Client::new(&value("listening on "), Some(&value("admin key: ")));
    (daemon, client)
}

fn auth(password: &str) -> Value {
    json!({ "kind": "username_password", "username": "git", "password": password })
}

/// Looks for the secrets in every file of the folder but that of the master key.
fn search(folder: &Path, secrets: &[String]) -> usize {
    let mut files = 0;
    for entry in folder.read_dir().expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files += search(&path, secrets);
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        files += 1;
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in {}", path.display());
        }
    }
    files
}

/// Lets the fetch from `loud.git` be answered with the client's own credential, as progress and as the reason why there
/// is no pack.
fn repeat_credential(upstream: &Upstream) {
    upstream.repo("loud.git");
    upstream.server.intercept(|head| {
        let is_fetch = head.path.contains("loud") && head.command().as_deref() == Some("fetch");
        let authorization = head.header("authorization").filter(|_| is_fetch)?;
        let text = format!("{authorization} {PASSWORD}");
        let lines = [
            "packfile\n",
            &format!("\u{2}{text}"),
            &format!("ERR {text}"),
        ];
        let packet = |line: &str| format!("{:04x}{line}", line.len() + 4);
        let body = lines.map(packet).concat();
        let kind = "application/x-git-upload-pack-result";
        let head = format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        Some(RawAnswer::Raw(
            format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into(),
        ))
    });
}

fn run(client: &Client, answers: &mut Vec<Answer>, name: &str, status: &str) {
    let path = format!("/v1/default/{name}/upstream/syncs");
    let queued = client.post(&path, json!({ "direction": "pull" }));
    let id = queued.json["id"].as_str().expect("an id").to_owned();
    answers.push(queued);
    let ended = client.get(&format!("{path}/{id}?wait=30"));
    assert_eq!(ended.json["status"], status, "{}", ended.text);
    answers.push(ended);
}

#[test]
fn no_secret_is_anywhere_but_where_it_is_shown_once() {
    look_everywhere(None);
}

#[test]
fn no_secret_is_anywhere_with_postgresql() {
    if let Some(server) = postgres::Server::start() {
        look_everywhere(Some(&server));
    }
}

fn look_everywhere(server: Option<&postgres::Server>) {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = Upstream::start_with(|server| server.auth("git", PASSWORD));
    upstream.repo("up.git");
    repeat_credential(&upstream);
    // The first delivery is refused, so that there is one to repeat.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let receiver = Receiver::answering(move |_| {
        let is_first = !refused.swap(true, std::sync::atomic::Ordering::SeqCst);
        if is_first { 500 } else { 204 }
    });
    // The server trusts everybody, so it is not asked for.
    let config = tempfile::NamedTempFile::new().expect("a file");
    if let Some(server) = server {
        let database = format!("{}&password={DATABASE}", server.database("refsyncd"));
        std::fs::write(config.path(), format!("database = \"{database}\"\n")).expect("written");
    }
    let (daemon, client) = start(folder.path(), config.path());
    let mut answers = Vec::new();
    let known = [PASSWORD, WRONG, DATABASE, client.key()];
    let mut secrets: Vec<String> = known.map(str::to_owned).into();
    secrets.extend(ENCODED.map(str::to_owned));

    let url = upstream.url("up.git");
    let body = json!({ "name": "app", "upstream": { "url": url, "auth": auth(WRONG) } });
    answers.push(client.post("/v1/default/repos", body));
    let target = json!({ "url": receiver.url(),
        "events": ["push", "sync.queued", "sync.in_progress", "sync.completed", "sync.failed"] });
    let made = client.post("/v1/default/webhook-targets", target).ok(201);
    let key = client
        .post("/v1/default/api-keys", json!({ "scopes": ["read"] }))
        .ok(201);
    let shown = |made: &Value, name: &str| made[name].as_str().expect(name).to_owned();
    secrets.extend([shown(&made, "secret"), shown(&key, "key")]);
    let upstream_hook = client
        .post(
            "/v1/default/app/upstream/hook",
            json!({ "provider": "gitlab" }),
        )
        .ok(201);
    let (address, secret) = (
        shown(&upstream_hook, "url"),
        shown(&upstream_hook, "secret"),
    );
    let path = address.find("/v1/hooks/").expect("a hook's address");
    let token = [
        ("x-gitlab-token", secret.as_str()),
        ("x-gitlab-event", "Issue Hook"),
    ];
    answers.push(client.call("POST", &address[path..], Some(b"{}"), &token));
    let token = address.rsplit('/').next().expect("a token").to_owned();
    secrets.extend([secret, token]);

    run(&client, &mut answers, "app", "failed");
    let body = json!({ "upstream": { "url": url, "auth": auth(PASSWORD) } });
    answers.push(client.patch("/v1/default/app", body));
    run(&client, &mut answers, "app", "completed");
    let hook = format!("/v1/default/webhook-targets/{}", shown(&made, "id"));
    let rotated = client
        .post(&format!("{hook}/rotate-secret"), json!({}))
        .ok(200);
    secrets.push(shown(&rotated, "secret"));
    receiver.wait_for(7);
    let deliveries = client.get(&format!("{hook}/deliveries"));
    let id = shown(&deliveries.json["deliveries"][0], "id");
    answers.push(deliveries);
    answers.push(client.post(&format!("{hook}/deliveries/{id}/redeliver"), json!({})));
    let received = receiver.wait_for(8);
    let url = upstream.url("loud.git");
    let body = json!({ "name": "loud", "upstream": { "url": url, "auth": auth(PASSWORD) } });
    answers.push(client.post("/v1/default/repos", body));
    run(&client, &mut answers, "loud", "failed");
    for path in [
        "/v1/whoami",
        "/v1/default/repos",
        "/v1/default/app",
        "/v1/default/app/upstream/syncs",
        "/v1/default/webhook-targets",
        &hook,
        &format!("{hook}/deliveries"),
        "/v1/default/api-keys",
    ] {
        answers.push(client.get(path));
    }

    for secret in &secrets {
        for answer in &answers {
            assert!(
                !answer.text.contains(secret),
                "{}: {secret}",
                answer.request
            );
        }
        for one in &received {
            let shown = format!("{one:?}");
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    let pid = daemon.0.id();
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            secrets.iter().all(|secret| !text.contains(secret)),
            "{file}"
        );
    }
    // While the program runs, so that the WAL is there, too.
    assert!(search(folder.path(), &secrets) > 3);
    if let Some(server) = server {
        // What is in memory alone is in the WAL, too: each commit waits for it.
        assert!(search(server.folder(), &secrets) > 300);
    }
    let log = std::fs::read_to_string(folder.path().join("stderr")).expect("a log");
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the log is not verbose: {log}"
    );
    drop(daemon);
    search(folder.path(), &secrets);
}
