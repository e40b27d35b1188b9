//! Generated histories with what makes packs go wrong: reverts, merges, mode changes, submodules,
//! symbolic links, empty trees, files that become folders, clocks that go backwards.

use crate::support::{ObjectFormat, Repo, Sandbox};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Names that sort around those of folders, and one name in several folders.
const PATHS: [&str; 10] = [
    "a",
    "a-",
    "a/b",
    "a/c/d",
    "a/c/e",
    "b",
    "b/a",
    "lib/a",
    "lib/deep/er/a",
    "z",
];

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) format: ObjectFormat,
    commits: Vec<Commit>,
    /// Commits that an annotated tag, and a tag of that tag, is about.
    tags: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Commit {
    /// The distance to each parent in commits; those before the first one are none.
    parents: Vec<usize>,
    change: Vec<Change>,
    /// Seconds after the one before, or before it.
    pace: i64,
}

#[derive(Debug, Clone)]
enum Change {
    Write {
        path: usize,
        content: u8,
    },
    MakeExecutable(usize),
    Link(usize),
    Submodule(usize),
    Remove(usize),
    RemoveAll,
    /// Everything is as it was so many commits ago.
    Revert(usize),
}

type Files = BTreeMap<usize, (&'static str, String)>;

pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let format = prop_oneof![3 => Just(ObjectFormat::Sha1), 1 => Just(ObjectFormat::Sha256)];
    let commits = prop::collection::vec(commit(), 2..16);
    let tags = prop::collection::vec(0..16_usize, 0..3);
    (format, commits, tags).prop_map(|(format, commits, tags)| Plan {
        format,
        commits,
        tags,
    })
}

fn commit() -> impl Strategy<Value = Commit> {
    let parents = prop_oneof![
        6 => Just(vec![1]),
        2 => prop::collection::vec(1..5_usize, 2..4),
        1 => prop::collection::vec(1..8_usize, 0..2),
    ];
    let pace = prop_oneof![4 => 1..100_i64, 1 => -100_000..100_000_i64];
    (parents, prop::collection::vec(change(), 0..4), pace).prop_map(|(parents, change, pace)| {
        Commit {
            parents,
            change,
            pace,
        }
    })
}

fn change() -> impl Strategy<Value = Change> {
    let path = || 0..PATHS.len();
    prop_oneof![
        8 => (path(), any::<u8>()).prop_map(|(path, content)| Change::Write { path, content }),
        1 => path().prop_map(Change::MakeExecutable),
        1 => path().prop_map(Change::Link),
        1 => path().prop_map(Change::Submodule),
        2 => path().prop_map(Change::Remove),
        1 => Just(Change::RemoveAll),
        3 => (1..8_usize).prop_map(Change::Revert),
    ]
}

/// A repository with that history, and its commits and tags, oldest first.
pub(crate) fn build(sandbox: &Sandbox, plan: &Plan) -> (Repo, Vec<String>) {
    let repo = sandbox.init_bare("source.git", plan.format);
    let mut stream = String::new();
    let mut all: Vec<Files> = Vec::new();
    let mut date = 1_600_000_000;
    for (number, commit) in plan.commits.iter().enumerate() {
        let mut parents: Vec<_> = commit
            .parents
            .iter()
            .filter_map(|back| number.checked_sub(*back))
            .collect();
        parents.dedup();
        let mut files = parents
            .first()
            .map_or_else(Files::new, |parent| all[*parent].clone());
        for change in &commit.change {
            apply(change, &mut files, &all, plan.format);
        }
        date += commit.pace;
        write_commit(&mut stream, number, &parents, &files, date);
        all.push(files);
    }
    let last = plan.commits.len();
    let mut mark = last;
    for (number, commit) in plan.tags.iter().enumerate() {
        for target in [1 + commit % last, mark + 1] {
            mark += 1;
            let name = format!("tag-{number}-{mark}");
            write!(
                stream,
                "tag {name}\nmark :{mark}\nfrom :{target}\ntagger T <t@x> 1 +0000\ndata 2\nt\n\n"
            )
            .expect("a string takes everything");
        }
    }
    let marks = sandbox.path().join("marks");
    let export = format!("--export-marks={}", marks.display());
    repo.git_with_input(
        &["fast-import", "--quiet", "--force", &export],
        stream.as_bytes(),
    );
    let marks = std::fs::read_to_string(&marks).expect("the exported marks");
    let mut ids: Vec<_> = marks
        .lines()
        .filter_map(|line| line.strip_prefix(':')?.split_once(' '))
        .map(|(mark, id)| (mark.parse::<usize>().expect("a number"), id.to_owned()))
        .collect();
    ids.sort();
    (repo, ids.into_iter().map(|(_, id)| id).collect())
}

fn apply(change: &Change, files: &mut Files, all: &[Files], format: ObjectFormat) {
    let put = |files: &mut Files, path: usize, mode, content| {
        // A file in the way of a folder, and a folder in the way of a file, give way.
        let name = PATHS[path];
        files.retain(|other, _| {
            let other = PATHS[*other];
            !other.starts_with(&format!("{name}/")) && !name.starts_with(&format!("{other}/"))
        });
        files.insert(path, (mode, content));
    };
    match change {
        Change::Write { path, content } => put(files, *path, "100644", text(*content)),
        Change::MakeExecutable(path) => {
            if let Some((mode @ "100644", _)) = files.get_mut(path) {
                *mode = "100755";
            }
        }
        Change::Link(path) => put(files, *path, "120000", "elsewhere".to_owned()),
        Change::Submodule(path) => {
            put(files, *path, "160000", "5".repeat(format.null_id().len()));
        }
        Change::Remove(path) => {
            files.remove(path);
        }
        Change::RemoveAll => files.clear(),
        Change::Revert(back) => {
            if let Some(at) = all.len().checked_sub(*back) {
                files.clone_from(&all[at]);
            }
        }
    }
}

/// Enough of it that a delta pays, and often but a few lines away from another one.
fn text(content: u8) -> String {
    let line = |number: u32| match number % 16 == u32::from(content) % 16 {
        true => format!("line {number} is of {content}\n"),
        false => format!("line {number} of many is {}\n", number * number),
    };
    (0..u32::from(content) % 50 + 10).map(line).collect()
}

fn write_commit(stream: &mut String, number: usize, parents: &[usize], files: &Files, date: i64) {
    let mut line = |text: String| {
        stream.push_str(&text);
        stream.push('\n');
    };
    let branch = format!("refs/heads/b{number}");
    line(format!("reset {branch}"));
    line(format!("commit {branch}"));
    line(format!("mark :{}", number + 1));
    line(format!("committer C <c@example.com> {date} +0000"));
    let message = format!("Commit {number}");
    line(format!("data {}\n{message}", message.len()));
    for (at, parent) in parents.iter().enumerate() {
        line(format!(
            "{} :{}",
            if at == 0 { "from" } else { "merge" },
            parent + 1
        ));
    }
    line("deleteall".to_owned());
    for (path, (mode, content)) in files {
        match *mode {
            "160000" => line(format!("M 160000 {content} {}", PATHS[*path])),
            mode => {
                line(format!("M {mode} inline {}", PATHS[*path]));
                line(format!("data {}\n{content}", content.len()));
            }
        }
    }
}
