//! Packs for one that has nothing, from packs with so many commits that they are read as a whole.

use super::{deliver, support};
use refsync::PackAnswer;
use support::{FastImport, ObjectFormat, Repo, Sandbox};

const COMMITS: usize = 1300;

/// A branch, and another one that leaves it in the middle. Files come back as they were before.
fn grow(repo: &Repo) {
    let mut import = FastImport::new();
    let (mut main, mut side) = (Vec::new(), Vec::new());
    for number in 0..COMMITS {
        let path = format!("{}/{}/{}", number % 3, number % 7, number % 11);
        // Every 40th change takes back what another one did.
        let content =
            format!("{}\n", if number % 40 == 0 { number / 2 } else { number }).repeat(20);
        let files = [(path.as_str(), content.as_str())];
        let date = 1_700_000_000 + number as i64;
        let parents: Vec<_> = main.last().copied().into_iter().collect();
        main.push(import.commit("main", &parents, "on main", &files, date));
        if number == COMMITS / 2 {
            side.push(main[number]);
        }
        if let Some(parent) = side.last().copied() {
            side.push(import.commit("side", &[parent], "beside it", &files, date + 7));
        }
    }
    repo.import(&import);
}

fn tip(repo: &Repo, rev: &str) -> String {
    repo.git(&["rev-parse", rev]).trim().to_owned()
}

fn send(sandbox: &Sandbox, source: &Repo, revs: &[&str]) {
    let wants: Vec<_> = revs.iter().map(|rev| tip(source, rev)).collect();
    let wants: Vec<_> = wants.iter().map(String::as_str).collect();
    let format = source.git(&["rev-parse", "--show-object-format"]);
    let format = match format.trim() {
        "sha256" => ObjectFormat::Sha256,
        _ => ObjectFormat::Sha1,
    };
    let receiver = sandbox.init_bare(&format!("receiver-{}.git", revs.join("-")), format);
    deliver(source, &receiver, &wants, &[]);
}

fn source(sandbox: &Sandbox, format: ObjectFormat) -> Repo {
    let source = sandbox.init_bare("source.git", format);
    grow(&source);
    // With a bitmap nobody would read all trees.
    source.git(&["config", "repack.writeBitmaps", "false"]);
    source.git(&["repack", "-adfq", "--depth=50", "--window=50"]);
    source
}

#[test]
fn all_of_a_pack() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let sandbox = Sandbox::new();
        let source = source(&sandbox, format);
        send(&sandbox, &source, &["main", "side"]);
    }
}

/// Old trees are deltas of newer ones, which are not wanted here.
#[test]
fn an_old_part_of_a_pack() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    send(&sandbox, &source, &["side"]);
    send(&sandbox, &source, &["main~200"]);
}

/// A mapped pack counts as memory of the process. The walk over the history maps it.
#[cfg(target_os = "linux")]
#[test]
fn the_pack_is_not_mapped_while_it_is_sent() {
    use refsync::{LocalStore, ObjectId, PackRequest, RefSource as _, SyncContext, SyncOptions};
    use std::{fs, io::BufRead};

    for bitmaps in ["false", "true"] {
        let sandbox = Sandbox::new();
        let source = source(&sandbox, ObjectFormat::Sha1);
        let config = format!("repack.writeBitmaps={bitmaps}");
        source.git(&["-c", &config, "repack", "-adfq"]);
        let packs = fs::canonicalize(&source.path).unwrap();
        let packs = packs.join("objects/pack").display().to_string();
        let mapped = || -> Vec<String> {
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let of_pack = |line: &&str| line.contains(&packs) && line.ends_with(".pack");
            maps.lines().filter(of_pack).map(str::to_owned).collect()
        };
        let mut request = PackRequest::default();
        request.wants = vec![ObjectId::from_hex(tip(&source, "main").as_bytes()).unwrap()];
        let mut receive = |pack: &mut dyn BufRead| {
            pack.fill_buf().unwrap();
            assert_eq!(mapped(), [""; 0], "writeBitmaps={bitmaps}");
            pack.read_to_end(&mut Vec::new()).unwrap();
            assert_eq!(mapped(), [""; 0], "writeBitmaps={bitmaps}");
            Ok(())
        };
        let context = SyncContext::new(&SyncOptions::default());
        let store = LocalStore::open(&source.path).unwrap();
        let answer = store.upload_pack(&request, &mut receive, &context);
        assert_eq!(answer.unwrap(), PackAnswer::Sent);
    }
}

#[test]
fn with_newer_objects_beside_the_pack() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    let new = [("0/0/0", "loose"), ("new/file", "loose, too")];
    source.commit("main", &["main"], "newer", &new, 1_800_000_000);
    send(&sandbox, &source, &["main"]);
    source.git(&["repack", "-dq"]);
    let new = [("0/0/1", "loose")];
    source.commit("main", &["main"], "newest", &new, 1_800_000_001);
    send(&sandbox, &source, &["main", "side"]);
}

#[test]
fn with_trees_and_blobs_wanted_for_themselves() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    send(&sandbox, &source, &["main", "side~3^{tree}", "side:0/0"]);
}

#[test]
fn with_a_tree_that_is_damaged() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    is_told_before_the_first_byte(&source);
}

#[test]
fn with_a_tree_that_is_damaged_beside_a_bitmap() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    source.git(&["repack", "-adbq"]);
    is_told_before_the_first_byte(&source);
}

/// Checks that an unreadable object is reported before the first byte of a pack, with a tip that needs it.
fn is_told_before_the_first_byte(source: &Repo) {
    let tree = tip(source, "main~500^{tree}");
    let packs = source.git_dir().join("objects/pack");
    let index = packs
        .read_dir()
        .expect("a folder of packs")
        .find_map(|entry| {
            let path = entry.expect("an entry").path();
            path.extension()
                .is_some_and(|end| end == "idx")
                .then_some(path)
        });
    let index = index.expect("an index");
    let listed = source.git(&["verify-pack", "-v", index.to_str().expect("UTF-8")]);
    let line = listed.lines().find(|line| line.starts_with(&tree));
    let fields: Vec<_> = line.expect("the tree").split_whitespace().collect();
    let [size, offset] = [fields[3], fields[4]].map(|field| field.parse::<usize>().expect("one"));
    let pack = index.with_extension("pack");
    let mut bytes = std::fs::read(&pack).expect("a pack");
    bytes[offset + size / 2] ^= 0x55;
    std::fs::remove_file(&pack).expect("a file that can't be written to");
    std::fs::write(&pack, bytes).expect("a pack");

    let main = tip(source, "main");
    let mut sent = Vec::new();
    match support::pack::try_make(source, &[&main], &[], &mut sent) {
        PackAnswer::Unavailable { tips } => {
            let [(tip, detail)] = &tips[..] else {
                panic!("{tips:?}");
            };
            assert_eq!(tip.to_string(), main);
            assert!(detail.contains("can't be read"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    assert!(sent.is_empty());
}
