//! Refs: listed on disk, selected, planned and compared.

use std::{
    io::BufRead,
    sync::{Mutex, MutexGuard},
};

use bstr::BString;
use divan::Bencher;
use refsync::{
    AdvertisedRef, Error, LocalStore, ObjectFormat, ObjectId, Objects, Outcome, PackFeatures, Push,
    PushReport, ReceivePack, RefGlobs, RefList, RefSource, RefUpdate, Relation, Service,
    SyncContext, SyncOptions, TipKind, ancestry,
};

use crate::{
    SIZES,
    history::{Graph, Shape},
    id,
    support::{ObjectFormat as Format, Sandbox},
};

/// Half branches, half tags, sorted by name.
fn refs(count: usize) -> RefList {
    let branch = |number| match number % 50 {
        0 => format!("refs/heads/release/{number:05}"),
        _ => format!("refs/heads/feature/team-{}/topic-{number:05}", number % 7),
    };
    let branches = (0..count / 2).map(branch);
    let tags = (count / 2..count).map(|number| format!("refs/tags/v{number:05}"));
    let mut names: Vec<_> = branches.chain(tags).collect();
    names.sort();
    let refs = names.iter().enumerate().map(|(number, name)| {
        let mut listed = AdvertisedRef::new(name.as_str().into(), id(number));
        listed.annotated = name.starts_with("refs/tags/") && number % 5 == 0;
        listed
    });
    RefList::new(ObjectFormat::Sha1, refs)
}

/// The same refs, each one commit further.
fn moved(refs: &RefList) -> RefList {
    let further = refs
        .iter()
        .enumerate()
        .map(|(number, old)| AdvertisedRef::new(old.name, id(number + 1)));
    RefList::new(ObjectFormat::Sha1, further)
}

#[divan::bench(args = SIZES)]
fn globs(bencher: Bencher<'_, '_>, count: usize) {
    let globs = RefGlobs::new(Some("{main,release/*,feature/*/topic-*9}"), Some("v*"));
    let (globs, refs) = (globs.expect("globs"), refs(count));
    bencher.bench(|| {
        let matching = refs.iter().filter(|one| globs.matches(one.name));
        matching.count()
    });
}

/// A local repository whose refs are all packed.
struct Packed {
    store: LocalStore,
    _sandbox: Sandbox,
}

impl Packed {
    fn with(count: usize) -> Self {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare("packed.git", Format::Sha1);
        let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for listed in refs(count).iter() {
            text += &format!("{} {}\n", listed.target, listed.name);
            if listed.annotated {
                text += &format!("^{}\n", id(count));
            }
        }
        std::fs::write(repo.path.join("packed-refs"), text).expect("written");
        Packed {
            store: LocalStore::open(&repo.path).expect("a store"),
            _sandbox: sandbox,
        }
    }

    fn list(&self, prefixes: &[&str]) -> RefList {
        let prefixes: Vec<_> = prefixes.iter().map(|one| BString::from(*one)).collect();
        let context = SyncContext::new(&SyncOptions::default());
        let listed = self.store.list(Service::UploadPack, &prefixes, &context);
        listed.expect("a listing")
    }
}

#[divan::bench(args = SIZES)]
fn list_packed_refs(bencher: Bencher<'_, '_>, count: usize) {
    let packed = Packed::with(count);
    bencher.bench(|| packed.list(&["refs/heads/", "refs/tags/"]));
}

#[divan::bench(args = SIZES)]
fn list_packed_refs_of_one_prefix(bencher: Bencher<'_, '_>, count: usize) {
    let packed = Packed::with(count);
    bencher.bench(|| packed.list(&["refs/heads/release/"]));
}

/// An end that lists these refs, and has all of their commits.
struct End {
    refs: RefList,
    commits: Mutex<Graph>,
}

impl End {
    fn with(refs: RefList) -> Self {
        let commits = Mutex::new(Graph::new(Shape::Line, refs.len() + 1));
        End { refs, commits }
    }
}

impl RefSource for End {
    fn list(&self, _: Service, _: &[BString], _: &SyncContext) -> Result<RefList, Error> {
        Ok(self.refs.clone())
    }

    fn objects(&self, _: &SyncContext) -> Result<Option<Box<dyn Objects + '_>>, Error> {
        let commits = self.commits.lock().expect("a sound graph");
        Ok(Some(Box::new(Commits(commits))))
    }

    fn receive_pack(&self, _: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Ok(ReceivePack::Push(Box::new(NoPush)))
    }
}

/// Commits that all exist.
struct Commits<'a>(MutexGuard<'a, Graph>);

impl Objects for Commits<'_> {
    fn kind(&mut self, _: &ObjectId) -> Result<TipKind, Error> {
        Ok(TipKind::Commit)
    }

    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error> {
        ancestry::compare(&mut &mut *self.0, pairs, cancelled)
    }
}

/// The push of a dry run.
struct NoPush;

impl Push for NoPush {
    fn takes(&self) -> PackFeatures {
        PackFeatures::default()
    }

    fn push(
        &mut self,
        _: &[RefUpdate<'_>],
        _: &mut dyn BufRead,
        _: &SyncContext,
    ) -> Result<PushReport, Error> {
        panic!("a dry run pushes nothing")
    }
}

/// A dry run between two listings, of whose refs so many are updated.
fn run(bencher: Bencher<'_, '_>, source: RefList, destination: RefList, updated: usize) {
    let mut options = SyncOptions::default();
    options.dry_run = true;
    let (source, destination) = (End::with(source), End::with(destination));
    bencher.bench_local(|| {
        let stats = refsync::sync(&source, &destination, &options).expect("a run");
        assert_eq!(stats.count(Outcome::is_updated), updated);
    });
}

#[divan::bench(args = SIZES)]
fn nothing_to_do(bencher: Bencher<'_, '_>, count: usize) {
    run(bencher, refs(count), refs(count), 0);
}

#[divan::bench(args = SIZES)]
fn all_new(bencher: Bencher<'_, '_>, count: usize) {
    run(bencher, refs(count), refs(0), count);
}

/// Branches and tags that have moved on by a commit each.
#[divan::bench(args = SIZES)]
fn all_moved(bencher: Bencher<'_, '_>, count: usize) {
    let plain = refs(count);
    let plain = plain
        .iter()
        .map(|held| AdvertisedRef::new(held.name, held.target));
    let destination = RefList::new(ObjectFormat::Sha1, plain);
    run(bencher, moved(&destination), destination, count);
}
