//! Maintenance of repositories: git repacks one that has many packs, under its lock, one at a time on a node.

use std::{
    io,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    process::Command,
    sync::{Mutex, mpsc},
};

use super::{engine::packs, workers::Shared};
use crate::records::RepoId;

/// The number of packs that a repository may have before it is repacked.
pub(super) const MOST_PACKS: usize = 50;

/// The way to ask for a repository's maintenance.
#[derive(Clone)]
pub(super) struct Maintenance {
    asked: mpsc::Sender<RepoId>,
    /// Whether there is no git on this machine.
    is_without_git: Arc<AtomicBool>,
}

/// The repositories that wait for maintenance.
pub(super) fn channel() -> (Maintenance, mpsc::Receiver<RepoId>) {
    let (asked, receiver) = mpsc::channel(64);
    let maintenance = Maintenance {
        asked,
        is_without_git: Arc::default(),
    };
    (maintenance, receiver)
}

impl Maintenance {
    /// Asks for maintenance. If many wait already, the next run of the repository asks again.
    pub(super) fn ask(&self, id: &RepoId) {
        if !self.is_without_git.load(Ordering::Relaxed) {
            self.asked.try_send(id.clone()).ok();
        }
    }
}

/// Maintains one repository after the other until the service stops.
pub(super) async fn maintain(shared: Shared, asked: Arc<Mutex<mpsc::Receiver<RepoId>>>) {
    let mut asked = asked.lock().await;
    loop {
        let id = tokio::select! {
            Some(id) = asked.recv() => id,
            () = shared.stopped() => return,
        };
        // Dropped when the service stops, and git with it.
        tokio::select! {
            done = repack(&shared, &id) => match done {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    tracing::info!("git is not installed: repositories are not repacked");
                    shared.maintenance.is_without_git.store(true, Ordering::Relaxed);
                }
                Err(err) => tracing::warn!(repo = id.as_str(), %err, "the repository is not repacked"),
                Ok(()) => {}
            },
            () = shared.stopped() => return,
        }
    }
}

async fn repack(shared: &Shared, id: &RepoId) -> io::Result<()> {
    let folders = &shared.service.repos;
    // Whoever works on it will ask again.
    let Some(_lock) = folders.lock(id)? else {
        return Ok(());
    };
    let path = folders.path(id);
    if packs(&path) <= MOST_PACKS {
        return Ok(());
    }
    let done = git(&path)
        .args(["repack", "-d", "-l", "--quiet", "--geometric=2"])
        .output()
        .await?;
    if done.status.success() {
        tracing::info!(repo = id.as_str(), "repacked");
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    Err(io::Error::other(text.trim().to_owned()))
}

/// Git in a repository, with nothing of this process's environment but `PATH`, and no configuration but the
/// repository's.
fn git(path: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(path)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        git.env("PATH", path);
    }
    git.env("GIT_DIR", path).envs([
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_0", "/dev/null"),
        ("GIT_CONFIG_KEY_1", "safe.directory"),
        ("GIT_CONFIG_VALUE_1", "*"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
    ]);
    git
}
