//! Packs: which objects go into one, as deltas of what, its bytes, and what becomes of it on arrival.

use std::{io, sync::Mutex};

use divan::{Bencher, counter::BytesCount};
use refsync::{
    LocalStore, ObjectId, PackAnswer, PackReceiver, PackRequest, ReceivePack, RefSource as _,
    SyncContext, SyncOptions,
};

use crate::support::{ObjectFormat, Repo, Sandbox, history::project};

/// The last commits of a history, or all of them.
const COMMITS: [usize; 3] = [10, 1000, 3000];
const ALL: usize = 3000;

/// With the generated history, once that is needed.
static SANDBOX: Mutex<Option<Sandbox>> = Mutex::new(None);

pub(super) fn remove_project() {
    drop(SANDBOX.lock().expect("a sound sandbox").take());
}

/// All of it in one pack.
fn packed() -> Repo {
    let mut sandbox = SANDBOX.lock().expect("a sound sandbox");
    let sandbox = sandbox.get_or_insert_with(|| {
        let sandbox = Sandbox::new();
        project(&sandbox.init_bare("packed.git", ObjectFormat::Sha1), ALL);
        sandbox
    });
    sandbox.repo("packed.git")
}

/// Every object in a file of its own, so that no delta is at hand.
fn loose() -> Repo {
    let packs = packed().path.join("objects/pack");
    let sandbox = SANDBOX.lock().expect("a sound sandbox");
    let sandbox = sandbox.as_ref().expect("one with a project");
    if sandbox.path().join("loose.git").exists() {
        return sandbox.repo("loose.git");
    }
    let repo = sandbox.init_bare("loose.git", ObjectFormat::Sha1);
    for entry in packs.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            let pack = std::fs::read(path).expect("a pack");
            repo.git_with_input(&["unpack-objects", "-q"], &pack);
        }
    }
    repo
}

/// A request to a store.
struct Request {
    store: LocalStore,
    request: PackRequest,
    context: SyncContext,
}

impl Request {
    /// The request of a receiver that lacks the last `commits`.
    fn behind_by(commits: usize, repo: &Repo) -> Self {
        let known = packed();
        let mut request = PackRequest::default();
        request.wants = vec![rev(&known, "main")];
        if commits < ALL {
            request.haves = vec![rev(&known, &format!("main~{commits}"))];
        }
        (request.thin, request.ofs_delta) = (true, true);
        Request {
            store: LocalStore::open(&repo.path).expect("a store"),
            request,
            context: SyncContext::new(&SyncOptions::default()),
        }
    }

    /// Plans the pack, and calls `receive` before any of its bytes is made.
    fn send(&self, receive: &mut PackReceiver<'_>) {
        let answer = self
            .store
            .upload_pack(&self.request, receive, &self.context);
        assert_eq!(answer.expect("a sound store"), PackAnswer::Sent);
    }

    fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.send(&mut |pack| {
            pack.read_to_end(&mut bytes).expect("a pack");
            Ok(())
        });
        bytes
    }
}

fn rev(repo: &Repo, rev: &str) -> ObjectId {
    let id = repo.git(&["rev-parse", rev]);
    ObjectId::from_hex(id.as_bytes()).expect("an id")
}

/// The walk: the objects that differ. Deltas are reused, so none is sought.
#[divan::bench(args = COMMITS, sample_count = 10)]
fn select(bencher: Bencher<'_, '_>, commits: usize) {
    let request = Request::behind_by(commits, &packed());
    bencher.bench_local(|| request.send(&mut |_| Ok(())));
}

/// The same walk, and the search for deltas.
#[divan::bench(args = [10, 1000], sample_count = 10)]
fn select_and_find_deltas(bencher: Bencher<'_, '_>, commits: usize) {
    let request = Request::behind_by(commits, &loose());
    bencher.bench_local(|| request.send(&mut |_| Ok(())));
}

/// The same walk, and the bytes of the pack, most of them copied from the stored one.
#[divan::bench(args = COMMITS, sample_count = 10)]
fn send_stored(bencher: Bencher<'_, '_>, commits: usize) {
    send(bencher, &Request::behind_by(commits, &packed()));
}

/// The same with the search for deltas, and bytes that are all compressed anew.
#[divan::bench(args = [10, 1000], sample_count = 5)]
fn send_made(bencher: Bencher<'_, '_>, commits: usize) {
    send(bencher, &Request::behind_by(commits, &loose()));
}

fn send(bencher: Bencher<'_, '_>, request: &Request) {
    bencher
        .counter(BytesCount::new(request.pack().len()))
        .bench_local(|| {
            request.send(&mut |pack| {
                io::copy(pack, &mut io::sink()).expect("a pack");
                Ok(())
            });
        });
}

/// Indexed, with fsck's rules for each object, and completed where it is thin.
#[divan::bench(args = COMMITS, sample_count = 5)]
fn index(bencher: Bencher<'_, '_>, commits: usize) {
    arrive(bencher, commits, false);
}

/// The same, and whether everything behind the tip is there.
#[divan::bench(args = COMMITS, sample_count = 5)]
fn index_and_verify(bencher: Bencher<'_, '_>, commits: usize) {
    arrive(bencher, commits, true);
}

fn arrive(bencher: Bencher<'_, '_>, commits: usize, verify: bool) {
    let request = Request::behind_by(commits, &packed());
    let pack = request.pack();
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("receiver.git", ObjectFormat::Sha1);
    let from = request.store.path().to_string_lossy();
    for have in &request.request.haves {
        let refspec = format!("{have}:refs/heads/main");
        repo.git(&["fetch", "-q", "--no-tags", &from, &refspec]);
    }
    let store = LocalStore::open(&repo.path).expect("a store");
    let (tips, context) = (&request.request.wants, &request.context);
    bencher
        .counter(BytesCount::new(pack.len()))
        .bench_local(|| {
            let receiving = store.receive_pack(context).expect("a store to write to");
            let ReceivePack::Quarantine(mut quarantine) = receiving else {
                panic!("a local store keeps a quarantine");
            };
            quarantine.receive(&mut &pack[..], context).expect("a pack");
            if verify {
                let faults = quarantine
                    .find_incomplete(tips, context)
                    .expect("an answer");
                assert_eq!(faults, []);
            }
        });
}
