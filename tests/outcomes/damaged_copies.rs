//! An object that is damaged in one pack and sound elsewhere: git goes on to the next copy.

use crate::support::git::{ObjectFormat, Repo, Sandbox};
use crate::support::pull::{DATE, copy};
use refsync::{LocalStore, Outcome, SyncOptions, SyncRunStats};
use std::fs;
use std::path::PathBuf;

/// The place of the sound copies.
#[derive(Clone, Copy, Debug)]
enum Elsewhere {
    Loose,
    Packed,
    Alternate,
}

const ALL: [Elsewhere; 3] = [Elsewhere::Loose, Elsewhere::Packed, Elsewhere::Alternate];

/// A store with a second copy of all that is in its packs, the first of which is to be damaged.
struct Store {
    repo: Repo,
    packs: Vec<PathBuf>,
    sound: Vec<Vec<u8>>,
}

impl Store {
    /// A branch, in which files and trees are deltas, and a tag.
    fn new(sandbox: &Sandbox, elsewhere: Elsewhere) -> Self {
        let repo = sandbox.init_bare("store.git", ObjectFormat::Sha1);
        let mut tip = None;
        for number in 0..3 {
            let text = "a line that stays\n".repeat(40) + &number.to_string();
            let mut files = vec![("dir/text", text.as_str())];
            files.extend(["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, "same\n")));
            let parents: Vec<_> = tip.as_deref().into_iter().collect();
            tip = Some(repo.commit("main", &parents, "m\n", &files, DATE + number));
        }
        repo.tag_annotated("v1", "main");
        let other = sandbox.path().join("other.git");
        repo.copy_to(&other);
        let pack = |ids: &str| {
            let make = ["pack-objects", "-q", "objects/pack/pack"];
            let name = repo.git_with_input(&make, ids.as_bytes());
            repo.path.join(format!("objects/pack/pack-{name}.pack"))
        };
        let all = ["rev-list", "--objects", "--no-object-names", "--all"];
        let all = repo.git(&all) + "\n";
        let mut packs = vec![pack(&all)];
        if matches!(elsewhere, Elsewhere::Packed) {
            let another = repo.write_object("blob", b"so that the packs differ");
            packs.push(pack(&(all + &another)));
        }
        if !matches!(elsewhere, Elsewhere::Loose) {
            repo.git(&["prune-packed", "-q"]);
        }
        if matches!(elsewhere, Elsewhere::Alternate) {
            let line = format!("{}\n", other.join("objects").display());
            fs::write(repo.path.join("objects/info/alternates"), line).unwrap();
        }
        let sound = packs.iter().map(|pack| fs::read(pack).unwrap()).collect();
        Store { repo, packs, sound }
    }

    /// Every object in the packs: the number of the pack, the id, and the first byte of its entry and the
    /// one in the middle.
    fn entries(&self) -> Vec<(usize, String, [usize; 2])> {
        let of_pack = |(number, pack): (usize, &PathBuf)| {
            let index = pack.with_extension("idx");
            let list = self
                .repo
                .git(&["verify-pack", "-v", index.to_str().unwrap()]);
            let entries = list.lines().filter_map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let size: usize = words.get(3)?.parse().ok()?;
                let offset: usize = words.get(4)?.parse().ok()?;
                let bytes = [offset, offset + size / 2];
                (words[0].len() == 40).then(|| (number, words[0].to_owned(), bytes))
            });
            entries.collect::<Vec<_>>()
        };
        self.packs.iter().enumerate().flat_map(of_pack).collect()
    }

    /// Puts a sound copy in place of one of the packs, but for this byte.
    fn damage(&self, pack: usize, at: Option<usize>) {
        let mut bytes = self.sound[pack].clone();
        if let Some(at) = at {
            bytes[at] ^= 0xff;
        }
        // Its files are read-only.
        fs::remove_file(&self.packs[pack]).unwrap();
        fs::write(&self.packs[pack], bytes).unwrap();
    }

    /// Whether git makes a whole pack of it.
    fn is_readable(&self) -> bool {
        let all = [
            "pack-objects",
            "--all",
            "--stdout",
            "-q",
            "--no-reuse-delta",
        ];
        self.repo.try_git(&all).status.success()
    }
}

fn sync(from: &Repo, into: &LocalStore) -> SyncRunStats {
    let from = LocalStore::open(&from.path).unwrap();
    refsync::sync(&from, into, &SyncOptions::default()).unwrap()
}

fn is_in_step(stats: &SyncRunStats) -> bool {
    stats.refs.iter().all(|found| found.after == found.source)
}

/// Runs `pull` for each damage that leaves the store readable to git, with the path of a new mirror: every ref has
/// to come.
fn assert_each_damage_is_harmless(
    sandbox: &Sandbox,
    store: &Store,
    elsewhere: Elsewhere,
    pull: impl Fn(PathBuf) -> SyncRunStats,
) {
    let mut readable = 0;
    for (pack, id, bytes) in store.entries() {
        for at in bytes {
            store.damage(pack, Some(at));
            if !store.is_readable() {
                continue;
            }
            readable += 1;
            let stats = pull(sandbox.path().join(format!("{pack}-{at}.git")));
            let what = format!("{elsewhere:?}, {id} in {pack}, byte {at}");
            assert!(is_in_step(&stats), "{what}: {stats:?}");
        }
        store.damage(pack, None);
    }
    assert!(readable > 20, "{elsewhere:?}: {readable}");
}

#[test]
fn of_a_source() {
    for elsewhere in ALL {
        let sandbox = Sandbox::new();
        let store = Store::new(&sandbox, elsewhere);
        assert_each_damage_is_harmless(&sandbox, &store, elsewhere, |mirror| {
            let mirror = LocalStore::init(mirror, refsync::ObjectFormat::Sha1);
            sync(&store.repo, &mirror.unwrap())
        });
    }
}

/// Objects that its refs vouch for are read to find out whether new commits are complete, and to complete thin
/// packs.
#[test]
fn of_a_destination() {
    for elsewhere in ALL {
        let sandbox = Sandbox::new();
        let store = Store::new(&sandbox, elsewhere);
        let newer = sandbox.init_bare("newer.git", ObjectFormat::Sha1);
        copy(&store.repo, &newer);
        let text = "a line that stays\n".repeat(40) + "and another one";
        let main = newer.git(&["rev-parse", "main"]);
        newer.commit("main", &[&main], "m\n", &[("dir/text", &text)], DATE + 9);
        let first = newer.git(&["rev-list", "--max-parents=0", "main"]);
        let old = newer.git(&["rev-parse", &format!("{first}:dir")]);
        let trees = format!("040000 tree {old}\told\n");
        let tree = newer.git_with_input(&["mktree"], trees.as_bytes());
        let side = newer.git(&["commit-tree", &tree, "-p", "main", "-m", "side"]);
        newer.set_ref("refs/heads/side", &side);
        newer.set_ref("refs/heads/first", &first);
        assert_each_damage_is_harmless(&sandbox, &store, elsewhere, |mirror| {
            store.repo.copy_to(&mirror);
            sync(&newer, &LocalStore::open(mirror).unwrap())
        });
    }
}

/// Each of two copies of a delta leads to the same base, and so on: what is lost for good is looked for a
/// limited number of times, not once for each way that leads there.
#[test]
fn of_a_base_that_is_damaged_in_each_of_them() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("store.git", ObjectFormat::Sha1);
    // Each tree has the most in common with the one before, so that the deltas form a chain.
    let mut history = String::new();
    for number in 0..60 {
        history += &format!(
            "commit refs/heads/main\ncommitter a <a@b> {} +0000\ndata 2\nm\ndeleteall\n",
            DATE + number
        );
        for name in number * 6..number * 6 + 60 {
            history += &format!("M 100644 inline {name:04}\ndata 4\nsame\n");
        }
    }
    repo.git_with_input(&["fast-import", "--quiet"], history.as_bytes());
    repo.git(&["repack", "-adfq", "--depth=50", "--window=50"]);
    let mut files = repo.files().into_iter().map(|file| file.path);
    let pack = files.find(|path| path.ends_with(".pack")).unwrap();
    let pack = repo.path.join(pack);
    let index = pack.with_extension("idx");
    let list = repo.git(&["verify-pack", "-v", index.to_str().unwrap()]);
    let entries = list.lines().map(|line| line.split_whitespace().collect());
    let entries: Vec<Vec<_>> = entries.collect();
    let depth = |words: &Vec<&str>| words.get(5).map_or(0, |depth| depth.parse().unwrap());
    let trees = entries.iter().filter(|words| words.get(1) == Some(&"tree"));
    let mut entry = trees.max_by_key(|words| depth(words)).unwrap();
    assert!(depth(entry) > 30, "{entry:?}");
    // Nothing else is asked for than the end of the chain.
    let log = repo.git(&["log", "--format=%T %H", "main"]);
    let commit = log
        .lines()
        .find_map(|line| line.strip_prefix(entry[0]))
        .unwrap();
    repo.git(&["update-ref", "refs/heads/main", commit.trim()]);
    while let Some(base) = entry.get(6) {
        entry = entries.iter().find(|words| words[0] == *base).unwrap();
    }
    let [offset, size] = [entry[4], entry[3]].map(|word| word.parse::<usize>().unwrap());
    let at = offset + size / 2;
    let mut bytes = fs::read(&pack).unwrap();
    bytes[at] ^= 0xff;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let other = sandbox.path().join("other.git");
    repo.copy_to(&other);
    let line = format!("{}\n", other.join("objects").display());
    fs::write(repo.path.join("objects/info/alternates"), line).unwrap();

    let mirror = LocalStore::init(sandbox.path().join("m.git"), refsync::ObjectFormat::Sha1);
    let stats = sync(&repo, &mirror.unwrap());
    assert_eq!(stats.count(Outcome::is_rejected), 1, "{stats:?}");
}
