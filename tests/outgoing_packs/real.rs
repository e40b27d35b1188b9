//! Real repositories with their whole history.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo test --release --test outgoing_packs -- --ignored --nocapture
//! ```
//! `REFSYNC_MIRRORS` holds bare repositories as `OWNER+NAME/repo`.

use crate::support::{ObjectFormat, Repo, Sandbox, pack};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// With how many pairs of wants and haves are tried.
const REPOSITORIES: [(&str, usize); 3] = [
    ("BurntSushi+ripgrep", 150),
    ("jj-vcs+jj", 60),
    ("git+git", 15),
];

/// The largest size of a pack, as a multiple of git's.
const MOST: f64 = 1.02;

#[test]
#[ignore = "needs REFSYNC_MIRRORS, a folder of bare repositories with their full history"]
fn packs_are_as_small_as_those_of_git() {
    for (name, _) in REPOSITORIES {
        let sandbox = Sandbox::new();
        let whole = branches_and_tags(&sandbox, name);
        let head = whole.git(&["rev-parse", "HEAD"]);
        for commits in [1, 100] {
            let old = whole.git(&["rev-parse", &format!("HEAD~{commits}")]);
            let loose = newest_loose(&sandbox, &whole, &old, &head);
            compare(
                &format!("{name}, {commits} commits, loose"),
                &loose,
                &[&head],
                &[&old],
            );
            compare(
                &format!("{name}, {commits} commits, packed"),
                &whole,
                &[&head],
                &[&old],
            );
        }
        let tips = whole.git(&["for-each-ref", "--format=%(objectname)"]);
        let tips: HashSet<&str> = tips.lines().collect();
        compare(
            &format!("{name}, all of it"),
            &whole,
            &Vec::from_iter(tips),
            &[],
        );
    }
}

#[test]
#[ignore = "needs REFSYNC_MIRRORS, a folder of bare repositories with their full history"]
fn packs_complete_what_the_receiver_has() {
    for (name, pairs) in REPOSITORIES {
        let sandbox = Sandbox::new();
        let whole = branches_and_tags(&sandbox, name);
        let commits = whole.git(&["rev-list", "--all"]);
        let commits: Vec<&str> = commits.lines().collect();
        let mut dice = Dice(pairs as u64);
        for pair in 0..pairs {
            let start = dice.below(commits.len());
            let mut near = || commits[(start + dice.below(2000)) % commits.len()];
            let wants = [near(), near()];
            let haves = [near(), near(), near()];
            check(
                &sandbox,
                &whole,
                &wants[..1 + pair % 2],
                &haves[..1 + pair % 3],
            );
        }
        eprintln!("{name}: {pairs} pairs");
    }
}

/// Everything that is wanted is in the pack or the receiver's, and so is every base of a delta.
fn check(sandbox: &Sandbox, repo: &Repo, wants: &[&str], haves: &[&str]) {
    let ours = pack::make(repo, wants, haves);
    let (sent, bases) = contents(sandbox, repo, &ours);
    let listed = |revs: &[&str]| -> HashSet<String> {
        let list = repo.git(&[&["rev-list", "--objects", "--no-object-names"], revs].concat());
        list.lines().map(str::to_owned).collect()
    };
    let held = listed(haves);
    let needed = listed(&[wants, &["--not"], haves].concat());
    let lost: Vec<_> = needed
        .iter()
        .filter(|id| !sent.contains(*id) && !held.contains(*id))
        .collect();
    assert!(lost.is_empty(), "{wants:?} without {haves:?}: {lost:?}");
    assert!(
        bases.is_subset(&held),
        "{wants:?} without {haves:?}: {bases:?}"
    );
}

/// The objects in a pack, and those that its deltas need beside them, according to git.
fn contents(sandbox: &Sandbox, repo: &Repo, pack: &[u8]) -> (HashSet<String>, HashSet<String>) {
    let receiver = sandbox.init_bare("receiver.git", ObjectFormat::Sha1);
    let objects = repo.path.join("objects");
    let alternates = receiver.path.join("objects/info/alternates");
    std::fs::write(alternates, format!("{}\n", objects.display())).expect("a file");
    let name = receiver.git_with_input(&["index-pack", "--stdin", "--fix-thin", "--strict"], pack);
    let name = name.split_whitespace().last().expect("the name of a pack");
    let index = receiver.path.join(format!("objects/pack/pack-{name}.idx"));
    let index = std::fs::read(index).expect("an index");
    let listing = receiver.git_with_input(&["show-index"], &index);
    let mut entries: Vec<(u64, String)> = listing
        .lines()
        .map(|line| line.split_whitespace())
        .filter_map(|mut line| Some((line.next()?.parse().ok()?, line.next()?.to_owned())))
        .collect();
    entries.sort();
    // What a thin pack lacks is appended to it.
    let bases = entries.split_off(pack::count(pack) as usize);
    std::fs::remove_dir_all(&receiver.path).expect("a folder of ours");
    let ids = |entries: Vec<(u64, String)>| entries.into_iter().map(|(_, id)| id).collect();
    (ids(entries), ids(bases))
}

fn compare(name: &str, repo: &Repo, wants: &[&str], haves: &[&str]) {
    let (ours, took) = timed(|| pack::make(repo, wants, haves));
    let (gits, git_took) = timed(|| pack::make_with_git(repo, wants, haves));
    let ratio = ours.len() as f64 / gits.len() as f64;
    eprintln!(
        "{name}: {} bytes, {} objects, {took:.2?}; git {} bytes, {} objects, {git_took:.2?}: {ratio:.4}",
        ours.len(),
        pack::count(&ours),
        gits.len(),
        pack::count(&gits),
    );
    assert!(ratio <= MOST, "{name}");
}

/// A copy of the mirror with just those refs, in one pack, and its `HEAD`.
fn branches_and_tags(sandbox: &Sandbox, name: &str) -> Repo {
    let mirrors = std::env::var_os("REFSYNC_MIRRORS").expect("REFSYNC_MIRRORS is set");
    let mirror = Repo::at(PathBuf::from(mirrors).join(name).join("repo"));
    let whole = sandbox.init_bare("whole.git", ObjectFormat::Sha1);
    let from = mirror.path.to_str().expect("a path in UTF-8");
    whole.git(&[
        "fetch",
        "-q",
        from,
        "+refs/heads/*:refs/heads/*",
        "+refs/tags/*:refs/tags/*",
    ]);
    let head = mirror.git(&["rev-parse", "HEAD"]);
    whole.git(&["update-ref", "--no-deref", "HEAD", &head]);
    whole
}

/// A repository with a pack of what is behind `old`, and the rest of `head` loose.
fn newest_loose(sandbox: &Sandbox, whole: &Repo, old: &str, head: &str) -> Repo {
    let repo = sandbox.init_bare(&format!("loose-{old}.git"), ObjectFormat::Sha1);
    let from = whole.path.to_str().expect("a path in UTF-8");
    repo.git(&["fetch", "-q", from, &format!("{old}:refs/heads/main")]);
    let keep_loose = "fetch.unpackLimit=1000000";
    repo.git(&[
        "-c",
        keep_loose,
        "fetch",
        "-q",
        from,
        &format!("+{head}:refs/heads/main"),
    ]);
    repo
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }
}
