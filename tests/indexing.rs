//! Received packs get the index that git would give them, however little memory there is.

#[path = "support/mod.rs"]
mod support;

use refsync::{LocalStore, Outcome, SyncOptions, sync};
use support::{FastImport, ObjectFormat, Repo, Sandbox};

const KIB: u64 = 1024;

/// Versions of files of many sizes, so that chains of deltas branch and some contents are large.
fn grow(repo: &Repo, branch: &str, versions: usize, largest: usize) {
    let mut import = FastImport::new();
    let mut parent = Vec::new();
    for version in 0..versions {
        let files: Vec<_> = (0..6)
            .map(|file| {
                let lines = (largest / 40) >> (2 * file);
                let line = |n: usize| match n % 97 == version % 97 {
                    true => format!("{n:08} changed in version {version:05}\n"),
                    false => format!("{n:08} the same in every version\n"),
                };
                let content: String = (0..lines.max(3)).map(line).collect();
                (format!("folder-{}/file-{file}", file % 3), content)
            })
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        let date = 1_700_000_000 + version as i64;
        parent = vec![import.commit(branch, &parent, "another version", &files, date)];
    }
    repo.import(&import);
}

fn pull(source: &Repo, destination: &Repo, memory: u64) {
    let [from, to] = [source, destination].map(|repo| LocalStore::open(&repo.path).expect("open"));
    let mut options = SyncOptions::default();
    options.limits.memory = memory;
    let stats = sync(&from, &to, &options).expect("a pull");
    assert_eq!(stats.count(Outcome::is_rejected), 0);
    assert_eq!(destination.for_each_ref(), source.for_each_ref());
}

/// Every pack has the very index that `git index-pack` makes for it.
fn assert_indexed_as_by_git(repo: &Repo) {
    let folder = repo.git_dir().join("objects/pack");
    let mut packs = 0;
    for entry in folder.read_dir().expect("a folder of packs") {
        let pack = entry.expect("an entry").path();
        if pack.extension().is_none_or(|extension| extension != "pack") {
            continue;
        }
        packs += 1;
        let theirs = repo.path.join("by-git.idx");
        let [theirs, pack] = [&theirs, &pack].map(|path| path.to_str().expect("UTF-8"));
        repo.git(&["index-pack", "--strict", "-o", theirs, pack]);
        let ours = std::fs::read(pack.replace(".pack", ".idx")).expect("our index");
        assert!(
            ours == std::fs::read(theirs).expect("git's index"),
            "{pack}"
        );
        std::fs::remove_file(theirs).expect("a file of git's");
        let _ = std::fs::remove_file(theirs.replace(".idx", ".rev"));
    }
    assert!(packs > 0);
    repo.fsck();
}

#[test]
fn whole_and_thin_packs_in_little_memory() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        for memory in [64 * KIB, 512 * KIB, 256 * KIB * KIB] {
            let sandbox = Sandbox::new();
            let source = sandbox.init_bare("source.git", format);
            let destination = sandbox.init_bare("destination.git", format);
            grow(&source, "main", 12, 100_000);
            source.git(&["repack", "-adfq", "--depth=50", "--window=50"]);
            pull(&source, &destination, memory);
            // With bases of what is there already.
            grow(&source, "next", 14, 101_000);
            pull(&source, &destination, memory);
            assert_indexed_as_by_git(&destination);
        }
    }
}

#[test]
fn a_pack_with_a_long_chain_of_deltas() {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
    let destination = sandbox.init_bare("destination.git", ObjectFormat::Sha1);
    grow(&source, "main", 300, 4000);
    source.git(&["repack", "-adfq", "--depth=4000", "--window=300"]);
    pull(&source, &destination, 4096 * KIB);
    assert_indexed_as_by_git(&destination);
}
