//! Syncs one repository into another from the command line, or, without arguments, shows on a
//! small repository of its own what a sync does.

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
/// Credentials for a URL come from the environment: REFSYNC_TOKEN, with REFSYNC_USERNAME where the
/// server wants a certain one; or REFSYNC_USERNAME and REFSYNC_PASSWORD. Without any arguments, a
/// demonstration runs on repositories of its own.
///
/// Exits with 0 when the run worked, whatever it had to reject; with 1 when it failed; with 2 when
/// it was asked for something that can't be.
#[derive(Parser)]
#[command(name = "sync")]
struct Arguments {
    /// Where refs come from: a URL (with `://`) or a path
    source: String,
    /// Where refs go to: a URL (with `://`) or a path
    destination: String,
    /// Only branches whose short name matches; no tags, unless --tags is given too
    #[arg(long, value_name = "GLOB")]
    branches: Option<String>,
    /// Only tags whose short name matches; no branches, unless --branches is given too
    #[arg(long, value_name = "GLOB")]
    tags: Option<String>,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the stats and the traffic as JSON and nothing else, or `{"error": ...}` when the run failed
    #[arg(long)]
    json: bool,
    /// Leave the refs out of the table that both ends had the same already
    #[arg(long, conflicts_with = "json")]
    hide_unchanged: bool,
    /// List the branches and tags that the globs exclude, too
    #[arg(long)]
    all_refs: bool,
    /// The JSON of the run before: what it rejected is not fetched again until a tip moves
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Which faults of received objects are refused: all that git objects to with
    /// fetch.fsckObjects, those without three harmless old ones, or none
    #[arg(long, value_enum, default_value_t = fsck::Level::Default)]
    fsck: fsck::Level,
    /// Take objects with this fault, as fetch.fsck.ID=ignore does; may be repeated
    #[arg(long, value_name = "ID")]
    fsck_ignore: Vec<String>,
    /// Take the objects in this file whatever their faults: an id a line, as in fetch.fsck.skipList
    #[arg(long, value_name = "FILE")]
    fsck_skip: Option<PathBuf>,
    /// What may be connected to: https to public addresses, or anything
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
