//! Syncs one repository into another from the command line. Without arguments, it demonstrates syncs on a small repository
//! of its own.

#![allow(clippy::print_stdout, reason = "this is a command line program")]

mod ends;
mod fsck;
mod json;
mod progress;
mod report;
mod story;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use refsync::{Error, ErrorKind, RefGlobs, SyncOptions, SyncRunStats};

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;

/// Fast-forwards the branches and tags of DESTINATION to those of SOURCE.
///
/// Credentials for a URL come from the environment: REFSYNC_TOKEN, with REFSYNC_USERNAME if the
/// server requires a certain one; or REFSYNC_USERNAME and REFSYNC_PASSWORD. Without any arguments, a
/// demonstration runs on repositories of its own.
///
/// The exit code is 0 if the run worked, even if refs were rejected; 1 if it failed; 2 for invalid
/// arguments.
#[derive(Parser)]
#[command(name = "sync")]
struct Arguments {
    /// Repository that refs come from: a URL (with `://`) or a path
    source: String,
    /// Repository that refs go to: a URL (with `://`) or a path
    destination: String,
    /// Only branches whose short name matches; no tags, unless --tags is given too
    #[arg(long, value_name = "GLOB")]
    branches: Option<String>,
    /// Only tags whose short name matches; no branches, unless --branches is given too
    #[arg(long, value_name = "GLOB")]
    tags: Option<String>,
    /// Show what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print only JSON: the stats and the traffic, or `{"error": ...}` if the run failed
    #[arg(long)]
    json: bool,
    /// Leave unchanged refs out of the table
    #[arg(long, conflicts_with = "json")]
    hide_unchanged: bool,
    /// List also the branches and tags that the globs exclude
    #[arg(long)]
    all_refs: bool,
    /// The JSON of the previous run: a ref that it rejected is not fetched again until a tip moves
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Faults of received objects that are refused: those that git refuses with fetch.fsckObjects,
    /// the same without three harmless old ones, or none
    #[arg(long, value_enum, default_value_t = fsck::Level::Default)]
    fsck: fsck::Level,
    /// Accept objects with this fault, as fetch.fsck.ID=ignore does; may be repeated
    #[arg(long, value_name = "ID")]
    fsck_ignore: Vec<String>,
    /// Accept the objects in this file whatever their faults: one id per line, as in fetch.fsck.skipList
    #[arg(long, value_name = "FILE")]
    fsck_skip: Option<PathBuf>,
    /// Connections that are allowed: https to public addresses, or any
    #[arg(long, value_enum, default_value_t = ends::Network::Public)]
    network: ends::Network,
}

fn main() -> ExitCode {
    if env::args_os().len() == 1 {
        story::tell();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(stats) => print(&arguments, &stats),
        Err(err) => {
            complain(&report::failure(&err));
            if arguments.json {
                // Nobody is left to be told if this fails.
                json::write_failure(&err, io::stdout()).ok();
            }
            ExitCode::from(match err.kind() {
                ErrorKind::InvalidGlob | ErrorKind::InvalidUrl | ErrorKind::InvalidOptions => {
                    BAD_USAGE
                }
                _ => FAILED,
            })
        }
    }
}

fn run(arguments: &Arguments) -> Result<SyncRunStats, Error> {
    let mut options = options(arguments)?;
    let source = ends::open(&arguments.source, arguments.network)?;
    let destination = ends::open(&arguments.destination, arguments.network)?;
    let bar = Arc::new(progress::Bar::new());
    options.progress = Some(bar.clone());
    let stats = refsync::sync(&*source, &*destination, &options);
    bar.clear();
    stats
}

fn options(arguments: &Arguments) -> Result<SyncOptions, Error> {
    let mut options = SyncOptions::default();
    let (branches, tags) = (arguments.branches.as_deref(), arguments.tags.as_deref());
    if branches.is_some() || tags.is_some() {
        options.globs = RefGlobs::new(branches, tags)?;
    }
    options.dry_run = arguments.dry_run;
    options.list_excluded = arguments.all_refs;
    options.fsck = fsck::rules(
        arguments.fsck,
        &arguments.fsck_ignore,
        arguments.fsck_skip.as_deref(),
    )?;
    if let Some(path) = &arguments.previous {
        let unusable = || format!("{} holds no stats of a run before", path.display());
        let invalid = || Error::new(ErrorKind::InvalidOptions, unusable());
        let json = fs::read(path).map_err(|err| invalid().with_source(err))?;
        let stats = serde_json::from_slice(&json).map_err(|err| invalid().with_source(err))?;
        options.previous = Some(stats);
    }
    Ok(options)
}

fn print(arguments: &Arguments, stats: &SyncRunStats) -> ExitCode {
    let printed = if arguments.json {
        json::write_stats(stats, io::stdout())
    } else {
        let shown = report::Shown {
            dry_run: arguments.dry_run,
            unchanged: !arguments.hide_unchanged,
        };
        report::write_table(stats, shown, io::stdout())
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => lost(&err),
    }
}

fn lost(err: &io::Error) -> ExitCode {
    complain(&format!(
        "error: the run is done, its stats are lost: {err}\n"
    ));
    ExitCode::from(FAILED)
}

fn complain(text: &str) {
    // Nobody is left to be told if this fails.
    io::stderr().write_all(text.as_bytes()).ok();
}
