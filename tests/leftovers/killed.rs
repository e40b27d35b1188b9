//! Runs that are killed, and those that come after them.

use crate::support::pull::{LISTED, Pair, copy, created, grow, leftovers, moved};
use crate::support::{Answer, Repo, remote, sync};
use refsync::{LocalStore, Outcome, Phase, Progress, Reason, RefGlobs, SyncOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{env, fs, thread};

const URL: &str = "REFSYNC_TEST_PULL_FROM";
const DESTINATION: &str = "REFSYNC_TEST_PULL_INTO";
const STOP_AT: &str = "REFSYNC_TEST_STOP_AT";
pub(crate) const APPLY: &str = "apply";

/// Not a test: what the others run in a process of its own, to kill it.
#[test]
#[ignore = "runs as the child of another test"]
fn pull_until_killed() {
    let Ok(url) = env::var(URL) else { return };
    let local = LocalStore::open(env::var(DESTINATION).unwrap()).unwrap();
    let mut options = SyncOptions::default();
    if env::var(STOP_AT).as_deref() == Ok(APPLY) {
        options.progress = Some(Arc::new(StopOncePacksAreIn(
            local.path().join("objects/pack"),
        )));
    }
    sync(&remote(&url), &local, &options).unwrap();
}

/// Sleeps for good between the objects' arrival in the store and the last ref.
struct StopOncePacksAreIn(std::path::PathBuf);

impl Progress for StopOncePacksAreIn {
    fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
        while phase == Phase::Apply && has_keep(&self.0) {
            thread::park();
        }
    }
}

pub(crate) fn has_keep(packs: &Path) -> bool {
    let mut entries = packs.read_dir().into_iter().flatten().flatten();
    entries.any(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|found| found == "keep")
    })
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs the pull in a child and kills it as soon as `debris` is there.
#[track_caller]
pub(crate) fn kill_once(
    pair: &Pair,
    stop_at: &str,
    debris: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "killed::pull_until_killed"])
        .env(URL, pair.server.url("up.git"))
        .env(DESTINATION, &pair.destination.path)
        .env(STOP_AT, stop_at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    while !debris(&leftovers_of_a_run(&pair.destination)) {
        assert!(
            child.0.try_wait().unwrap().is_none(),
            "it ended without being killed"
        );
        thread::sleep(Duration::from_millis(5));
    }
    drop(child);
    let left = leftovers_of_a_run(&pair.destination);
    assert!(debris(&left), "{left:?}");
    left
}

/// While a run is at work its files come and go, too quickly for a listing that reads them.
fn leftovers_of_a_run(repo: &Repo) -> Vec<String> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = dir.read_dir().into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let objects = repo.git_dir().join("objects");
    let mut left = names(&objects.join("pack"));
    left.retain(|name| name.ends_with(".keep") || name.ends_with(".idx"));
    for name in names(&objects)
        .into_iter()
        .filter(|name| name.starts_with("refsync-"))
    {
        left.extend(
            names(&objects.join(&name).join("pack"))
                .iter()
                .map(|inner| format!("{name}/{inner}")),
        );
        left.push(name);
    }
    left
}

/// A branch whose pack is too large to arrive in one piece.
fn large_branch(pair: &Pair) -> String {
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b' ' + (state >> 33) as u8 % 95)
    })
    .take(400_000)
    .collect();
    pair.upstream
        .commit("large", &[&pair.tip], "large\n", &[("noise", &noise)], 1)
}

/// A run that was killed in the middle of a pack.
fn killed_while_receiving(pair: &Pair) -> Vec<String> {
    pair.on_fetch(|_| Some(Answer::StallAfter(200_000)));
    let has_pack = |left: &[String]| left.iter().any(|name| name.contains('/'));
    let left = kill_once(pair, "", has_pack);
    pair.server.intercept(|_| None);
    left
}

#[test]
fn a_run_that_is_killed_while_receiving_is_swept_by_the_next() {
    let pair = Pair::in_step();
    let large = large_branch(&pair);
    let left = killed_while_receiving(&pair);
    assert!(
        left.iter().any(|name| name.starts_with("refsync-")),
        "{left:?}"
    );
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/large"), created(&large));
    assert_eq!(leftovers(&pair.destination), [""; 0]);
    pair.destination.fsck();
}

#[test]
fn a_run_that_is_killed_is_swept_by_one_that_fetches_nothing() {
    let pair = Pair::in_step();
    large_branch(&pair);
    killed_while_receiving(&pair);
    pair.upstream.delete_ref("refs/heads/large");
    let pulled = pair.pull();
    assert_eq!(pulled.asked, LISTED);
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}

#[test]
fn a_run_that_is_killed_between_its_objects_and_its_refs_is_completed_by_the_next() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.upstream, "topic", &[&pair.tip]);
    // The index comes last. Those in a quarantine are listed with its name.
    let is_in = |left: &[String]| {
        let mut indices = left.iter().filter(|name| name.ends_with(".idx"));
        indices.any(|name| name.starts_with("pack-"))
    };
    let left = kill_once(&pair, APPLY, is_in);
    assert!(left.iter().any(|name| name.ends_with(".keep")), "{left:?}");
    assert!(
        pair.destination
            .try_git(&["rev-parse", "--verify", "topic"])
            .status
            .code()
            != Some(0)
    );
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/topic"), created(&ahead));
    assert_eq!(pulled.asked, LISTED, "the objects had come in whole");
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}

/// Blocks the run at the first bytes of its pack, until told to go on.
struct Gate {
    arrived: mpsc::Sender<()>,
    open: Mutex<mpsc::Receiver<()>>,
}

impl Progress for Gate {
    fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
        if phase == Phase::Receive && self.arrived.send(()).is_ok() {
            // Once the other side has let go there is nothing to wait for any more.
            self.open.lock().unwrap().recv().ok();
        }
    }
}

/// Runs `beside` while another run of these ends is in the middle of receiving `branch`.
fn while_receiving(
    pair: &Pair,
    branch: &str,
    beside: impl FnOnce(),
) -> Result<Outcome, refsync::Error> {
    let (arrived, is_there) = mpsc::channel();
    let (go_on, open) = mpsc::channel();
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some(branch), None).unwrap();
    options.progress = Some(Arc::new(Gate {
        arrived,
        open: Mutex::new(open),
    }));
    thread::scope(|scope| {
        let run = scope.spawn(|| pair.try_pull(&options));
        is_there.recv().unwrap();
        beside();
        drop((go_on, is_there));
        let stats = run.join().unwrap()?;
        Ok(stats.refs.iter().next().expect("a ref").outcome.clone())
    })
}

#[test]
fn a_run_in_progress_is_left_alone() {
    let pair = Pair::in_step();
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let other = grow(&pair.upstream, "other", &[&pair.tip]);
    let outcome = while_receiving(&pair, "topic", || {
        let quarantines = || {
            let mut left = leftovers_of_a_run(&pair.destination);
            left.retain(|name| name.starts_with("refsync-"));
            left
        };
        let before = quarantines();
        assert!(!before.is_empty());
        let mut options = SyncOptions::default();
        options.globs = RefGlobs::new(Some("other"), None).unwrap();
        let stats = pair.try_pull(&options).unwrap();
        assert_eq!(stats.count(Outcome::is_updated), 1);
        assert_eq!(stats.traffic.objects, 3);
        assert_eq!(quarantines(), before);
    });
    assert_eq!(outcome.unwrap(), Outcome::Updated);
    for (branch, tip) in [("topic", topic), ("other", other)] {
        assert_eq!(pair.destination.git(&["rev-parse", branch]), tip);
    }
    assert_eq!(leftovers(&pair.destination), [""; 0]);
    pair.destination.fsck();
}

#[test]
fn git_gc_before_the_pack_arrives_takes_nothing_from_the_run() {
    // The new blob is a delta against one that `gc` has meanwhile moved from a loose file to a pack.
    let pair = Pair::in_step();
    let text: String = (0..2_000).map(|line| format!("line {line}\n")).collect();
    let base = pair
        .upstream
        .commit("main", &[&pair.tip], "base\n", &[("text", &text)], 1);
    copy(&pair.upstream, &pair.destination);
    assert!(
        pair.destination
            .git(&["count-objects"])
            .starts_with("9 objects"),
        "all loose"
    );
    let ahead = pair.upstream.commit(
        "main",
        &[&base],
        "more\n",
        &[("text", &(text + "more\n"))],
        2,
    );
    let destination = pair.destination.clone();
    pair.before_fetch(move || {
        destination.git(&["gc", "--quiet", "--prune=now"]);
    });
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/main"), moved(&base, &ahead));
}

#[test]
fn git_gc_in_the_middle_of_a_run_takes_nothing_from_it() {
    let pair = Pair::in_step();
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let outcome = while_receiving(&pair, "topic", || {
        let left = leftovers(&pair.destination);
        assert!(!left.is_empty());
        pair.destination.git(&["gc", "--quiet", "--prune=now"]);
        assert_eq!(leftovers(&pair.destination), left);
        let counts = pair.destination.git(&["count-objects", "-v"]);
        assert!(counts.contains("garbage: 0"), "{counts}");
    });
    assert_eq!(outcome.unwrap(), Outcome::Updated);
    assert_eq!(pair.destination.git(&["rev-parse", "topic"]), topic);
    assert_eq!(leftovers(&pair.destination), [""; 0]);
    pair.destination.fsck();
}

/// The folder of a run that has this lock, which is to say a link to a file in the folder.
fn run_with_lock(repo: &Repo, lock: &str) -> fs::File {
    let folder = repo.git_dir().join("refsync-made-up");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("held-1"), "").unwrap();
    fs::hard_link(folder.join("held-1"), repo.git_dir().join(lock)).unwrap();
    fs::File::create(folder.join("lock")).unwrap()
}

/// So many that they go into packed-refs together.
fn many_branches(pair: &Pair) {
    let names: Vec<_> = (0..64).map(|n| format!("refs/heads/many/{n}")).collect();
    let refs = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
    pair.upstream.set_refs(refs);
}

#[test]
fn the_lock_of_a_ref_goes_with_the_run_that_died_with_it() {
    for lock in ["packed-refs.lock", "refs/heads/bystander.lock"] {
        let pair = Pair::in_step();
        many_branches(&pair);
        drop(run_with_lock(&pair.destination, lock));
        assert_eq!(leftovers(&pair.destination).len(), 3);
        let pulled = pair.pull();
        assert_eq!(pulled.stats.count(Outcome::is_updated), 65);
    }
}

#[test]
fn a_run_that_has_nothing_to_do_sweeps_as_well() {
    let pair = Pair::in_step();
    pair.pull();
    drop(run_with_lock(&pair.destination, "refs/heads/main.lock"));
    assert_eq!(pair.pull().asked, LISTED);
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}

/// It is another file, whatever its name and whoever is dead.
#[test]
fn the_lock_of_somebody_else_is_left_alone() {
    let pair = Pair::in_step();
    let main = grow(&pair.upstream, "main", &[&pair.tip]);
    drop(run_with_lock(&pair.destination, "refs/heads/main.lock"));
    let lock = pair.destination.git_dir().join("refs/heads/main.lock");
    fs::rename(&lock, lock.with_extension("was-lock")).unwrap();
    fs::write(&lock, "").unwrap();
    let stats = pair.try_pull(&SyncOptions::default()).unwrap();
    let found = stats.find("refs/heads/main").unwrap();
    let reason = found.outcome.rejection().unwrap();
    assert!(matches!(reason, Reason::NotWritten { .. }), "{reason}");
    assert_eq!(leftovers(&pair.destination), ["refs/heads/main.lock"]);
    fs::remove_file(lock).unwrap();
    assert_eq!(
        pair.pull().fate_of("refs/heads/main"),
        moved(&pair.tip, &main)
    );
}

/// Git locks what a link leads to.
#[cfg(unix)]
#[test]
fn a_lock_behind_a_link_goes_with_the_run_that_died_with_it() {
    let pair = Pair::in_step();
    let repo = &pair.destination;
    repo.git(&["pack-refs", "--all"]);
    let packed = repo.git_dir().join("packed-refs");
    fs::rename(&packed, repo.git_dir().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &packed).unwrap();
    drop(run_with_lock(repo, "elsewhere.lock"));
    many_branches(&pair);
    pair.pull();
    assert!(!repo.git_dir().join("elsewhere.lock").exists());
    let written = fs::read_to_string(repo.git_dir().join("elsewhere")).unwrap();
    assert!(written.contains("refs/heads/many/63"), "{written}");
}

#[test]
fn the_lock_of_a_run_that_is_alive_is_respected() {
    let pair = Pair::in_step();
    let lock = "refs/heads/bystander.lock";
    let alive = run_with_lock(&pair.destination, lock);
    alive.lock().unwrap();
    let stats = pair.try_pull(&SyncOptions::default()).unwrap();
    let found = stats.find("refs/heads/bystander").unwrap();
    let reason = found.outcome.rejection().unwrap();
    assert!(matches!(reason, Reason::NotWritten { .. }), "{reason}");
    assert!(pair.destination.git_dir().join(lock).exists());
    drop(alive);
    pair.pull();
}

/// Loose refs need no such lock.
#[test]
fn new_refs_do_not_wait_for_a_run_that_writes_packed_refs() {
    let pair = Pair::in_step();
    many_branches(&pair);
    let lock = "packed-refs.lock";
    let alive = run_with_lock(&pair.destination, lock);
    alive.lock().unwrap();
    let stats = pair.try_pull(&SyncOptions::default()).unwrap();
    assert_eq!(stats.count(Outcome::is_updated), 65);
    assert!(pair.destination.git_dir().join(lock).exists());
    assert!(!pair.destination.git_dir().join("packed-refs").exists());
    drop(alive);
    pair.pull();
}
