//! [`Server`], the real service in this process.

use refsync::NetworkPolicy;
use refsync_service::config::Config;
use refsync_service::server::{self, Running};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Client;

/// A service with a data folder of its own, until it is dropped.
pub struct Server {
    // Dropped in this order: the service ends before its folder goes.
    running: Option<Running>,
    runtime: Runtime,
    folder: TempDir,
    admin_key: String,
}

impl Server {
    /// A service with workers that connects to any address.
    pub fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// The same, with a configuration that `change` has changed.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(memory_folder(), None, change)
    }

    /// A service in a folder that may have a database, whose admin key is then `admin_key`.
    pub fn start_in(
        folder: TempDir,
        admin_key: Option<String>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            // That of `listen`, so that it becomes that of the port that is taken.
            public_url: "http://127.0.0.1:0".into(),
            data: folder.path().to_owned(),
            database: folder.path().join("refsyncd.db").into(),
            network: NetworkPolicy::any(),
            workers: 2,
            ..Config::default()
        };
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let running = runtime
            .block_on(server::start(config))
            .expect("a service that starts");
        let made = running.admin_key.as_ref().map(|key| key.to_string());
        Server {
            admin_key: made.or(admin_key).expect("an admin key"),
            running: Some(running),
            runtime,
            folder,
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("a service that runs")
    }

    pub fn service(&self) -> &refsync_service::Service {
        &self.running().service
    }

    /// Makes another organization, which has no key.
    pub fn org(&self, slug: &str) {
        let name = refsync_service::records::Name::new(slug).expect("a slug");
        let now = refsync_service::records::Time(0);
        let made = self.service().store.create_org(&name, slug, now);
        self.block_on(made).expect("stored").expect("a new slug");
    }

    /// Runs a future on the runtime of the service.
    pub fn block_on<F: std::future::Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.running().address)
    }

    pub fn data(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// A client with the admin key.
    pub fn client(&self) -> Client {
        self.client_with(&self.admin_key)
    }

    /// A client with this key.
    pub fn client_with(&self, key: &str) -> Client {
        Client::new(&self.url(), Some(key))
    }

    /// A client without a key.
    pub fn stranger(&self) -> Client {
        Client::new(&self.url(), None)
    }

    /// A client with a new key that has these scopes, limited to `repo_ids` if there are any.
    #[track_caller]
    pub fn client_of(&self, scopes: &[&str], repo_ids: &[&str]) -> Client {
        let mut body = json!({ "scopes": scopes });
        if !repo_ids.is_empty() {
            body["repo_ids"] = json!(repo_ids);
        }
        let key = self.client().post("/v1/default/api-keys", body).ok(201);
        self.client_with(key["key"].as_str().expect("a key"))
    }

    /// Makes a repository; gives its object.
    #[track_caller]
    pub fn repo(&self, body: Value) -> Value {
        self.client().post("/v1/default/repos", body).ok(201)
    }

    /// Queues a run and waits for its end; gives it with all of its refs.
    #[track_caller]
    pub fn sync(&self, repo: &str, body: Value) -> Value {
        let syncs = format!("/v1/default/{repo}/upstream/syncs");
        let queued = self.client().post(&syncs, body).ok(201);
        self.ended(repo, queued["id"].as_str().expect("an id"))
    }

    /// The run after its end.
    #[track_caller]
    pub fn ended(&self, repo: &str, id: &str) -> Value {
        let path = format!("/v1/default/{repo}/upstream/syncs/{id}?wait=60");
        let run = self.client().get(&path).ok(200);
        let status = run["status"].as_str();
        assert!(matches!(status, Some("completed" | "failed")), "{run}");
        run
    }

    /// Stops the service; its folder and its admin key can start another one.
    pub fn stop(mut self) -> (TempDir, String) {
        self.end();
        let folder = std::mem::replace(&mut self.folder, memory_folder());
        (folder, self.admin_key.clone())
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A folder in memory where the system has one: a database that syncs each commit is slow on a disk.
pub fn memory_folder() -> TempDir {
    let made = tempfile::tempdir_in("/dev/shm");
    made.or_else(|_| tempfile::tempdir())
        .expect("a temporary folder")
}
