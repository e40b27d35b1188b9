//! [`File`], the shape of the configuration file. Every key may be left out, an unknown one is an error.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::{LogFormat, flags::Network};
use crate::store::AddressText;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) behind_proxy: Option<bool>,
    pub(super) data: Option<PathBuf>,
    pub(super) database: Option<AddressText>,
    pub(super) node: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) workers: Option<usize>,
    pub(super) lease_seconds: Option<u64>,
    pub(super) drain_seconds: Option<u64>,
    pub(super) connections: Option<usize>,
    pub(super) stall_seconds: Option<u64>,
    pub(super) park_after: Option<u32>,
    pub(super) deliveries: Option<bool>,
    pub(super) log: Option<LogFormat>,
    pub(super) network: NetworkTable,
    pub(super) retry: RetryTable,
    pub(super) queue: QueueTable,
    pub(super) retention: RetentionTable,
    pub(super) git: GitTable,
    pub(super) limits: LimitsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NetworkTable {
    pub(super) policy: Option<Network>,
    /// Networks that are refused whatever the policy, as `10.0.0.0/8`.
    pub(super) refused: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetryTable {
    pub(super) attempts: Option<i64>,
    pub(super) first_wait_seconds: Option<u64>,
    pub(super) factor: Option<u32>,
    pub(super) longest_wait_seconds: Option<u64>,
    pub(super) jitter: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct QueueTable {
    pub(super) per_repo: Option<u32>,
    pub(super) per_org: Option<u32>,
    pub(super) running_per_host: Option<u32>,
    pub(super) hook_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetentionTable {
    pub(super) runs: Option<u32>,
    pub(super) run_days: Option<u32>,
    pub(super) most_runs: Option<u32>,
    pub(super) event_days: Option<u32>,
    pub(super) delivery_days: Option<u32>,
    pub(super) audit_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GitTable {
    pub(super) http: Option<bool>,
    pub(super) processes: Option<usize>,
    pub(super) time_seconds: Option<u64>,
    pub(super) body_bytes: Option<u64>,
}

/// The fields of [`refsync::Limits`] under their names; 0 seconds of `total_time` are no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) total_time_seconds: Option<u64>,
    pub(super) received_bytes: Option<u64>,
    pub(super) refs: Option<usize>,
    pub(super) ref_names: Option<usize>,
    pub(super) capabilities: Option<usize>,
    pub(super) noise: Option<u64>,
    pub(super) objects: Option<u64>,
    pub(super) object_size: Option<u64>,
    pub(super) inflated_bytes: Option<u64>,
    pub(super) delta_depth: Option<u32>,
    pub(super) delta_chain_bytes: Option<u64>,
    pub(super) thin_bases: Option<u64>,
    pub(super) quarantine_bytes: Option<u64>,
    pub(super) memory: Option<u64>,
}
