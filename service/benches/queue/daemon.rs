//! A `refsyncd`, and a client of it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use ureq::Agent;

use super::peers::AT_A_TIME;

/// A `refsyncd` until it is dropped.
pub struct Daemon {
    child: Child,
    agent: Agent,
    base: String,
    key: String,
}

impl Daemon {
    /// One with so many workers, as many at a time for one host, and its data below `folder`.
    pub fn start(folder: &Path, workers: usize) -> Self {
        let file = folder.join("refsyncd.db");
        Self::start_on(&format!("sqlite:{}", file.display()), folder, workers)
    }

    /// One with an empty database.
    pub fn start_on(database: &str, folder: &Path, workers: usize) -> Self {
        Self::spawn(database, folder, workers, true)
    }

    /// One whose folder and database were those of another that has ended. It says no key.
    pub fn again(database: &str, folder: &Path, workers: usize) -> Self {
        Self::spawn(database, folder, workers, false)
    }

    fn spawn(database: &str, folder: &Path, workers: usize, is_new: bool) -> Self {
        let config = folder.join("refsyncd.toml");
        let text = format!("workers = {workers}\nqueue.running_per_host = {workers}\n");
        fs::write(&config, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_refsyncd"));
        command.arg("--config").arg(config);
        command.arg("--data").arg(folder.join("data"));
        command.args(["--database", database]);
        command.args(["--listen", "127.0.0.1:0", "--network", "any"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("refsyncd starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (mut base, mut key) = (None, None);
        for line in out.lines() {
            let line = line.expect("a line");
            if let Some(address) = line.strip_prefix("listening on ") {
                base = Some(format!("{address}/v1/default"));
            }
            if let Some(made) = line.strip_prefix("admin key: ") {
                key = Some(made.to_owned());
            }
            if base.is_some() && (key.is_some() || !is_new) {
                break;
            }
        }
        Daemon {
            child,
            agent: agent(),
            base: base.expect("an address"),
            key: key.unwrap_or_default(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn make(&self, name: &str, upstream: &str) {
        self.post(
            "/repos",
            &json!({ "name": name, "upstream": { "url": upstream } }),
        );
    }

    /// Asks for a pull and waits for its end; the stats.
    pub fn pull(&self, name: &str) -> Value {
        let path = format!("/{name}/upstream/syncs");
        let queued = self.post(&path, &json!({ "direction": "pull" }));
        let id = queued["id"].as_str().expect("an id");
        let mut ended = self.get(&format!("{path}/{id}?wait=60"));
        assert_eq!(ended["status"], "completed", "{ended}");
        ended["stats"].take()
    }

    pub fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).expect("JSON")
    }

    /// The body of the answer.
    pub fn text(&self, path: &str) -> String {
        let request = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("authorization", self.auth()).call();
        let mut answer = answer.expect("an answer");
        let body = answer.body_mut().with_config().limit(1 << 30);
        body.read_to_string().expect("a body")
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", self.auth());
        let request = request.header("content-type", "application/json");
        let answer = request.send(body.to_string()).expect("an answer");
        let text = answer.into_body().read_to_string().expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    fn auth(&self) -> String {
        format!("Bearer {}", self.key)
    }
}

/// A client that keeps as many connections as [`AT_A_TIME`] need, as each real client keeps its own. By default it
/// keeps three, and the other requests would pay for a new one each.
fn agent() -> Agent {
    let config = Agent::config_builder().max_idle_connections_per_host(AT_A_TIME);
    config.build().into()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
