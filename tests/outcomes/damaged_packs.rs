//! Packs in the destination's store that are damaged: they are fetched anew, and replaced.

use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{FETCHED, LISTED, Pair, fate_in, grow, is_sound, leftovers, moved};
use refsync::SyncOptions;
use std::fs;
use std::path::PathBuf;

const MAIN: &str = "refs/heads/main";

type Damage = fn(&mut Vec<u8>);

/// The one pack's file of that kind.
#[track_caller]
fn file_of_pack(repo: &Repo, extension: &str) -> PathBuf {
    let folder = repo.git_dir().join("objects/pack").read_dir().unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Its files are read-only.
fn replace(repo: &Repo, extension: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let file = file_of_pack(repo, extension);
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::remove_file(&file).unwrap();
    fs::write(file, bytes).unwrap();
}

/// A destination that has got a pack, and whose branch is back where it was before that.
fn after_a_first_attempt() -> (Pair, String) {
    let pair = Pair::in_step();
    let tip = grow(&pair.upstream, "main", &[&pair.tip]);
    pair.pull();
    pair.destination.set_ref(MAIN, &pair.tip);
    (pair, tip)
}

#[test]
fn what_an_earlier_attempt_has_left_is_replaced() {
    let cut: Damage = |bytes| bytes.truncate(bytes.len() / 2);
    // The first entry's stream, or the table of ids.
    let flip_pack: Damage = |bytes| bytes[20] ^= 0x55;
    let flip_index: Damage = |bytes| {
        bytes[8 + 4 * 256..]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x55)
    };
    for (what, extension, damage) in [
        ("nothing in it", "pack", Vec::clear as Damage),
        ("nothing in it", "idx", Vec::clear),
        ("half of it", "pack", cut),
        ("half of it", "idx", cut),
        ("other bytes", "pack", flip_pack),
        ("other bytes", "idx", flip_index),
    ] {
        let (pair, tip) = after_a_first_attempt();
        replace(&pair.destination, extension, damage);
        // Git makes one of these for the pack that it has.
        let reverse_index = file_of_pack(&pair.destination, "pack").with_extension("rev");
        fs::write(&reverse_index, "RIDX").unwrap();

        let pulled = pair.pull();
        assert_eq!(pulled.asked, FETCHED, "{what}: {extension}");
        assert_eq!(pulled.fate_of(MAIN), moved(&pair.tip, &tip));
        assert!(is_sound(&pair.destination), "{what}: {extension}");
        assert!(!reverse_index.exists());
        pair.destination.git(&["gc", "--quiet"]);
    }
}

/// The fields that git checks when it opens a pack, each with its file and a damage.
fn refused() -> Vec<(&'static str, &'static str, Damage)> {
    vec![
        ("one object more than in the index", "pack", |pack| {
            pack[11] += 1
        }),
        ("another signature", "pack", |pack| pack[0] = b'K'),
        ("an unknown version", "pack", |pack| pack[7] = 4),
        ("another checksum than in the index", "pack", |pack| {
            *pack.last_mut().unwrap() ^= 1;
        }),
        ("another checksum than in the pack", "idx", |index| {
            let at = index.len() - 40;
            index[at] ^= 1;
        }),
        ("a byte too many", "idx", |index| index.push(0)),
        ("an unknown version", "idx", |index| index[7] = 3),
        ("a table that goes down", "idx", |index| {
            index[8 + 3 * 4] = 1;
        }),
    ]
}

#[test]
fn what_is_in_a_pack_that_git_refuses_is_not_there() {
    for (what, extension, damage) in refused() {
        let (pair, tip) = after_a_first_attempt();
        replace(&pair.destination, extension, damage);
        let found = pair.destination.try_git(&["cat-file", "-e", &tip]);
        assert!(!found.status.success(), "git refuses it: {what}");

        let pulled = pair.pull();
        assert_eq!(pulled.asked, FETCHED, "{extension}: {what}");
        assert_eq!(pulled.fate_of(MAIN), moved(&pair.tip, &tip));
        assert!(is_sound(&pair.destination), "{extension}: {what}");
    }
}

/// A branch that is in such a pack is no reason to leave anything out of what is sent, and neither is
/// one in an alternate.
#[test]
fn a_pack_that_git_refuses_vouches_for_nothing() {
    for in_alternate in [false, true] {
        let pair = Pair::in_step();
        let destination = &pair.destination;
        let next = grow(&pair.upstream, "main", &[&pair.tip]);
        let store = match in_alternate {
            false => destination.clone(),
            true => {
                let other = pair.sandbox.init_bare("other.git", ObjectFormat::Sha1);
                let alternates = destination.git_dir().join("objects/info/alternates");
                fs::write(
                    alternates,
                    other.git_dir().join("objects").to_str().unwrap(),
                )
                .unwrap();
                other
            }
        };
        let from = pair.upstream.path.to_str().unwrap();
        let fetch = ["-c", "fetch.unpackLimit=1", "fetch", "--quiet", from];
        store.git(&[&fetch[..], &["+refs/heads/main:refs/heads/debris"]].concat());
        replace(&store, "pack", |pack| pack[11] += 1);

        let tip = grow(&pair.upstream, "main", &[&next]);
        let stats = pair.try_pull(&SyncOptions::default()).unwrap();
        assert_eq!(fate_in(&stats, MAIN), moved(&pair.tip, &tip));
        assert_eq!(leftovers(destination), [""; 0]);
        // Only the branch that was lost before is still in the way.
        destination.git(&["rev-list", "--objects", "main"]);
        destination.git(&["cat-file", "-e", &next]);
    }
}

/// It is found where it is sound.
#[test]
fn what_is_in_another_pack_too_is_there() {
    let (pair, tip) = after_a_first_attempt();
    let destination = &pair.destination;
    let pack = fs::read(file_of_pack(destination, "pack")).unwrap();
    replace(destination, "idx", |index| index.push(0));
    destination.git_with_input(&["unpack-objects", "-q"], &pack);
    let pulled = pair.pull();
    assert_eq!(pulled.asked, LISTED);
    assert_eq!(pulled.fate_of(MAIN), moved(&pair.tip, &tip));
}
