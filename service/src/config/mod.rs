//! [`Config`], what an operator may choose. The command line comes before the environment, the environment before
//! the file, the file before the defaults.

mod file;
mod flags;
mod resolve;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use refsync::{Limits, NetworkPolicy};

pub use flags::{Flags, Network, Place};

use crate::{records::RetryPolicy, store::DatabaseAddress};

/// The configuration of a process: plain data, valid as a whole if [`Config::of`] made it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on. `127.0.0.1:8080` by default; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether a proxy that ends TLS stands in front, without which only a loopback address is listened on.
    pub behind_proxy: bool,
    /// The folder of the database, the keys and the repositories. `refsyncd-data` by default.
    pub data: PathBuf,
    /// The database. The file `refsyncd.db` in the data folder by default.
    pub database: DatabaseAddress,
    /// The name of this node, the home of the repositories made here. `local` by default.
    pub node: String,
    /// The address under which clients reach the service, without a slash at its end. `http://` and the address
    /// listened on by default.
    pub public_url: String,
    /// The number of runs at once. The number of cores by default; with 0 runs stay queued.
    pub workers: usize,
    /// The time after which a run of a worker that is silent may be taken by another one. 60 s by default.
    pub lease: Duration,
    /// The longest sleep of an idle worker, in case that nobody wakes it. 5 s by default.
    pub poll: Duration,
    /// The time that requests and runs under way have to end when the process stops. 10 s by default.
    pub drain: Duration,
    /// The connections at once; more wait to be accepted. 1024 by default.
    pub connections: usize,
    /// The time in which a client has to take a part of an answer, after which its connection ends. 2 min by default.
    pub stall: Duration,
    /// The addresses of upstreams and of webhook targets. The public internet over https by default.
    pub network: NetworkPolicy,
    /// The rule for the next attempt of a run.
    pub retry: RetryPolicy,
    /// The failures in a row of kind authentication, permission or not found after which no run starts by itself.
    /// 5 by default.
    pub park_after: u32,
    /// The limits of the queue.
    pub queue: QueueLimits,
    /// The limits of each run. The engine's by default.
    pub limits: Limits,
    /// The age at which history is removed.
    pub retention: Retention,
    /// Git over HTTP.
    pub git: GitConfig,
    /// Whether events are delivered to webhook targets; otherwise they stay pending.
    pub deliveries: bool,
    /// The form of the log.
    pub log: LogFormat,
}

/// The limits of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimits {
    /// Queued runs of one repository. 16 by default.
    pub per_repo: u32,
    /// Queued runs of one organization. 1,000 by default.
    pub per_org: u32,
    /// Running runs with one host. 4 by default.
    pub running_per_host: u32,
    /// The time from one run that a hook starts to the next one of its upstream. 10 s by default.
    pub hook_distance: Duration,
}

impl QueueLimits {
    /// The limits on runs that wait.
    pub(crate) fn limits(&self) -> crate::store::RunLimits {
        crate::store::RunLimits {
            per_repo: self.per_repo.into(),
            per_org: self.per_org.into(),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits {
            per_repo: 16,
            per_org: 1_000,
            running_per_host: 4,
            hook_distance: Duration::from_secs(10),
        }
    }
}

/// The history that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The last runs of a repository that are kept whatever their age. 100 by default.
    pub runs: u32,
    /// The age up to which further runs are kept. 30 days by default.
    pub run_age: Duration,
    /// The runs of a repository that are kept at most. 1,000 by default.
    pub most_runs: u32,
    /// The age up to which events are kept. 7 days by default.
    pub event_age: Duration,
    /// The age up to which deliveries are kept. 30 days by default.
    pub delivery_age: Duration,
    /// The age up to which rows of the audit are kept. 400 days by default.
    pub audit_age: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    fn default() -> Self {
        Retention {
            runs: 100,
            run_age: DAY * 30,
            most_runs: 1_000,
            event_age: DAY * 7,
            delivery_age: DAY * 30,
            audit_age: DAY * 400,
        }
    }
}

/// Git over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitConfig {
    /// Whether it is served. It is by default; it needs an installed git.
    pub http: bool,
    /// The git processes at once; more requests are answered with 503. 32 by default.
    pub processes: usize,
    /// The time of one request, after which its git process is ended. One hour by default.
    pub time: Duration,
    /// The bytes of one request's body, inflated. 2 GiB by default.
    pub body: u64,
}

impl Default for GitConfig {
    fn default() -> Self {
        GitConfig {
            http: true,
            processes: 32,
            time: Duration::from_secs(60 * 60),
            body: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// The form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object to a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let data = PathBuf::from("refsyncd-data");
        Config {
            listen,
            behind_proxy: false,
            database: DatabaseAddress::Sqlite(data.join(DATABASE_FILE)),
            data,
            node: "local".into(),
            public_url: url_of(listen),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            connections: 1024,
            stall: Duration::from_secs(120),
            network: NetworkPolicy::public(),
            retry: RetryPolicy::default(),
            park_after: 5,
            queue: QueueLimits::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            git: GitConfig::default(),
            deliveries: true,
            log: LogFormat::Text,
        }
    }
}

/// The name of the SQLite database in the data folder.
const DATABASE_FILE: &str = "refsyncd.db";

fn url_of(listen: SocketAddr) -> String {
    format!("http://{listen}")
}

impl Config {
    /// The configuration after `address` was bound, whose port is known now.
    #[must_use]
    pub fn bound_to(mut self, address: SocketAddr) -> Self {
        if self.public_url == url_of(self.listen) {
            self.public_url = url_of(address);
        }
        self.listen = address;
        self
    }
}

/// The reason why a configuration can't be used. Its text names the key or the file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

impl InvalidConfig {
    fn new(message: impl Into<String>) -> Self {
        InvalidConfig(message.into())
    }
}
