//! Local sources in which git finds what it looks for, whatever else is wrong with them.

use crate::support::git::{ObjectFormat, Repo, Sandbox};
use crate::support::pull::{DATE, grow, is_sound};
use refsync::{LocalStore, Reason, SyncOptions, SyncRunStats};
use std::fs;

/// A source whose two branches and their history are packed, and one commit in a pack of its own.
struct Source {
    sandbox: Sandbox,
    repo: Repo,
}

impl Source {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare("source.git", ObjectFormat::Sha1);
        let mut tip = grow(&repo, "main", &[]);
        for _ in 0..4 {
            tip = grow(&repo, "main", &[&tip]);
            let side = grow(&repo, "side", &[&tip]);
            tip = repo.commit("main", &[&tip, &side], "m\n", &[("a/b", &tip)], DATE + 1);
        }
        repo.git(&["repack", "-adq"]);
        let last = repo.commit("main", &[&tip], "last\n", &[("a/c", "c\n")], DATE + 2);
        repo.set_ref("refs/heads/also", &last);
        repo.git(&["repack", "-dq"]);
        Source { sandbox, repo }
    }

    /// Pulls all of it into a new repository, and says what came of it.
    fn pull(&self, name: &str) -> (SyncRunStats, Repo) {
        let destination = self.sandbox.init_bare(name, ObjectFormat::Sha1);
        let from = LocalStore::open(&self.repo.path).unwrap();
        let into = LocalStore::open(&destination.path).unwrap();
        let stats = refsync::sync(&from, &into, &SyncOptions::default()).unwrap();
        (stats, destination)
    }

    #[track_caller]
    fn assert_comes_whole(&self, name: &str, what: &str) {
        let (stats, destination) = self.pull(name);
        assert_eq!(
            destination.for_each_ref(),
            self.repo.for_each_ref(),
            "{what}: {stats:?}"
        );
        assert!(is_sound(&destination), "{what}");
    }
}

#[test]
fn a_damaged_loose_copy_hides_no_packed_object() {
    for (number, rev) in ["main", "main^{tree}", "main:a", "main:a/c", "side^"]
        .into_iter()
        .enumerate()
    {
        let source = Source::new();
        let id = source.repo.git(&["rev-parse", rev]);
        let file = source.repo.object_file(&id);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        // A file that a crash has left empty, one that is no object, and one that is another.
        let other = source.repo.git(&["mktree", "--missing"]);
        let other = fs::read(source.repo.object_file(&other)).unwrap();
        for (kind, content) in [&b""[..], b"no zlib stream", &other]
            .into_iter()
            .enumerate()
        {
            fs::write(&file, content).unwrap();
            let name = format!("{number}-{kind}.git");
            source.assert_comes_whole(&name, &format!("{rev}, {kind}"));
        }
    }
}

#[test]
fn a_multi_pack_index_that_names_packs_which_are_gone() {
    let source = Source::new();
    let midx = source.repo.path.join("objects/pack/multi-pack-index");
    source.repo.git(&["multi-pack-index", "write"]);
    let stale = fs::read(&midx).unwrap();
    source.repo.git(&["repack", "-adq"]);
    fs::write(&midx, stale).unwrap();
    source.assert_comes_whole("of-stale.git", "stale");
    // At a destination.
    let newer = source.sandbox.init_bare("newer.git", ObjectFormat::Sha1);
    crate::support::pull::copy(&source.repo, &newer);
    let tip = newer.git(&["rev-parse", "main"]);
    let tip = grow(&newer, "main", &[&tip]);
    let from = LocalStore::open(&newer.path).unwrap();
    let into = LocalStore::open(&source.repo.path).unwrap();
    let stats = refsync::sync(&from, &into, &SyncOptions::default()).unwrap();
    assert_eq!(source.repo.git(&["rev-parse", "main"]), tip, "{stats:?}");
    // One that is damaged.
    fs::write(&midx, "MIDX").unwrap();
    source.assert_comes_whole("of-damaged.git", "damaged");
}

/// The file with one byte inverted, and its checksum made to fit.
fn damaged(graph: &[u8], at: usize) -> Vec<u8> {
    let mut graph = graph.to_vec();
    graph[at] ^= 0xff;
    with_checksum(graph)
}

fn with_checksum(mut graph: Vec<u8>) -> Vec<u8> {
    graph.truncate(graph.len() - 20);
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&graph);
    graph.extend_from_slice(hasher.try_finalize().unwrap().as_slice());
    graph
}

#[test]
fn a_commit_graph_that_is_wrong_under_a_right_checksum() {
    let source = Source::new();
    source.repo.git(&["commit-graph", "write", "--reachable"]);
    let path = source.repo.path.join("objects/info/commit-graph");
    let graph = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    // The header, where the chunks are, and what is said of each commit.
    let of_commits = graph.len() - 20 - 36 * 14;
    for at in (0..96)
        .step_by(5)
        .chain((of_commits..graph.len() - 20).step_by(11))
    {
        fs::write(&path, damaged(&graph, at)).unwrap();
        source.assert_comes_whole(&format!("{at}.git"), &format!("byte {at}"));
        fs::remove_file(&path).unwrap();
    }
}

/// The place of a commit in a commit-graph, and where what is said of it begins (gitformat-commit-graph(5)).
fn in_graph(graph: &[u8], id: &str) -> (u32, usize) {
    let chunk = |name: &[u8]| {
        let mut entries = graph[8..].chunks(12);
        let entry = entries.find(|entry| entry.starts_with(name)).unwrap();
        usize::try_from(u64::from_be_bytes(entry[4..12].try_into().unwrap())).unwrap()
    };
    let id = refsync::ObjectId::from_hex(id.as_bytes()).unwrap();
    let mut ids = graph[chunk(b"OIDL")..].chunks(20);
    let place = ids.position(|found| found == id.as_bytes()).unwrap();
    (place as u32, chunk(b"CDAT") + 36 * place)
}

/// Git believes it, and neither clones nor pushes such a branch. The others come.
#[test]
fn a_commit_graph_that_names_another_parent() {
    let source = Source::new();
    let repo = &source.repo;
    let rev = |name: &str| repo.git(&["rev-parse", name]);
    repo.delete_ref("refs/heads/also");
    repo.git(&["commit-graph", "write", "--reachable"]);
    let path = repo.path.join("objects/info/commit-graph");
    let mut graph = fs::read(&path).unwrap();
    let (_, of_tip) = in_graph(&graph, &rev("main"));
    let (other, _) = in_graph(&graph, &rev("side~1"));
    graph[of_tip + 20..][..4].copy_from_slice(&other.to_be_bytes());
    fs::remove_file(&path).unwrap();
    fs::write(&path, with_checksum(graph)).unwrap();
    let url = repo.path.to_string_lossy();
    let by_git = source.sandbox.init_bare("git.git", ObjectFormat::Sha1);
    let fetched = |name: &str| {
        let fetched = by_git.try_git(&["fetch", "-q", &url, &format!("{name}:{name}")]);
        fetched.status.success()
    };
    assert_eq!(["side", "main"].map(fetched), [true, false]);
    let (stats, destination) = source.pull("pulled.git");
    let reason = crate::support::pull::reason_in(&stats, "refs/heads/main");
    assert!(matches!(reason, Reason::Incomplete { .. }), "{reason}");
    assert_eq!(destination.for_each_ref(), by_git.for_each_ref());
    assert!(is_sound(&destination));
    fs::remove_file(&path).unwrap();
    source.assert_comes_whole("whole.git", "without the commit-graph");
}

/// Git passes over an alternate that leads back to where it was named.
#[test]
fn a_store_that_is_its_own_alternate() {
    let source = Source::new();
    let other = source.sandbox.init_bare("other.git", ObjectFormat::Sha1);
    let objects = |repo: &Repo| format!("{}\n", repo.path.join("objects").display());
    let info = |repo: &Repo| repo.path.join("objects/info/alternates");
    for lines in [
        objects(&source.repo),
        objects(&other) + &objects(&source.repo),
    ] {
        fs::write(info(&source.repo), lines).unwrap();
        fs::write(info(&other), objects(&source.repo)).unwrap();
        let name = format!("of-{}.git", fs::read(info(&source.repo)).unwrap().len());
        source.assert_comes_whole(&name, "a source");
        // At a destination: what the other one has is not fetched, and what it lacks is.
        let from = LocalStore::open(&source.repo.path).unwrap();
        let into = LocalStore::open(&other.path).unwrap();
        refsync::sync(&from, &into, &SyncOptions::default()).unwrap();
        assert_eq!(other.for_each_ref(), source.repo.for_each_ref());
        other.git(&["repack", "-adq"]);
        let tip = grow(
            &source.repo,
            "main",
            &[&source.repo.git(&["rev-parse", "main"])],
        );
        fs::write(info(&other), objects(&other)).unwrap();
        fs::remove_file(info(&source.repo)).unwrap();
        let stats = refsync::sync(&from, &into, &SyncOptions::default()).unwrap();
        assert_eq!(other.git(&["rev-parse", "main"]), tip, "{stats:?}");
        fs::remove_file(info(&other)).unwrap();
        assert!(is_sound(&other));
    }
}
