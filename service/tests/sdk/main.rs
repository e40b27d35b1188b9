//! The published clients against the program: every call of the reference, and their judgement of every delivery.

#![cfg(feature = "server")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;
use support::{Client, Receiver, Signer, Upstream};
use tempfile::TempDir;

/// The program as the README starts it, but for its port, its folder and the upstream on this machine.
struct Program {
    child: Child,
    url: String,
    key: String,
    _folder: TempDir,
}

impl Program {
    fn start(database: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_refsyncd"))
            .args(["--listen", "127.0.0.1:0", "--network", "any", "--data"])
            .arg(folder.path().join("data"))
            .envs(database.map(|address| ("REFSYNCD_DATABASE", address)))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program");
        let (mut url, mut key) = (None, None);
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        while url.is_none() || key.is_none() {
            let line = lines.next().expect("another line").expect("a line");
            let after = |start| line.strip_prefix(start).map(str::to_owned);
            url = url.or_else(|| after("listening on "));
            key = key.or_else(|| after("admin key: "));
        }
        let (url, key) = (url.expect("an address"), key.expect("a key"));
        Program {
            child,
            url,
            key,
            _folder: folder,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs `program` with its script on each database.
fn run_calls(program: &Path, script: &Path, key: impl Fn(&Client) -> String) {
    run_calls_on(None, program, script, &key);
    if let Some(address) = support::postgres::database() {
        run_calls_on(Some(&address), program, script, &key);
    }
}

/// Runs `program` with what a script of calls needs, and writes down what the receiver gets for it to judge. The
/// script gets the key that `key` makes of the admin's client.
fn run_calls_on(
    database: Option<&str>,
    interpreter: &Path,
    script: &Path,
    key: &impl Fn(&Client) -> String,
) {
    let (program, upstream) = (Program::start(database), Upstream::start());
    let mut command = Command::new(interpreter);
    command.arg(script);
    let key = key(&Client::new(&program.url, Some(&program.key)));
    upstream.repo("up.git");
    upstream.empty("other.git");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let path = scratch.path().join("deliveries");
    let file = std::sync::Mutex::new(File::create(&path).expect("a file"));
    let receiver = Receiver::answering(move |received| {
        let headers: serde_json::Map<_, _> = received
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let line = json!({ "body": received.body, "headers": headers });
        writeln!(file.lock().expect("a file"), "{line}").expect("a line");
        204
    });
    let output = command
        .arg(format!("{}/v1", program.url))
        .arg(&key)
        .args([
            receiver.url(),
            upstream.url("up.git"),
            upstream.url("other.git"),
        ])
        .arg(&path)
        .output()
        .expect("an interpreter");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The block of the README in `language`, for this program and an upstream on this machine.
fn readme(language: &str, program: &Program, upstream: &str) -> String {
    let readme = include_str!("../../README.md");
    let start = format!("```{language}\n");
    let block = readme.split(&start).nth(1).expect("the block");
    let block = block.split("```").next().expect("its end");
    let (url, theirs) = (
        "http://127.0.0.1:8080",
        "https://github.com/octocat/Hello-World.git",
    );
    assert!(block.contains(url) && block.contains(theirs), "{block}");
    block.replace(url, &program.url).replace(theirs, upstream)
}

/// Runs the block of the README as it stands, which prints the outcome of each ref.
fn run_readme(mut command: Command, language: &str, file: &Path) {
    let (program, upstream) = (Program::start(None), Upstream::start());
    upstream.repo("up.git");
    let text = readme(language, &program, &upstream.url("up.git"));
    std::fs::write(file, text).expect("a file");
    let output = command.arg(file).env("KEY", &program.key).output();
    let output = output.expect("an interpreter");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    for word in ["completed", "refs/heads/main", "updated"] {
        assert!(out.contains(word), "{word} in {out}");
    }
}

/// Runs a command that fetches packages; false where that is impossible.
fn fetched(command: &mut Command) -> bool {
    let output = command.stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(name)
}

fn admin_key(admin: &Client) -> String {
    admin.key().to_owned()
}

/// The calls by this version of the packages; the interpreter that has them, and its folder.
fn python_calls(version: &str, key: impl Fn(&Client) -> String) -> Option<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = folder.path().join("bin/python");
    let packages = ["mesa-sdk", "mesa-rest"].map(|name| format!("{name}=={version}"));
    let there = fetched(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(folder.path()),
    ) && fetched(
        Command::new(&python)
            .args(["-m", "pip", "install", "-q"])
            .args(&packages),
    );
    if !there {
        eprintln!("skipped: {packages:?} can't be installed by pip");
        return None;
    }
    run_calls(&python, &script("calls.py"), key);
    Some((folder, python))
}

#[test]
fn python() {
    if let Some((folder, python)) = python_calls("0.44.1", admin_key) {
        let file = folder.path().join("readme.py");
        run_readme(Command::new(python), "python", &file);
    }
}

/// Versions from 0.45 on have a private key, and send a token that they sign anew for each request.
#[test]
fn python_with_tokens() {
    python_calls("0.49.1", |admin| {
        let signer = Signer::new(1);
        signer.register(admin, &["admin"]);
        signer.private("default")
    });
}

#[test]
fn typescript() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let package = "@mesadev/sdk@0.38.0";
    std::fs::write(folder.path().join("package.json"), "{}").expect("a file");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", package]);
    if !fetched(npm.current_dir(folder.path())) {
        eprintln!("skipped: {package} can't be installed by npm");
        return;
    }
    // A module finds packages beside itself.
    let calls = folder.path().join("calls.mjs");
    std::fs::copy(script("calls.mjs"), &calls).expect("a copy");
    run_calls(Path::new("node"), &calls, admin_key);
    let file = folder.path().join("readme.mjs");
    run_readme(Command::new("node"), "ts", &file);
}
