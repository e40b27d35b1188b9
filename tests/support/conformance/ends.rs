//! The ends, in all their makes.

use crate::support::git::{ObjectFormat, Repo, Sandbox};
use crate::support::pull::{Pulled, asked, grow, leftovers};
use crate::support::server::GitServer;
use refsync::{
    Credentials, Error, LocalStore, NetworkPolicy, SmartHttp, SyncOptions, SyncRunStats, sync,
};
use std::fs;
use std::path::PathBuf;

const USER: &str = "reader";
const PASSWORD: &str = "pass:word";

/// Which ends, and what they speak.
#[derive(Clone, Copy)]
pub struct Setup {
    pub protocol: u8,
    pub tls: bool,
    pub auth: bool,
    pub format: ObjectFormat,
    pub destination: Destination,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Destination {
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
            destination: Destination::Bare,
        }
    }
}

pub struct Ends {
    pub server: GitServer,
    pub remote: SmartHttp,
    pub local: LocalStore,
    pub upstream: Repo,
    pub destination: Repo,
    setup: Setup,
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
        let server = self.server(&sandbox);
        let mut remote = SmartHttp::new(&server.url("up.git"))
            .expect("a good URL")
            .with_network_policy(NetworkPolicy::any());
        if self.tls {
            remote = remote.with_root_certificate(server.certificate_der());
        }
        if self.auth {
            remote = remote.with_credentials(Credentials::username_password(USER, PASSWORD));
        }
        Ends {
            remote,
            local: LocalStore::open(opened_at).expect("a repository"),
            server,
            upstream,
            destination,
            setup: *self,
            _sandbox: sandbox,
        }
    }

    fn server(&self, sandbox: &Sandbox) -> GitServer {
        let server = GitServer::builder(sandbox.path())
            .max_protocol(self.protocol)
            .tls(self.tls);
        match self.auth {
            true => server.auth(USER, PASSWORD).start(),
            false => server.start(),
        }
    }

    fn destination(&self, sandbox: &Sandbox) -> (Repo, PathBuf) {
        let bare = || sandbox.init_bare("down.git", self.format);
        let in_itself = |repo: Repo| (repo.clone(), repo.path);
        match self.destination {
            Destination::Bare | Destination::Packed => in_itself(bare()),
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
        self.server.reset_counts();
        let stats = self.try_pull(options).expect("a run that does its work");
        assert_eq!(leftovers(&self.destination), [""; 0]);
        self.destination.fsck();
        let requests = self.server.requests();
        for request in &requests {
            assert_eq!(
                (request.status, request.authorization),
                (Some(200), self.setup.auth)
            );
        }
        if self.setup.destination == Destination::Packed && !options.dry_run {
            self.destination.git(&["pack-refs", "--all"]);
            self.destination.git(&["repack", "-a", "-d", "--quiet"]);
        }
        Pulled {
            stats,
            asked: asked(&requests),
        }
    }

    pub fn try_pull(&self, options: &SyncOptions) -> Result<SyncRunStats, Error> {
        sync(&self.remote, &self.local, options)
    }

    /// The requests that list the refs, and these after them.
    pub fn listing_and(&self, more: &[&'static str]) -> Vec<&'static str> {
        let listing: &[_] = match self.setup.protocol {
            2 => &["info/refs", "ls-refs"],
            _ => &["info/refs"],
        };
        [listing, more].concat()
    }

    pub fn speaks_v2(&self) -> bool {
        self.setup.protocol == 2
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
