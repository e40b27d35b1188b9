//! The objects that situations are made of, each with a name.

use crate::support::Repo;
use crate::support::fast_import::{FastImport, Mark};
use crate::support::pull::DATE;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;

/// The commits, with their parents and by how much they are later than `DATE`. Each has a file of its own.
const COMMITS: [(&str, &[&str], i64); 12] = [
    ("root", &[], 0),
    ("tip", &["root"], 1),
    ("ahead", &["tip"], 2),
    ("further", &["ahead"], 3),
    ("other", &["tip"], 2),
    ("side", &["root"], 1),
    ("merge", &["side", "tip"], 2),
    ("unrelated", &[], 0),
    // Dates that make no sense.
    ("old", &["tip"], 5 - DATE),
    ("late", &["old"], 4_000_000_000 - DATE),
    ("skewed", &["late"], 1 - DATE),
    ("bearer", &[], 0),
];

/// `(name, target)` of each annotated tag.
const TAGS: [(&str, &str); 4] = [
    ("tag-of-root", "root"),
    ("tag-of-tip", "tip"),
    ("tag-of-tag", "tag-of-tip"),
    ("tag-of-blob", "blob"),
];
/// All of them, in a repository that no run sees.
pub(super) struct Objects {
    repo: Repo,
    ids: HashMap<&'static str, String>,
    /// The lists made so far, by their tips.
    behind: RefCell<HashMap<Vec<String>, BTreeSet<String>>>,
}

impl Objects {
    pub(super) fn new(repo: Repo) -> Self {
        let mut import = FastImport::new();
        let mut marks: HashMap<&str, Mark> = HashMap::new();
        for (name, parents, later) in COMMITS {
            let parents: Vec<_> = parents.iter().map(|parent| marks[parent]).collect();
            let files = [("file", name)];
            let branch = format!("refs/commits/{name}");
            let commit = import.commit(&branch, &parents, name, &files, DATE + later);
            marks.insert(name, commit);
        }
        marks.insert("blob", import.blob(b"a key\n"));
        for (name, target) in TAGS {
            marks.insert(name, import.tag(name, marks[target], name, DATE));
        }
        let imported = repo.import(&import);
        let id = |(name, mark)| (name, imported.id(mark).to_owned());
        let mut ids: HashMap<_, _> = marks.into_iter().map(id).collect();
        // Of a tree that comes with `tip`, and of one that comes with no other commit.
        let trees = [("tree", "tip^{tree}"), ("new-tree", "bearer^{tree}")];
        let revs = trees.map(|(_, rev)| format!("refs/commits/{rev}"));
        let found = repo.git(&["rev-parse", &revs[0], &revs[1]]);
        for ((name, _), id) in trees.into_iter().zip(found.lines()) {
            ids.insert(name, id.to_owned());
        }
        let behind = RefCell::default();
        Objects { repo, ids, behind }
    }

    #[track_caller]
    pub(super) fn id(&self, name: &str) -> &str {
        self.ids.get(name).expect("an object of that name")
    }

    pub(super) fn is_commit(&self, id: &str) -> bool {
        COMMITS.iter().any(|(name, ..)| self.ids[name] == id)
    }

    /// These objects and all that is reachable from them.
    pub(super) fn behind<'a>(&self, tips: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let tips: Vec<_> = tips.into_iter().map(str::to_owned).collect();
        if tips.is_empty() {
            return BTreeSet::new();
        }
        let mut listed = self.behind.borrow_mut();
        let behind = listed.entry(tips).or_insert_with_key(|tips| {
            let mut list = vec!["rev-list", "--objects", "--no-object-names"];
            list.extend(tips.iter().map(String::as_str));
            self.repo.git(&list).lines().map(str::to_owned).collect()
        });
        behind.clone()
    }

    /// Puts these, and all that is behind them, into a repository: each into a file, or all in a pack.
    pub(super) fn give<'a>(
        &self,
        repo: &Repo,
        tips: impl IntoIterator<Item = &'a str>,
        packed: bool,
    ) {
        let objects = self.behind(tips);
        if packed && !objects.is_empty() {
            let pack = repo.path.join("objects/pack/pack");
            let make = ["pack-objects", "-q", &pack.to_string_lossy()];
            let list: String = objects.iter().map(|id| format!("{id}\n")).collect();
            self.repo.git_with_input(&make, list.as_bytes());
            return;
        }
        for id in &objects {
            let file = repo.object_file(id);
            fs::create_dir_all(file.parent().expect("a directory")).expect("its directory");
            fs::copy(self.repo.object_file(id), file).expect("a copy");
        }
    }
}
