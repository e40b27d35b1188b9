//! The ends, in all their makes.

use super::canary::CANARY;
use super::git::{ObjectFormat, Repo, Sandbox};
use super::pull::{Pulled, asked, grow, leftovers};
use super::remote::{remote, sync};
use super::server::GitServer;
use refsync::{Credentials, Error, LocalStore, RefSource, SmartHttp, SyncOptions, SyncRunStats};
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

const USER: &str = "reader";

/// Which ends, and what they speak.
#[derive(Clone, Copy)]
pub struct Setup {
    pub protocol: u8,
    pub tls: bool,
    pub auth: bool,
    pub format: ObjectFormat,
    pub source: Source,
    pub destination: Destination,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Http,
    Local,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Http,
    Bare,
    Worktree,
    /// Opened through a worktree that was added to it.
    LinkedWorktree,
    /// With another repository's objects beside its own.
    Alternates,
    /// All refs and objects packed after each run.
    Packed,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            protocol: 2,
            tls: false,
            auth: false,
            format: ObjectFormat::Sha1,
            source: Source::Http,
            destination: Destination::Bare,
        }
    }
}

pub struct Ends {
    pub server: GitServer,
    from: Box<dyn RefSource>,
    to: Box<dyn RefSource>,
    pub upstream: Repo,
    pub destination: Repo,
    setup: Setup,
    /// The number of runs so far.
    runs: Cell<usize>,
    /// The folder for the repository of a run between two remotes.
    scratch: PathBuf,
    /// Cleaned up last.
    _sandbox: Sandbox,
}

impl Setup {
    /// The destination has nothing of the upstream's two branches and two tags.
    ///
    /// None of them is called as what a worktree has checked out.
    pub fn ends(&self) -> Ends {
        let sandbox = Sandbox::new();
        let upstream = sandbox.init_bare("up.git", self.format);
        let root = grow(&upstream, "trunk", &[]);
        let tip = grow(&upstream, "trunk", &[&root]);
        grow(&upstream, "topic/side", &[&root]);
        upstream.tag_annotated("v1", &root);
        upstream.set_ref("refs/tags/light", &tip);
        let (destination, opened_at) = self.destination(&sandbox);
        self.between(sandbox, upstream, destination, opened_at)
    }

    /// Ends at two repositories of the sandbox, `up.git` and, if it is served, `down.git`.
    pub fn between(
        &self,
        sandbox: Sandbox,
        upstream: Repo,
        destination: Repo,
        opened_at: PathBuf,
    ) -> Ends {
        let server = self.server(&sandbox);
        let local = |path: PathBuf| -> Box<dyn RefSource> {
            Box::new(LocalStore::open(path).expect("a repository"))
        };
        let scratch = sandbox.path().join("scratch");
        fs::create_dir(&scratch).expect("a directory");
        Ends {
            from: match self.source {
                Source::Http => Box::new(self.remote(&server, "up.git")),
                Source::Local => local(upstream.path.clone()),
            },
            to: match self.destination {
                Destination::Http => Box::new(self.remote(&server, "down.git")),
                _ => local(opened_at),
            },
            server,
            upstream,
            destination,
            setup: *self,
            runs: Cell::default(),
            scratch,
            _sandbox: sandbox,
        }
    }

    /// Neither end has the objects at hand, so they go through a third one.
    pub fn is_relay(&self) -> bool {
        self.source == Source::Http && self.destination == Destination::Http
    }

    fn remote(&self, server: &GitServer, name: &str) -> SmartHttp {
        let mut remote = remote(&server.url(name));
        if self.tls {
            remote = remote.with_root_certificate(server.certificate_der());
        }
        if self.auth {
            remote = remote.with_credentials(Credentials::username_password(USER, CANARY));
        }
        remote
    }

    fn server(&self, sandbox: &Sandbox) -> GitServer {
        let server = GitServer::builder(sandbox.path())
            .max_protocol(self.protocol)
            .receive_pack(self.destination == Destination::Http)
            .tls(self.tls);
        match self.auth {
            true => server.auth(USER, CANARY).start(),
            false => server.start(),
        }
    }

    fn destination(&self, sandbox: &Sandbox) -> (Repo, PathBuf) {
        let bare = || sandbox.init_bare("down.git", self.format);
        let in_itself = |repo: Repo| (repo.clone(), repo.path);
        match self.destination {
            Destination::Http | Destination::Bare | Destination::Packed => in_itself(bare()),
            Destination::Worktree => {
                let repo = sandbox.init_worktree("down", self.format);
                grow(&repo, "main", &[]);
                in_itself(repo)
            }
            Destination::LinkedWorktree => {
                let repo = sandbox.init_worktree("down", self.format);
                grow(&repo, "main", &[]);
                let linked = sandbox.path().join("linked");
                repo.git(&["worktree", "add", "--quiet", &linked.to_string_lossy()]);
                (repo, linked)
            }
            Destination::Alternates => {
                let other = sandbox.init_bare("other.git", self.format);
                grow(&other, "main", &[]);
                let repo = bare();
                let objects = other.path.join("objects").display().to_string();
                fs::write(repo.path.join("objects/info/alternates"), objects + "\n")
                    .expect("the alternates file");
                in_itself(repo)
            }
        }
    }
}

impl Ends {
    #[track_caller]
    pub fn tip(&self, rev: &str) -> String {
        self.upstream.git(&["rev-parse", rev])
    }

    /// A new commit on a branch of the upstream.
    #[track_caller]
    pub fn advance(&self, branch: &str) -> String {
        grow(&self.upstream, branch, &[&self.tip(branch)])
    }

    #[track_caller]
    pub fn pull(&self) -> Pulled {
        self.pull_with(&SyncOptions::default())
    }

    #[track_caller]
    pub fn pull_with(&self, options: &SyncOptions) -> Pulled {
        let pulled = self.run(options);
        self.destination.fsck();
        if self.setup.destination == Destination::Packed && !options.dry_run {
            self.destination.git(&["pack-refs", "--all"]);
            self.destination.git(&["repack", "-a", "-d", "--quiet"]);
        }
        pulled
    }

    /// Without a look at what is in the destination.
    #[track_caller]
    pub fn run(&self, options: &SyncOptions) -> Pulled {
        self.server.reset_counts();
        self.runs.set(self.runs.get() + 1);
        let stats = self.try_pull(options).expect("a run that does its work");
        let mut requests = self.server.requests();
        // Both ends are listed at once, so either may be the first.
        requests.sort_by_key(|request| request.query != "service=git-receive-pack");
        for request in &requests {
            assert_eq!((request.status, request.authorization), (Some(200), true));
        }
        assert_eq!(stats.traffic.requests, requests.len() as u64);
        Pulled {
            stats,
            asked: asked(&requests),
        }
    }

    /// Whatever comes of it, the source is only read and nothing is left behind anywhere.
    #[track_caller]
    pub fn try_pull(&self, options: &SyncOptions) -> Result<SyncRunStats, Error> {
        let mut options = options.clone();
        options.scratch = Some(self.scratch.clone());
        let source = self.upstream.files();
        let result = sync(&*self.from, &*self.to, &options);
        if self.setup.source == Source::Local {
            assert_eq!(self.upstream.files(), source, "the source changed");
        }
        assert_eq!(leftovers(&self.destination), [""; 0]);
        let left = fs::read_dir(&self.scratch).expect("the scratch folder");
        assert_eq!(left.count(), 0, "in the scratch folder");
        result
    }

    /// The requests that list the refs, and then those of `more` that such ends make: local ones
    /// make none. A run before has learnt whether the source speaks v2.
    pub fn listing_and(&self, more: &[&'static str]) -> Vec<&'static str> {
        let pushes = self.setup.destination == Destination::Http;
        let fetches = self.setup.source == Source::Http;
        let mut asked = Vec::new();
        if pushes {
            asked.push("info/refs");
        }
        if fetches {
            let is_known = self.speaks_v2() && self.runs.get() > 1;
            asked.extend((!is_known).then_some("info/refs"));
            asked.extend(self.speaks_v2().then_some("ls-refs"));
        }
        let is_made = |word: &&&str| match **word {
            "push" => pushes,
            _ => fetches,
        };
        asked.extend(more.iter().filter(is_made));
        asked
    }

    pub fn speaks_v2(&self) -> bool {
        self.setup.source == Source::Http && self.setup.protocol == 2
    }

    /// `new` objects reached the destination, for the sake of these tips. On their way between two
    /// remotes they are received with all that is behind them, and counted again when they are sent.
    #[track_caller]
    pub fn assert_moved(&self, pulled: &Pulled, new: u64, tips: &[&str]) {
        let received = match self.setup.is_relay() {
            true => self.count_objects(tips),
            false => 0,
        };
        assert_eq!(pulled.stats.traffic.objects, new + received);
    }

    #[track_caller]
    pub fn count_objects(&self, tips: &[&str]) -> u64 {
        let listed = self
            .upstream
            .git(&[&["rev-list", "--objects"], tips].concat());
        listed.lines().count() as u64
    }

    /// Every branch and tag of the upstream is at the destination, with the same tip.
    #[track_caller]
    pub fn assert_in_step(&self) {
        let held = self.destination.for_each_ref();
        for listed in self.upstream.for_each_ref() {
            assert!(held.contains(&listed), "{listed:?} in {held:?}");
        }
    }
}
