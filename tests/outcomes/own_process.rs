//! A pull in a process of its own: what a process has but one of, such as its umask, can be set there.

use crate::support::git::Repo;
use refsync::{LocalStore, Phase, Progress, SyncOptions, sync};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{env, fs};

const CHILD: &str = "own_process::pull_between_stores";
const FROM: &str = "REFSYNC_TEST_FROM";
const INTO: &str = "REFSYNC_TEST_INTO";
const RESULT: &str = "REFSYNC_TEST_RESULT";

/// Pulls after these commands of a shell; the stats as JSON. The lock of the run's folder and the
/// folder have their modes in the file `modes` beside the destination.
#[track_caller]
pub(crate) fn pull_after(shell: &str, from: &Repo, into: &Repo) -> serde_json::Value {
    let result = into.path.with_extension("result");
    let mut child = Command::new("/bin/sh");
    child.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]);
    child.arg(env::current_exe().unwrap());
    child.args(["--exact", CHILD, "--ignored", "--nocapture"]);
    child.envs([(FROM, &from.path), (INTO, &into.path), (RESULT, &result)]);
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&fs::read(result).unwrap()).unwrap()
}

/// Not a test: what the others run in a process of its own.
#[test]
#[ignore = "runs as the child of another test"]
fn pull_between_stores() {
    let (Some(from), Some(into)) = (env::var_os(FROM), env::var_os(INTO)) else {
        return;
    };
    let mut options = SyncOptions::default();
    options.progress = Some(Arc::new(Modes(into.clone().into())));
    let (from, into) = (
        LocalStore::open(from).unwrap(),
        LocalStore::open(into).unwrap(),
    );
    let stats = sync(&from, &into, &options).unwrap();
    let text = serde_json::to_vec(&stats).unwrap();
    fs::write(env::var_os(RESULT).unwrap(), text).unwrap();
}

/// Writes down the modes of what the run has for itself in a repository.
struct Modes(std::path::PathBuf);

impl Progress for Modes {
    fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
        if phase != Phase::Apply {
            return;
        }
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap());
        let folder = entries.into_iter().find(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("refsync-")
        });
        if let Some(folder) = folder {
            let folder = folder.path();
            let text = format!("{:o} {:o}", mode(&folder), mode(&folder.join("lock")));
            fs::write(self.0.with_extension("modes"), text).unwrap();
        }
    }
}

#[cfg(unix)]
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let found = fs::metadata(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    found.permissions().mode() & 0o7777
}

#[cfg(not(unix))]
pub(crate) fn mode(_: &Path) -> u32 {
    0
}
