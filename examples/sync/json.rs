//! The stats of a run, or its error, as JSON.

use std::io::{self, Write};

use refsync::{Error, SyncRunStats, Traffic};
use serde::Serialize;

#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    stats: &'a SyncRunStats,
    traffic: Bytes,
}

/// The traffic, which is not part of the stats' own JSON.
#[derive(Serialize)]
struct Bytes {
    requests: u64,
    bytes_sent: u64,
    bytes_received: u64,
    objects: u64,
}

#[derive(Serialize)]
struct Failed<'a> {
    error: Failure,
    /// The outcomes so far, if the error has them.
    #[serde(flatten)]
    stats: Option<&'a SyncRunStats>,
}

#[derive(Serialize)]
struct Failure {
    kind: &'static str,
    message: String,
    retryable: bool,
    /// In seconds.
    retry_after: Option<u64>,
}

pub(crate) fn write_stats(stats: &SyncRunStats, to: impl Write) -> io::Result<()> {
    let Traffic {
        requests,
        bytes_sent,
        bytes_received,
        objects,
        ..
    } = stats.traffic;
    let traffic = Bytes {
        requests,
        bytes_sent,
        bytes_received,
        objects,
    };
    write(&Done { stats, traffic }, to)
}

pub(crate) fn write_failure(err: &Error, to: impl Write) -> io::Result<()> {
    let error = Failure {
        kind: err.kind().as_str(),
        message: err.to_string(),
        retryable: err.is_retryable(),
        retry_after: err.retry_after().map(|wait| wait.as_secs()),
    };
    let stats = err.stats();
    write(&Failed { error, stats }, to)
}

fn write(it: &impl Serialize, to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    serde_json::to_writer_pretty(&mut to, it)?;
    writeln!(to)?;
    to.flush()
}
