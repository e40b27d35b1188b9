//! A demonstration of syncs, on small repositories that are made here and served on this machine.
//!
//! Everything that is said is checked, against real git where git can tell.

use std::io;

use refsync::{LocalStore, NetworkPolicy, Outcome, RefGlobs, SmartHttp, SyncOptions, SyncRunStats};

use crate::report;
use crate::support::{GitServer, ObjectFormat, Repo, Sandbox};

pub(crate) fn tell() {
    let sandbox = Sandbox::new();
    let upstream = sandbox.init_bare("upstream.git", ObjectFormat::Sha1);
    let copy = sandbox.init_bare("copy.git", ObjectFormat::Sha1);
    fill(&upstream);
    let mirror = sandbox.init_bare("mirror.git", ObjectFormat::Sha1);
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let url = server.url("upstream.git");
    println!("A small upstream, made with git, is served at {url}.");
    println!("Each line below: ref, tip before, tip after, outcome, reason.");
    let story = Story {
        remote: SmartHttp::new(&url)
            .expect("a URL")
            .with_network_policy(NetworkPolicy::any()),
        local: LocalStore::open(&copy.path).expect("a repository"),
        server,
        upstream,
        copy,
        mirror,
    };
    story.first_pull();
    story.nothing_new();
    story.update();
    story.rejected_once_and_for_all();
    story.one_does_not_stop_the_others();
    story.some_of_the_refs();
    story.copy.fsck();
    story.push();
    story.mirror.fsck();
    println!("\nEach result above was checked against git's own view of the repositories.");
}

fn fill(upstream: &Repo) {
    let one = upstream.commit("main", &[], "Start", &[("README", "one\n")], 1_700_000_000);
    upstream.tag_annotated("v1.0", &one);
    upstream.set_ref("refs/tags/nightly", &one);
    upstream.set_ref("refs/heads/release/1.0", &one);
    for branch in ["login", "search"] {
        let file = (branch, "draft\n");
        upstream.commit(branch, &[&one], "Draft", &[file], 1_700_000_100);
    }
}

struct Story {
    remote: SmartHttp,
    local: LocalStore,
    server: GitServer,
    upstream: Repo,
    copy: Repo,
    mirror: Repo,
}

impl Story {
    fn first_pull(&self) {
        heading("First pull: the destination has no refs; all are created.");
        let stats = self.pull(&SyncOptions::default());
        assert_counts(&stats, [6, 0, 0, 0]);
        assert_eq!(self.copy.for_each_ref(), self.upstream.for_each_ref());
        self.copy.fsck();
    }

    fn nothing_new(&self) {
        heading("Nothing new: the refs are listed; no object is requested, no file is written.");
        let files = self.copy.files();
        let stats = self.pull(&SyncOptions::default());
        assert_counts(&stats, [0, 6, 0, 0]);
        assert_eq!(self.fetches(), 0);
        assert_eq!(self.copy.files(), files);
    }

    fn update(&self) {
        heading("Update: upstream moves main and a lightweight tag forward, and adds a branch.");
        let two = commit_on(&self.upstream, "main", "two");
        self.upstream.set_ref("refs/tags/nightly", &two);
        self.upstream.set_ref("refs/heads/release/1.1", &two);
        let files = self.copy.files();
        let mut dry = SyncOptions::default();
        dry.dry_run = true;
        let foretold = self.sync(&dry);
        assert_eq!(self.copy.files(), files);
        let stats = self.pull(&SyncOptions::default());
        assert_counts(&stats, [3, 4, 0, 0]);
        assert_eq!(stats.refs, foretold.refs);
        assert_eq!(self.copy.for_each_ref(), self.upstream.for_each_ref());
        println!("A dry run before it showed the same result and changed nothing.");
    }

    fn rejected_once_and_for_all(&self) {
        heading("Divergence: both ends commit to search, and only the destination to release/1.0.");
        commit_on(&self.upstream, "search", "upstream's");
        commit_on(&self.copy, "search", "ours");
        commit_on(&self.copy, "release/1.0", "ours");
        let refs = self.copy.for_each_ref();
        let stats = self.pull(&SyncOptions::default());
        assert_counts(&stats, [0, 5, 0, 2]);
        assert_reason(&stats, "refs/heads/search", "diverged");
        assert_reason(&stats, "refs/heads/release/1.0", "destination ahead");
        assert_eq!(self.copy.for_each_ref(), refs);
        assert_eq!(self.fetches(), 1);

        heading("The same again, with the stats of that run as `previous`: nothing is fetched.");
        let mut options = SyncOptions::default();
        options.previous = Some(stats.clone());
        let again = self.pull(&options);
        assert_eq!(again.refs, stats.refs);
        assert_eq!(self.fetches(), 0);
    }

    fn one_does_not_stop_the_others(&self) {
        heading(
            "Rejected refs: a checked out branch, a replaced tag, a name conflict. main is updated.",
        );
        let worktree = self.copy.path.with_file_name("worktree");
        let worktree = worktree.to_str().expect("a path in UTF-8");
        self.copy
            .git(&["worktree", "add", "--quiet", worktree, "login"]);
        commit_on(&self.upstream, "login", "finished");
        let three = commit_on(&self.upstream, "main", "three");
        self.upstream.tag_annotated("v1.0", &three);
        self.copy.set_ref("refs/heads/topic", "main");
        self.upstream.set_ref("refs/heads/topic/ui", &three);
        let mut expected = self.copy.for_each_ref();
        let stats = self.pull(&SyncOptions::default());
        assert_counts(&stats, [1, 2, 0, 5]);
        assert_reason(&stats, "refs/heads/login", "checked out");
        assert_reason(&stats, "refs/tags/v1.0", "tag exists");
        assert_reason(
            &stats,
            "refs/heads/topic/ui",
            "name conflict: refs/heads/topic",
        );
        for (name, tip) in &mut expected {
            if name == "refs/heads/main" {
                tip.clone_from(&three);
            }
        }
        assert_eq!(self.copy.for_each_ref(), expected);
    }

    fn some_of_the_refs(&self) {
        heading("Selected refs: --branches '{main,release/*}' --all-refs, so no tags.");
        let four = commit_on(&self.upstream, "main", "four");
        self.upstream.set_ref("refs/tags/nightly", &four);
        let mut options = SyncOptions::default();
        options.globs = RefGlobs::new(Some("{main,release/*}"), None).expect("a glob");
        options.list_excluded = true;
        let nightly = self.copy.git(&["rev-parse", "refs/tags/nightly"]);
        let stats = self.pull(&options);
        assert_counts(&stats, [1, 1, 5, 1]);
        assert_reason(&stats, "refs/tags/nightly", "excluded");
        assert_eq!(self.copy.git(&["rev-parse", "main"]), four);
        assert_eq!(self.copy.git(&["rev-parse", "refs/tags/nightly"]), nightly);
    }

    fn push(&self) {
        heading(
            "Push: the copy is pushed to a mirror that is behind, has another search, and protects login.",
        );
        let tip = |name: &str| self.copy.git(&["rev-parse", name]);
        let (search, login) = (tip("release/1.0"), tip("login~1"));
        let path = self.mirror.path.to_str().expect("a path in UTF-8");
        for refspec in [
            "main~1:refs/heads/main",
            "release/1.0:refs/heads/search",
            "login~1:refs/heads/login",
        ] {
            self.copy.git(&["push", "--quiet", path, refspec]);
        }
        self.mirror.install_hook(
            "update",
            "test \"$1\" != refs/heads/login || { echo 'login is frozen' >&2; exit 1; }",
        );
        let url = self.server.url("mirror.git");
        let mirror = SmartHttp::new(&url).expect("a URL");
        let mirror = mirror.with_network_policy(NetworkPolicy::any());
        self.server.reset_counts();
        let stats = refsync::sync(&self.local, &mirror, &SyncOptions::default());
        let stats = stats.expect("a run that works");
        report::write_table(&stats, shown(false), io::stdout()).expect("a terminal");
        assert_counts(&stats, [6, 0, 0, 2]);
        assert_reason(&stats, "refs/heads/search", "diverged");
        assert_reason(&stats, "refs/heads/login", "remote: hook declined");
        let mut expected = self.copy.for_each_ref();
        for (name, kept) in &mut expected {
            match name.as_str() {
                "refs/heads/search" => kept.clone_from(&search),
                "refs/heads/login" => kept.clone_from(&login),
                _ => {}
            }
        }
        assert_eq!(self.mirror.for_each_ref(), expected);
        assert_eq!(self.server.requests().len(), 2, "a listing and a push");
    }

    fn pull(&self, options: &SyncOptions) -> SyncRunStats {
        let stats = self.sync(options);
        report::write_table(&stats, shown(options.dry_run), io::stdout()).expect("a terminal");
        stats
    }

    fn sync(&self, options: &SyncOptions) -> SyncRunStats {
        self.server.reset_counts();
        refsync::sync(&self.remote, &self.local, options).expect("a run that works")
    }

    /// The number of times that the last run asked for objects, by the server's count.
    fn fetches(&self) -> usize {
        let requests = self.server.requests().into_iter();
        requests
            .filter(|request| request.command.as_deref() == Some("fetch"))
            .count()
    }
}

fn commit_on(repo: &Repo, branch: &str, content: &str) -> String {
    let tip = repo.git(&["rev-parse", &format!("refs/heads/{branch}")]);
    let files = [("README", content)];
    repo.commit(branch, &[&tip], content, &files, 1_700_000_200)
}

fn shown(dry_run: bool) -> report::Shown {
    report::Shown {
        dry_run,
        unchanged: true,
    }
}

fn heading(text: &str) {
    println!("\n-- {text}");
}

/// Updated, unchanged, filtered, rejected.
#[track_caller]
fn assert_counts(stats: &SyncRunStats, expected: [usize; 4]) {
    let counts = [
        Outcome::is_updated,
        Outcome::is_unchanged,
        Outcome::is_filtered,
        Outcome::is_rejected,
    ]
    .map(|is_it| stats.count(is_it));
    assert_eq!(counts, expected);
}

#[track_caller]
fn assert_reason(stats: &SyncRunStats, name: &str, expected: &str) {
    let found = stats.find(name).and_then(|r| r.outcome.reason());
    assert_eq!(found.map(ToString::to_string).as_deref(), Some(expected));
}
