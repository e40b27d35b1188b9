//! A repository behind a server, and what other repositories may have of it.

use std::{fs, time::Duration};

use super::{
    GitServer, ObjectFormat, Repo, Sandbox,
    contest::{Contender, Contest, in_step},
    history::project,
    programs::{self, Refs},
    ref_heavy,
};

/// In a folder of which a server serves all.
pub struct Served {
    pub sandbox: Sandbox,
    pub repo: Repo,
    /// The newest commit of its main line.
    head: String,
}

const WHOLE: &str = "whole.git";
const TARGET: &str = "target.git";

impl Served {
    pub fn with_refs(refs: usize, commits: usize) -> Self {
        Self::made_by(|repo| drop(ref_heavy(repo, refs, commits)))
    }

    pub fn project(commits: usize) -> Self {
        Self::made_by(|repo| project(repo, commits))
    }

    pub fn made_by(make: impl Fn(&Repo)) -> Self {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare(WHOLE, ObjectFormat::Sha1);
        make(&repo);
        let head = repo.git(&["rev-parse", "main"]);
        Served {
            sandbox,
            repo,
            head,
        }
    }

    /// The branches and tags of another one.
    pub fn all_of(other: &Repo) -> Self {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare(WHOLE, ObjectFormat::Sha1);
        let from = other.path.to_string_lossy();
        let (heads, tags) = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*");
        repo.git(&["fetch", "-q", &from, heads, tags]);
        let head = other.git(&["rev-parse", "HEAD"]);
        Served {
            sandbox,
            repo,
            head,
        }
    }

    /// A bare one with nothing in it.
    pub fn empty(&self) -> Repo {
        self.sandbox.init_bare(TARGET, ObjectFormat::Sha1)
    }

    /// One with the objects and refs of another one, at no cost.
    pub fn copy_of(&self, other: &Repo) -> Repo {
        let copy = self.empty();
        other.link_to(&copy);
        copy
    }

    /// Its main line alone, without the last commits, in one pack.
    pub fn main(&self, without: usize) -> Repo {
        let name = format!("main-{without}.git");
        self.grown(&name, &[&format!("{}~{without}", self.head)])
    }

    /// Its main line alone, with each of the last commits' objects in a file of its own.
    pub fn main_with_loose(&self, commits: usize) -> Repo {
        let name = format!("loose-{commits}.git");
        self.grown(&name, &[&format!("{}~{commits}", self.head), &self.head])
    }

    /// One that has got these commits, one after the other, the first of them in a pack.
    fn grown(&self, name: &str, commits: &[&str]) -> Repo {
        // From another contest.
        fs::remove_dir_all(self.sandbox.path().join(name)).ok();
        let repo = self.sandbox.init_bare(name, ObjectFormat::Sha1);
        let from = self.repo.path.to_string_lossy();
        for (commit, limit) in commits.iter().zip([1, 1_000_000]) {
            let limit = format!("fetch.unpackLimit={limit}");
            let refspec = format!("{}:refs/heads/main", self.repo.git(&["rev-parse", commit]));
            repo.git(&["-c", &limit, "fetch", "-q", "--no-tags", &from, &refspec]);
        }
        repo
    }

    /// `git fetch` and a pull of ours from `source`, into what `prepare` makes.
    pub fn pulls<'a>(
        &self,
        source: &Repo,
        refs: Refs,
        round_trip: Duration,
        prepare: impl Fn() -> Repo + 'a,
    ) -> Contest<'a> {
        let server = GitServer::builder(self.sandbox.path());
        let name = source.path.file_name().expect("a name");
        Contest {
            remote: Some((
                server.round_trip(round_trip).start(),
                name.to_string_lossy().into_owned(),
            )),
            prepare: Box::new(prepare),
            check: in_step(source),
            peers: vec![Contender::new("", move |repo, url| {
                programs::git_fetch(repo, url, refs)
            })],
            ours: vec![Contender::new("", move |repo, url| {
                programs::pull(repo, url, refs)
            })],
        }
    }

    /// `git push` and a push of ours from `source`, to what `prepare` makes.
    pub fn pushes<'a>(
        &self,
        source: &Repo,
        refs: Refs,
        round_trip: Duration,
        prepare: impl Fn() -> Repo + 'a,
    ) -> Contest<'a> {
        let server = GitServer::builder(self.sandbox.path()).receive_pack(true);
        let (git, ours) = (source.clone(), source.clone());
        Contest {
            remote: Some((server.round_trip(round_trip).start(), TARGET.to_owned())),
            prepare: Box::new(prepare),
            check: in_step(source),
            peers: vec![Contender::new("", move |_, url| {
                programs::git_push(&git, url, refs)
            })],
            ours: vec![Contender::new("", move |_, url| {
                programs::push(&ours, url, refs)
            })],
        }
    }
}
