//! Packs in the destination's store that are damaged: they are fetched anew, and replaced.

use crate::support::git::Repo;
use crate::support::pull::{FETCHED, Pair, grow, is_sound, moved};
use std::fs;
use std::path::PathBuf;

const MAIN: &str = "refs/heads/main";

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
    type Damage = fn(&mut Vec<u8>);
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
