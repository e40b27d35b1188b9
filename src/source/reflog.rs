//! What git would add to the log of a ref that moves (`refs/files-backend.c`, `files_log_ref_write`).

use std::{
    fs::{self, File},
    io::{self, Write},
};

use bstr::BStr;
use gix::{ObjectId, refs::store::WriteReflog};

use super::ref_lock::remove_empty;

const COMMITTER: &str = "refsync <refsync>";
const MESSAGE: &str = "refsync: fast-forward";

/// To be called with the ref locked. The line comes whole, or not at all where that fails.
pub(super) fn append(
    repo: &gix::Repository,
    name: &BStr,
    before: Option<ObjectId>,
    after: ObjectId,
) -> io::Result<()> {
    let name_as_path = gix::path::from_bstr(name).map_err(io::Error::other)?;
    let path = repo.common_dir().join("logs").join(name_as_path);
    let mut options = File::options();
    options.append(true);
    if is_to_be_made(repo.refs.write_reflog, name) {
        options.create(true);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        // What git leaves of logs that are gone.
        if path.is_dir() {
            remove_empty(&path)?;
        }
    }
    let mut log = match options.open(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) if path.is_dir() => return Ok(()),
        opened => opened?,
    };
    let before = before.unwrap_or_else(|| ObjectId::null(after.kind()));
    let seconds = gix::date::Time::now_utc().seconds;
    let line = format!("{before} {after} {COMMITTER} {seconds} +0000\t{MESSAGE}\n");
    let length = log.metadata()?.len();
    let written = log.write_all(line.as_bytes());
    written.inspect_err(|_| drop(log.set_len(length)))
}

/// Those that are there already go on in any case (git-config(1), `core.logAllRefUpdates`).
fn is_to_be_made(setting: WriteReflog, name: &BStr) -> bool {
    match setting {
        WriteReflog::Always => true,
        WriteReflog::Normal => name.starts_with(b"refs/heads/"),
        WriteReflog::Disable => false,
    }
}
