//! `git http-backend` as a child in an environment that has nothing of this process.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::LazyLock,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use refsync::{FsckLevel, FsckMessage, FsckRules};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Wanted;

/// The time that git's programs have to remove their locks and temporary files.
const GRACE: Duration = Duration::from_secs(5);

/// One request for the program.
pub(super) struct CgiRequest<'a> {
    pub(super) wanted: Wanted,
    /// The folder of the repository.
    pub(super) repo: &'a Path,
    /// An empty folder.
    pub(super) home: &'a Path,
    /// The value of the header `Git-Protocol`.
    pub(super) protocol: Option<&'a str>,
    /// The value of the header `Content-Type`.
    pub(super) content_type: Option<&'a str>,
    /// The most bytes of a pack.
    pub(super) most_bytes: u64,
}

/// The program, in a process group of its own. Dropping it ends the program at once.
pub(super) struct Backend {
    child: Child,
    group: Option<Pid>,
}

/// The most bytes of a request to upload-pack, which the program keeps in memory.
pub(super) const FETCH_BYTES: u64 = 64 << 20;

/// The options that are the same for all requests.
static OPTIONS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let fixed = [
        ("safe.directory", "*"),
        ("core.hooksPath", "/dev/null"),
        ("core.fsync", "all"),
        ("http.receivepack", "true"),
        ("http.getanyfile", "false"),
        ("transfer.hideRefs", "refs"),
        ("transfer.hideRefs", "!refs/heads"),
        ("transfer.hideRefs", "!refs/tags"),
        ("receive.fsckObjects", "true"),
        ("receive.autogc", "false"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
    ];
    let fixed = fixed.map(|(key, value)| (key.to_owned(), value.to_owned()));
    fixed.into_iter().chain(fsck_levels()).collect()
});

/// The levels of the engine's runs where they are not git's own.
fn fsck_levels() -> impl Iterator<Item = (String, String)> {
    let (levels, own) = (FsckRules::default(), FsckRules::strict());
    let changed = FsckMessage::all().filter(move |m| levels.level(*m) != own.level(*m));
    let levels = FsckRules::default();
    changed.map(move |message| {
        let level = match levels.level(message) {
            FsckLevel::Ignore => "ignore",
            FsckLevel::Warn => "warn",
            _ => "error",
        };
        (format!("receive.fsck.{}", message.name()), level.to_owned())
    })
}

impl Backend {
    /// Starts the program. What it prints for people goes to `errors`.
    pub(super) fn start(request: &CgiRequest<'_>, errors: File) -> io::Result<Self> {
        let mut command = Command::new("git");
        command.arg("http-backend");
        command.env_clear().envs(environment(request));
        command
            .current_dir(request.home)
            .process_group(0)
            .kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Backend {
            child,
            group: id.map(Pid::from_raw),
        })
    }

    /// The ends of the program's pipes.
    pub(super) fn pipes(&mut self) -> io::Result<(ChildStdin, ChildStdout)> {
        let pipes = self.child.stdin.take().zip(self.child.stdout.take());
        pipes.ok_or_else(|| io::Error::other("git has no pipes"))
    }

    /// The program's end.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group = None;
        status
    }

    /// Ends the program and its children: first so that they remove their locks, and then by force.
    pub(super) async fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(GRACE, self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::SIGKILL);
            self.child.wait().await.ok();
        }
        self.group = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            killpg(group, signal).ok();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
    }
}

fn environment(request: &CgiRequest<'_>) -> Vec<(String, OsString)> {
    let text = |key: &str, value: &str| (key.to_owned(), OsString::from(value));
    let path = |key: &str, value: &Path| (key.to_owned(), PathBuf::from(value).into_os_string());
    let mut all = vec![
        path("HOME", request.home),
        text("GIT_CONFIG_NOSYSTEM", "1"),
        text("GIT_CONFIG_GLOBAL", "/dev/null"),
        text("GIT_ATTR_NOSYSTEM", "1"),
        text("GIT_TERMINAL_PROMPT", "0"),
        text("GIT_HTTP_EXPORT_ALL", "1"),
        text("GIT_HTTP_MAX_REQUEST_BUFFER", &FETCH_BYTES.to_string()),
        text("LC_ALL", "C"),
        text("REMOTE_USER", "refsyncd"),
        text("REMOTE_ADDR", "127.0.0.1"),
        text("REQUEST_METHOD", request.wanted.method()),
        text("QUERY_STRING", &request.wanted.query()),
    ];
    let mut translated = request.repo.as_os_str().to_owned();
    translated.push(request.wanted.path());
    all.push(("PATH_TRANSLATED".into(), translated));
    all.extend(std::env::var_os("PATH").map(|value| ("PATH".to_owned(), value)));
    all.extend(
        request
            .protocol
            .map(|value| text("HTTP_GIT_PROTOCOL", value)),
    );
    all.extend(
        request
            .content_type
            .map(|value| text("CONTENT_TYPE", value)),
    );
    let size = (
        "receive.maxInputSize".to_owned(),
        request.most_bytes.to_string(),
    );
    let options = OPTIONS.iter().chain([&size]);
    let mut count = 0;
    for (key, value) in options {
        all.push(text(&format!("GIT_CONFIG_KEY_{count}"), key));
        all.push(text(&format!("GIT_CONFIG_VALUE_{count}"), value));
        count += 1;
    }
    all.push(text("GIT_CONFIG_COUNT", &count.to_string()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_that_differ_from_gits() {
        let mut levels: Vec<_> = fsck_levels().collect();
        levels.sort();
        let ignored = [
            "badTimezone",
            "missingSpaceBeforeDate",
            "zeroPaddedFilemode",
        ];
        let ignored = ignored.map(|name| (format!("receive.fsck.{name}"), "ignore".to_owned()));
        assert_eq!(levels, ignored);
    }
}
