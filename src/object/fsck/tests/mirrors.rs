//! All objects of real repositories.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo test --release --lib fsck::tests::mirrors -- --ignored --nocapture
//! ```
//! `REFSYNC_MIRRORS` holds bare repositories as `OWNER+NAME/repo`.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

use bstr::ByteSlice;
use gix::{ObjectId, hash::Kind as Hash, object::Kind};

use super::{
    All, Found, Fsck, FsckLevel, FsckRules, Special, SpecialContent, check_special,
    git::parse_fsck, speed::processor_time,
};
use crate::test_support::git_cli;

const REPOSITORIES: [&str; 3] = ["git+git", "jj-vcs+jj", "BurntSushi+ripgrep"];
/// The bytes that are judged at once, so that the clock isn't read too often.
const BATCH: usize = 64 * 1024 * 1024;

#[test]
#[ignore = "needs REFSYNC_MIRRORS, a folder of bare repositories with their full history"]
fn real_repositories_are_judged_as_by_git() {
    let mirrors = std::env::var_os("REFSYNC_MIRRORS").expect("REFSYNC_MIRRORS is set");
    for name in REPOSITORIES {
        compare(&Path::new(&mirrors).join(name).join("repo"), name);
    }
}

#[allow(clippy::print_stderr)]
fn compare(repository: &Path, name: &str) {
    let rules = FsckRules::strict();
    let mut ours = Ours {
        fsck: Fsck::new(&rules, Hash::Sha1),
        rules: &rules,
        special: Special::default(),
        found: BTreeSet::new(),
        took: 0.0,
    };
    let (mut batch, mut size, mut objects, mut bytes) = (Vec::new(), 0, 0, 0);
    for_each_object(repository, |object| {
        objects += 1;
        if object.1 != Kind::Blob {
            size += object.2.len();
            bytes += object.2.len();
            batch.push(object);
        }
        if size > BATCH {
            ours.judge(&std::mem::take(&mut batch));
            size = 0;
        }
    });
    ours.judge(&batch);
    let files = std::mem::take(&mut ours.special).into_files();
    for (id, file) in &files {
        let answer = git_cli::run(repository, &["cat-file", "blob", &id.to_string()], b"");
        let content = if answer.status.success() {
            SpecialContent::Blob(&answer.stdout)
        } else {
            SpecialContent::Missing
        };
        let mut all = ours.all();
        check_special(*file, content, &mut all);
        let found = all.found.into_iter().map(|found| (id.to_string(), found));
        ours.found.extend(found);
    }

    let answer = git_cli::run(repository, &["fsck", "--strict", "--no-dangling"], b"");
    let said = [answer.stdout, answer.stderr].concat();
    let gits: BTreeSet<_> = said.to_str_lossy().lines().filter_map(parse_fsck).collect();
    let errors = ours
        .found
        .iter()
        .filter(|(_, (level, _))| *level == FsckLevel::Error);
    eprintln!(
        "{name}: {objects} objects, {bytes} bytes of trees, commits and tags, {} special files, \
         {:.2} s, {:.2} GB/s, {} errors, {} warnings",
        files.len(),
        ours.took,
        bytes as f64 / ours.took / 1e9,
        errors.clone().count(),
        ours.found.len() - errors.count(),
    );
    assert_eq!(ours.found, gits);
}

struct Ours<'a> {
    fsck: Fsck<'a>,
    rules: &'a FsckRules,
    special: Special,
    found: BTreeSet<(String, Found)>,
    /// Seconds of the processor's.
    took: f64,
}

impl<'a> Ours<'a> {
    fn all(&self) -> All<'a> {
        All {
            rules: self.rules,
            found: BTreeSet::new(),
        }
    }

    fn judge(&mut self, batch: &[(ObjectId, Kind, Vec<u8>)]) {
        let start = processor_time();
        let refused: Vec<_> = batch
            .iter()
            .filter(|(id, kind, data)| {
                self.fsck
                    .object(*kind, id, data, &mut self.special)
                    .is_err()
            })
            .map(|(id, ..)| id.to_string())
            .collect();
        self.took += processor_time() - start;
        let mut noted = Special::default();
        for (id, kind, data) in batch {
            let mut all = self.all();
            self.fsck.check(*kind, data, &mut noted, &mut all);
            let found = all.found.into_iter().map(|found| (id.to_string(), found));
            self.found.extend(found);
        }
        for id in refused {
            let is_error =
                |found: &&(String, Found)| found.0 == id && found.1.0 == FsckLevel::Error;
            assert!(self.found.iter().any(|found| is_error(&found)), "{id}");
        }
    }
}

fn for_each_object(repository: &Path, mut each: impl FnMut((ObjectId, Kind, Vec<u8>))) {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args([
            "cat-file",
            "--batch",
            "--batch-all-objects",
            "--unordered",
            "--buffer",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut objects = BufReader::with_capacity(1 << 20, child.stdout.take().expect("a pipe"));
    let mut header = String::new();
    while objects.read_line(&mut header).expect("text") > 0 {
        let mut fields = header.split_whitespace();
        let mut field = || fields.next().expect("three fields");
        let id = ObjectId::from_hex(field().as_bytes()).expect("an id");
        let kind = Kind::from_bytes(field().as_bytes()).expect("a kind");
        let mut data = vec![0; field().parse().expect("a size")];
        objects.read_exact(&mut data).expect("the object");
        objects.read_exact(&mut [0]).expect("a line feed");
        each((id, kind, data));
        header.clear();
    }
    assert!(child.wait().expect("git ends").success());
}
