//! A store with more packs than the process may have open files.

use crate::support::{ObjectFormat, Sandbox};
use refsync::{LocalStore, SyncOptions, sync};
use std::env;
use std::fmt::Write as _;
use std::process::Command;

const FROM: &str = "REFSYNC_TEST_FROM";
const INTO: &str = "REFSYNC_TEST_INTO";
const PACKS: usize = 150;

/// Not a test: what the other one runs with few files to open.
#[test]
#[ignore = "runs as the child of another test"]
fn sync_in_a_process_of_its_own() {
    let (Ok(from), Ok(into)) = (env::var(FROM), env::var(INTO)) else {
        return;
    };
    let (from, into) = (LocalStore::open(from), LocalStore::open(into));
    sync(&from.unwrap(), &into.unwrap(), &SyncOptions::default()).unwrap();
}

#[test]
fn fewer_files_are_open_than_there_are_packs() {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
    source.git(&["config", "fastimport.unpackLimit", "0"]);
    let mut stream = String::new();
    for number in 0..PACKS {
        write!(
            stream,
            "commit refs/heads/main\ncommitter A <a> {number} +0000\ndata 0\n\
             M 100644 inline {number}\ndata 3\n{number:03}\ncheckpoint\n"
        )
        .unwrap();
    }
    source.fast_import(stream.as_bytes());
    let counts = source.git(&["count-objects", "-v"]);
    assert!(counts.contains(&format!("packs: {PACKS}")), "{counts}");
    let clone = |name: &str| sandbox.init_bare(name, ObjectFormat::Sha1);
    // All of it, and what is on top of half of it: to one it goes pack by pack, to the other as found.
    let (all, half) = (clone("all.git"), clone("half.git"));
    source.git(&["branch", "half", "main~75"]);
    half.git(&["fetch", "-q", "../source.git", "half:refs/heads/main"]);
    for destination in [&all, &half] {
        let command = "ulimit -n 80 && exec \"$0\" --exact --ignored \
            many_packs::sync_in_a_process_of_its_own";
        let child = Command::new("sh")
            .args(["-c", command])
            .arg(env::current_exe().unwrap())
            .env(FROM, &source.path)
            .env(INTO, &destination.path)
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        let tips = [&source, destination].map(|repo| repo.git(&["rev-parse", "main"]));
        assert_eq!(tips[0], tips[1]);
        destination.fsck();
    }
}
