//! Real git, cut off from the machine's configuration, and the repositories it makes.

use super::fast_import::{FastImport, Imported};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::{env, fs, thread};
use tempfile::{NamedTempFile, TempDir};

/// A temporary directory for repositories; all of it goes when this is dropped.
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs git in the sandbox's own directory, which is not a repository.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        text_of_success(args, &self.try_git(args))
    }

    pub fn try_git(&self, args: &[&str]) -> Output {
        output(command(self.path()).args(args))
    }

    #[track_caller]
    pub fn init_bare(&self, name: &str, format: ObjectFormat) -> Repo {
        self.git(&[
            "init",
            "--quiet",
            "--bare",
            "--object-format",
            format.name(),
            name,
        ]);
        self.repo(name)
    }

    #[track_caller]
    pub fn init_worktree(&self, name: &str, format: ObjectFormat) -> Repo {
        self.git(&["init", "--quiet", "--object-format", format.name(), name]);
        self.repo(name)
    }

    /// A repository that something else made, `git clone` for one.
    pub fn repo(&self, name: &str) -> Repo {
        Repo::at(self.path().join(name))
    }
}

/// Whatever a test did, it left no secret behind.
#[cfg(all(test, feature = "http"))]
impl Drop for Sandbox {
    fn drop(&mut self) {
        if !thread::panicking() {
            super::canary::search(self.path());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFormat {
    Sha1,
    Sha256,
}

impl ObjectFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    pub fn null_id(self) -> String {
        match self {
            Self::Sha1 => "0".repeat(40),
            Self::Sha256 => "0".repeat(64),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Repo {
    pub path: PathBuf,
}

impl Repo {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Everything in it, to a folder that is not there yet.
    pub fn copy_to(&self, path: &Path) {
        copy_all(&self.path, path);
    }

    pub fn git_dir(&self) -> PathBuf {
        let inner = self.path.join(".git");
        if inner.is_dir() {
            inner
        } else {
            self.path.clone()
        }
    }

    /// Trimmed standard output; panics with git's standard error if git fails.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        text_of_success(args, &self.try_git(args))
    }

    pub fn try_git(&self, args: &[&str]) -> Output {
        output(command(&self.path).args(args))
    }

    #[track_caller]
    pub fn git_with_input(&self, args: &[&str], input: &[u8]) -> String {
        let mut child = command(&self.path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("a piped stdin");
        let output = thread::scope(|scope| {
            // Git may stop reading early; what it then says is worth more than the broken pipe.
            scope.spawn(move || stdin.write_all(input).ok());
            child.wait_with_output().expect("git ends")
        });
        text_of_success(args, &output)
    }

    /// `--force` lets a stream move a branch to a commit that does not descend from its tip.
    #[track_caller]
    pub fn fast_import(&self, stream: &[u8]) -> String {
        self.git_with_input(&["fast-import", "--quiet", "--force"], stream)
    }

    #[track_caller]
    pub fn import(&self, import: &FastImport) -> Imported {
        let marks = NamedTempFile::new()
            .expect("a file for the marks")
            .into_temp_path();
        let export = format!("--export-marks={}", marks.display());
        self.git_with_input(
            &["fast-import", "--quiet", "--force", &export],
            import.stream(),
        );
        Imported::parse(&fs::read_to_string(&marks).expect("the exported marks"))
    }

    /// Commits `files` on top of the first parent's tree and moves `branch` there, wherever it was.
    ///
    /// `branch` is a short branch name, or a full name that starts with `refs/`.
    #[track_caller]
    pub fn commit(
        &self,
        branch: &str,
        parents: &[&str],
        message: &str,
        files: &[(&str, &str)],
        date: i64,
    ) -> String {
        let mut import = FastImport::new();
        let parents: Vec<_> = parents.iter().map(|id| import.existing(id)).collect();
        let commit = import.commit(branch, &parents, message, files, date);
        self.import(&import).id(commit).to_owned()
    }

    #[track_caller]
    pub fn set_ref(&self, name: &str, id: &str) {
        self.git(&["update-ref", name, id]);
    }

    /// All in one transaction.
    #[track_caller]
    pub fn set_refs<'a>(&self, refs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let updates: String = refs
            .into_iter()
            .map(|(name, id)| format!("update {name} {id}\n"))
            .collect();
        self.git_with_input(&["update-ref", "--stdin"], updates.as_bytes());
    }

    /// A shell script for `hooks/`.
    pub fn install_hook(&self, name: &str, script: &str) {
        let hooks = self.git_dir().join("hooks");
        fs::create_dir_all(&hooks).expect("a folder for hooks");
        let path = hooks.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook");
        make_executable(&path);
    }

    /// Gives another one the same objects and refs, without copying a byte of a pack.
    pub fn link_to(&self, to: &Repo) {
        let packs = self.path.join("objects/pack");
        for entry in packs.read_dir().expect("a folder of packs") {
            let entry = entry.expect("an entry");
            let link = to.path.join("objects/pack").join(entry.file_name());
            std::fs::hard_link(entry.path(), link).expect("a link");
        }
        self.git(&["pack-refs", "--all"]);
        let refs = self.path.join("packed-refs");
        if refs.exists() {
            std::fs::copy(refs, to.path.join("packed-refs")).expect("a copy");
        }
    }

    #[track_caller]
    pub fn delete_ref(&self, name: &str) {
        self.git(&["update-ref", "-d", name]);
    }

    /// Tags anything, `main^{tree}` too, and moves the tag if it is there already.
    #[track_caller]
    pub fn tag_annotated(&self, name: &str, target: &str) -> String {
        self.git(&[
            "tag",
            "--force",
            "--annotate",
            "--message",
            name,
            name,
            target,
        ]);
        self.git(&["rev-parse", &format!("refs/tags/{name}")])
    }

    /// Branches and tags, by name, with the id that each ref holds.
    #[track_caller]
    pub fn for_each_ref(&self) -> Vec<(String, String)> {
        let format = "--format=%(refname) %(objectname)";
        self.git(&["for-each-ref", format, "refs/heads", "refs/tags"])
            .lines()
            .map(|line| line.split_once(' ').expect("a name and an id"))
            .map(|(name, id)| (name.to_owned(), id.to_owned()))
            .collect()
    }

    #[track_caller]
    pub fn fsck(&self) -> String {
        self.git(&["fsck", "--strict", "--full", "--no-progress"])
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in from.read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let copy = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_all(&entry.path(), &copy),
            false => drop(fs::copy(entry.path(), copy).expect("a copy")),
        }
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("an executable file");
}

#[cfg(not(unix))]
fn make_executable(_: &Path) {}

/// Git in `dir`, with nothing of this process's environment but `PATH`.
pub fn command(dir: &Path) -> Command {
    let mut git = Command::new(program());
    git.current_dir(dir).env_clear().stdin(Stdio::null());
    if let Some(path) = env::var_os("PATH") {
        git.env("PATH", path);
    }
    if let Some(parent) = dir.parent() {
        // A damaged repository must not make git look for another one further up.
        git.env("GIT_CEILING_DIRECTORIES", parent);
    }
    git.env("HOME", dir).envs([
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        // No samples of hooks, which every copy of a repository would have to carry along.
        ("GIT_TEMPLATE_DIR", ""),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("GIT_AUTHOR_NAME", "A U Thor"),
        ("GIT_AUTHOR_EMAIL", "author@example.com"),
        ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ("GIT_COMMITTER_NAME", "C O Mitter"),
        ("GIT_COMMITTER_EMAIL", "committer@example.com"),
        ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "init.defaultBranch"),
        ("GIT_CONFIG_VALUE_0", "main"),
        // In the background it would change files behind a test's back.
        ("GIT_CONFIG_KEY_1", "maintenance.auto"),
        ("GIT_CONFIG_VALUE_1", "false"),
    ]);
    git
}

/// With its path: a bare name beside a changed environment makes the standard library fork, which
/// costs more than all of git does once the tests have a few hundred threads behind them.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        let name = format!("git{}", env::consts::EXE_SUFFIX);
        let mut candidates = env::split_paths(&path).map(|dir| dir.join(&name));
        let found = candidates.find(|candidate| candidate.is_absolute() && candidate.is_file());
        found.unwrap_or_else(|| name.into())
    })
}

fn output(git: &mut Command) -> Output {
    git.output().expect("git runs")
}

#[track_caller]
fn text_of_success(args: &[&str], output: &Output) -> String {
    assert!(
        output.status.success(),
        "git {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
