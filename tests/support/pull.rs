//! An upstream behind a server, a destination, and what a pull from one to the other did.

use super::git::{ObjectFormat, Repo, Sandbox};
use super::remote::{remote, sync};
use super::server::{Answer, GitServer, Request, RequestHead};
use refsync::{
    Error, FilterReason, LocalStore, Outcome, Reason, SmartHttp, SyncOptions, SyncRunRef,
    SyncRunStats,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

pub const DATE: i64 = 1_700_000_000;
/// The requests of a run that found nothing to fetch, in protocol v2.
pub const LISTED: &[&str] = &["info/refs", "ls-refs"];
/// Those of a run that fetched once.
pub const FETCHED: &[&str] = &["info/refs", "ls-refs", "fetch"];

/// Two repositories in one sandbox, the first of them served.
pub struct Pair {
    pub server: GitServer,
    pub upstream: Repo,
    pub destination: Repo,
    /// The tip of `main` at both ends; `root` is its parent.
    pub tip: String,
    pub root: String,
    pub sandbox: Sandbox,
}

impl Pair {
    /// Both bare and SHA-1 with two commits on `main`. The upstream has another branch,
    /// `bystander`, that needs no fetch and is to be created by every run, whatever it does else.
    pub fn in_step() -> Self {
        Self::with_destination(|sandbox, upstream| {
            let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
            copy(upstream, &destination);
            destination
        })
    }

    /// The same with a destination of any make. `upstream` has no `bystander` yet.
    pub fn with_destination(make: impl FnOnce(&Sandbox, &Repo) -> Repo) -> Self {
        let sandbox = Sandbox::new();
        let upstream = sandbox.init_bare("up.git", ObjectFormat::Sha1);
        let root = grow(&upstream, "main", &[]);
        let tip = grow(&upstream, "main", &[&root]);
        let destination = make(&sandbox, &upstream);
        upstream.set_ref("refs/heads/bystander", &root);
        Pair {
            server: GitServer::builder(sandbox.path()).start(),
            upstream,
            destination,
            tip,
            root,
            sandbox,
        }
    }

    pub fn remote(&self) -> SmartHttp {
        remote(&self.server.url("up.git"))
    }

    #[track_caller]
    pub fn pull(&self) -> Pulled {
        self.pull_with(&SyncOptions::default())
    }

    /// Checks what holds for every pull: the stats say what git sees, nothing is left behind, every
    /// request is counted, and a sound repository stays sound.
    #[track_caller]
    pub fn pull_with(&self, options: &SyncOptions) -> Pulled {
        let was_sound = is_sound(&self.destination);
        let pulled = self.pull_into_any(options);
        let bystander = pulled.stats.find("refs/heads/bystander");
        assert!(
            bystander.is_none_or(|bystander| bystander.after == bystander.source),
            "{bystander:?}"
        );
        assert!(!was_sound || is_sound(&self.destination));
        if !options.dry_run {
            assert_matches_git(&pulled.stats, &self.destination);
        }
        pulled
    }

    /// Without a look at the destination's refs, which may be anything.
    #[track_caller]
    pub fn pull_into_any(&self, options: &SyncOptions) -> Pulled {
        self.server.reset_counts();
        let stats = self.try_pull(options).expect("a run that does its work");
        assert_eq!(leftovers(&self.destination), [""; 0]);
        let asked = asked(&self.server.requests());
        assert_eq!(stats.traffic.requests, asked.len() as u64, "{asked:?}");
        Pulled { stats, asked }
    }

    pub fn try_pull(&self, options: &SyncOptions) -> Result<SyncRunStats, Error> {
        let local = LocalStore::open(&self.destination.path)?;
        sync(&self.remote(), &local, options)
    }

    /// Does this once, after the refs were listed and before the first pack is asked for.
    pub fn before_fetch(&self, act: impl Fn() + Send + Sync + 'static) {
        let done = AtomicBool::new(false);
        self.on_fetch(move |_| {
            if !done.swap(true, Ordering::SeqCst) {
                act();
            }
            None
        });
    }

    /// Answers the requests for packs.
    pub fn on_fetch(
        &self,
        answer: impl Fn(&RequestHead) -> Option<Answer> + Send + Sync + 'static,
    ) {
        let answer = move |head: &RequestHead| is_fetch(head).then(|| answer(head))?;
        self.server.intercept(answer);
    }
}

/// The stats of a run, and its requests in a word each.
pub struct Pulled {
    pub stats: SyncRunStats,
    pub asked: Vec<String>,
}

impl Pulled {
    #[track_caller]
    pub fn fate_of(&self, name: &str) -> Fate {
        fate_in(&self.stats, name)
    }

    #[track_caller]
    pub fn reason_of(&self, name: &str) -> Reason {
        reason_in(&self.stats, name)
    }
}

#[track_caller]
pub fn fate_in(stats: &SyncRunStats, name: &str) -> Fate {
    Fate::of(stats.find(name).expect("a ref that the stats list"))
}

#[track_caller]
pub fn reason_in(stats: &SyncRunStats, name: &str) -> Reason {
    let found = stats.find(name).expect("a ref that the stats list");
    found.outcome.rejection().cloned().expect("a rejection")
}

/// Everything that the stats say about one ref.
#[derive(Debug, PartialEq, Eq)]
pub struct Fate {
    outcome: Outcome,
    before: Option<String>,
    after: String,
    source: String,
}

impl Fate {
    pub fn of(found: SyncRunRef<'_>) -> Self {
        Fate {
            outcome: found.outcome.clone(),
            before: found.before.map(|id| id.to_string()),
            after: found.after.to_string(),
            source: found.source.to_string(),
        }
    }

    fn stayed(outcome: Outcome, before: Option<&str>, source: &str) -> Self {
        let null = "0".repeat(source.len());
        Fate {
            outcome,
            before: before.map(str::to_owned),
            after: before.map_or(null, str::to_owned),
            source: source.to_owned(),
        }
    }
}

pub fn created(source: &str) -> Fate {
    Fate {
        outcome: Outcome::Updated,
        before: None,
        after: source.to_owned(),
        source: source.to_owned(),
    }
}

pub fn moved(before: &str, source: &str) -> Fate {
    Fate {
        before: Some(before.to_owned()),
        ..created(source)
    }
}

pub fn unchanged(tip: &str) -> Fate {
    Fate::stayed(Outcome::Unchanged, Some(tip), tip)
}

pub fn rejected<'a>(before: impl Into<Option<&'a str>>, source: &str, reason: Reason) -> Fate {
    Fate::stayed(Outcome::Rejected(reason), before.into(), source)
}

/// `after` is what somebody else made of the ref.
pub fn raced(before: Option<&str>, after: Option<&str>, source: &str) -> Fate {
    Fate {
        before: before.map(str::to_owned),
        ..Fate::stayed(Outcome::Rejected(Reason::Raced), after, source)
    }
}

pub fn filtered<'a>(
    before: impl Into<Option<&'a str>>,
    source: &str,
    reason: FilterReason,
) -> Fate {
    Fate::stayed(Outcome::Filtered(reason), before.into(), source)
}

/// A commit on top of `parents` that differs from every other one made like this.
#[track_caller]
pub fn grow(repo: &Repo, branch: &str, parents: &[&str]) -> String {
    let name = repo.path.file_name().expect("a name").to_string_lossy();
    let content = format!("{branch} of {name} after {parents:?}\n");
    repo.commit(branch, parents, &content, &[("file", &content)], DATE)
}

/// Brings the destination in step the way git does it.
#[track_caller]
pub fn copy(from: &Repo, to: &Repo) {
    let from = from.path.to_string_lossy();
    to.git(&[
        "fetch",
        "--quiet",
        "--update-head-ok",
        &from,
        "refs/*:refs/*",
    ]);
}

pub fn is_fetch(head: &RequestHead) -> bool {
    match head.command() {
        Some(command) => command == "fetch",
        None => head.method == "POST",
    }
}

/// Each request in a word or two.
pub fn asked(requests: &[Request]) -> Vec<String> {
    let word = |request: &Request| match (&request.command, request.method.as_str()) {
        (Some(command), _) => command.clone(),
        (None, "GET") => "info/refs".to_owned(),
        (None, _) if request.path.ends_with("/git-receive-pack") => {
            // A request that is nothing but a flush packet asks whether the next one is welcome.
            let word = if request.request_bytes == 4 {
                "probe"
            } else {
                "push"
            };
            word.to_owned()
        }
        // The protocols before v2 have one command, and don't name it.
        (None, _) => "fetch".to_owned(),
    };
    requests.iter().map(word).collect()
}

/// Files that only a run that is under way, or was killed, has in a repository.
pub fn leftovers(repo: &Repo) -> Vec<String> {
    let is_left = |path: &str| {
        let of_a_run = ["tmp_", "refsync-"];
        of_a_run.iter().any(|name| path.contains(name))
            || path.ends_with(".keep")
            || path.ends_with(".lock")
    };
    let files = repo.files().into_iter().map(|file| file.path);
    files.filter(|path| is_left(path)).collect()
}

#[track_caller]
pub fn assert_matches_git(stats: &SyncRunStats, destination: &Repo) {
    let held: HashMap<_, _> = destination.for_each_ref().into_iter().collect();
    for listed in &stats.refs {
        let after = (!listed.after.is_null()).then(|| listed.after.to_string());
        assert_eq!(
            held.get(&listed.name.to_string()),
            after.as_ref(),
            "{listed:?}"
        );
    }
}

pub fn is_sound(repo: &Repo) -> bool {
    let fsck = repo.try_git(&["fsck", "--strict", "--full", "--no-progress"]);
    fsck.status.success()
}
