//! Packs for one that has nothing, by the bitmaps that git writes beside its packs.

use super::{receive, support};
use gix::hash::Kind as HashKind;
use refsync::{LocalStore, ObjectId, PackAnswer, PackRequest, RefSource, SyncContext, SyncOptions};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};
use support::{FastImport, ObjectFormat, Repo, Sandbox, pack};

/// More than git gives a bitmap each.
const COMMITS: usize = 300;

/// Two branches that part in the middle, and one that has nothing in common with them.
fn source(sandbox: &Sandbox, format: ObjectFormat) -> Repo {
    let source = sandbox.init_bare("source.git", format);
    let mut import = FastImport::new();
    let [mut main, mut side, mut other] = [const { Vec::new() }; 3];
    for number in 0..COMMITS {
        let path = format!("{}/{}", number % 5, number % 13);
        let content = format!("{number}\n").repeat(20);
        let files = [(path.as_str(), content.as_str())];
        let date = 1_700_000_000 + number as i64;
        let parents = Vec::from_iter(main.last().copied());
        main.push(import.commit("main", &parents, "on main", &files, date));
        if number >= COMMITS / 2 {
            let parent = side.last().unwrap_or(&main[number]);
            let parents = [*parent];
            side.push(import.commit("side", &parents, "beside it", &files, date + 7));
        }
        if number.is_multiple_of(10) {
            let parents = Vec::from_iter(other.last().copied());
            let content = format!("other {number}\n");
            let files = [("other/file", content.as_str())];
            other.push(import.commit("other", &parents, "elsewhere", &files, date));
        }
    }
    source.import(&import);
    source.tag_annotated("v1", &tip(&source, "main~7"));
    source.tag_annotated("key", &tip(&source, "main:0/0"));
    source
}

const REPACK: [&str; 3] = ["repack", "-adbfq", "--depth=20"];

fn tip(repo: &Repo, rev: &str) -> String {
    repo.git(&["rev-parse", rev]).trim().to_owned()
}

/// The one file in the folder of packs that ends so.
fn packed(source: &Repo, extension: &str) -> PathBuf {
    let folder = source.git_dir().join("objects/pack");
    let files = folder.read_dir().expect("a folder of packs");
    let mut files = files.map(|entry| entry.expect("an entry").path());
    let found = files.find(|path| path.extension().is_some_and(|end| end == extension));
    found.unwrap_or_else(|| panic!("no .{extension}"))
}

fn overwrite(path: &Path, content: &[u8]) {
    fs::remove_file(path).expect("a file that can't be written to");
    fs::write(path, content).expect("a file");
}

/// The objects behind these, by git.
fn behind(source: &Repo, revs: &[&str]) -> BTreeSet<String> {
    let args = [&["rev-list", "--objects", "--no-object-names"], revs].concat();
    source.git(&args).lines().map(str::to_owned).collect()
}

/// The objects of our pack for these.
fn sent(source: &Repo, revs: &[&str]) -> BTreeSet<String> {
    let wants: Vec<_> = revs.iter().map(|rev| tip(source, rev)).collect();
    let wants: Vec<_> = wants.iter().map(String::as_str).collect();
    let pack = pack::make(source, &wants, &[]);
    let receiver = tempfile::tempdir().expect("a folder");
    let format = source.git(&["rev-parse", "--show-object-format"]);
    let format = format!("--object-format={}", format.trim());
    let receiver_path = receiver.path().to_str().expect("UTF-8");
    source.git(&["init", "-q", "--bare", &format, receiver_path]);
    let receiver = Repo::at(receiver_path);
    receive(&receiver, &pack);
    let check = "--batch-check=%(objectname)";
    let listed = receiver.git(&["cat-file", "--batch-all-objects", check]);
    let ids: BTreeSet<_> = listed.lines().map(str::to_owned).collect();
    assert_eq!(pack::count(&pack) as usize, ids.len(), "sent twice");
    ids
}

#[track_caller]
fn sends_what_is_behind(source: &Repo, revs: &[&str]) {
    assert_eq!(sent(source, revs), behind(source, revs), "{revs:?}");
}

const ALL: [&str; 5] = ["main", "side", "other", "v1", "key"];

#[test]
fn all_of_a_pack_and_parts_of_it() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let sandbox = Sandbox::new();
        let source = source(&sandbox, format);
        source.git(&REPACK);
        sends_what_is_behind(&source, &ALL);
        for rev in ["main", "side", "other", "v1", "key"] {
            sends_what_is_behind(&source, &[rev]);
        }
        // Commits without a bitmap, for the most part.
        for number in [1, 20, 57, 123, 250] {
            sends_what_is_behind(&source, &[&format!("main~{number}")]);
        }
        sends_what_is_behind(&source, &["side~3", "main:3", "other:other/file"]);
    }
}

fn wants(source: &Repo, revs: &[&str]) -> PackRequest {
    let mut request = PackRequest::default();
    let id = |rev: &&str| ObjectId::from_hex(tip(source, rev).as_bytes()).expect("an id");
    request.wants = revs.iter().map(id).collect();
    (request.thin, request.ofs_delta) = (true, true);
    request
}

/// The bytes of a pack that are sent, and the result.
fn stream(source: &Repo, request: &PackRequest) -> (Vec<u8>, io::Result<()>) {
    let store = LocalStore::open(&source.path).expect("a repository");
    let (mut sent, mut end) = (Vec::new(), Ok(()));
    let mut receive = |stream: &mut dyn io::BufRead| {
        end = stream.read_to_end(&mut sent).map(drop);
        Ok(())
    };
    let context = SyncContext::new(&SyncOptions::default());
    let answer = store.upload_pack(request, &mut receive, &context);
    answer.expect("a store that can be read");
    (sent, end)
}

/// Ways to write a bitmap.
const CONFIGURATIONS: [&[&str]; 4] = [
    &[],
    &["-c", "pack.writeBitmapHashCache=false"],
    &["-c", "pack.writeBitmapLookupTable=true"],
    &[
        "-c",
        "bitmapPseudoMerge.all.pattern=refs/",
        "-c",
        "bitmapPseudoMerge.all.threshold=now",
    ],
];

/// Nothing but a bitmap leads to that; and it isn't sent so to one that doesn't take bases by their
/// offset.
#[test]
fn a_pack_that_is_wanted_as_a_whole_is_sent_as_it_is() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        for configuration in CONFIGURATIONS {
            let sandbox = Sandbox::new();
            let source = source(&sandbox, format);
            source.git(&[configuration, &REPACK].concat());
            let stored = fs::read(packed(&source, "pack")).expect("a pack");
            let mut request = wants(&source, &ALL);
            let (by_offset, _) = stream(&source, &request);
            assert!(by_offset == stored, "{configuration:?}");
            request.ofs_delta = false;
            let (by_id, _) = stream(&source, &request);
            assert!(by_id != stored);
            assert_eq!(pack::count(&by_id), pack::count(&stored));
            let receiver = sandbox.init_bare("receiver.git", format);
            receive(&receiver, &by_id);
        }
    }
}

/// Before anything of it is sent, so that what doesn't need it can be sent without it.
#[test]
fn what_is_damaged_in_a_pack_that_is_wanted_as_a_whole_is_told() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    source.git(&REPACK);
    let path = packed(&source, "pack");
    let sound = fs::read(&path).expect("a pack");
    let listed = source.git(&["verify-pack", "-v", path.to_str().expect("UTF-8")]);
    let last = listed.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        Some((fields.get(4)?.parse::<usize>().ok()?, fields[0].to_owned()))
    });
    let (offset, id) = last.max().expect("entries");
    for at in [offset, sound.len() - 21] {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        overwrite(&path, &damaged);
        let store = LocalStore::open(&source.path).expect("a repository");
        let context = SyncContext::new(&SyncOptions::default());
        let mut receive = |_: &mut dyn io::BufRead| panic!("a damaged pack is sent");
        let answer = store.upload_pack(&wants(&source, &ALL), &mut receive, &context);
        match answer.expect("a store that can be read") {
            PackAnswer::Unavailable { tips } => {
                let is_named = |(_, detail): &(_, String)| detail.contains(&id);
                assert!(tips.iter().any(is_named), "{tips:?}");
            }
            answer => panic!("{answer:?}"),
        }
    }
}

/// Bitmaps that git wrote while commits had other parents are of no use, for too little as for too
/// much.
#[test]
fn a_bitmap_from_a_time_of_other_parents() {
    let sandbox = Sandbox::new();
    let all = source(&sandbox, ObjectFormat::Sha1);
    let shallow = sandbox.init_bare("shallow.git", ObjectFormat::Sha1);
    let url = format!("file://{}", all.git_dir().display());
    let fetch = ["fetch", "--quiet", "--depth=250", &url, "main:main"];
    shallow.git(&fetch);
    shallow.git(&REPACK);
    shallow.git(&["fetch", "--quiet", "--unshallow", &url, "main:main"]);
    let bitmap = packed(&shallow, "bitmap");
    assert!(bitmap.exists() && !shallow.git_dir().join("shallow").exists());
    sends_what_is_behind(&shallow, &["main"]);

    let root = all.git(&["rev-list", "--max-parents=0", "main"]);
    let grafts = all.git_dir().join("info/grafts");
    fs::create_dir_all(all.git_dir().join("info")).expect("a folder");
    let graft = format!("{} {}\n", root.trim(), tip(&all, "other"));
    fs::write(&grafts, graft).expect("written");
    all.git(&REPACK);
    fs::remove_file(&grafts).expect("removed");
    sends_what_is_behind(&all, &["main"]);
}

#[test]
fn with_newer_objects_beside_the_pack() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    source.git(&REPACK);
    let files = [("0/0", "newer"), ("new/file", "in a new folder")];
    source.commit("main", &["main"], "newer", &files, 1_800_000_000);
    source.commit("main", &["main", "other"], "merged", &[], 1_800_000_001);
    // Back to what is in the pack.
    let content = source.git(&["cat-file", "blob", "main~2:0/0"]);
    let files = [("0/0", content.as_str())];
    source.commit("main", &["main"], "older", &files, 1_800_000_002);
    source.tag_annotated("v2", &tip(&source, "main"));
    let stored = fs::read(packed(&source, "pack")).expect("a pack");
    let all = [&ALL[..], &["v2"]].concat();
    for how in ["loose", "packed"] {
        sends_what_is_behind(&source, &["main"]);
        sends_what_is_behind(&source, &["side", "v2", "key"]);
        sends_what_is_behind(&source, &all);
        let (pack, _) = stream(&source, &wants(&source, &all));
        // Stored deltas are reused: only the newer objects come on top.
        let added = pack.len() as i64 - stored.len() as i64;
        assert!(added < 2048, "{how}: {added}");
        source.git(&["repack", "-dq"]);
    }
}

/// A bitmap that gives one commit the objects of another one is not believed.
#[test]
fn what_a_bitmap_says_of_commits_is_looked_at() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        for configuration in CONFIGURATIONS {
            let sandbox = Sandbox::new();
            let source = source(&sandbox, format);
            source.git(&[configuration, &REPACK].concat());
            let path = packed(&source, "bitmap");
            let mut bitmap = fs::read(&path).expect("a bitmap");
            let [main, other] = ["main", "other"].map(|rev| {
                let position = position(&source, &tip(&source, rev));
                entry(&bitmap, position, format)
            });
            for at in 0..4 {
                bitmap.swap(main + at, other + at);
            }
            sum_up(&mut bitmap, format);
            overwrite(&path, &bitmap);
            sends_what_is_behind(&source, &["main"]);
            // The other branch is walked down to the last commit that has a bitmap.
            sends_what_is_behind(&source, &["main", "side"]);
        }
    }
}

/// The position of an object in the index.
fn position(source: &Repo, id: &str) -> u32 {
    let index = fs::read(packed(source, "idx")).expect("an index");
    let listed = source.git_with_input(&["show-index"], &index);
    let position = listed.lines().position(|line| line.contains(id));
    position.expect("an object of the pack") as u32
}

/// The offset in the file at which the entry for the commit at that position begins.
fn entry(bitmap: &[u8], position: u32, format: ObjectFormat) -> usize {
    let number = |at: usize| u32::from_be_bytes(bitmap[at..at + 4].try_into().expect("four"));
    let behind_ewah = |at: usize| at + 12 + 8 * number(at + 4) as usize;
    let mut at = 12 + kind(format).len_in_bytes();
    for _ in 0..4 {
        at = behind_ewah(at);
    }
    while number(at) != position {
        at = behind_ewah(at + 6);
    }
    at
}

fn kind(format: ObjectFormat) -> HashKind {
    match format {
        ObjectFormat::Sha1 => HashKind::Sha1,
        ObjectFormat::Sha256 => HashKind::Sha256,
    }
}

/// Puts the right checksum at the end.
fn sum_up(file: &mut [u8], format: ObjectFormat) {
    let (content, checksum) = file.split_at_mut(file.len() - kind(format).len_in_bytes());
    let mut hasher = gix::hash::hasher(kind(format));
    hasher.update(content);
    checksum.copy_from_slice(hasher.try_finalize().expect("no collision").as_slice());
}

#[test]
fn a_bitmap_that_is_damaged_or_foreign_is_not_used() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let sandbox = Sandbox::new();
        let source = source(&sandbox, format);
        source.git(&REPACK);
        let path = packed(&source, "bitmap");
        let bitmap = fs::read(&path).expect("a bitmap");
        let expected = behind(&source, &["main", "key"]);
        let mut foreign = bitmap.clone();
        foreign[12] ^= 1;
        sum_up(&mut foreign, format);
        let mut newer = bitmap.clone();
        newer[5] = 2;
        sum_up(&mut newer, format);
        let mut damaged = bitmap.clone();
        damaged[100] ^= 1;
        let mut cut_off = bitmap[..bitmap.len() / 2].to_vec();
        let cut_off_as_is = cut_off.clone();
        sum_up(&mut cut_off, format);
        for (what, content) in [
            ("of another pack", foreign),
            ("of a newer version", newer),
            ("damaged", damaged),
            ("cut off", cut_off_as_is),
            ("cut off, with a checksum", cut_off),
            ("empty", Vec::new()),
        ] {
            overwrite(&path, &content);
            assert_eq!(sent(&source, &["main", "key"]), expected, "{what}");
        }
    }
}
