use std::fs;

use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Fsck, FsckRules, Object, Special,
    objects::{commit, entry, id, id_of},
};

/// The processor time of this thread, in seconds.
pub(super) fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = stat.split(' ').next().expect("a first field");
    nanoseconds.parse::<u64>().expect("a number") as f64 / 1e9
}

/// Names as they come in a large folder of a real project.
fn ordinary_tree(hash: Hash) -> Object {
    let mut data = entry("100644", ".gitignore", &id_of(0x11, hash));
    for index in 0..500 {
        let (mode, name) = match index % 10 {
            0 => ("40000", format!("module-{index:04}")),
            1 => ("100755", format!("test-{index:04}.sh")),
            2 => (
                "100644",
                format!("a-rather-long-name-of-a-file-{index:04}.c"),
            ),
            _ => ("100644", format!("file{index:04}.rs")),
        };
        let name = format!("{}{name}", char::from(b'a' + (index / 20) as u8));
        data.extend(entry(mode, name, &id_of(0x10 + (index % 200) as u8, hash)));
    }
    (Kind::Tree, data)
}

#[test]
#[ignore = "figures are what this is run for"]
#[allow(clippy::print_stderr)]
fn figures() {
    let rules = FsckRules::strict();
    for hash in [Hash::Sha1, Hash::Sha256] {
        let fsck = Fsck::new(&rules, hash);
        let commit = (Kind::Commit, commit(hash).into_bytes());
        for object in [ordinary_tree(hash), commit] {
            let object_id = id(&object, hash);
            let (kind, data) = &object;
            let rounds = 1_000_000_000 / data.len();
            let mut special = Special::default();
            let start = processor_time();
            for _ in 0..rounds {
                let data = std::hint::black_box(data.as_slice());
                let _ = std::hint::black_box(fsck.object(*kind, &object_id, data, &mut special));
            }
            let took = processor_time() - start;
            let bytes = (rounds * data.len()) as f64;
            eprintln!(
                "{hash} {kind}: {} bytes, {:.2} GB/s, {:.0} ns each",
                data.len(),
                bytes / took / 1e9,
                took * 1e9 / rounds as f64
            );
        }
    }
}
