//! The repositories of a scenario, written file by file: a process of git for each would cost more
//! than all the rest of a case.

use crate::history::History;
use crate::plan::{Graph, HeldIn, Packing, Plan};
use crate::scenario::{BEHIND_SYMBOLIC, End, SYMBOLIC, Scenario};
use crate::support::Repo;
use gix::ObjectId;
use gix::objs::{Kind, Write as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One scenario on disk.
pub(crate) struct Stores {
    pub(crate) source: Repo,
    /// For refsync and for git, alike but for the commit-graph of a pull: with one, git 2.47 gets
    /// histories wrong in which dates go back by more than 32 bits.
    pub(crate) destination: Repo,
    pub(crate) judged: Repo,
    /// The store that all others have their objects from.
    pool: Repo,
}

impl Stores {
    /// `template` is an empty bare repository of the plan's object format. The commit-graph is for the
    /// end that decides.
    pub(crate) fn write(
        dir: &Path,
        template: &Path,
        plan: &Plan,
        scenario: &Scenario,
        decides: End,
    ) -> Self {
        let repo = |name: &str| {
            let path = dir.join(name);
            copy(template, &path);
            Repo::at(path)
        };
        let stores = Stores {
            source: repo("source.git"),
            destination: repo("destination.git"),
            judged: Repo::at(dir.join("judged.git")),
            pool: repo("pool.git"),
        };
        write_loose(&stores.pool, &scenario.history);
        stores.write_source(plan, scenario);
        stores.write_destination(plan, scenario);
        if let Some(alternate) = plan.destination.alternate {
            let alternate_repo = repo("alternate.git");
            stores.give(&alternate_repo, &scenario.alternate, Packing::Loose);
            if alternate.has_ref {
                let tip = scenario.history.commit_at(alternate.commit);
                write_loose_ref(&alternate_repo, "refs/heads/alternate", &tip.to_string());
            }
            let objects = format!("{}\n", alternate_repo.path.join("objects").display());
            let info = stores.destination.path.join("objects/info");
            fs::create_dir_all(&info).expect("a directory");
            fs::write(info.join("alternates"), objects).expect("the alternates");
        }
        copy(&stores.destination.path, &stores.judged.path);
        let (decider, refs) = match decides {
            End::Source => (&stores.source, &scenario.source),
            End::Destination => (&stores.destination, &scenario.destination),
        };
        stores.write_graph(plan.destination.graph, decider, refs, &scenario.history);
        stores
    }

    fn write_source(&self, plan: &Plan, scenario: &Scenario) {
        let objects = scenario.history.closure(scenario.source.values());
        self.give(&self.source, &objects, plan.source_objects);
        let mut refs = scenario.source.clone();
        if scenario.symbolic == Some(End::Source) {
            refs.remove(SYMBOLIC);
            write_symbolic(&self.source);
        }
        let (packed, loose): (BTreeMap<_, _>, BTreeMap<_, _>) = refs
            .into_iter()
            .partition(|(name, _)| scenario.source_packed.contains(name));
        write_loose_refs(&self.source, &loose);
        write_packed_refs(&self.source, &packed, &scenario.history);
    }

    fn write_destination(&self, plan: &Plan, scenario: &Scenario) {
        let mut objects = scenario.held();
        objects.extend(&scenario.debris);
        let own = objects.difference(&scenario.alternate).copied().collect();
        self.give(&self.destination, &own, plan.destination.objects);

        let mut loose = BTreeMap::new();
        let mut packed = BTreeMap::new();
        for (name, tip) in &scenario.destination {
            if scenario.symbolic == Some(End::Destination) && name == SYMBOLIC {
                continue;
            }
            let held_in = scenario.held_in.get(name).unwrap_or(&HeldIn::Loose);
            if !matches!(held_in, HeldIn::Packed) {
                loose.insert(name.clone(), *tip);
            }
            match held_in {
                HeldIn::Loose => {}
                HeldIn::Packed => drop(packed.insert(name.clone(), *tip)),
                HeldIn::Both => drop(packed.insert(name.clone(), scenario.history.commit_at(0))),
            }
        }
        if scenario.symbolic == Some(End::Destination) {
            write_symbolic(&self.destination);
        }
        write_loose_refs(&self.destination, &loose);
        write_packed_refs(&self.destination, &packed, &scenario.history);
        if plan.destination.hollow {
            for name in scenario.source.keys() {
                // Fails where a ref is in the way.
                fs::create_dir_all(self.destination.path.join(name).join("was/here")).ok();
            }
        }
    }

    /// Puts these objects of the pool into `repo`.
    fn give(&self, repo: &Repo, objects: &BTreeSet<ObjectId>, packing: Packing) {
        let all: Vec<_> = objects.iter().copied().collect();
        let half = all.len() / 2;
        let (packs, loose): (Vec<&[ObjectId]>, _) = match packing {
            Packing::Loose => (vec![], &all[..]),
            Packing::Packed => (vec![&all], &all[..0]),
            Packing::HalfPacked => (vec![&all[..half]], &all[half..]),
            Packing::TwoPacks => (vec![&all[..half], &all[half..]], &all[..0]),
        };
        for ids in packs.into_iter().filter(|ids| !ids.is_empty()) {
            let to = repo.path.join("objects/pack/pack");
            let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
            let to = to.to_str().expect("a path in UTF-8");
            let pack = ["pack-objects", "--quiet", "--threads=1", to];
            self.pool.git_with_input(&pack, lines.as_bytes());
        }
        for id in loose {
            let to = loose_path(repo, id);
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            fs::hard_link(loose_path(&self.pool, id), to).expect("a link");
        }
    }

    fn write_graph(
        &self,
        graph: Graph,
        repo: &Repo,
        refs: &BTreeMap<String, ObjectId>,
        history: &History,
    ) {
        let (version, split) = match graph {
            Graph::None => return,
            Graph::Stale => return self.add_stale_graph(repo, history),
            Graph::Whole { generation_version } => (generation_version, false),
            Graph::Split { generation_version } => (generation_version, true),
        };
        let version = format!("commitGraph.generationVersion={version}");
        let write = ["-c", &version, "commit-graph", "write", "--no-progress"];
        if split {
            let first = refs.values().find(|tip| history.kind(tip) == Kind::Commit);
            if let Some(first) = first {
                let args = [&write[..], &["--split=no-merge", "--stdin-commits"]].concat();
                let tip = format!("{first}\n");
                repo.git_with_input(&args, tip.as_bytes());
            }
            let args = [&write[..], &["--split=no-merge", "--reachable"]].concat();
            repo.git(&args);
        } else {
            repo.git(&[&write[..], &["--reachable"]].concat());
        }
    }

    fn add_stale_graph(&self, repo: &Repo, history: &History) {
        let commits: String = history.commits.iter().map(|id| format!("{id}\n")).collect();
        let write = ["commit-graph", "write", "--no-progress", "--stdin-commits"];
        self.pool.git_with_input(&write, commits.as_bytes());
        let graph = "objects/info/commit-graph";
        let to = repo.path.join(graph);
        fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        fs::copy(self.pool.path.join(graph), to).expect("a copy");
    }
}

fn write_loose(pool: &Repo, history: &History) {
    let (first, _) = history.objects.first_key_value().expect("an object");
    let store = gix::odb::loose::Store::at(pool.path.join("objects"), first.kind());
    for (id, object) in &history.objects {
        let written = store.write_buf(object.kind, &object.data);
        assert_eq!(written.expect("a written object"), *id);
    }
}

fn loose_path(repo: &Repo, id: &ObjectId) -> PathBuf {
    let hex = id.to_string();
    let (fan, rest) = hex.split_at(2);
    repo.path.join("objects").join(fan).join(rest)
}

fn write_loose_refs(repo: &Repo, refs: &BTreeMap<String, ObjectId>) {
    for (name, tip) in refs {
        write_loose_ref(repo, name, &tip.to_string());
    }
}

fn write_symbolic(repo: &Repo) {
    write_loose_ref(repo, SYMBOLIC, &format!("ref: {BEHIND_SYMBOLIC}"));
}

fn write_loose_ref(repo: &Repo, name: &str, content: &str) {
    let path = repo.path.join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, format!("{content}\n")).expect("a loose ref");
}

fn write_packed_refs(repo: &Repo, refs: &BTreeMap<String, ObjectId>, history: &History) {
    if refs.is_empty() {
        return;
    }
    let mut lines = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for (name, tip) in refs {
        lines += &format!("{tip} {name}\n");
        let peeled = history.peel(*tip);
        if peeled != *tip {
            lines += &format!("^{peeled}\n");
        }
    }
    fs::write(repo.path.join("packed-refs"), lines).expect("the packed refs");
}

/// Objects are never changed in place, so that a second name does for a copy of one.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("a file type").is_dir() {
            copy(&from, &to);
        } else if from.components().any(|part| part.as_os_str() == "objects") {
            fs::hard_link(&from, &to).expect("a link");
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}
