//! The properties that a service which embeds the crate relies on.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use bstr::BString;
use refsync::{
    AdvertisedRef, Error, ErrorKind, LocalStore, ObjectFormat, ObjectId, Objects, Outcome,
    PackAnswer, PackFeatures, PackReceiver, PackRequest, Push, PushAnswer, PushReport, Quarantine,
    Reason, ReceivePack, RefList, RefSource, RefUpdate, Relation, Service, SyncContext,
    SyncOptions, SyncRunStats, TipKind, Traffic,
    ancestry::{self, Commit, CommitGraph, Hole},
    sync,
};
use support::{Repo, Sandbox};

/// Work for `spawn_blocking`, and ends that are shared between its threads.
#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Error>();
    crosses::<LocalStore>();
    crosses::<SyncOptions>();
    crosses::<SyncRunStats>();
    crosses::<RefList>();
    crosses::<PackRequest>();
    crosses::<SyncContext>();
    crosses::<Box<dyn RefSource>>();
    #[cfg(feature = "http")]
    {
        crosses::<refsync::SmartHttp>();
        crosses::<refsync::RemoteUrl>();
        crosses::<refsync::Credentials>();
        crosses::<refsync::NetworkPolicy>();
        crosses::<refsync::Timeouts>();
    }
}

/// A source whose refs and objects come from wherever the service keeps them.
struct OwnSource(Repo);

impl RefSource for OwnSource {
    fn list(
        &self,
        _service: Service,
        _prefixes: &[BString],
        _context: &SyncContext,
    ) -> Result<RefList, Error> {
        let refs = self.0.for_each_ref();
        let advertised = refs.iter().map(|(name, id)| {
            AdvertisedRef::new(
                name.as_str().into(),
                ObjectId::from_hex(id.as_bytes()).expect("hex"),
            )
        });
        Ok(RefList::new(ObjectFormat::Sha1, advertised))
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        _context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let mut revs: String = request.wants.iter().map(|id| format!("{id}\n")).collect();
        revs.push_str("--not\n");
        revs.extend(request.haves.iter().map(|id| format!("{id}\n")));
        let mut packer = support::git::command(&self.0.path)
            .args(["pack-objects", "--revs", "--thin", "--stdout", "-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = packer.stdin.take().expect("piped");
        stdin.write_all(revs.as_bytes()).expect("git reads");
        drop(stdin);
        let pack = packer.stdout.take().expect("piped");
        let taken_in = receive(&mut BufReader::new(pack));
        assert!(packer.wait().expect("git ends").success());
        taken_in.map(|()| PackAnswer::Sent)
    }
}

struct OnlyLists(OwnSource);

impl RefSource for OnlyLists {
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        self.0.list(service, prefixes, context)
    }
}

#[test]
fn a_service_can_bring_its_own_source() {
    let sandbox = Sandbox::new();
    let upstream = sandbox.init_bare("upstream.git", support::ObjectFormat::Sha1);
    let one = upstream.commit("main", &[], "one", &[("a", "1"), ("dir/b", "2")], 1_000);
    let destination = sandbox.init_bare("destination.git", support::ObjectFormat::Sha1);
    let store = LocalStore::open(&destination.path).expect("a repository");
    let source = OwnSource(upstream.clone());

    let first = sync(&source, &store, &SyncOptions::default()).expect("a pull");
    assert_eq!(first.count(Outcome::is_updated), 1);
    assert_eq!(first.traffic.objects, 5, "a commit, two trees, two blobs");

    upstream.commit("main", &[&one], "two", &[("a", "3")], 2_000);
    let second = sync(&source, &store, &SyncOptions::default()).expect("a pull");
    assert_eq!(second.traffic.objects, 3, "a commit, a tree, a blob");
    assert_eq!(destination.for_each_ref(), upstream.for_each_ref());
    assert_eq!(second.traffic.requests, 0, "nothing went over a network");
    destination.fsck();
}

#[test]
fn an_end_that_cannot_do_its_part_says_so() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("one.git", support::ObjectFormat::Sha1);
    repo.commit("main", &[], "one", &[("a", "1")], 1_000);
    let empty = sandbox.init_bare("two.git", support::ObjectFormat::Sha1);
    let before = empty.files();
    let store = LocalStore::open(&empty.path).expect("a repository");
    let nothing_to_do = sync(&store, &OwnSource(repo.clone()), &SyncOptions::default());
    assert!(nothing_to_do.expect("an empty source").refs.is_empty());

    let no_destination = sync(
        &OwnSource(repo.clone()),
        &OwnSource(empty.clone()),
        &SyncOptions::default(),
    );
    let err = no_destination.expect_err("it takes no objects");
    assert_eq!(err.kind(), refsync::ErrorKind::Unsupported);
    let no_source = sync(
        &OnlyLists(OwnSource(repo.clone())),
        &store,
        &SyncOptions::default(),
    );
    let err = no_source.expect_err("it gives no objects");
    assert_eq!(err.kind(), refsync::ErrorKind::Unsupported);
    assert_eq!(empty.files(), before);
}

/// A source that finds fault with its own pack only after it was taken.
struct ComplainsLate(LocalStore);

impl RefSource for ComplainsLate {
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        self.0.list(service, prefixes, context)
    }

    fn objects(&self, context: &SyncContext) -> Result<Option<Box<dyn Objects + '_>>, Error> {
        self.0.objects(context)
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        self.0.upload_pack(request, receive, context)?;
        Err(Error::new(refsync::ErrorKind::LocalIo, "too late"))
    }
}

/// A destination that is told what to do, and answers as it is told to.
struct OwnDestination(Vec<PushAnswer>);

impl RefSource for OwnDestination {
    fn list(
        &self,
        _service: Service,
        _prefixes: &[BString],
        _context: &SyncContext,
    ) -> Result<RefList, Error> {
        Ok(RefList::new(ObjectFormat::Sha1, Vec::new()))
    }

    fn receive_pack(&self, _context: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Ok(ReceivePack::Push(Box::new(self)))
    }
}

impl Push for &OwnDestination {
    fn takes(&self) -> PackFeatures {
        PackFeatures::default()
    }

    fn push(
        &mut self,
        _updates: &[RefUpdate],
        pack: &mut dyn BufRead,
        _context: &SyncContext,
    ) -> Result<PushReport, Error> {
        let size = std::io::copy(pack, &mut std::io::sink()).expect("a pack");
        assert!(size > 32, "more than an empty pack");
        Ok(self.0.clone().into())
    }
}

#[test]
fn answers_count_whatever_comes_after_them() {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("one.git", support::ObjectFormat::Sha1);
    repo.commit("main", &[], "one", &[("a", "1")], 1_000);
    let store = LocalStore::open(&repo.path).expect("a repository");
    let updated = OwnDestination(vec![PushAnswer::Done]);
    let stats = sync(
        &ComplainsLate(store.clone()),
        &updated,
        &SyncOptions::default(),
    );
    assert_eq!(stats.expect("a push").count(Outcome::is_updated), 1);

    let silent = sync(&store, &OwnDestination(Vec::new()), &SyncOptions::default());
    let stats = silent.expect("a push without an answer, and a listing after it");
    let reason = stats
        .refs
        .iter()
        .next()
        .and_then(|found| found.outcome.rejection());
    assert!(
        matches!(reason, Some(Reason::Unconfirmed { .. })),
        "{reason:?}"
    );
}

/// A store of a service's own, with objects and a quarantine made of nothing but public parts. Git stands in
/// for whatever it is built on.
#[derive(Clone)]
struct OwnStore(Repo);

impl RefSource for OwnStore {
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        OwnSource(self.0.clone()).list(service, prefixes, context)
    }

    fn objects(&self, _context: &SyncContext) -> Result<Option<Box<dyn Objects + '_>>, Error> {
        Ok(Some(Box::new(self.clone())))
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        OwnSource(self.0.clone()).upload_pack(request, receive, context)
    }

    fn receive_pack(&self, _context: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Ok(ReceivePack::Quarantine(Box::new(self.clone())))
    }
}

impl CommitGraph for OwnStore {
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        let args = ["log", "-1", "--format=%ct %P", &id.to_string()];
        let output = self.0.try_git(&args);
        if !output.status.success() {
            return Err(Hole::Unreadable);
        }
        let text = String::from_utf8(output.stdout).expect("ids");
        let mut words = text.split_whitespace();
        let date = words.next().and_then(|date| date.parse().ok());
        parents.extend(words.map(|id| id.parse::<ObjectId>().expect("an id")));
        Ok(Commit {
            generation: None,
            date: date.expect("a date"),
        })
    }
}

impl Objects for OwnStore {
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error> {
        let kind = self.0.try_git(&["cat-file", "-t", &tip.to_string()]);
        Ok(match kind.stdout.trim_ascii_end() {
            b"commit" => TipKind::Commit,
            b"tag" => TipKind::Tag,
            b"tree" => TipKind::Tree,
            b"blob" => TipKind::Blob,
            _ => TipKind::Unknown,
        })
    }

    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error> {
        ancestry::compare(self, pairs, cancelled)
    }
}

impl Quarantine for OwnStore {
    fn haves(
        &mut self,
        near: &[ObjectId],
        limit: usize,
        _context: &SyncContext,
    ) -> Result<Vec<ObjectId>, Error> {
        Ok(near[..near.len().min(limit)].to_vec())
    }

    fn shallow(&self) -> &[ObjectId] {
        &[]
    }

    fn receive(&mut self, pack: &mut dyn BufRead, context: &SyncContext) -> Result<Traffic, Error> {
        context.check()?;
        let mut bytes = Vec::new();
        let read = pack.read_to_end(&mut bytes);
        read.map_err(|err| Error::new(ErrorKind::LocalIo, "reading the pack").with_source(err))?;
        let args = ["index-pack", "--stdin", "--fix-thin", "--strict"];
        self.0.git_with_input(&args, &bytes);
        let mut traffic = Traffic::default();
        let count = bytes[8..].first_chunk().expect("a header");
        traffic.objects = u32::from_be_bytes(*count).into();
        Ok(traffic)
    }

    fn discard(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn find_incomplete(
        &mut self,
        tips: &[ObjectId],
        _context: &SyncContext,
    ) -> Result<Vec<(ObjectId, Reason)>, Error> {
        let is_complete = |tip: &&ObjectId| {
            let walk = ["rev-list", "--objects", &tip.to_string(), "--not", "--all"];
            self.0.try_git(&walk).status.success()
        };
        let lacking = tips.iter().filter(|tip| !is_complete(tip));
        let detail = || "git says so".to_owned();
        let faults = lacking.map(|tip| (*tip, Reason::Incomplete { detail: detail() }));
        Ok(faults.collect())
    }

    fn apply(
        &mut self,
        updates: &[RefUpdate],
        _context: &SyncContext,
    ) -> Result<Vec<Result<(), Reason>>, Error> {
        let apply = |update: &RefUpdate| {
            let null = || ObjectId::null(update.new.format());
            let expected = update.expected.unwrap_or_else(null).to_string();
            let (name, new) = (update.name.to_string(), update.new.to_string());
            let moved = self.0.try_git(&["update-ref", &name, &new, &expected]);
            moved.status.success().then_some(()).ok_or(Reason::Raced)
        };
        Ok(updates.iter().map(apply).collect())
    }
}

#[test]
fn a_service_can_bring_its_own_store() {
    let sandbox = Sandbox::new();
    let [upstream, own] = ["upstream.git", "own.git"]
        .map(|name| sandbox.init_bare(name, support::ObjectFormat::Sha1));
    let one = upstream.commit("main", &[], "one", &[("a", "1"), ("dir/b", "2")], 1_000);
    let (source, destination) = (OwnStore(upstream.clone()), OwnStore(own.clone()));
    let outcomes = |source: &dyn RefSource, destination: &dyn RefSource| {
        let stats = sync(source, destination, &SyncOptions::default()).expect("a run");
        let outcomes = stats.refs.iter().map(|found| found.outcome.to_string());
        (stats.traffic.objects, outcomes.collect::<Vec<_>>())
    };
    assert_eq!(
        outcomes(&source, &destination),
        (5, vec!["updated".to_owned()])
    );
    upstream.commit("main", &[&one], "two", &[("a", "3")], 2_000);
    assert_eq!(
        outcomes(&source, &destination),
        (3, vec!["updated".to_owned()])
    );
    assert_eq!(own.for_each_ref(), upstream.for_each_ref());
    // To an end that is told what to do, which its objects decide.
    let pushed = outcomes(&destination, &OwnDestination(vec![PushAnswer::Done]));
    assert_eq!(pushed, (8, vec!["updated".to_owned()]));

    upstream.commit("main", &[&one], "another two", &[("a", "4")], 3_000);
    let diverged = vec!["rejected: diverged".to_owned()];
    assert_eq!(outcomes(&source, &destination), (3, diverged));
    own.fsck();
}

/// A service tests its own end with the messages that a run sends.
#[test]
fn an_own_quarantine_can_be_asked_without_a_run() {
    let sandbox = Sandbox::new();
    let own = sandbox.init_bare("own.git", support::ObjectFormat::Sha1);
    let one = own.commit("main", &[], "one", &[("a", "1")], 1_000);
    let one = ObjectId::from_hex(one.as_bytes()).expect("an id");
    let mut quarantine = OwnStore(own.clone());
    let context = SyncContext::new(&SyncOptions::default());
    let new = RefUpdate::new("refs/heads/new".into(), None, one);
    let answers = quarantine.apply(&[new, new], &context).expect("answers");
    assert_eq!(answers, [Ok(()), Err(Reason::Raced)]);
}
