//! The objects of a plan, made here rather than by git so that their ids cost no process.

use crate::plan::{CommitPlan, Dates, Plan, Tagged, Target, Tip};
use crate::support::ObjectFormat;
use gix::ObjectId;
use gix::objs::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// A file where others have a directory, and names that sort around that directory's.
const PATHS: &[&str] = &[
    "a", "d", "d-x", "d.x", "d/b", "d/e", "d/e/f", "d0", "d/e/g", "z/z/z", "z", "link",
];

const EPOCH: u64 = 1_600_000_000;

pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) data: Vec<u8>,
    needs: Vec<ObjectId>,
}

/// Everything that either end could have.
pub(crate) struct History {
    hash: gix::hash::Kind,
    pub(crate) objects: BTreeMap<ObjectId, Object>,
    pub(crate) commits: Vec<ObjectId>,
    parents: BTreeMap<ObjectId, Vec<ObjectId>>,
    trees: Vec<ObjectId>,
}

/// The relation of the destination's tip to the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ancestry {
    Same,
    FastForward,
    Behind,
    Diverged,
}

type Files = BTreeMap<&'static str, u8>;

impl History {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut history = History {
            hash: match plan.format {
                ObjectFormat::Sha1 => gix::hash::Kind::Sha1,
                ObjectFormat::Sha256 => gix::hash::Kind::Sha256,
            },
            objects: BTreeMap::new(),
            commits: Vec::new(),
            parents: BTreeMap::new(),
            trees: Vec::new(),
        };
        let mut files: Vec<Files> = Vec::new();
        for (number, commit) in plan.commits.iter().enumerate() {
            let parents = parents_of(number, commit);
            let mut changed = parents
                .first()
                .map_or_else(Files::new, |p| files[*p].clone());
            for (path, content) in &commit.changes {
                change(
                    &mut changed,
                    PATHS[usize::from(*path) % PATHS.len()],
                    *content,
                );
            }
            let date = date_of(plan.dates, number, commit);
            history.commit(number, &parents, &changed, date);
            files.push(changed);
        }
        history
    }

    pub(crate) fn commit_at(&self, number: u8) -> ObjectId {
        self.commits[usize::from(number) % self.commits.len()]
    }

    /// So many first-parent steps back, or the root before that.
    pub(crate) fn back(&self, from: ObjectId, steps: u8) -> ObjectId {
        let step = |at: ObjectId, _| self.parents[&at].first().copied().unwrap_or(at);
        (0..steps).fold(from, step)
    }

    pub(crate) fn kind(&self, id: &ObjectId) -> Kind {
        self.objects[id].kind
    }

    /// The target of any number of annotated tags.
    pub(crate) fn peel(&self, id: ObjectId) -> ObjectId {
        let object = &self.objects[&id];
        match object.kind {
            Kind::Tag => self.peel(object.needs[0]),
            _ => id,
        }
    }

    /// `None` unless both are commits.
    pub(crate) fn relate(&self, held: &ObjectId, tip: &ObjectId) -> Option<Ancestry> {
        let is_commit = |id| self.kind(id) == Kind::Commit;
        if !is_commit(held) || !is_commit(tip) {
            return None;
        }
        Some(if held == tip {
            Ancestry::Same
        } else if self.closure([tip]).contains(held) {
            Ancestry::FastForward
        } else if self.closure([held]).contains(tip) {
            Ancestry::Behind
        } else {
            Ancestry::Diverged
        })
    }

    /// The object itself and all that it needs.
    pub(crate) fn closure<'a>(
        &self,
        tips: impl IntoIterator<Item = &'a ObjectId>,
    ) -> BTreeSet<ObjectId> {
        let mut open: Vec<_> = tips.into_iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(&self.objects[&id].needs);
            }
        }
        found
    }

    pub(crate) fn tip(&mut self, Tip(commit, target): Tip) -> ObjectId {
        let number = usize::from(commit) % self.commits.len();
        match target {
            Target::Commit => self.commits[number],
            Target::Tree => self.trees[number],
            Target::Blob => self.blob(number),
            Target::Tags {
                about,
                deep,
                message,
            } => {
                let target = match about {
                    Tagged::Commit => self.commits[number],
                    Tagged::Tree => self.trees[number],
                    Tagged::Blob => self.blob(number),
                };
                (0..deep).fold(target, |target, _| self.tag(target, message))
            }
        }
    }

    /// One that is in no tree.
    fn blob(&mut self, number: usize) -> ObjectId {
        let data = format!("a blob beside commit {number}\n");
        self.add(Kind::Blob, data.into_bytes(), Vec::new())
    }

    fn tag(&mut self, target: ObjectId, message: u8) -> ObjectId {
        let data = format!(
            "object {target}\ntype {}\ntag t\ntagger A U Thor <a@example.com> {EPOCH} +0000\n\n{message}\n",
            self.kind(&target)
        );
        self.add(Kind::Tag, data.into_bytes(), vec![target])
    }

    fn commit(&mut self, number: usize, parents: &[usize], files: &Files, date: u64) {
        let tree = self.tree(files, "");
        let parents: Vec<_> = parents.iter().map(|parent| self.commits[*parent]).collect();
        let lines: String = parents.iter().map(|id| format!("parent {id}\n")).collect();
        let who = format!("A U Thor <a@example.com> {date} +0000");
        let data =
            format!("tree {tree}\n{lines}author {who}\ncommitter {who}\n\ncommit {number}\n");
        let needs = [&parents[..], &[tree]].concat();
        let id = self.add(Kind::Commit, data.into_bytes(), needs);
        self.commits.push(id);
        self.parents.insert(id, parents);
        self.trees.push(tree);
    }

    fn tree(&mut self, files: &Files, prefix: &str) -> ObjectId {
        let mut entries: BTreeMap<Vec<u8>, (&str, &str, ObjectId)> = BTreeMap::new();
        let mut needs = Vec::new();
        for (path, content) in files {
            let Some(rest) = path.strip_prefix(prefix) else {
                continue;
            };
            let (key, entry) = match rest.split_once('/') {
                Some((name, _)) => {
                    // Git sorts a directory as if its name ended with a slash.
                    let key = format!("{name}/").into_bytes();
                    if entries.contains_key(&key) {
                        continue;
                    }
                    let below = self.tree(files, &format!("{prefix}{name}/"));
                    (key, ("40000", name, below))
                }
                None => (rest.as_bytes().to_vec(), self.entry(rest, *content)),
            };
            if entry.0 != "160000" {
                needs.push(entry.2);
            }
            entries.insert(key, entry);
        }
        let mut data = Vec::new();
        for (mode, name, id) in entries.values() {
            data.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            data.extend_from_slice(id.as_slice());
        }
        self.add(Kind::Tree, data, needs)
    }

    fn entry<'a>(&mut self, name: &'a str, content: u8) -> (&'static str, &'a str, ObjectId) {
        let mode = match content {
            5 => "100755",
            6 => "120000",
            7 => "160000",
            _ => "100644",
        };
        let data = format!("content {content}\n").into_bytes();
        let id = match mode {
            // A submodule's commit is in no store.
            "160000" => gix::objs::compute_hash(self.hash, Kind::Commit, &data).expect("an id"),
            _ => self.add(Kind::Blob, data, Vec::new()),
        };
        (mode, name, id)
    }

    fn add(&mut self, kind: Kind, data: Vec<u8>, needs: Vec<ObjectId>) -> ObjectId {
        let id = gix::objs::compute_hash(self.hash, kind, &data).expect("an id");
        self.objects
            .entry(id)
            .or_insert(Object { kind, data, needs });
        id
    }
}

fn parents_of(number: usize, commit: &CommitPlan) -> Vec<usize> {
    let mut parents = Vec::new();
    for back in &commit.parents {
        let parent = number
            .checked_sub(1 + usize::from(*back))
            .or(number.checked_sub(1));
        parents.extend(parent.filter(|parent| !parents.contains(parent)));
    }
    parents
}

fn date_of(dates: Dates, number: usize, commit: &CommitPlan) -> u64 {
    let step = 1000 * number as u64;
    match dates {
        Dates::Forward => EPOCH + step,
        Dates::Equal => EPOCH,
        Dates::Backwards => EPOCH - step,
        Dates::Skewed => commit.date,
    }
}

/// The least content removes the file; any other replaces what is in its way.
fn change(files: &mut Files, path: &'static str, content: u8) {
    if content == 0 {
        files.remove(path);
        return;
    }
    let is_below = |low: &str, high: &str| {
        low.strip_prefix(high)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    files.retain(|other, _| !is_below(other, path) && !is_below(path, other));
    files.insert(path, content);
}
