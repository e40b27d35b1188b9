//! Packs that are kept until refs point to them.

use crate::support::pull::{Pair, grow};
use refsync::SyncOptions;
use std::fs;

#[test]
fn keep_files_of_others_are_left_alone() {
    let pair = Pair::in_step();
    pair.destination.git(&["repack", "-a", "-d", "--quiet"]);
    let packs = pair.destination.git_dir().join("objects/pack");
    let packed = packs
        .read_dir()
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let pack = packed
        .into_iter()
        .find(|path| path.extension().is_some_and(|found| found == "pack"));
    let keep = pack.unwrap().with_extension("keep");
    let of_others = [
        "",
        "receive-pack 17 on host\n",
        "refsync\n",
        "refsync by hand: do not repack\n",
    ];
    for (number, text) in of_others.iter().enumerate() {
        fs::write(&keep, text).unwrap();
        let name = format!("topic-{number}");
        let tip = grow(&pair.upstream, &name, &[&pair.tip]);
        let stats = pair.try_pull(&SyncOptions::default()).unwrap();
        assert_eq!(
            stats
                .find(format!("refs/heads/{name}"))
                .unwrap()
                .after
                .to_string(),
            tip
        );
        assert_eq!(fs::read_to_string(&keep).unwrap(), *text);
    }
}

#[test]
fn a_keep_file_of_a_dead_run_is_swept() {
    let pair = Pair::in_step();
    let keep = pair
        .destination
        .git_dir()
        .join("objects/pack/pack-dead.keep");
    fs::write(&keep, "refsync refsync-dead\n").unwrap();
    grow(&pair.upstream, "topic", &[&pair.tip]);
    pair.pull();
    assert!(!keep.exists());
}
