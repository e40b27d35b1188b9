//! The judge: git, of the pack and of what refsync has made of it.

use crate::pack::id;
use crate::support::git::{ObjectFormat, Repo, Sandbox, command};
use crate::world::{Offer, chain};
use gix::hash::Kind as Hash;
use gix::objs::Kind;
use refsync::{FsckLevel, FsckMessage, FsckRules, LocalStore, ObjectId, SyncOptions, sync};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;

/// A pack, and by which rules it is judged.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The objects that its maker knows of.
    pub(crate) tips: Vec<ObjectId>,
    pub(crate) rules: Rules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    Default,
    Strict,
    None,
    /// Nothing is asked of the people in a commit.
    WithoutPeople,
}

impl Rules {
    pub(crate) const ALL: [Rules; 4] = [
        Rules::Default,
        Rules::Strict,
        Rules::None,
        Rules::WithoutPeople,
    ];

    fn rules(self) -> FsckRules {
        let mut rules = FsckRules::default();
        match self {
            Rules::Default => {}
            Rules::Strict => rules = FsckRules::strict(),
            Rules::None => rules = FsckRules::none(),
            Rules::WithoutPeople => {
                for id in ["missingAuthor", "missingCommitter"] {
                    rules.set(id, "ignore").expect("a level");
                }
            }
        }
        rules
    }
}

/// Git's words for the levels of the rules, without those that it lets nobody change or doesn't know.
fn levels(rules: &FsckRules) -> Vec<(&'static str, &'static str)> {
    static KNOWN: LazyLock<String> = LazyLock::new(|| {
        let mut git = command(Path::new("/"));
        let listed = git.args(["help", "--config"]).output().expect("git runs");
        String::from_utf8_lossy(&listed.stdout).into_owned()
    });
    let strict = FsckRules::strict();
    let fatal = ["nulInHeader", "unterminatedHeader"];
    let is_known = |id: &str| {
        KNOWN
            .lines()
            .any(|line| line.strip_prefix("fsck.") == Some(id))
    };
    let level = |message: FsckMessage| match rules.level(message) {
        FsckLevel::Ignore => "ignore",
        FsckLevel::Warn => "warn",
        FsckLevel::Error => "error",
    };
    FsckMessage::all()
        .filter(|message| {
            let id = message.name();
            !fatal.contains(&id) && is_known(id) && rules.level(*message) != strict.level(*message)
        })
        .map(|message| (message.name(), level(message)))
        .collect()
}

/// The option of `git index-pack` for the levels of the rules.
fn strict(rules: &FsckRules) -> String {
    let levels = levels(rules).into_iter();
    let levels: Vec<_> = levels.map(|(id, level)| format!("{id}={level}")).collect();
    if levels.is_empty() {
        return "--strict".to_owned();
    }
    format!("--strict={}", levels.join(","))
}

/// The result of a case.
#[derive(Debug)]
pub(crate) enum Verdict {
    BothTake,
    BothRefuse,
    /// Git takes it and can't read it then.
    UnreadableToGit,
    /// Only git takes it.
    Stricter(String),
    /// Git can't read what refsync took, or wouldn't have taken it.
    Wrong(String),
}

pub(crate) struct Judge {
    /// The repository that each case begins with.
    template: Repo,
    hash: Hash,
    sandbox: Sandbox,
    next: AtomicUsize,
}

impl Judge {
    /// The store has these objects.
    pub(crate) fn new(format: ObjectFormat, stored: &[(Kind, Vec<u8>)]) -> Self {
        let sandbox = Sandbox::new();
        let template = sandbox.init_bare("template.git", format);
        for folder in ["hooks", "info"] {
            fs::remove_dir_all(template.path.join(folder)).ok();
        }
        for (at, (kind, content)) in stored.iter().enumerate() {
            let id = template.write_object(&kind.to_string(), content);
            template.set_ref(&format!("refs/tags/stored/{at}"), &id);
        }
        template.git(&["pack-refs", "--all"]);
        template.git(&["gc", "--quiet"]);
        let hash = match format {
            ObjectFormat::Sha1 => Hash::Sha1,
            ObjectFormat::Sha256 => Hash::Sha256,
        };
        Judge {
            template,
            hash,
            sandbox,
            next: AtomicUsize::new(0),
        }
    }

    fn store(&self) -> Repo {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.sandbox.path().join(format!("{number}.git"));
        self.template.copy_to(&path);
        Repo::at(path)
    }

    /// All of the cases, on as many threads as there are cores.
    pub(crate) fn judge_all(&self, cases: &[Case]) -> Vec<Verdict> {
        let next = AtomicUsize::new(0);
        let verdicts = Mutex::new(BTreeMap::new());
        let work = || {
            while let Some((at, case)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                cases.get(at).map(|case| (at, case))
            } {
                let verdict = self.judge(case);
                verdicts.lock().expect("no panic").insert(at, verdict);
            }
        };
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        thread::scope(|scope| {
            (0..cores).for_each(|_| drop(scope.spawn(work)));
        });
        let verdicts = verdicts.into_inner().expect("no panic");
        verdicts.into_values().collect()
    }

    fn judge(&self, case: &Case) -> Verdict {
        let rules = case.rules.rules();
        let (gits, ours) = (self.store(), self.store());
        let by_git = self.index(&gits, case, &rules);
        let tips = by_git.as_ref().unwrap_or(&case.tips);
        let by_us = take(&ours, &case.bytes, tips, &rules);
        let is_published = !self.new_packs(&ours).is_empty();
        let verdict = match (by_git, by_us) {
            (git, _) if is_published => match (self.read(&ours, &rules), git) {
                (Err(said), _) => Verdict::Wrong(said),
                (_, Err(said)) => Verdict::Wrong(format!("git index-pack: {said}")),
                _ => Verdict::BothTake,
            },
            (Err(_), _) => Verdict::BothRefuse,
            (Ok(_), Ok(())) => Verdict::Wrong("taken, and not there".to_owned()),
            (Ok(_), Err(reason)) => match self.read(&gits, &rules) {
                Ok(()) if self.refuses_at_levels(case, &rules) => Verdict::BothRefuse,
                Ok(()) => Verdict::Stricter(reason),
                Err(_) => Verdict::UnreadableToGit,
            },
        };
        for repo in [gits, ours] {
            fs::remove_dir_all(repo.path).ok();
        }
        verdict
    }

    /// Fetches a pack with `git fetch`, and returns the ids of its objects. Without rules it asks for no fsck.
    fn index(&self, repo: &Repo, case: &Case, rules: &FsckRules) -> Result<Vec<ObjectId>, String> {
        let strict = (case.rules != Rules::None).then(|| strict(rules));
        self.index_pack(repo, case, strict)
    }

    /// Whether git refuses the pack with `fetch.fsckObjects` and every message ignored, which still
    /// looks at the links of what no ref needs.
    fn refuses_at_levels(&self, case: &Case, rules: &FsckRules) -> bool {
        if case.rules != Rules::None {
            return false;
        }
        let repo = self.store();
        let is_refused = self.index_pack(&repo, case, Some(strict(rules))).is_err();
        fs::remove_dir_all(repo.path).ok();
        is_refused
    }

    fn index_pack(
        &self,
        repo: &Repo,
        case: &Case,
        strict: Option<String>,
    ) -> Result<Vec<ObjectId>, String> {
        let mut git = command(&repo.path);
        git.args(["index-pack", "--stdin", "--fix-thin"])
            .args(strict);
        let mut child = git
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("a piped stdin");
        let output = thread::scope(|scope| {
            // It may stop reading early.
            scope.spawn(move || stdin.write_all(&case.bytes).ok());
            child.wait_with_output().expect("git ends")
        });
        if !output.status.success() {
            return Err(text(&output));
        }
        let ids = self.new_packs(repo).into_iter().flat_map(|path| {
            let index = gix_pack::index::File::at(path, self.hash).expect("an index");
            index
                .iter()
                .map(|entry| entry.oid.into())
                .collect::<Vec<_>>()
        });
        let ids: Vec<_> = ids.collect();
        match ids.is_empty() {
            true => Err("there is nothing in it".to_owned()),
            false => Ok(ids),
        }
    }

    /// The indices of packs that a store did not begin with.
    fn new_packs(&self, repo: &Repo) -> Vec<PathBuf> {
        let old = packs(&self.template);
        let is_new = |path: &PathBuf| old.iter().all(|old| old.file_name() != path.file_name());
        packs(repo).into_iter().filter(is_new).collect()
    }

    /// Whether git can read all that there is and, by these rules, finds nothing wrong with it.
    fn read(&self, repo: &Repo, rules: &FsckRules) -> Result<(), String> {
        let all = repo.try_git(&["cat-file", "--batch-all-objects", "--batch"]);
        if !all.status.success() {
            return Err(format!("git cat-file: {}", text(&all)));
        }
        self.read_each(&all.stdout)?;
        let mut git = command(&repo.path);
        for (id, level) in levels(rules) {
            git.arg("-c").arg(format!("fsck.{id}={level}"));
        }
        let fsck = [
            "fsck",
            "--strict",
            "--full",
            "--no-progress",
            "--no-dangling",
        ];
        let output = git.args(fsck).output().expect("git runs");
        match output.status.success() || (*rules == FsckRules::none() && is_only_fatal(&output)) {
            true => Ok(()),
            false => Err(format!("git fsck: {}", text(&output))),
        }
    }

    /// Reads the output of `git cat-file --batch`: each object with its content, or that it is missing.
    fn read_each(&self, mut printed: &[u8]) -> Result<(), String> {
        while !printed.is_empty() {
            let line = printed
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            let said = String::from_utf8_lossy(line).into_owned();
            let words: Vec<_> = said.split(' ').collect();
            let [oid, kind, size] = words[..] else {
                return Err(said);
            };
            let size: usize = size.parse().expect("a size");
            let content = &printed[line.len() + 1..][..size];
            let kind = Kind::from_bytes(kind.as_bytes()).expect("a kind");
            let named = ObjectId::from_hex(oid.as_bytes()).expect("an id");
            if id(self.hash, kind, content) != named {
                return Err(format!("{oid} has another content"));
            }
            printed = &printed[line.len() + 1 + size + 1..];
        }
        Ok(())
    }
}

/// Has refsync take a pack; what is wrong if it doesn't take all of the tips.
fn take(repo: &Repo, pack: &[u8], tips: &[ObjectId], rules: &FsckRules) -> Result<(), String> {
    let names = (0..).map(|number| format!("refs/tags/{number}"));
    let offer = Offer::new(names.zip(tips.iter().copied()), pack.to_vec());
    let mut options = SyncOptions::default();
    options.fsck = rules.clone();
    let store = LocalStore::open(&repo.path).expect("a repository");
    let stats = sync(&offer, &store, &options).map_err(|err| chain(&err))?;
    let mut refused = stats.refs.iter();
    match refused.find(|listed| !listed.outcome.is_updated()) {
        None => Ok(()),
        Some(listed) => Err(format!(
            "{}: {:?}",
            listed.source,
            listed.outcome.rejection()
        )),
    }
}

/// Errors that git lets nobody ignore, while it fetches without any rules.
fn is_only_fatal(output: &Output) -> bool {
    let said = text(output);
    let is_fatal =
        |line: &str| line.contains(": nulInHeader:") || line.contains(": unterminatedHeader:");
    let mut lines = said.lines().filter(|line| !line.starts_with("notice: "));
    lines.clone().next().is_some() && lines.all(is_fatal)
}

fn packs(repo: &Repo) -> Vec<PathBuf> {
    let entries = repo.path.join("objects/pack").read_dir().expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == "idx"))
        .collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Why refsync refuses a pack that git takes and can read, by words of its reason.
const STRICTER: &[(&str, &str)] = &[
    (
        "goes on after its end",
        "git reads a pack up to its checksum and looks at what follows only in a file",
    ),
    (
        "is of an unknown version",
        "git reads version 3 as if it were version 2, and no git has written one",
    ),
    (
        "a delta with an impossible size",
        "git shifts by more bits than there are, which the language leaves undefined",
    ),
    (
        "a delta with an empty result",
        "git can't tell its size; it does so for the empty tree, which it has built in",
    ),
    (
        "can't be parsed",
        "a mode of a tree's entry has more than seven digits, which git reads and has never written",
    ),
    (
        "is a blob where a tree is needed",
        "mode 140000, which no git has written: that of a folder here, and of a submodule to git",
    ),
    (
        "twice, and a delta of it",
        "which of the two a delta is built on is up to whoever reads the pack",
    ),
];

fn explanation(reason: &str) -> Option<&'static str> {
    let known = STRICTER.iter().find(|(words, _)| reason.contains(words));
    known.map(|(_, explanation)| *explanation)
}

/// Compares with git, which is right unless there is a reason, and returns the number of such differences.
#[track_caller]
#[expect(
    clippy::print_stdout,
    reason = "the figures are what it is run for by hand"
)]
pub(crate) fn assert_right(cases: &[Case], verdicts: &[Verdict]) -> usize {
    let mut wrong = Vec::new();
    let mut stricter = BTreeMap::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        let name = format!("{} ({:?})", case.name, case.rules);
        match verdict {
            Verdict::BothTake | Verdict::BothRefuse | Verdict::UnreadableToGit => {}
            Verdict::Wrong(said) => wrong.push(format!("{name}: taken, but {said}")),
            Verdict::Stricter(reason) => match explanation(reason) {
                Some(explanation) => *stricter.entry(explanation).or_insert(0) += 1,
                None => wrong.push(format!("{name}: git takes it: {reason}")),
            },
        }
    }
    let count =
        |kind: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| kind(verdict)).count();
    println!(
        "{} packs: {} taken by both, {} by none, {} that git takes and can't read, stricter: {stricter:?}",
        cases.len(),
        count(|verdict| matches!(verdict, Verdict::BothTake)),
        count(|verdict| matches!(verdict, Verdict::BothRefuse)),
        count(|verdict| matches!(verdict, Verdict::UnreadableToGit)),
    );
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    stricter.values().sum()
}
