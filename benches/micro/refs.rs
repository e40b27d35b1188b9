//! Refs: listed by a server or on disk, selected, planned, classified, and reported on.

use bstr::BString;
use divan::{Bencher, black_box};
use refsync::{
    AdvertisedRef, Error, LocalStore, ObjectFormat, ObjectId, Objects, RefGlobs, RefList,
    RefSource as _, Relation, Service, SyncContext, SyncOptions, TipKind, ancestry,
    bench_internals::{self, Updates},
};

use crate::{
    SIZES,
    history::{Graph, Shape},
    id,
    support::{ObjectFormat as Format, Sandbox},
};

const CAPABILITIES: &str = "multi_ack thin-pack side-band-64k ofs-delta object-format=sha1";

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
    let refs = names
        .iter()
        .enumerate()
        .map(|(number, name)| AdvertisedRef {
            annotated: name.starts_with("refs/tags/") && number % 5 == 0,
            name: name.as_str().into(),
            target: id(number),
            symbolic: false,
        });
    RefList::new(ObjectFormat::Sha1, refs)
}

/// The same refs, each one commit further.
fn moved(refs: &RefList) -> RefList {
    let further = |(number, old)| AdvertisedRef {
        target: id(number + 1),
        annotated: false,
        ..old
    };
    RefList::new(ObjectFormat::Sha1, refs.iter().enumerate().map(further))
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

#[divan::bench(args = SIZES)]
fn parse_v0_advertisement(bencher: Bencher<'_, '_>, count: usize) {
    let mut answer = String::new();
    for listed in refs(count).iter() {
        let AdvertisedRef { name, target, .. } = &listed;
        answer += &match answer.is_empty() {
            true => packet(&format!("{target} {name}\0{CAPABILITIES}\n")),
            false => packet(&format!("{target} {name}\n")),
        };
        if listed.annotated {
            answer += &packet(&format!("{target} {name}^{{}}\n"));
        }
    }
    answer += "0000";
    let options = SyncOptions::default();
    bencher.bench(|| bench_internals::v0_advertisement(answer.as_bytes(), &options.limits));
}

#[divan::bench(args = SIZES)]
fn parse_v2_ls_refs(bencher: Bencher<'_, '_>, count: usize) {
    let mut answer = String::new();
    for listed in refs(count).iter() {
        let AdvertisedRef { name, target, .. } = &listed;
        let peeled = match listed.annotated {
            true => format!(" peeled:{target}"),
            false => String::new(),
        };
        answer += &packet(&format!("{target} {name}{peeled}\n"));
    }
    answer += "0000";
    let limits = SyncOptions::default().limits;
    bencher.bench(|| bench_internals::ls_refs(answer.as_bytes(), ObjectFormat::Sha1, &limits));
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

#[divan::bench(args = SIZES)]
fn plan_nothing_to_do(bencher: Bencher<'_, '_>, count: usize) {
    let (refs, options) = (refs(count), SyncOptions::default());
    bencher.bench(|| bench_internals::plan(&refs, black_box(&refs), &options));
}

#[divan::bench(args = SIZES)]
fn plan_all_new(bencher: Bencher<'_, '_>, count: usize) {
    let (source, destination) = (refs(count), refs(0));
    let options = SyncOptions::default();
    bencher.bench(|| bench_internals::plan(&source, black_box(&destination), &options));
}

#[divan::bench(args = SIZES)]
fn plan_all_moved(bencher: Bencher<'_, '_>, count: usize) {
    let destination = refs(count);
    let source = moved(&destination);
    let options = SyncOptions::default();
    bencher.bench(|| bench_internals::plan(&source, black_box(&destination), &options));
}

/// Commits that are all at hand.
struct Commits(Graph);

impl Objects for Commits {
    fn kind(&mut self, _: &ObjectId) -> Result<TipKind, Error> {
        Ok(TipKind::Commit)
    }

    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error> {
        ancestry::compare(&mut &mut self.0, pairs, cancelled)
    }
}

/// Branches that have moved on by a commit each.
#[divan::bench(args = SIZES)]
fn classify(bencher: Bencher<'_, '_>, count: usize) {
    let plain = refs(count);
    let plain = plain.iter().map(|held| AdvertisedRef {
        annotated: false,
        ..held
    });
    let destination = RefList::new(ObjectFormat::Sha1, plain);
    let options = SyncOptions::default();
    let source = moved(&destination);
    let plan = bench_internals::plan(&source, &destination, &options);
    assert_eq!(plan.open(), count);
    let mut commits = Commits(Graph::new(Shape::Line, count + 1));
    let context = SyncContext::new(&options);
    bencher
        .with_inputs(|| plan.clone())
        .bench_local_values(|mut plan| {
            bench_internals::classify(&mut commits, &mut plan, &options, &context);
            plan
        });
}

#[divan::bench(args = SIZES)]
fn parse_report_status(bencher: Bencher<'_, '_>, count: usize) {
    let refs = refs(count);
    let mut report = packet("unpack ok\n");
    for new in refs.iter() {
        report += &packet(&format!("ok {}\n", new.name));
    }
    report += "0000";
    let bands = report.as_bytes().chunks(60_000);
    let bands = bands.map(|part| packet(&format!("\x01{}", str::from_utf8(part).expect("ASCII"))));
    let answer = bands.collect::<String>() + "0000";
    let (updates, limits) = (Updates::of(&refs), SyncOptions::default().limits);
    bencher.bench(|| {
        let said = bench_internals::report_status(answer.as_bytes(), &updates, &limits);
        assert_eq!(said, count);
    });
}
