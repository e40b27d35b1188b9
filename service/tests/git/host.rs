//! A service in this process, and git as its client.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use refsync_service::{
    clock,
    config::Config,
    ids,
    records::{Name, Repo, RepoId, Scope},
    secrets::{api_key, webhook_secret},
    server::{self, Running},
    store::{NewKey, NewRepo, NewTarget, Proof, Store},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) struct Host {
    runtime: Runtime,
    running: Option<Running>,
    pub(crate) folder: TempDir,
    /// A key with all scopes.
    pub(crate) key: String,
}

impl Host {
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut host = Host {
            runtime: Runtime::new().expect("a runtime"),
            running: None,
            folder: folder(),
            key: String::new(),
        };
        host.run(change);
        let running = host.running.as_ref().expect("it runs");
        host.key = running
            .admin_key
            .as_ref()
            .expect("the first key")
            .to_string();
        host.new_target();
        host
    }

    fn run(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data: self.folder.path().join("data"),
            database: self.folder.path().join("data/refsyncd.db").into(),
            workers: 0,
            deliveries: false,
            drain: Duration::from_secs(1),
            ..Config::default()
        };
        change(&mut config);
        let running = self.runtime.block_on(server::start(config));
        self.running = Some(running.expect("a service"));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }

    pub(crate) fn restart(&mut self) {
        self.restart_with(|_| ());
    }

    pub(crate) fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop();
        self.run(change);
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    fn store(&self) -> &Store {
        &self.running().service.store
    }

    pub(crate) fn address(&self) -> String {
        self.running().address.to_string()
    }

    pub(crate) fn new_repo(&self, name: &str, branch: &str) -> Repo {
        let org = self.runtime.block_on(self.store().org_by_slug("default"));
        let new = NewRepo {
            id: ids::new(),
            org: org.expect("an answer").expect("the organization").id,
            name: Name::new(name).expect("a name"),
            default_bookmark: branch.into(),
            default_given: true,
            tags: Default::default(),
            home: "local".into(),
            upstream: None,
        };
        let made = self
            .runtime
            .block_on(self.store().create_repo(new, clock::now()));
        made.expect("an answer").expect("a new name")
    }

    /// A target that asks for pushes; without one the store keeps no data of events. Nothing is delivered.
    fn new_target(&self) {
        let org = self.runtime.block_on(self.store().org_by_slug("default"));
        let id = ids::new();
        let service = &self.running().service;
        let secret = webhook_secret::seal(&service.sealer, &id, "secret");
        let new = NewTarget {
            id,
            org: org.expect("an answer").expect("the organization").id,
            url: "https://hooks.example.com/".into(),
            name: None,
            events: vec!["push".into()],
            repo_ids: None,
            secret: secret.expect("a secret"),
        };
        let made = self
            .runtime
            .block_on(self.store().create_target(new, clock::now()));
        made.expect("a target");
    }

    /// Removes a repository and its folder, as the API and the upkeep do.
    pub(crate) fn remove(&self, repo: &Repo) {
        let removed = self
            .runtime
            .block_on(self.store().delete_repo(&repo.id, clock::now()));
        assert!(removed.expect("an answer"));
        std::fs::remove_dir_all(self.repo_path(repo)).expect("removed");
    }

    /// The number of pushes without their event.
    pub(crate) fn unsettled(&self) -> usize {
        let pushes = self.folder.path().join("data/pushes");
        std::fs::read_dir(pushes).expect("a folder").count()
    }

    pub(crate) fn head(&self, id: &RepoId) -> Option<String> {
        let repo = self.runtime.block_on(self.store().repo(id));
        repo.expect("an answer").expect("the repository").head
    }

    /// A new key of the first organization.
    pub(crate) fn new_key(&self, scope: Scope, repo_ids: Option<Vec<RepoId>>) -> String {
        let secret = api_key::generate().expect("a key");
        let new = NewKey {
            id: ids::new(),
            name: None,
            proof: Proof::Hash(api_key::hash(&secret)),
            scopes: vec![scope],
            repo_ids,
            expires_at: None,
        };
        let made = self.runtime.block_on(async {
            let org = self
                .store()
                .org_by_slug("default")
                .await?
                .expect("the organization");
            self.store().create_key(&org.id, new, clock::now()).await
        });
        made.expect("an answer").expect("a key");
        secret.to_string()
    }

    pub(crate) fn repo_path(&self, repo: &Repo) -> PathBuf {
        self.running().service.repos.path(&repo.id)
    }

    /// The data of the events `push` of a repository, in their order.
    pub(crate) fn pushes(&self, repo: &Repo) -> Vec<serde_json::Value> {
        let file = self.folder.path().join("data/refsyncd.db");
        let id = repo.id.as_str();
        let rows: Vec<(String,)> = self.runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let pool = sqlx::SqlitePool::connect_with(options)
                .await
                .expect("the database");
            let sql = "select data from events where repo = $1 and type = 'push' order by sequence";
            let rows = sqlx::query_as(sql).bind(id).fetch_all(&pool).await;
            rows.expect("events")
        });
        rows.iter()
            .map(|(data,)| serde_json::from_str(data).expect("JSON"))
            .collect()
    }

    pub(crate) fn url(&self, name: &str, key: &str) -> String {
        format!("http://any:{key}@{}/default/{name}.git", self.address())
    }

    /// One request as text; the answer as text.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut tcp = TcpStream::connect(self.address()).expect("a connection");
        tcp.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn git_processes(&self) -> i64 {
        let answer = self.raw("GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("refsyncd_git_processes "));
        line.expect("the number").parse().expect("a number")
    }

    /// The processes with the folder of the data in their environment or command line.
    pub(crate) fn children(&self) -> usize {
        let folder = self.folder.path().to_str().expect("a name").to_owned();
        let has = |path: PathBuf, file: &str| {
            let content = std::fs::read(path.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&content).contains(&format!("PATH_TRANSLATED={folder}"))
        };
        let processes = std::fs::read_dir("/proc").expect("processes").flatten();
        processes
            .filter(|process| has(process.path(), "environ"))
            .count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A temporary folder, in memory where there is a place for that.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .expect("a folder")
}

/// Waits until `is_so`, for a time that only a fault exceeds.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A working tree of a client.
pub(crate) struct Clone {
    pub(crate) path: PathBuf,
    protocol: u8,
}

pub(crate) fn git_in(path: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.current_dir(path).args(arguments).env_clear();
    command.envs(std::env::var_os("PATH").map(|value| ("PATH", value)));
    for (key, value) in [
        ("HOME", path.as_os_str()),
        ("GIT_CONFIG_NOSYSTEM", "1".as_ref()),
        ("GIT_TERMINAL_PROMPT", "0".as_ref()),
        ("GIT_AUTHOR_NAME", "A".as_ref()),
        ("GIT_AUTHOR_EMAIL", "a@example.com".as_ref()),
        ("GIT_COMMITTER_NAME", "A".as_ref()),
        ("GIT_COMMITTER_EMAIL", "a@example.com".as_ref()),
        ("GIT_AUTHOR_DATE", "1700000000 +0000".as_ref()),
        ("GIT_COMMITTER_DATE", "1700000000 +0000".as_ref()),
    ] {
        command.env(key, value);
    }
    command.output().expect("git")
}

impl Clone {
    pub(crate) fn of(host: &Host, url: &str, name: &str, protocol: u8) -> Self {
        let path = host.folder.path().join(name);
        let version = format!("protocol.version={protocol}");
        let output = git_in(
            host.folder.path(),
            &["-c", &version, "clone", "-q", url, name],
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Clone { path, protocol }
    }

    pub(crate) fn try_git(&self, arguments: &[&str]) -> Output {
        let version = format!("protocol.version={}", self.protocol);
        git_in(&self.path, &[&["-c", &version], arguments].concat())
    }

    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The text of a failure.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(!output.status.success(), "{arguments:?} was done");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn commit(&self, text: &str) -> String {
        std::fs::write(self.path.join("file"), text).expect("a file");
        self.git(&["add", "file"]);
        self.git(&["commit", "-q", "-m", text]);
        self.git(&["rev-parse", "HEAD"])
    }
}
