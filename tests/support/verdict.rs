//! Git's verdict about each ref of a pair: `git fetch --porcelain` and `git push --porcelain`.

use super::git::Repo;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

/// All branches and tags, unforced.
const REFSPECS: [&str; 2] = ["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"];

/// The first column of a line of git's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    FastForward,
    New,
    Rejected,
    UpToDate,
    /// No line at all: the destination has a symbolic ref, and the refspec is a pattern.
    Silent,
}

pub type Flags = BTreeMap<String, Flag>;

/// Fetches into a copy of the destination.
pub fn fetch(into: &Repo, source: &Path) -> Result<Flags, String> {
    let options = [
        "-c",
        "core.fsync=none",
        "fetch",
        "--verbose",
        "--porcelain",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        source.to_str().expect("a path in UTF-8"),
    ];
    let output = into.try_git(&[&options[..], &REFSPECS].concat());
    parse("git fetch", &output, parse_fetched)
}

/// `<flag> <old> <new> <local ref>`
fn parse_fetched(line: &str) -> Option<(String, Flag)> {
    let flag = Flag::parse(line.get(..1)?)?;
    Some((line.get(2..)?.split(' ').nth(2)?.to_owned(), flag))
}

/// Pushes into a copy of the destination. The source may have a commit-graph, which is not used.
pub fn push(from: &Repo, destination: &Path) -> Result<Flags, String> {
    let options = [
        "-c",
        "core.commitGraph=false",
        "push",
        "--porcelain",
        destination.to_str().expect("a path in UTF-8"),
    ];
    let output = from.try_git(&[&options[..], &REFSPECS].concat());
    parse("git push", &output, parse_pushed)
}

/// `<flag> <from>:<to> <summary>`, with tabs between them.
fn parse_pushed(line: &str) -> Option<(String, Flag)> {
    let mut columns = line.split('\t');
    let flag = Flag::parse(columns.next()?)?;
    let (_, to) = columns.next()?.split_once(':')?;
    Some((to.to_owned(), flag))
}

fn parse(
    program: &str,
    output: &Output,
    line: fn(&str) -> Option<(String, Flag)>,
) -> Result<Flags, String> {
    let said = String::from_utf8_lossy(&output.stderr);
    // 1 is for refs that were rejected.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(format!("{program}: {}\n{said}", output.status));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    // A push says where to and that it is done, too.
    let mut lines = listed
        .lines()
        .filter(|line| !line.starts_with("To ") && *line != "Done");
    let flags: Option<_> = lines.by_ref().map(line).collect();
    flags.ok_or(format!("{program} said:\n{listed}{said}"))
}

impl Flag {
    fn parse(column: &str) -> Option<Self> {
        Some(match column {
            " " => Flag::FastForward,
            "*" => Flag::New,
            "!" => Flag::Rejected,
            "=" => Flag::UpToDate,
            _ => return None,
        })
    }
}
