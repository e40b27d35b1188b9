//! Runs beside each other, beside git that writes to the same repository, and beside git that tidies
//! it up: nobody's update is lost, and the repository stays sound.
#![cfg(feature = "http")]

mod support;

use refsync::{
    LocalStore, Outcome, Reason, RefSource, Service, SyncContext, SyncOptions, SyncRunStats,
};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};
use support::pull::{copy, grow, leftovers};
use support::{GitServer, ObjectFormat, Repo, Sandbox, remote, sync};

/// Moved by the upstream and by git in the destination, along the same history.
const CONTENDED: &str = "refs/heads/contended";
/// Moved by git in the destination only.
const OWN: &str = "refs/heads/own";
/// The rounds, by their remainder of four, beside which git prunes.
const PRUNES: usize = 0;
/// One round in so many is looked at by `git fsck`.
const LOOKED_AT: usize = 20;

#[test]
fn twenty_rounds() {
    Place::new().rounds(20);
}

#[test]
#[ignore = "takes minutes; the other test goes through the same rounds"]
fn a_thousand_rounds() {
    Place::new().rounds(1000);
}

/// Packing a ref takes it away from where it was and puts it to where one may have looked already.
#[test]
fn a_listing_beside_pack_refs_misses_nothing() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("up.git", ObjectFormat::Sha1);
    let root = grow(&repo, "main", &[]);
    let tip = grow(&repo, "main", &[&root]);
    let names: Vec<_> = (0..100).map(|n| format!("refs/heads/many/{n}")).collect();
    let set = |tip: &str| repo.set_refs(names.iter().map(|name| (name.as_str(), tip)));
    set(&tip);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut listings = 0;
            while !is_over.load(Ordering::SeqCst) {
                let store = LocalStore::open(&repo.path).expect("a repository");
                let context = SyncContext::new(&SyncOptions::default());
                let list = store.list(Service::UploadPack, &["refs/heads/".into()], &context);
                assert_eq!(list.expect("the refs").len(), 101);
                listings += 1;
            }
            listings
        });
        for round in 0..8 {
            set(if usize::is_multiple_of(round, 2) {
                &root
            } else {
                &tip
            });
            repo.git(&["pack-refs", "--all", "--prune"]);
            if lister.is_finished() {
                break;
            }
        }
        is_over.store(true, Ordering::SeqCst);
        assert!(lister.join().expect("whole listings") > 4);
    });
}

struct Place {
    upstream: Repo,
    destination: Repo,
    server: GitServer,
    /// Git's own programs lose objects that nothing points to yet: loose ones to `gc --prune=now`, and those that a fetch
    /// finds in a pack to `repack -a -d`. Runs of refsync lose none to the second.
    pruning: Mutex<()>,
    _sandbox: Sandbox,
}

impl Place {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let upstream = sandbox.init_bare("up.git", ObjectFormat::Sha1);
        let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
        for (key, value) in [
            ("core.logAllRefUpdates", "always"),
            ("gc.reflogExpire", "never"),
            ("gc.reflogExpireUnreachable", "never"),
            // What a run waits for a lock is not what this is about.
            ("core.filesRefLockTimeout", "10000"),
            ("core.packedRefsTimeout", "10000"),
        ] {
            destination.git(&["config", key, value]);
        }
        let root = grow(&upstream, "main", &[]);
        upstream.set_ref(CONTENDED, &root);
        copy(&upstream, &destination);
        destination.set_ref(OWN, &root);
        Place {
            server: GitServer::builder(sandbox.path()).start(),
            upstream,
            destination,
            pruning: Mutex::new(()),
            _sandbox: sandbox,
        }
    }

    fn rounds(&self, rounds: usize) {
        let mut updated = 0;
        for round in 0..rounds {
            self.go_ahead(round);
            let own = thread::scope(|scope| {
                let over_http = scope.spawn(|| (0..2).map(|_| self.pull(true)).collect::<Vec<_>>());
                let from_disk =
                    scope.spawn(|| (0..2).map(|_| self.pull(false)).collect::<Vec<_>>());
                let writer = scope.spawn(|| self.write(round));
                let tidying = scope.spawn(|| self.tidy_up(round));
                tidying.join().unwrap();
                let own = writer.join().unwrap();
                for runs in [over_http, from_disk] {
                    for stats in runs.join().unwrap() {
                        updated += stats.count(Outcome::is_updated);
                        self.check(&stats, round);
                    }
                }
                own
            });
            let last = self.pull(round.is_multiple_of(2));
            assert_eq!(last.count(Outcome::is_rejected), 0, "{round}: {last:?}");
            let mut expected = tips(&self.upstream);
            expected.insert(OWN.to_owned(), own);
            assert_eq!(tips(&self.destination), expected, "{round}");
            assert_eq!(leftovers(&self.destination), [""; 0], "{round}");
            if round.is_multiple_of(LOOKED_AT) {
                self.destination.fsck();
            }
        }
        assert!(
            updated > 2 * rounds,
            "the runs beside the others did {updated}"
        );
        self.destination.fsck();
        self.check_reflogs(rounds);
    }

    /// New commits, new refs, and once in a while so many that they are packed.
    fn go_ahead(&self, round: usize) {
        let main = self.upstream.git(&["rev-parse", "main"]);
        let main = grow(&self.upstream, "main", &[&main]);
        let mut contended = self.upstream.git(&["rev-parse", CONTENDED]);
        for _ in 0..3 {
            contended = grow(&self.upstream, CONTENDED, &[&contended]);
        }
        grow(&self.upstream, &format!("refs/heads/new/{round}"), &[&main]);
        if round.is_multiple_of(10) {
            let name = |n| format!("refs/tags/many/{round}/{n}");
            let names: Vec<_> = (0..64).map(name).collect();
            self.upstream
                .set_refs(names.iter().map(|name| (name.as_str(), main.as_str())));
        }
    }

    #[track_caller]
    fn pull(&self, over_http: bool) -> SyncRunStats {
        let local = LocalStore::open(&self.destination.path).expect("a repository");
        let options = SyncOptions::default();
        let result = if over_http {
            sync(&remote(&self.server.url("up.git")), &local, &options)
        } else {
            let upstream = LocalStore::open(&self.upstream.path).expect("a repository");
            sync(&upstream, &local, &options)
        };
        result.expect("a run that does its work")
    }

    /// Checks the stats of a run: refs only ever go forward, so they stay true. Other runs may have been quicker.
    fn check(&self, stats: &SyncRunStats, round: usize) {
        assert_eq!(
            stats.refs.len(),
            tips(&self.upstream).len(),
            "{round}: a ref was not seen"
        );
        for found in &stats.refs {
            let is_fine = match found.outcome {
                Outcome::Updated => {
                    self.is_reached(&found.name.to_string(), &found.after.to_string())
                }
                Outcome::Unchanged => true,
                Outcome::Rejected(Reason::Raced | Reason::DestinationAhead) => true,
                _ => false,
            };
            assert!(is_fine, "{round}: {found:?}");
        }
    }

    fn is_reached(&self, name: &str, commit: &str) -> bool {
        let args = ["merge-base", "--is-ancestor", commit, name];
        self.destination.try_git(&args).status.success()
    }

    /// Commits on a branch of its own, and steps along the contended one. Gives what was last
    /// acknowledged of the first.
    fn write(&self, round: usize) -> String {
        let repo = &self.destination;
        let mut own = repo.git(&["rev-parse", OWN]);
        for step in 0..3 {
            let _alone = self.pruning.lock().unwrap();
            let message = format!("{round}.{step}");
            let tree = format!("{own}^{{tree}}");
            let new = insist(repo, &["commit-tree", "-m", &message, "-p", &own, &tree]);
            insist(repo, &["update-ref", OWN, &new, &own]);
            own = new;
            // A fetch that loses the race for the ref leaves objects that no ref reaches, which a run may be about to need:
            // `gc --prune=now` takes them from any program (SECURITY.md, what is out of scope).
            if round % 4 == PRUNES {
                continue;
            }
            // One step ahead of what was there, if the runs have not been here yet.
            let upstream = self.upstream.path.to_string_lossy();
            let back = format!("{CONTENDED}~{}", 2 - step);
            let next = self.upstream.git(&["rev-parse", &back]);
            let step = format!("{next}:{CONTENDED}");
            repo.try_git(&["fetch", "--quiet", &upstream, &step]);
        }
        own
    }

    fn tidy_up(&self, round: usize) {
        let repo = &self.destination;
        let remove = |args: &[&str]| {
            let _alone = self.pruning.lock().unwrap();
            repo.git(args);
        };
        match round % 4 {
            PRUNES => remove(&["gc", "--quiet", "--prune=now"]),
            1 => remove(&["repack", "-a", "-d", "--quiet"]),
            2 => drop(repo.git(&["pack-refs", "--all", "--prune"])),
            _ => {
                self.upstream.git(&["pack-refs", "--all", "--prune"]);
                remove(&["repack", "-a", "-d", "--quiet"]);
                repo.git(&["pack-refs", "--all", "--prune"]);
            }
        }
    }

    /// Each entry begins where the one before it ended: nobody wrote over what somebody else had.
    fn check_reflogs(&self, rounds: usize) {
        for name in [OWN, CONTENDED, "refs/heads/main"] {
            let log = fs::read_to_string(self.destination.path.join("logs").join(name)).unwrap();
            let moves: Vec<_> = log
                .lines()
                .map(|line| (&line[..40], &line[41..81]))
                .collect();
            assert!(moves.len() >= rounds, "{name}: {}", moves.len());
            for pair in moves.windows(2) {
                assert_eq!(pair[0].1, pair[1].0, "{name}");
            }
        }
    }
}

/// Git trips over git: `prune-packed` removes the directory that another one is about to write to.
#[track_caller]
fn insist(repo: &Repo, args: &[&str]) -> String {
    for _ in 0..20 {
        let output = repo.try_git(args);
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
    }
    repo.git(args)
}

fn tips(repo: &Repo) -> BTreeMap<String, String> {
    repo.for_each_ref().into_iter().collect()
}
