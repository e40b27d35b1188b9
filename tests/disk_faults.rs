//! A run that is killed, or whose disk fails it, at any system call that changes something: the
//! repository is sound, each ref is where it was or where it was to be, and the next run does the
//! rest and leaves nothing behind.
#![cfg(all(feature = "http", target_os = "linux"))]

mod support;

use refsync::{Error, LocalStore, Outcome, RefSource, SyncOptions, SyncRunStats};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};
use support::pull::{DATE, copy, grow, leftovers};
use support::strace::{self, Call, Fate};
use support::{GitServer, ObjectFormat, Repo, Sandbox, remote, sync, wire};

const CHILD: &str = "sync_in_a_process_of_its_own";
const FROM: &str = "REFSYNC_TEST_FROM";
const INTO: &str = "REFSYNC_TEST_INTO";
const RESULT: &str = "REFSYNC_TEST_RESULT";
const WORKERS: usize = 3;
const SWEEPING: &str = "sweeping";
/// One in so many calls is tried each time.
const SAMPLED: usize = 12;

/// Not a test: what the others run under strace.
#[test]
#[ignore = "runs as the child of another test"]
fn sync_in_a_process_of_its_own() {
    let (Ok(from), Ok(into)) = (env::var(FROM), env::var(INTO)) else {
        return;
    };
    // What the test harness prints has numbers below these.
    let mut nowhere = fs::File::create("/dev/null").unwrap();
    (0..32).for_each(|_| nowhere.write_all(b"x").unwrap());
    let result = run(&from, &into);
    let text = match result {
        Ok(stats) => serde_json::to_string(&stats).unwrap(),
        Err(err) => format!("{:?}", err.kind()),
    };
    fs::write(env::var(RESULT).unwrap(), text).unwrap();
    std::process::exit(0);
}

fn run(from: &str, into: &str) -> Result<SyncRunStats, Error> {
    let end = |end: &str| -> Result<Box<dyn RefSource>, Error> {
        Ok(match end.starts_with("http") {
            true => Box::new(remote(end)),
            false => Box::new(LocalStore::open(end)?),
        })
    };
    sync(&*end(from)?, &*end(into)?, &SyncOptions::default())
}

#[test]
fn a_sample_of_kills() {
    for scenario in Scenario::all() {
        let few = scenario.name == SWEEPING;
        scenario.kill(if few { 3 } else { SAMPLED });
    }
}

#[test]
#[ignore = "takes minutes; the sample is of the same kills"]
fn every_kill() {
    let scenarios = Scenario::all();
    let killed: usize = scenarios.iter().map(|scenario| scenario.kill(1)).sum();
    assert!(killed >= 500 || !strace::is_usable(), "{killed}");
}

#[test]
fn a_sample_of_failures() {
    for scenario in Scenario::pulls() {
        scenario.fail(2 * SAMPLED);
    }
}

#[test]
#[ignore = "takes minutes; the sample is of the same failures"]
fn every_failure() {
    for scenario in Scenario::pulls() {
        scenario.fail(1);
    }
}

/// Power can fail as well: what has a name has its content, and keeps the name.
#[test]
fn whatever_gets_its_name_is_on_disk_before_and_its_directory_after() {
    if !strace::is_usable() {
        // Nothing else tells in which order a process asks for things.
        return;
    }
    let mut named = 0;
    for scenario in Scenario::pulls() {
        let try_ = scenario.start();
        strace::calls(CHILD, &try_.environment(), &try_.watched, &try_.log);
        let log = fs::read_to_string(&try_.log).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let git_dir = try_.repo.path.display().to_string();
        let is_synced = |path: &str, lines: &[&str]| {
            let file = format!("<{path}>)");
            lines
                .iter()
                .any(|line| line.contains(" fsync(") && line.contains(&file))
        };
        for (at, line) in lines.iter().enumerate() {
            let is_naming = [" rename(", " link(", " linkat("];
            if !is_naming.iter().any(|call| line.contains(call)) || !line.ends_with("= 0") {
                continue;
            }
            let paths: Vec<_> = line.split('"').skip(1).step_by(2).collect();
            let [from, to] = paths[..] else {
                panic!("{line}")
            };
            // What is of use to the run alone may be lost.
            if !to.starts_with(&git_dir) || to.ends_with(".lock") || to.contains("/refsync-") {
                continue;
            }
            let (directory, _) = to.rsplit_once('/').unwrap();
            assert!(is_synced(from, &lines[..at]), "{}: {line}", scenario.name);
            let is_kept = is_synced(directory, &lines[at..]);
            assert!(is_kept, "{}: {line}", scenario.name);
            named += 1;
        }
    }
    assert!(named > 25, "{named}");
}

/// One sync, to be tried again and again from the same start.
struct Scenario {
    name: &'static str,
    sandbox: Sandbox,
    server: GitServer,
    /// A path, or the name of a served repository.
    source: String,
    /// Copied for each try.
    destination: Repo,
    is_push: bool,
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
    made: AtomicUsize,
}

impl Scenario {
    fn all() -> Vec<Scenario> {
        let mut all = Self::pulls();
        all.push(Self::new("push", true, |ahead, tip| {
            let large = wire::noise(3_000_000);
            ahead.commit("large", &[tip], "large\n", &[("noise", &large)], DATE);
            ahead.set_ref("refs/heads/bystander", tip);
        }));
        all
    }

    fn pulls() -> Vec<Scenario> {
        let fetch = Self::new("fetch", false, |ahead, tip| {
            grow(ahead, "main", &[tip]);
            grow(ahead, "topic/a", &[tip]);
            ahead.tag_annotated("v1", "main");
            ahead.set_ref("refs/heads/bystander", tip);
        });
        let many = Self::new("many new refs", false, |ahead, tip| {
            grow(ahead, "main", &[tip]);
            let names: Vec<_> = (0..64).map(|n| format!("refs/heads/many/{n}")).collect();
            ahead.set_refs(names.iter().map(|name| (name.as_str(), tip)));
        });
        let moved = Self::new("moved refs", false, |ahead, _| {
            for number in 0..20 {
                let branch = format!("moved-{number}");
                let tip = ahead.git(&["rev-parse", &branch]);
                grow(ahead, &branch, &[&tip]);
            }
        });
        let mut swept = Self::new(SWEEPING, false, |ahead, tip| {
            grow(ahead, "main", &[tip]);
        });
        swept.leave_debris();
        vec![fetch, many, moved, swept]
    }

    fn new(name: &'static str, is_push: bool, go_ahead: impl FnOnce(&Repo, &str)) -> Self {
        let sandbox = Sandbox::new();
        let ahead = sandbox.init_bare("ahead.git", ObjectFormat::Sha1);
        let root = grow(&ahead, "main", &[]);
        let tip = grow(&ahead, "main", &[&root]);
        for number in 0..20 {
            ahead.set_ref(&format!("refs/heads/moved-{number}"), &tip);
        }
        let behind = sandbox.init_bare("behind.git", ObjectFormat::Sha1);
        behind.git(&["config", "core.logAllRefUpdates", "always"]);
        copy(&ahead, &behind);
        behind.git(&["pack-refs", "--all"]);
        behind.commit("main", &[&root], "x\n", &[("x", "x")], DATE);
        behind.set_ref("refs/heads/main", &tip);
        go_ahead(&ahead, &tip);
        let server = GitServer::builder(sandbox.path())
            .receive_pack(true)
            .start();
        let refs = |repo: &Repo| repo.for_each_ref().into_iter().collect();
        Scenario {
            name,
            server,
            source: ahead.path.display().to_string(),
            is_push,
            old: refs(&behind),
            new: refs(&ahead),
            destination: behind,
            sandbox,
            made: AtomicUsize::new(0),
        }
    }

    /// Everything that a dead run can leave at once.
    fn leave_debris(&mut self) {
        let git_dir = self.destination.git_dir();
        let (run, quarantine) = (git_dir.join("refsync-dead"), "objects/refsync-dead");
        for folder in [&run, &git_dir.join(quarantine).join("pack")] {
            fs::create_dir_all(folder).unwrap();
        }
        for file in [
            "refsync-dead/lock",
            "refsync-dead/held-1",
            "objects/refsync-dead/lock",
        ] {
            fs::write(git_dir.join(file), "").unwrap();
        }
        fs::write(git_dir.join(quarantine).join("pack/incoming"), "PACK").unwrap();
        let packs = git_dir.join("objects/pack");
        fs::write(packs.join("pack-dead.pack"), "PACK").unwrap();
        fs::write(packs.join("pack-dead.keep"), "refsync refsync-dead\n").unwrap();
    }

    /// A place for the next try, and the two ends of its sync.
    fn start(&self) -> Try {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let name = format!("try-{number}.git");
        let repo = Repo::at(self.sandbox.path().join(&name));
        self.destination.copy_to(&repo.path);
        let held = repo.path.join("refsync-dead/held-1");
        if held.exists() {
            fs::hard_link(held, repo.path.join("refs/heads/main.lock")).unwrap();
        }
        let path = repo.path.display().to_string();
        let (from, into) = match self.is_push {
            true => (self.source.clone(), self.server.url(&name)),
            false if number.is_multiple_of(2) => (self.server.url("ahead.git"), path),
            false => (self.source.clone(), path),
        };
        let file = |what: &str| self.sandbox.path().join(format!("{what}-{number}"));
        // A push changes nothing here but what goes out on a socket.
        let watched = if self.is_push {
            PathBuf::from("socket:")
        } else {
            repo.path.clone()
        };
        Try {
            repo,
            from,
            into,
            watched,
            log: file("log"),
            result: file("result"),
        }
    }

    /// Every call, from the run of each kind of source.
    fn calls(&self) -> Vec<Call> {
        let mut all: Vec<_> = (0..2)
            .flat_map(|_| {
                let try_ = self.start();
                strace::calls(CHILD, &try_.environment(), &try_.watched, &try_.log)
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Does `check` for one in `step` of the calls, twice, once for each kind of source.
    fn sweep(&self, step: usize, check: impl Fn(&Try, &Call) -> bool + Sync) -> usize {
        if !strace::is_usable() {
            // There is nothing else that stops a process at a system call.
            return 0;
        }
        let calls: Vec<_> = self.calls().into_iter().step_by(step).collect();
        let next = AtomicUsize::new(0);
        let hits = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(call) = calls.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let try_ = self.start();
                        *hits.lock().unwrap() += usize::from(check(&try_, call));
                        fs::remove_dir_all(&try_.repo.path).unwrap();
                    }
                });
            }
        });
        let hits = hits.into_inner().unwrap();
        assert!(
            2 * hits > calls.len() || calls.len() < 4,
            "{}: {hits} of {}",
            self.name,
            calls.len()
        );
        hits
    }

    fn kill(&self, step: usize) -> usize {
        self.sweep(step, |try_, call| {
            let fate = (call, Fate::Kill);
            let environment = try_.environment();
            let (status, hit) = strace::run(CHILD, &environment, fate, &try_.watched, &try_.log);
            let killed = status.signal() == Some(9);
            self.server.wait_until_idle();
            try_.repo.fsck();
            self.assert_old_or_new(&try_.repo, call);
            self.finish(try_, call);
            killed && hit
        })
    }

    fn fail(&self, step: usize) {
        for error in ["ENOSPC", "EIO", "EACCES"] {
            self.sweep(step, |try_, call| self.fail_one(try_, call, error));
        }
    }

    fn fail_one(&self, try_: &Try, call: &Call, error: &'static str) -> bool {
        let fate = (call, Fate::Fail(error));
        let environment = try_.environment();
        let (status, hit) = strace::run(CHILD, &environment, fate, &try_.watched, &try_.log);
        if !hit {
            return false;
        }
        let said = fs::read_to_string(try_.log.with_extension("said")).unwrap_or_default();
        assert!(
            status.success(),
            "{}: {call:?} {error}: {status}\n{said}",
            self.name
        );
        let text = fs::read_to_string(&try_.result).expect("a result");
        match serde_json::from_str::<SyncRunStats>(&text) {
            Ok(stats) => {
                let held: BTreeMap<_, _> = try_.repo.for_each_ref().into_iter().collect();
                for found in &stats.refs {
                    let after = (!found.after.is_null()).then(|| found.after.to_string());
                    let held = held.get(&found.name.to_string());
                    assert_eq!(held, after.as_ref(), "{}: {call:?} {error}", self.name);
                }
            }
            Err(_) => {
                assert_eq!(text, "LocalIo", "{}: {call:?} {error}", self.name);
                let held: BTreeMap<_, _> = try_.repo.for_each_ref().into_iter().collect();
                assert_eq!(held, self.old, "{}: {call:?} {error}", self.name);
            }
        }
        let removes = ["unlink", "unlinkat", "rmdir"].contains(&&*call.name);
        let debris = self.destination.path.join("refsync-dead").exists();
        if !removes && !debris {
            let left = leftovers(&try_.repo);
            assert_eq!(left, [""; 0], "{}: {call:?} {error}", self.name);
        }
        try_.repo.fsck();
        self.finish(try_, call);
        true
    }

    #[track_caller]
    fn assert_old_or_new(&self, repo: &Repo, call: &Call) {
        let held: BTreeMap<_, _> = repo.for_each_ref().into_iter().collect();
        for name in self.old.keys().chain(self.new.keys()) {
            let tip = held.get(name);
            let is_either = tip == self.old.get(name) || tip == self.new.get(name);
            assert!(is_either, "{}: {call:?}: {name} is {tip:?}", self.name);
        }
    }

    /// The next run does what is left to do, by itself.
    #[track_caller]
    fn finish(&self, try_: &Try, call: &Call) {
        let stats = run(&try_.from, &try_.into);
        let stats = stats.unwrap_or_else(|err| panic!("{}: {call:?}: {err:?}", self.name));
        assert_eq!(
            stats.count(Outcome::is_rejected),
            0,
            "{}: {call:?}: {stats:?}",
            self.name
        );
        let held: BTreeMap<_, _> = try_.repo.for_each_ref().into_iter().collect();
        assert_eq!(held, self.new, "{}: {call:?}", self.name);
        assert_eq!(leftovers(&try_.repo), [""; 0], "{}: {call:?}", self.name);
        try_.repo.fsck();
    }
}

struct Try {
    repo: Repo,
    from: String,
    into: String,
    /// The folder that the calls of interest name.
    watched: PathBuf,
    log: PathBuf,
    result: PathBuf,
}

impl Try {
    fn environment(&self) -> [(&str, &str); 3] {
        let result = self.result.to_str().expect("a path in UTF-8");
        [(FROM, &self.from), (INTO, &self.into), (RESULT, result)]
    }
}
