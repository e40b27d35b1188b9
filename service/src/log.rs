//! The log on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// The parts that log, at their most verbose levels, what servers say: a hostile one repeats the credential that it got.
/// `RUST_LOG` can't make them louder by a word for all.
const QUIET: [&str; 5] = [
    "refsync::protocol=info",
    "refsync::http=info",
    "refsync::sync=info",
    "ureq=info",
    "ureq_proto=info",
];

/// Sends what the parts of the process log to standard error. `RUST_LOG` chooses the levels.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = QUIET
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The text of an error and of its causes.
pub fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}
