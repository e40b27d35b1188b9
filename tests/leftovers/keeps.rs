//! Packs that are kept until refs point to them.

use crate::support::Repo;
use crate::support::pull::{LISTED, Pair, Pulled, created, grow, leftovers};
use refsync::{LocalStore, Outcome, Phase, Progress, Reason, RefGlobs, RefSource, SyncOptions};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const TOPIC: &str = "refs/heads/topic";

#[test]
fn keep_files_of_others_are_left_alone() {
    let pair = Pair::in_step();
    pair.destination.git(&["repack", "-a", "-d", "--quiet"]);
    let packs = pair.destination.git_dir().join("objects/pack");
    let packed = packs
        .read_dir()
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let pack = packed
        .into_iter()
        .find(|path| path.extension().is_some_and(|found| found == "pack"));
    let keep = pack.unwrap().with_extension("keep");
    let of_others = [
        "",
        "receive-pack 17 on host\n",
        "refsync\n",
        "refsync by hand: do not repack\n",
    ];
    for (number, text) in of_others.iter().enumerate() {
        fs::write(&keep, text).unwrap();
        let name = format!("topic-{number}");
        let tip = grow(&pair.upstream, &name, &[&pair.tip]);
        let stats = pair.try_pull(&SyncOptions::default()).unwrap();
        assert_eq!(
            stats
                .find(format!("refs/heads/{name}"))
                .unwrap()
                .after
                .to_string(),
            tip
        );
        assert_eq!(fs::read_to_string(&keep).unwrap(), *text);
    }
}

#[test]
fn a_keep_file_of_a_dead_run_is_swept() {
    let pair = Pair::in_step();
    let keep = pair
        .destination
        .git_dir()
        .join("objects/pack/pack-dead.keep");
    fs::write(&keep, "refsync refsync-dead\n").unwrap();
    grow(&pair.upstream, "topic", &[&pair.tip]);
    pair.pull();
    assert!(!keep.exists());
}

type Act = Box<dyn FnOnce() + Send>;

/// Does the first of these once everything was found complete, and the next just before refs move.
struct AtApply(Mutex<VecDeque<Act>>);

impl Progress for AtApply {
    fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
        if phase != Phase::Apply {
            return;
        }
        let act = self.0.lock().unwrap().pop_front();
        if let Some(act) = act {
            act();
        }
    }
}

#[track_caller]
fn pull_while(pair: &Pair, acts: [Act; 2]) -> Pulled {
    let mut options = SyncOptions::default();
    options.progress = Some(Arc::new(AtApply(Mutex::new(acts.into()))));
    pair.pull_with(&options)
}

fn nothing() -> Act {
    Box::new(|| ())
}

/// A branch whose objects are at the destination, where nothing leads to them.
fn debris(pair: &Pair, unpack_limit: &str) -> String {
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let topic = grow(&pair.upstream, "topic", &[&topic]);
    let limit = format!("fetch.unpackLimit={unpack_limit}");
    let path = pair.upstream.path.to_str().unwrap();
    pair.destination
        .git(&["-c", &limit, "fetch", "-q", path, "topic"]);
    fs::remove_file(pair.destination.git_dir().join("FETCH_HEAD")).unwrap();
    topic
}

fn repack(repo: &Repo) -> Act {
    let repo = repo.clone();
    Box::new(move || drop(repo.git(&["repack", "-a", "-d", "-q"])))
}

#[test]
fn packed_objects_that_no_ref_leads_to_yet_are_kept() {
    let pair = Pair::in_step();
    let topic = debris(&pair, "1");
    let pulled = pull_while(&pair, [nothing(), repack(&pair.destination)]);
    assert_eq!(pulled.asked, LISTED, "all of it was there");
    assert_eq!(pulled.fate_of(TOPIC), created(&topic));
}

/// The steps of a `git repack -a -d`, which takes its time between them.
#[derive(Clone)]
struct SlowRepack {
    repo: Repo,
    listed: Arc<Mutex<Vec<PathBuf>>>,
}

impl SlowRepack {
    fn of(repo: &Repo) -> Self {
        SlowRepack {
            repo: repo.clone(),
            listed: Arc::default(),
        }
    }

    fn list(&self) {
        let mut files = packs_of(&self.repo);
        let is_kept = |file: &Path| file.with_extension("keep").exists();
        files.retain(|file| !is_kept(file));
        *self.listed.lock().unwrap() = files;
    }

    /// Packs what refs reach and no kept pack has.
    fn pack(&self) {
        self.repo.git(&["repack", "-a", "-q"]);
    }

    /// Removes what was listed, also if it has a `.keep` by now.
    fn remove(&self) {
        for file in self.listed.lock().unwrap().iter() {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_repack_that_began_before_the_run_takes_nothing_that_was_there() {
    let pair = Pair::in_step();
    let topic = debris(&pair, "1");
    let repack = SlowRepack::of(&pair.destination);
    let begun = repack.clone();
    let begin = move || {
        begun.list();
        begun.pack();
    };
    let pulled = pull_while(&pair, [Box::new(begin), Box::new(move || repack.remove())]);
    assert_eq!(pulled.asked, LISTED, "all of it was there");
    assert_eq!(pulled.fate_of(TOPIC), created(&topic));
}

/// The pack of a run that was killed before its refs has the same name.
#[test]
fn a_repack_that_began_before_the_run_takes_nothing_that_was_received() {
    let pair = Pair::in_step();
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let packs = packs_of_another_run(&pair);
    let objects = pair.destination.git_dir().join("objects");
    let repack = SlowRepack::of(&pair.destination);
    let begun = repack.clone();
    let begin = move || {
        for from in &packs {
            let to = objects.join("pack").join(from.file_name().unwrap());
            fs::copy(from, to).unwrap();
        }
        begun.list();
        begun.pack();
    };
    let pulled = pull_while(&pair, [Box::new(begin), Box::new(move || repack.remove())]);
    assert_eq!(pulled.fate_of(TOPIC), created(&topic));
}

/// Lets the branch stay as it is.
fn lock(pair: &Pair) -> PathBuf {
    let lock = pair
        .destination
        .git_dir()
        .join(TOPIC)
        .with_extension("lock");
    fs::write(&lock, "").unwrap();
    lock
}

/// Pulls the topic branch alone.
fn pull_topic(pair: &Pair, progress: Option<Arc<dyn Progress>>) -> Outcome {
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("topic"), None).unwrap();
    options.progress = progress;
    let stats = pair.try_pull(&options).unwrap();
    stats.find(TOPIC).unwrap().outcome.clone()
}

/// A repack does not pack what it finds in kept packs, also if refs reach it.
#[test]
fn a_repack_that_meets_the_keep_file_of_a_run_takes_nothing() {
    for can_move in [true, false] {
        let pair = Pair::in_step();
        let topic = debris(&pair, "1");
        pair.destination.set_ref(TOPIC, &topic);
        pair.destination.git(&["repack", "-a", "-d", "-q"]);
        pair.destination.git(&["update-ref", "-d", TOPIC]);
        let is_pack = |file: &&PathBuf| file.extension() == Some("pack".as_ref());
        let packs = packs_of(&pair.destination);
        assert_eq!(packs.iter().filter(is_pack).count(), 1, "for all objects");
        let lock = (!can_move).then(|| lock(&pair));
        let repack = SlowRepack::of(&pair.destination);
        let (listing, packing) = (repack.clone(), repack.clone());
        let acts: [Act; 2] = [
            Box::new(move || listing.list()),
            Box::new(move || packing.pack()),
        ];
        let outcome = pull_topic(&pair, Some(Arc::new(AtApply(Mutex::new(acts.into())))));
        assert_eq!(outcome.is_updated(), can_move, "{outcome:?}");
        repack.remove();
        lock.into_iter()
            .for_each(|lock| fs::remove_file(lock).unwrap());
        pair.destination.fsck();
    }
}

#[test]
fn runs_that_cannot_move_a_ref_leave_one_further_pack() {
    let pair = Pair::in_step();
    debris(&pair, "1");
    let before = packs_of(&pair.destination).len();
    lock(&pair);
    for _ in 0..3 {
        let outcome = pull_topic(&pair, None);
        let is_rejected = matches!(outcome, Outcome::Rejected(Reason::NotWritten { .. }));
        assert!(is_rejected, "{outcome:?}");
        assert_eq!(
            packs_of(&pair.destination).len(),
            before + 2,
            "with its index"
        );
    }
    pair.destination.git(&["multi-pack-index", "write"]);
    pull_topic(&pair, None);
    pair.destination.git(&["multi-pack-index", "verify"]);
}

#[test]
fn loose_objects_that_no_ref_leads_to_yet_are_as_if_new() {
    let pair = Pair::in_step();
    let topic = debris(&pair, "100");
    let old = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    let range = format!("{}..{topic}", pair.tip);
    let list = ["rev-list", "--objects", "--no-object-names", &range];
    for id in pair.upstream.git(&list).lines() {
        let file = fs::File::open(pair.destination.object_file(id)).unwrap();
        file.set_modified(old).unwrap();
    }
    let destination = pair.destination.clone();
    let prune = move || drop(destination.git(&["prune", "--expire=1.day.ago"]));
    let pulled = pull_while(&pair, [nothing(), Box::new(prune)]);
    assert_eq!(pulled.asked, LISTED, "all of it was there");
    assert_eq!(pulled.fate_of(TOPIC), created(&topic));
}

#[test]
fn objects_that_went_after_they_were_looked_at() {
    let pair = Pair::in_step();
    let topic = debris(&pair, "100");
    let file = pair.destination.object_file(&topic);
    let pulled = pull_while(
        &pair,
        [Box::new(move || fs::remove_file(file).unwrap()), nothing()],
    );
    let reason = pulled.reason_of(TOPIC);
    assert!(matches!(reason, Reason::Incomplete { .. }), "{reason}");
}

#[test]
fn objects_that_were_packed_after_they_were_looked_at() {
    let pair = Pair::in_step();
    let topic = debris(&pair, "100");
    let destination = pair.destination.clone();
    let pack = move || {
        let ids = destination.git(&[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ]);
        let pack = ["pack-objects", "-q", "objects/pack/pack"];
        destination.git_with_input(&pack, (ids + "\n").as_bytes());
        destination.git(&["prune-packed", "-q"]);
    };
    let acts: [Act; 2] = [Box::new(pack), repack(&pair.destination)];
    let pulled = pull_while(&pair, acts);
    assert_eq!(pulled.fate_of(TOPIC), created(&topic));
}

/// The pack and the index that a run writes which receives what the next one will.
fn packs_of_another_run(pair: &Pair) -> Vec<PathBuf> {
    let twin = Repo::at(pair.sandbox.path().join("twin.git"));
    pair.destination.copy_to(&twin.path);
    let old = packs_of(&twin);
    let into = LocalStore::open(&twin.path).unwrap();
    crate::support::sync(&pair.remote(), &into, &SyncOptions::default()).unwrap();
    let mut packs = packs_of(&twin);
    packs.retain(|file| !old.contains(file));
    assert_eq!(packs.len(), 2, "a pack and its index");
    packs
}

fn packs_of(repo: &Repo) -> Vec<PathBuf> {
    let packs = repo.git_dir().join("objects/pack").read_dir().unwrap();
    packs.map(|entry| entry.unwrap().path()).collect()
}

/// The other one received the same pack, and was killed before its refs. Its `.keep` goes with it.
#[test]
fn a_run_does_not_rely_on_the_keep_file_of_another_one() {
    let pair = Pair::in_step();
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let packs = packs_of_another_run(&pair);
    let objects = pair.destination.git_dir().join("objects");
    let other_run = move || {
        fs::create_dir(objects.join("refsync-dead")).unwrap();
        fs::write(objects.join("refsync-dead/lock"), "").unwrap();
        for from in &packs {
            let to = objects.join("pack").join(from.file_name().unwrap());
            fs::copy(from, &to).unwrap();
            fs::write(to.with_extension("keep"), "refsync refsync-dead\n").unwrap();
        }
    };
    let (path, repack) = (pair.destination.path.clone(), repack(&pair.destination));
    let third_run = move || {
        LocalStore::open(&path).unwrap().sweep();
        let keeps = packs_of(&Repo::at(&path));
        let is_keep = |path: &&PathBuf| path.extension() == Some(Path::new("keep").as_os_str());
        assert!(keeps.iter().filter(is_keep).count() < 2, "{keeps:?}");
        repack();
    };
    let pulled = pull_while(&pair, [Box::new(other_run), Box::new(third_run)]);
    assert_eq!(pulled.fate_of(TOPIC), created(&topic));
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}
