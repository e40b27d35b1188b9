//! One configuration of all sources.

use std::{fmt::Display, fs, ops::RangeInclusive, path::Path, time::Duration};

use refsync::{Limits, NetworkPolicy, RemoteUrl};

use super::{
    Config, DATABASE_FILE, Flags, GitConfig, InvalidConfig, QueueLimits, Retention,
    file::{File, GitTable, LimitsTable, NetworkTable, QueueTable, RetentionTable, RetryTable},
    flags::Network,
    url_of,
};
use crate::{
    records::{Name, RetryPolicy},
    store::{AddressText, DatabaseAddress},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR: u64 = 365 * 24 * 60 * 60;

impl Config {
    /// The configuration of the flags and of the file that they name.
    ///
    /// # Errors
    /// The file can't be read, or a value can't be used. The text names the file or the key.
    pub fn of(flags: Flags) -> Result<Config, InvalidConfig> {
        let file = match &flags.place.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        resolve(flags, file)
    }
}

fn read(path: &Path) -> Result<File, InvalidConfig> {
    let invalid =
        |err| InvalidConfig::new(format!("the configuration file {}: {err}", path.display()));
    let text = fs::read_to_string(path).map_err(|err| invalid(err.to_string()))?;
    // The whole text of the error repeats the line, which may hold the password of a database.
    toml::from_str(&text).map_err(|err| {
        let place = err.span().and_then(|span| text.get(..span.start));
        let line = place.map_or(1, |before| before.matches('\n').count() + 1);
        invalid(format!("line {line}: {}", err.message()))
    })
}

fn resolve(flags: Flags, file: File) -> Result<Config, InvalidConfig> {
    let default = Config::default();
    let listen = flags.listen.or(file.listen).unwrap_or(default.listen);
    let behind_proxy = flags.behind_proxy || file.behind_proxy.unwrap_or(false);
    if !listen.ip().is_loopback() && !behind_proxy {
        return Err(InvalidConfig::new(format!(
            "listen is {listen}: requests are not encrypted, so an address beyond loopback needs a proxy that \
             ends TLS, and --behind-proxy"
        )));
    }
    let data = flags.place.data.or(file.data).unwrap_or(default.data);
    let database = match flags.place.database.or(file.database) {
        Some(address) => database(&address)?,
        None => DatabaseAddress::Sqlite(data.join(DATABASE_FILE)),
    };
    let public_url = match flags.public_url.or(file.public_url) {
        Some(url) => public_url(&url)?,
        None => url_of(listen),
    };
    let seconds = |key, value: Option<u64>, otherwise: Duration, range| match value {
        Some(value) => within(key, value, range).map(Duration::from_secs),
        None => Ok(otherwise),
    };
    Ok(Config {
        listen,
        behind_proxy,
        data,
        database,
        node: node(flags.node.or(file.node).unwrap_or(default.node))?,
        public_url,
        workers: within(
            "workers",
            flags.workers.or(file.workers).unwrap_or(default.workers),
            0..=1024,
        )?,
        lease: seconds(
            "lease",
            flags.lease.or(file.lease_seconds),
            default.lease,
            3..=3600,
        )?,
        poll: default.poll,
        drain: seconds(
            "drain",
            flags.drain.or(file.drain_seconds),
            default.drain,
            0..=3600,
        )?,
        connections: within(
            "connections",
            file.connections.unwrap_or(default.connections),
            1..=1_000_000,
        )?,
        stall: seconds("stall", file.stall_seconds, default.stall, 1..=86_400)?,
        network: network(flags.network, &file.network)?,
        retry: retry(&file.retry)?,
        park_after: within(
            "park_after",
            file.park_after.unwrap_or(default.park_after),
            1..=1_000_000,
        )?,
        queue: queue(&file.queue)?,
        limits: limits(&file.limits)?,
        retention: retention(&file.retention)?,
        git: git(flags.no_git_http, &file.git)?,
        deliveries: !flags.no_deliveries && file.deliveries.unwrap_or(true),
        log: flags.log.or(file.log).unwrap_or_default(),
    })
}

fn within<T: PartialOrd + Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, InvalidConfig> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(InvalidConfig::new(format!(
        "{key} is {value}: a number from {} to {} is expected",
        range.start(),
        range.end()
    )))
}

fn positive<T: PartialOrd + From<u8>>(key: &str, value: T) -> Result<T, InvalidConfig> {
    if value >= T::from(1) {
        return Ok(value);
    }
    Err(InvalidConfig::new(format!(
        "{key} is 0: a positive number is expected"
    )))
}

fn database(text: &AddressText) -> Result<DatabaseAddress, InvalidConfig> {
    let invalid = |err| InvalidConfig::new(format!("database: {err}"));
    text.read().map_err(invalid)
}

fn public_url(url: &str) -> Result<String, InvalidConfig> {
    match RemoteUrl::parse(url) {
        Ok(_) => Ok(url.trim_end_matches('/').to_owned()),
        Err(err) => Err(InvalidConfig::new(format!("public_url: {err}"))),
    }
}

fn node(name: String) -> Result<String, InvalidConfig> {
    match Name::new(name) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(err) => Err(InvalidConfig::new(format!("node: {err}"))),
    }
}

fn network(flag: Option<Network>, table: &NetworkTable) -> Result<NetworkPolicy, InvalidConfig> {
    let policy = match flag.or(table.policy) {
        Some(Network::Any) => NetworkPolicy::any(),
        Some(Network::Public) | None => NetworkPolicy::public(),
    };
    table.refused.iter().try_fold(policy, |policy, text| {
        let network = text.parse().map_err(|err: refsync::Error| {
            InvalidConfig::new(format!("network.refused has {text:?}: {err}"))
        })?;
        Ok(policy.refusing(network))
    })
}

fn retry(table: &RetryTable) -> Result<RetryPolicy, InvalidConfig> {
    let mut policy = RetryPolicy::default();
    if let Some(attempts) = table.attempts {
        policy.attempts = within("retry.attempts", attempts, 1..=100)?;
    }
    if let Some(seconds) = table.first_wait_seconds {
        policy.first_wait =
            Duration::from_secs(within("retry.first_wait_seconds", seconds, 0..=86_400)?);
    }
    if let Some(factor) = table.factor {
        policy.factor = within("retry.factor", factor, 1..=100)?;
    }
    if let Some(seconds) = table.longest_wait_seconds {
        policy.longest_wait =
            Duration::from_secs(within("retry.longest_wait_seconds", seconds, 0..=86_400)?);
    }
    if let Some(jitter) = table.jitter {
        policy.jitter = within("retry.jitter", jitter, 0.0..=1.0)?;
    }
    Ok(policy)
}

fn queue(table: &QueueTable) -> Result<QueueLimits, InvalidConfig> {
    let default = QueueLimits::default();
    let most = 1..=1_000_000;
    Ok(QueueLimits {
        per_repo: within(
            "queue.per_repo",
            table.per_repo.unwrap_or(default.per_repo),
            most.clone(),
        )?,
        per_org: within(
            "queue.per_org",
            table.per_org.unwrap_or(default.per_org),
            most.clone(),
        )?,
        running_per_host: within(
            "queue.running_per_host",
            table.running_per_host.unwrap_or(default.running_per_host),
            most,
        )?,
        hook_distance: Duration::from_secs(within(
            "queue.hook_seconds",
            table
                .hook_seconds
                .unwrap_or(default.hook_distance.as_secs()),
            0..=86_400,
        )?),
    })
}

fn retention(table: &RetentionTable) -> Result<Retention, InvalidConfig> {
    let default = Retention::default();
    let days = |key, value: Option<u32>, otherwise| match value {
        Some(days) => within(key, days, 1..=36_500).map(|days| DAY * days),
        None => Ok(otherwise),
    };
    let runs = within(
        "retention.runs",
        table.runs.unwrap_or(default.runs),
        1..=1_000_000,
    )?;
    Ok(Retention {
        runs,
        run_age: days("retention.run_days", table.run_days, default.run_age)?,
        most_runs: within(
            "retention.most_runs",
            table.most_runs.unwrap_or(default.most_runs.max(runs)),
            runs..=1_000_000,
        )?,
        event_age: days("retention.event_days", table.event_days, default.event_age)?,
        delivery_age: days(
            "retention.delivery_days",
            table.delivery_days,
            default.delivery_age,
        )?,
        audit_age: days("retention.audit_days", table.audit_days, default.audit_age)?,
    })
}

fn git(off: bool, table: &GitTable) -> Result<GitConfig, InvalidConfig> {
    let default = GitConfig::default();
    let seconds = table.time_seconds.unwrap_or(default.time.as_secs());
    Ok(GitConfig {
        http: !off && table.http.unwrap_or(default.http),
        processes: within(
            "git.processes",
            table.processes.unwrap_or(default.processes),
            1..=10_000,
        )?,
        time: Duration::from_secs(within("git.time_seconds", seconds, 1..=YEAR)?),
        body: positive("git.body_bytes", table.body_bytes.unwrap_or(default.body))?,
    })
}

fn limits(table: &LimitsTable) -> Result<Limits, InvalidConfig> {
    let mut limits = Limits::default();
    if let Some(seconds) = table.total_time_seconds {
        let seconds = within("limits.total_time_seconds", seconds, 0..=YEAR)?;
        limits.total_time = (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    macro_rules! take {
        ($($field:ident),*) => {$(
            if let Some(value) = table.$field {
                limits.$field = positive(concat!("limits.", stringify!($field)), value)?;
            }
        )*};
    }
    take!(
        received_bytes,
        refs,
        ref_names,
        capabilities,
        noise,
        objects,
        object_size,
        inflated_bytes,
        delta_depth,
        delta_chain_bytes,
        thin_bases,
        quarantine_bytes,
        memory
    );
    Ok(limits)
}
