//! A thousand fast-forward decisions on real history, against git in the same run.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo bench --bench ancestry
//! ```
//! They take turns, with a commit-graph and without. Git decides them all in one process, a dry run
//! of `git fetch .`; ours includes opening the repository. `REFSYNC_MIRRORS` holds a bare
//! `git+git/repo` with its full history.

#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints figures"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use refsync::{LocalStore, ObjectId, RefSource, Relation, SyncContext, SyncOptions};
use support::{ObjectFormat, Repo, Sandbox};

const PAIRS: usize = 1000;
const ROUNDS_WITH_GRAPH: usize = 9;
/// Git takes half a minute for each.
const ROUNDS_WITHOUT: usize = 1;

fn main() {
    let Some(mirrors) = std::env::var_os("REFSYNC_MIRRORS") else {
        return println!("there is no history to decide about without REFSYNC_MIRRORS");
    };
    let sandbox = Sandbox::new();
    let mirror = PathBuf::from(mirrors).join("git+git/repo");
    let repo = sandbox.init_bare("history.git", ObjectFormat::Sha1);
    let objects = mirror.join("objects");
    let alternates = format!("{}\n", objects.display());
    std::fs::write(repo.path.join("objects/info/alternates"), alternates).expect("written");
    std::fs::copy(mirror.join("packed-refs"), repo.path.join("packed-refs"))
        .expect("a copy of the refs");
    repo.git(&["commit-graph", "write", "--reachable", "--no-progress"]);
    let pairs = History::of(&repo).pairs();
    write_refs(&repo, &pairs);

    println!("| {PAIRS} pairs | git, median ms | refsync | x git |");
    println!("|---|---|---|---|");
    compare(&repo, &pairs, "commit-graph", ROUNDS_WITH_GRAPH);
    std::fs::remove_file(repo.path.join("objects/info/commit-graph")).expect("a commit-graph");
    compare(&repo, &pairs, "no commit-graph", ROUNDS_WITHOUT);
}

fn compare(repo: &Repo, pairs: &[(ObjectId, ObjectId)], name: &str, rounds: usize) {
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    if only.is_some_and(|only| only != name) {
        return;
    }
    let (mut gits, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let expected = fast_forwards_by_git(repo);
        gits.push(start.elapsed());
        let start = Instant::now();
        let found = fast_forwards(repo, pairs);
        ours.push(start.elapsed());
        assert!(found == expected, "the verdicts differ");
    }
    let [git, ours] = [gits, ours].map(|times| 1000.0 * median(times).as_secs_f64());
    println!("| {name} | {git:.1} | {ours:.1} | {:.3} |", ours / git);
}

/// Whether each of the pairs is one.
fn fast_forwards(repo: &Repo, pairs: &[(ObjectId, ObjectId)]) -> Vec<bool> {
    let store = LocalStore::open(&repo.path).expect("a repository");
    let context = SyncContext::new(&SyncOptions::default());
    let mut objects = store.objects(&context).expect("readable").expect("objects");
    let relations = objects.relate(pairs, &|| false).expect("not cancelled");
    let is_one = |relation| matches!(relation, Relation::FastForward | Relation::Same);
    relations.into_iter().map(is_one).collect()
}

fn fast_forwards_by_git(repo: &Repo) -> Vec<bool> {
    let options = [
        "--dry-run",
        "--porcelain",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
    ];
    let refs = [".", "refs/new/*:refs/heads/*"];
    // It fails where it rejects any.
    let output = repo.try_git(&[&["fetch"], &options[..], &refs[..]].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    // A ref that stays where it is goes unmentioned.
    let mut verdicts = vec![true; PAIRS];
    for line in text.lines() {
        let (verdict, name) = line.split_at(1);
        let number = name.rsplit('/').next().and_then(|name| name.parse().ok());
        let number: usize = number.expect("one of our refs");
        verdicts[number] = verdict != "!";
    }
    verdicts
}

fn write_refs(repo: &Repo, pairs: &[(ObjectId, ObjectId)]) {
    let mut refs = BTreeMap::new();
    for (number, (old, new)) in pairs.iter().enumerate() {
        refs.insert(format!("refs/heads/{number:04}"), old);
        refs.insert(format!("refs/new/{number:04}"), new);
    }
    let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for (name, id) in refs {
        writeln!(text, "{id} {name}").expect("written");
    }
    std::fs::write(repo.path.join("packed-refs"), text).expect("written");
}

/// Children before their parents.
struct History {
    ids: Vec<ObjectId>,
    parents: Vec<Vec<usize>>,
    tips: Vec<usize>,
}

impl History {
    fn of(repo: &Repo) -> Self {
        let text = repo.git(&["rev-list", "--all", "--topo-order", "--parents"]);
        let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
        let lines: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split(' ').map(id).collect())
            .collect();
        let ids: Vec<_> = lines.iter().map(|line| line[0]).collect();
        let places: HashMap<_, _> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let parents = lines
            .iter()
            .map(|line| line[1..].iter().map(|id| places[id]).collect())
            .collect();
        let refs = repo.git(&["for-each-ref", "--format=%(objectname)"]);
        let tips = refs
            .lines()
            .filter_map(|line| places.get(&id(line)).copied());
        History {
            tips: tips.collect(),
            ids,
            parents,
        }
    }

    /// Half are fast-forwards, by some steps or by any distance; half lead elsewhere. Half of the
    /// new ends are tips.
    fn pairs(&self) -> Vec<(ObjectId, ObjectId)> {
        let mut random = Random(4);
        let count = self.ids.len();
        let news: Vec<_> = (0..PAIRS)
            .map(|pair| match pair % 2 {
                0 => random.below(count),
                _ => self.tips[random.below(self.tips.len())],
            })
            .collect();
        let reached = self.reached(&news);
        let mut pairs = Vec::new();
        for (pair, new) in news.iter().enumerate() {
            let is_reached = |at: usize| reached[at][pair / 64] >> (pair % 64) & 1 == 1;
            let mut old = *new;
            match pair % 8 / 2 {
                0 => {
                    for _ in 0..=random.below(30) {
                        let parents = &self.parents[old];
                        if !parents.is_empty() {
                            old = parents[random.below(parents.len())];
                        }
                    }
                }
                kind => loop {
                    old = match kind {
                        1 | 2 => random.below(count),
                        _ => self.tips[random.below(self.tips.len())],
                    };
                    if is_reached(old) == (kind == 1) {
                        break;
                    }
                },
            }
            pairs.push((self.ids[old], self.ids[*new]));
        }
        pairs
    }

    /// For each commit, which of the pairs' new ends lead to it.
    fn reached(&self, news: &[usize]) -> Vec<[u64; PAIRS.div_ceil(64)]> {
        let mut reached = vec![[0; PAIRS.div_ceil(64)]; self.ids.len()];
        for (pair, new) in news.iter().enumerate() {
            reached[*new][pair / 64] |= 1 << (pair % 64);
        }
        for at in 0..self.ids.len() {
            let own = reached[at];
            for parent in &self.parents[at] {
                for (to, from) in reached[*parent].iter_mut().zip(own) {
                    *to |= from;
                }
            }
        }
        reached
    }
}

/// SplitMix64: the same pairs in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
