//! The verdict of real git on the same objects.

use std::{collections::BTreeSet, io::Write, path::Path, process::Output};

use bstr::ByteSlice;
use gix::{hash::Kind as Hash, object::Kind};
use tempfile::TempDir;

use super::{Found, Object, Verdict};
use crate::{FsckLevel, FsckMessage, test_support::git_cli};

/// A bare repository to ask in.
pub(super) struct Git {
    dir: TempDir,
    hash: Hash,
}

impl Git {
    pub(super) fn new(hash: Hash) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let format = format!("--object-format={hash}");
        let made = git_cli::run(dir.path(), &["init", "--quiet", "--bare", &format], b"");
        assert!(made.status.success(), "{made:?}");
        Git { dir, hash }
    }

    /// The verdict of `git index-pack` on a pack with these objects, as `fetch.fsckObjects` runs it, and
    /// that of `git fetch` on the blobs that are missing.
    ///
    /// It parses commits and tags before it checks them, and refuses what it can't parse without
    /// saying why. Then `git hash-object` says it.
    pub(super) fn index_pack(&self, objects: &[Object], levels: &str) -> Verdict {
        let option = format!("--fsck-objects{levels}");
        let pack = pack_of(objects, self.hash);
        let answer = self.git(&["index-pack", &option, "--stdin"], &pack);
        let stderr = answer.stderr.to_str_lossy();
        let mut found: BTreeSet<Found> = stderr.lines().filter_map(parse_finding).collect();
        let stdout = answer.stdout.to_str_lossy();
        let mut refused = !answer.status.success();
        if stdout
            .lines()
            .any(|line| line.len() == self.hash.len_in_hex())
        {
            found.insert((FsckLevel::Error, FsckMessage::GitmodulesMissing));
            refused = true;
        }
        if stderr.contains("fatal: invalid ") {
            let asked = objects.iter().map(|object| self.hash_object(object));
            found.extend(asked.flatten());
        }
        Verdict { refused, found }
    }

    /// The first thing, in case of a commit or tag, that `git hash-object` has against it.
    fn hash_object(&self, (kind, data): &Object) -> Option<Found> {
        let answer = self.git(&["hash-object", "-t", &kind.to_string(), "--stdin"], data);
        let stderr = answer.stderr.to_str_lossy();
        let said = stderr.lines().find_map(|line| {
            let rest = line.strip_prefix("error: object fails fsck: ")?;
            rest.split_once(':')?.0.parse::<FsckMessage>().ok()
        });
        said.map(|message| (FsckLevel::Error, message))
    }

    /// The findings of `git fsck --strict` in each of the objects, by id, and those that it can't parse.
    pub(super) fn fsck(&self, objects: &[Object]) -> (Vec<(String, Found)>, Vec<String>) {
        self.store(objects);
        let answer = self.git(&["fsck", "--strict", "--no-dangling"], b"");
        let said = [answer.stdout, answer.stderr].concat();
        let said = said.to_str_lossy();
        let unparsed = said.lines().filter_map(|line| {
            let rest = line.strip_prefix("error: ")?;
            rest.strip_suffix(": object corrupt or missing")
        });
        let unparsed = unparsed.map(str::to_owned).collect();
        (said.lines().filter_map(parse_fsck).collect(), unparsed)
    }

    /// Adds the objects, whatever they are.
    pub(super) fn store(&self, objects: &[Object]) {
        let pack = pack_of(objects, self.hash);
        let answer = self.git(&["index-pack", "--stdin"], &pack);
        assert!(answer.status.success(), "{answer:?}");
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn git(&self, args: &[&str], input: &[u8]) -> Output {
        git_cli::run(self.dir.path(), args, input)
    }
}

/// `error: object <id>: hasDotgit: contains '.git'`
fn parse_finding(line: &str) -> Option<Found> {
    let (level, rest) = match line.split_once(": object ")? {
        ("error", rest) => (FsckLevel::Error, rest),
        ("warning", rest) => (FsckLevel::Warn, rest),
        _ => return None,
    };
    let message = rest.split(": ").nth(1)?;
    Some((level, message.parse().expect("a message that we know")))
}

/// `error in tree <id>: hasDotgit: contains '.git'`
pub(super) fn parse_fsck(line: &str) -> Option<(String, Found)> {
    let (level, rest) = match line.split_once(" in ")? {
        ("error", rest) => (FsckLevel::Error, rest),
        ("warning", rest) => (FsckLevel::Warn, rest),
        _ => return None,
    };
    let mut parts = rest.split(": ");
    let (_kind, id) = parts.next()?.split_once(' ')?;
    let message = parts.next()?.parse().ok()?;
    Some((id.to_owned(), (level, message)))
}

fn pack_of(objects: &[Object], hash: Hash) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend((objects.len() as u32).to_be_bytes());
    for (kind, data) in objects {
        let kind = match kind {
            Kind::Commit => 1,
            Kind::Tree => 2,
            Kind::Blob => 3,
            Kind::Tag => 4,
        };
        let mut size = data.len() >> 4;
        let mut byte = (kind << 4) | (data.len() & 15) as u8;
        while size > 0 {
            pack.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        pack.push(byte);
        pack.extend(deflate(data));
    }
    let mut hasher = gix::hash::hasher(hash);
    hasher.update(&pack);
    let checksum = hasher.try_finalize().expect("no collision");
    pack.extend(checksum.as_slice());
    pack
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let level = gix::zlib::Compression::new(1).expect("a level");
    let mut stream = gix::zlib::stream::deflate::Write::new(Vec::new(), level);
    stream.write_all(data).expect("room in memory");
    stream.flush().expect("room in memory");
    stream.into_inner()
}
