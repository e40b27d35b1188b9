//! Packs as a local store makes them.

use super::git::{Repo, command};
use refsync::{LocalStore, ObjectId, PackAnswer, PackRequest, RefSource, SyncContext, SyncOptions};
use std::io::{Read, Write};
use std::process::Stdio;

/// The pack for `wants` without what is behind `haves`, thin and with short base names.
#[track_caller]
pub fn make(repo: &Repo, wants: &[&str], haves: &[&str]) -> Vec<u8> {
    let mut pack = Vec::new();
    let answer = try_make(repo, wants, haves, &mut pack);
    assert_eq!(answer, PackAnswer::Sent);
    pack
}

#[track_caller]
pub fn try_make(repo: &Repo, wants: &[&str], haves: &[&str], pack: &mut Vec<u8>) -> PackAnswer {
    let store = LocalStore::open(&repo.path).expect("a repository");
    let mut request = PackRequest::default();
    request.wants = wants.iter().map(|id| parse(id)).collect();
    request.haves = haves.iter().map(|id| parse(id)).collect();
    (request.thin, request.ofs_delta) = (true, true);
    let mut receive = |stream: &mut dyn std::io::BufRead| {
        stream.read_to_end(pack).expect("a pack that can be read");
        Ok(())
    };
    let context = SyncContext::new(&SyncOptions::default());
    store
        .upload_pack(&request, &mut receive, &context)
        .expect("a store that can be read")
}

#[track_caller]
fn parse(id: &str) -> ObjectId {
    ObjectId::from_hex(id.as_bytes()).expect("an id")
}

/// The pack that `git push` would send.
#[track_caller]
pub fn make_with_git(repo: &Repo, wants: &[&str], haves: &[&str]) -> Vec<u8> {
    let mut git = command(&repo.path);
    git.args([
        "pack-objects",
        "--revs",
        "--stdout",
        "--thin",
        "--delta-base-offset",
        "-q",
    ]);
    let mut child = git
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut input = wants.join("\n") + "\n";
    input.extend(haves.iter().map(|have| format!("^{have}\n")));
    let mut stdin = child.stdin.take().expect("a piped stdin");
    stdin.write_all(input.as_bytes()).expect("git listens");
    drop(stdin);
    let mut pack = Vec::new();
    child
        .stdout
        .take()
        .expect("a piped stdout")
        .read_to_end(&mut pack)
        .expect("git speaks");
    assert!(child.wait().expect("git ends").success());
    pack
}

/// The number of objects in the header of a pack.
#[track_caller]
pub fn count(pack: &[u8]) -> u32 {
    u32::from_be_bytes(pack[8..12].try_into().expect("four bytes"))
}
