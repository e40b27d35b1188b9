//! A store to attack, a source that attacks it, and what has to become of that.

use crate::pack::Pack;
use crate::support::git::{ObjectFormat as Format, Repo, Sandbox};
use bstr::BString;
use gix::hash::Kind as Hash;
use refsync::{
    AdvertisedRef, Error, ErrorKind, LocalStore, ObjectFormat, ObjectId, Outcome, PackAnswer,
    PackReceiver, PackRequest, RefList, RefSource, Service, SyncContext, SyncOptions, SyncRunStats,
    sync,
};
use std::error::Error as _;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

pub(crate) const EVIL: &str = "refs/heads/evil";

/// A repository with two commits on `main`, and some debris.
pub(crate) struct World {
    pub(crate) repo: Repo,
    pub(crate) hash: Hash,
    pub(crate) tip: ObjectId,
    pub(crate) root: ObjectId,
    pub(crate) tree: ObjectId,
    pub(crate) blob: ObjectId,
    /// A commit that no ref leads to, and whose tree is missing.
    pub(crate) broken: ObjectId,
    /// A tree like that, whose one file, `x`, is missing.
    pub(crate) broken_tree: ObjectId,
    /// A blob and a tree with it that no ref leads to, complete.
    pub(crate) lost_blob: ObjectId,
    pub(crate) lost_tree: ObjectId,
    sandbox: Sandbox,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(Format::Sha1)
    }

    pub(crate) fn of(format: Format) -> Self {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare("store.git", format);
        let text: String = (0..200).map(|line| format!("line {line}\n")).collect();
        let root = repo.commit("main", &[], "root\n", &[("file", &text)], 1_600_000_000);
        let more = text + "more\n";
        let tip = repo.commit("main", &[&root], "tip\n", &[("file", &more)], 1_600_000_001);
        let parse = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
        let of_tip = |suffix: &str| parse(&repo.git(&["rev-parse", &format!("{tip}{suffix}")]));
        let hash = gix::ObjectId::from(parse(&tip)).kind();
        let nowhere = nowhere(hash, 99);
        let broken = crate::objects::commit(&nowhere, &[], "debris");
        let no_blob = self::nowhere(hash, 98);
        let broken_tree = crate::objects::tree([("100644", &b"x"[..], no_blob)]);
        let lost_blob = parse(&repo.write_object("blob", b"lost\n"));
        let lost_tree = crate::objects::tree([("100644", &b"lost"[..], lost_blob)]);
        World {
            broken: parse(&repo.write_object("commit", &broken)),
            broken_tree: parse(&repo.write_object("tree", &broken_tree)),
            lost_tree: parse(&repo.write_object("tree", &lost_tree)),
            lost_blob,
            hash,
            tree: of_tip("^{tree}"),
            blob: of_tip(":file"),
            tip: parse(&tip),
            root: parse(&root),
            repo,
            sandbox,
        }
    }

    pub(crate) fn pack(&self) -> Pack {
        Pack::new(self.hash)
    }

    pub(crate) fn id(&self, kind: gix::objs::Kind, content: &[u8]) -> ObjectId {
        crate::pack::id(self.hash, kind, content)
    }

    /// The folder of the repository and of other files.
    pub(crate) fn folder(&self) -> &Path {
        self.sandbox.path()
    }

    /// An id that nobody has.
    pub(crate) fn nowhere(&self, number: u8) -> ObjectId {
        nowhere(self.hash, number)
    }

    pub(crate) fn store(&self) -> LocalStore {
        LocalStore::open(&self.repo.path).expect("a repository")
    }

    pub(crate) fn pull(
        &self,
        source: &dyn RefSource,
        options: &SyncOptions,
    ) -> Result<SyncRunStats, Error> {
        sync(source, &self.store(), options)
    }

    /// Whatever was tried before, what is sound comes in whole.
    #[track_caller]
    pub(crate) fn works_again(&self) {
        let mut pack = self.pack();
        let blob = pack.object(gix::objs::Kind::Blob, b"honest\n");
        let tree = crate::objects::tree([("100644", &b"honest"[..], blob)]);
        let tree = pack.object(gix::objs::Kind::Tree, &tree);
        let commit = crate::objects::commit(&tree, &[self.tip], "honest");
        let commit = pack.object(gix::objs::Kind::Commit, &commit);
        let honest = Offer::new([("refs/heads/honest", commit)], pack.finish());
        let stats = self
            .pull(&honest, &SyncOptions::default())
            .expect("a sound pull");
        assert_eq!(stats.count(Outcome::is_updated), 1, "{stats:?}");
        let named = self.repo.git(&["rev-list", "--objects", "--all"]);
        assert!(named.contains(&blob.to_string()));
        self.repo.git(&["update-ref", "-d", "refs/heads/honest"]);
    }
}

pub(crate) fn nowhere(hash: Hash, number: u8) -> ObjectId {
    let bytes = vec![number.max(1); hash.len_in_bytes()];
    ObjectId::from_bytes(&bytes).expect("an id")
}

#[derive(Clone)]
pub(crate) enum Given {
    Bytes(Arc<Vec<u8>>),
    File(PathBuf),
}

/// A source with these refs that answers everything with this pack.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) refs: Vec<(BString, ObjectId)>,
    pub(crate) pack: Given,
    pub(crate) packs_given: Arc<AtomicUsize>,
}

impl Offer {
    pub(crate) fn new<N: Into<BString>>(
        refs: impl IntoIterator<Item = (N, ObjectId)>,
        pack: Vec<u8>,
    ) -> Self {
        Offer {
            refs: refs
                .into_iter()
                .map(|(name, id)| (name.into(), id))
                .collect(),
            pack: Given::Bytes(Arc::new(pack)),
            packs_given: Arc::default(),
        }
    }

    /// One branch.
    pub(crate) fn branch(tip: ObjectId, pack: Pack) -> Self {
        Self::new([(EVIL, tip)], pack.finish())
    }

    /// Into files, for another process.
    pub(crate) fn write(&self, folder: &Path) {
        let lines = self.refs.iter().map(|(name, id)| format!("{id} {name}\n"));
        fs::write(folder.join("refs"), lines.collect::<String>()).expect("written");
        if let Given::Bytes(bytes) = &self.pack {
            fs::write(folder.join("pack"), &bytes[..]).expect("written");
        }
    }

    pub(crate) fn read(folder: &Path) -> Self {
        let refs = fs::read_to_string(folder.join("refs")).expect("the refs");
        let refs = refs.lines().map(|line| {
            let (id, name) = line.split_once(' ').expect("an id and a name");
            (name, ObjectId::from_hex(id.as_bytes()).expect("an id"))
        });
        let mut offer = Offer::new(refs, Vec::new());
        offer.pack = Given::File(folder.join("pack"));
        offer
    }

    /// One branch, and a pack that is none.
    pub(crate) fn bytes(tip: ObjectId, pack: Vec<u8>) -> Self {
        Self::new([(EVIL, tip)], pack)
    }
}

impl RefSource for Offer {
    fn list(&self, _: Service, _: &[BString], _: &SyncContext) -> Result<RefList, Error> {
        let advertised = self
            .refs
            .iter()
            .map(|(name, id)| AdvertisedRef::new(name.as_ref(), *id));
        let format = self.refs.first().map(|(_, id)| id.format());
        let format = format.unwrap_or(ObjectFormat::Sha1);
        Ok(RefList::new(format, advertised))
    }

    fn upload_pack(
        &self,
        _: &PackRequest,
        receive: &mut PackReceiver<'_>,
        _: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        self.packs_given.fetch_add(1, Ordering::SeqCst);
        let mut pack: Box<dyn BufRead> = match &self.pack {
            Given::Bytes(bytes) => Box::new(&bytes[..]),
            Given::File(path) => {
                Box::new(io::BufReader::new(fs::File::open(path).expect("a pack")))
            }
        };
        receive(&mut *pack)?;
        Ok(PackAnswer::Sent)
    }
}

/// The expected result, by the words of its report.
pub(crate) enum Expected {
    /// The run fails.
    Fails(ErrorKind, &'static str),
    /// Each ref that was offered stays where it is, for this reason.
    Rejected(&'static str),
    /// All of it comes in: nothing is wrong with it but its size.
    Taken,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) expected: Expected,
    pub(crate) change: fn(&mut SyncOptions),
    pub(crate) build: Box<dyn Fn(&World) -> Offer>,
}

impl Case {
    pub(crate) fn with(mut self, change: fn(&mut SyncOptions)) -> Self {
        self.change = change;
        self
    }

    pub(crate) fn options(&self) -> SyncOptions {
        let mut options = SyncOptions::default();
        (self.change)(&mut options);
        options
    }
}

pub(crate) fn fails(
    name: impl Into<String>,
    kind: ErrorKind,
    words: &'static str,
    build: impl Fn(&World) -> Offer + 'static,
) -> Case {
    Case {
        name: name.into(),
        expected: Expected::Fails(kind, words),
        change: |_| {},
        build: Box::new(build),
    }
}

/// For what breaks git's rules for packs.
pub(crate) fn breaks(
    name: impl Into<String>,
    words: &'static str,
    build: impl Fn(&World) -> Offer + 'static,
) -> Case {
    fails(name, ErrorKind::Protocol, words, build)
}

/// For what goes beyond a limit.
pub(crate) fn exceeds(
    name: impl Into<String>,
    limit: &'static str,
    build: impl Fn(&World) -> Offer + 'static,
) -> Case {
    fails(name, ErrorKind::BudgetExceeded, limit, build)
}

pub(crate) fn rejected(
    name: impl Into<String>,
    words: &'static str,
    build: impl Fn(&World) -> Offer + 'static,
) -> Case {
    Case {
        name: name.into(),
        expected: Expected::Rejected(words),
        change: |_| {},
        build: Box::new(build),
    }
}

/// All against one store, which has to be the same after each of them, byte for byte.
#[track_caller]
pub(crate) fn all_fail(world: &World, cases: &[Case]) {
    let files = world.repo.files();
    let mut wrong = Vec::new();
    for case in cases {
        let offer = (case.build)(world);
        let pulled = world.pull(&offer, &case.options());
        if let Err(found) = judge(&case.expected, &pulled) {
            wrong.push(format!("{}: {found}", case.name));
        }
        if world.repo.files() != files {
            wrong.push(format!("{}: the store has changed", case.name));
            break;
        }
    }
    assert!(
        wrong.is_empty(),
        "of {}:\n{}",
        cases.len(),
        wrong.join("\n")
    );
    world.works_again();
}

/// The faults of the outcome.
pub(crate) fn judge(
    expected: &Expected,
    pulled: &Result<SyncRunStats, Error>,
) -> Result<(), String> {
    let fits = match (expected, pulled) {
        (Expected::Fails(kind, words), Err(err)) => {
            err.kind() == *kind && chain(err).contains(words) && !err.is_retryable()
        }
        (Expected::Rejected(words), Ok(stats)) => {
            let as_said = |outcome: &Outcome| {
                let reason = outcome.reason().map(ToString::to_string);
                reason.is_some_and(|reason| reason.contains(words))
            };
            !stats.refs.is_empty()
                && stats.refs.iter().all(|listed| {
                    listed.before == (!listed.after.is_null()).then_some(listed.after)
                        && as_said(listed.outcome)
                })
        }
        (Expected::Taken, Ok(stats)) => stats.count(Outcome::is_updated) == stats.refs.len(),
        _ => false,
    };
    match (fits, pulled) {
        (true, _) => Ok(()),
        (false, Err(err)) => Err(format!("{:?}: {}", err.kind(), chain(err))),
        (false, Ok(stats)) => {
            let first = stats.refs.iter().take(3);
            let told: Vec<_> = first.map(|listed| listed.outcome.to_string()).collect();
            Err(told.join(", "))
        }
    }
}

pub(crate) fn chain(err: &Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text += &format!(": {err}");
        cause = err.source();
    }
    text
}
