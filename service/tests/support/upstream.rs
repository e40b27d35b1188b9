//! [`Upstream`], repositories of real git behind `git http-backend`.

use super::engine::git::{ObjectFormat, Repo, Sandbox};
use super::engine::server::{Builder, GitServer};

/// A folder of repositories, and a server that serves them and takes pushes.
pub struct Upstream {
    // The server ends before its folder goes.
    pub server: GitServer,
    pub sandbox: Sandbox,
}

impl Upstream {
    pub fn start() -> Self {
        Self::start_with(|server| server)
    }

    /// With a server that `change` has changed, for example one that asks for credentials.
    pub fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let sandbox = Sandbox::new();
        let server = GitServer::builder(sandbox.path()).receive_pack(true);
        Upstream {
            server: change(server).start(),
            sandbox,
        }
    }

    /// A new empty repository.
    #[track_caller]
    pub fn empty(&self, name: &str) -> Repo {
        self.sandbox.init_bare(name, ObjectFormat::Sha1)
    }

    /// A new repository with one commit on `main`.
    #[track_caller]
    pub fn repo(&self, name: &str) -> Repo {
        let repo = self.empty(name);
        repo.commit("main", &[], "first", &[("file", "1\n")], 1_700_000_000);
        repo
    }

    /// The address of a repository.
    pub fn url(&self, name: &str) -> String {
        self.server.url(name)
    }
}
