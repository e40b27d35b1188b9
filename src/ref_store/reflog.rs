//! The log entries of a ref that moves, as git writes them (`refs/files-backend.c`,
//! `files_log_ref_write`).

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use bstr::{BStr, BString};
use gix::refs::store::WriteReflog;

use super::{
    config::object_format,
    loose_refs::{self, Target},
    ref_lock::remove_empty,
};
use crate::{ObjectId, files::sharing::Sharing};

const COMMITTER: &str = "refsync <refsync>";
const MESSAGE: &str = "refsync: fast-forward";

/// The logs of a repository.
pub(crate) struct Reflogs<'a> {
    repo: &'a gix::Repository,
    setting: WriteReflog,
    sharing: Sharing,
    /// The branch that `HEAD` names: its moves are logged for `HEAD` as well.
    head: Option<BString>,
}

impl<'a> Reflogs<'a> {
    pub(crate) fn of(repo: &'a gix::Repository, sharing: Sharing) -> Self {
        let head = loose_refs::read(&repo.git_dir().join("HEAD"), object_format(repo));
        Reflogs {
            repo,
            setting: repo.refs.write_reflog,
            sharing,
            head: match head {
                Ok(Some(Target::Symbolic(name))) => Some(name),
                _ => None,
            },
        }
    }

    /// Whether no ref has a log and none is to be made.
    pub(crate) fn are_off(&self) -> bool {
        self.setting == WriteReflog::Disable && !self.folder().exists()
    }

    fn folder(&self) -> PathBuf {
        self.repo.common_dir().join("logs")
    }

    /// Appends a line for a locked ref. After a failure the file is truncated, so that no partial line stays.
    pub(crate) fn append(
        &self,
        name: &BStr,
        before: Option<ObjectId>,
        after: ObjectId,
    ) -> io::Result<()> {
        let before = before.unwrap_or_else(|| ObjectId::null(after.format()));
        let seconds = gix::date::Time::now_utc().seconds;
        let line = format!("{before} {after} {COMMITTER} {seconds} +0000\t{MESSAGE}\n");
        let name_as_path = gix::path::from_bstr(name).map_err(io::Error::other)?;
        self.append_to(&self.folder().join(name_as_path), name, &line)?;
        if self.head.as_ref().is_some_and(|head| head == name) {
            let log = self.repo.git_dir().join("logs/HEAD");
            if let Err(err) = self.append_to(&log, "HEAD".into(), &line) {
                tracing::warn!(?name, %err, "the log of HEAD misses a move of its branch");
            }
        }
        Ok(())
    }

    fn append_to(&self, path: &Path, name: &BStr, line: &str) -> io::Result<()> {
        let mut options = File::options();
        options.append(true);
        if is_to_be_made(self.setting, name) {
            options.create(true);
            self.sharing.create_dir_all(path.parent().unwrap_or(path))?;
            // Git leaves empty directories of deleted logs.
            if path.is_dir() {
                remove_empty(path)?;
            }
        }
        let mut log = match options.open(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if path.is_dir() => return Ok(()),
            opened => opened?,
        };
        if let Err(err) = self.sharing.apply(path) {
            tracing::warn!(?name, %err, "its log is not shared");
        }
        let length = log.metadata()?.len();
        let written = log.write_all(line.as_bytes());
        written.inspect_err(|_| drop(log.set_len(length)))
    }
}

/// Whether a log is made for a ref that has none (git-config(1), `core.logAllRefUpdates`). Existing logs are always
/// continued.
fn is_to_be_made(setting: WriteReflog, name: &BStr) -> bool {
    match setting {
        WriteReflog::Always => true,
        WriteReflog::Normal => name == "HEAD" || name.starts_with(b"refs/heads/"),
        WriteReflog::Disable => false,
    }
}
