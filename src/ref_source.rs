//! The two ends of a sync, and the messages that they exchange.

use std::io::BufRead;

use bstr::{BStr, BString};

use crate::{Error, ErrorKind, ObjectId, Reason, RefList, SyncContext, Traffic};

/// One end of a sync.
///
/// Think of git's two services. An end that can be a *source* lists its refs and gives objects
/// (upload-pack). An end that can be a *destination* lists its refs and takes objects and ref
/// updates (receive-pack). `SmartHttp` and [`LocalStore`](crate::LocalStore) are the ends that come with the crate;
/// a service whose objects don't live in a `.git` folder implements its own.
///
/// Ends are shared between threads and between runs; what belongs to one run is in [`SyncContext`].
pub trait RefSource: Send + Sync {
    /// Lists the refs whose full name starts with one of `prefixes`, as `service` does: what an end
    /// shows to those who fetch can differ from what it shows to those who push.
    ///
    /// An end may list more than that; names outside of `refs/heads/` and `refs/tags/` are ignored.
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        run: &SyncContext,
    ) -> Result<RefList, Error>;

    /// Lists the refs below `prefixes` as a destination shows them to those who fetch, if that takes much
    /// less than to [`list`](RefSource::list) them as for a push; `None`, the default, if it doesn't.
    ///
    /// A run that has nothing to do by this listing is over. Any other lists the destination for a push
    /// and goes by that alone.
    fn list_for_fetch(
        &self,
        prefixes: &[BString],
        run: &SyncContext,
    ) -> Result<Option<RefList>, Error> {
        let _ = (prefixes, run);
        Ok(None)
    }

    /// The objects of an end that has them at hand; the default is for one that doesn't.
    ///
    /// A source needs them where the destination wants to be told what to do, as remotes do.
    fn objects(&self, run: &SyncContext) -> Result<Option<Box<dyn Objects + '_>>, Error> {
        let _ = run;
        Ok(None)
    }

    /// Gives one pack with everything behind `request.wants` that isn't behind `request.haves`.
    ///
    /// The pack is handed to `receive` as a stream; its error ends the request and is returned.
    /// `receive` is called at most once, and not before it is known that every object is there.
    /// The default is for an end that can't be a source.
    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let _ = (request, receive, run);
        Err(Error::new(
            ErrorKind::Unsupported,
            "this end can't give objects: it can't be a source",
        ))
    }

    /// Starts to take objects and ref updates.
    ///
    /// The default is for an end that can't be a destination.
    fn receive_pack(&self, run: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        let _ = run;
        Err(Error::new(
            ErrorKind::Unsupported,
            "this end can't take objects: it can't be a destination",
        ))
    }

    /// Removes what runs that died have left behind. Asked of a destination at the start of a run,
    /// unless that is a dry one; what can't be removed stays until the next one.
    ///
    /// The default is for an end in which nothing is left behind.
    fn sweep(&self) {}

    /// Has HEAD name `branch`, the source's default branch, where it names a branch that isn't there
    /// and `branch` is. Asked of a destination at the end of a run.
    ///
    /// The default is for an end whose HEAD can't be set, as a remote's can't.
    fn set_unborn_head(&self, branch: &BStr, run: &SyncContext) -> Result<(), Error> {
        let _ = (branch, run);
        Ok(())
    }
}

/// A service that an end is asked for, one of git's two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// To give objects: the end is the source.
    UploadPack,
    /// To take objects and ref updates: the end is the destination.
    ReceivePack,
}

/// The way in which a destination takes objects and ref updates.
#[non_exhaustive]
pub enum ReceivePack<'a> {
    /// Objects first: what they turn out to be decides about the refs.
    Quarantine(Box<dyn Quarantine + 'a>),
    /// Ref updates first, decided by the source's objects, and the pack after them.
    Push(Box<dyn Push + 'a>),
}

/// Takes the pack that [`RefSource::upload_pack`] streams.
pub type PackReceiver<'a> = dyn FnMut(&mut dyn BufRead) -> Result<(), Error> + 'a;

/// A request for a pack.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PackRequest {
    /// Tips to send, as listed by the end that is asked.
    pub wants: Vec<ObjectId>,
    /// Objects that the receiver has with everything behind them, but for what its shallow boundary cuts
    /// off. For a pull commits, best ones first; for a push all that the destination lists. Unknown ones
    /// are ignored.
    pub haves: Vec<ObjectId>,
    /// The receiver's shallow boundary: commits that it has without their parents.
    pub shallow: Vec<ObjectId>,
    /// Whether deltas may have bases that the receiver has and the pack lacks.
    pub thin: bool,
    /// Whether a delta may name its base by its distance in the pack, which is shorter than an id.
    pub ofs_delta: bool,
}

/// The answer of an end to a [`PackRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackAnswer {
    /// The pack was sent.
    Sent,
    /// Some of the wanted tips are not to be had. Nothing was sent.
    Unavailable {
        /// The tips in question, at least one, each with the end's words for it, safe to print.
        tips: Vec<(ObjectId, String)>,
    },
    /// The end broke off: of all that was asked for together it can't make a pack.
    GaveUp {
        /// The end's words, safe to print.
        detail: String,
        /// Whether they say that there is something wrong with its objects.
        blames_objects: bool,
    },
}

/// The kind of object that a tip is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TipKind {
    /// A commit.
    Commit,
    /// An annotated tag.
    Tag,
    /// A tree.
    Tree,
    /// A blob.
    Blob,
    /// The object can't be read.
    Unknown,
}

/// The objects of an end, as far as they decide whether a ref may move.
pub trait Objects {
    /// The kind of object that a tip is.
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error>;

    /// Relates each pair of commits `(old, new)`, in the order given.
    ///
    /// [`ancestry::compare`](crate::ancestry::compare) does that for an end that can look up commits. An end
    /// that answers in another way must not take for an ancestor what may not be one.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) soon after `cancelled` returns true.
    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error>;

    /// Asked once something seems to be missing: an end whose objects may have been put elsewhere
    /// meanwhile, as `git repack` does, has another look at where they are. The default is for one
    /// that sees that by itself.
    fn refresh(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// The relation of two commits, `old` and `new`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `old` and `new` are one object.
    Same,
    /// `old` is an ancestor of `new`.
    FastForward,
    /// `new` is an ancestor of `old`: the destination is ahead.
    Behind,
    /// Neither is an ancestor of the other.
    Diverged,
    /// The answer depends on a part of the history that is missing. It must not be treated as a fast-forward.
    Unknown,
}

/// The place where a destination keeps what it receives until it has been verified. Its objects are
/// those of the store and those that were received.
///
/// Dropping it abandons everything that was received; only [`apply`](Quarantine::apply) makes
/// objects and refs visible to others.
pub trait Quarantine: Objects {
    /// Commits to offer to the other side, at most `limit`, best ones first. `near` are the tips
    /// of the refs that are about to move.
    ///
    /// Only what is reachable from a ref may be offered: an object that merely exists can be the
    /// debris of a run that was cut off, with half of its history missing.
    fn haves(
        &mut self,
        near: &[ObjectId],
        limit: usize,
        run: &SyncContext,
    ) -> Result<Vec<ObjectId>, Error>;

    /// The shallow boundary of this store; empty for a complete one.
    fn shallow(&self) -> &[ObjectId];

    /// Takes in one pack. It may be thin.
    fn receive(&mut self, pack: &mut dyn BufRead, run: &SyncContext) -> Result<Traffic, Error>;

    /// Keeps the pack that was received last beside those to come, as `tips` turned out to be complete:
    /// from here on they vouch for what is behind them as refs do. Whether it can; the default is for a
    /// quarantine that can't.
    fn keep(&mut self, tips: &[ObjectId]) -> Result<bool, Error> {
        let _ = tips;
        Ok(false)
    }

    /// Drops what was received last, to start over. What is kept stays.
    fn discard(&mut self) -> Result<(), Error>;

    /// Finds the `tips` that are not here with everything behind them, or with something that can't be let
    /// in, each with its reason: [`Reason::Incomplete`], [`Reason::Faulty`] or [`Reason::TooLarge`].
    ///
    /// Everything that is reachable from a ref of the store is taken to be complete; everything
    /// else is walked, whether it has just arrived or lies in the store already.
    fn find_incomplete(
        &mut self,
        tips: &[ObjectId],
        run: &SyncContext,
    ) -> Result<Vec<(ObjectId, Reason)>, Error>;

    /// Whether everything behind these commits of the store is found to be there, whatever vouches for it:
    /// where it isn't, a source that was offered them may not be why something is
    /// [incomplete](Reason::Incomplete). The default is for a quarantine that doesn't look.
    fn is_whole_behind(&mut self, haves: &[ObjectId], run: &SyncContext) -> Result<bool, Error> {
        let _ = (haves, run);
        Ok(false)
    }

    /// Makes the objects that were received part of the store, then moves the refs, each by
    /// compare-and-swap. One answer per update, in order; an update that fails changes nothing and
    /// stops none of the others.
    fn apply(
        &mut self,
        updates: &[RefUpdate],
        run: &SyncContext,
    ) -> Result<Vec<Result<(), Reason>>, Error>;
}

/// A destination that is told which refs to update and given the objects for that.
pub trait Push {
    /// The forms of delta that it understands: goes into [`PackRequest::thin`] and
    /// [`PackRequest::ofs_delta`].
    fn takes(&self) -> PackFeatures;

    /// Whether the destination is told how long a pack is, since it takes none without that. Where this
    /// turns out in a push that fails for it, the pack is made and pushed once more.
    fn says_length(&self) -> bool {
        false
    }

    /// Sends the updates, each a compare-and-swap, and the pack that they need. The report has one answer
    /// per update, in order.
    ///
    /// An error means that certainly none of them was applied. Where that is in doubt, each update
    /// is [`PushAnswer::Unclear`].
    fn push(
        &mut self,
        updates: &[RefUpdate],
        pack: &mut dyn BufRead,
        run: &SyncContext,
    ) -> Result<PushReport, Error>;
}

/// The report of a destination on a push.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PushReport {
    /// One for each update, in order.
    pub answers: Vec<PushAnswer>,
    /// The lines that the destination printed meanwhile, such as the output of its hooks, safe to print.
    pub messages: Vec<String>,
    /// Why it did not answer, or not to the end. With `None` it did, whether or not that made sense.
    pub failure: Option<Error>,
}

/// The report of a destination that says nothing beside its answers.
impl From<Vec<PushAnswer>> for PushReport {
    fn from(answers: Vec<PushAnswer>) -> Self {
        PushReport {
            answers,
            ..PushReport::default()
        }
    }
}

/// The forms of delta that a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackFeatures {
    /// See [`PackRequest::thin`].
    pub thin: bool,
    /// See [`PackRequest::ofs_delta`].
    pub ofs_delta: bool,
}

/// The answer to one pushed update.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushAnswer {
    /// The ref is where it should be.
    Done,
    /// The destination refused the update.
    Refused {
        /// The destination's own words, safe to print.
        text: String,
    },
    /// The answer was lost or makes no sense.
    Unclear {
        /// The fault of the answer.
        detail: String,
    },
}

/// One ref to create or to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefUpdate<'a> {
    /// The full name.
    pub name: &'a BStr,
    /// The tip that it must have for the update to happen; `None`: it must not exist.
    pub expected: Option<ObjectId>,
    /// The tip that it gets.
    pub new: ObjectId,
}

impl RefUpdate<'_> {
    /// Whether the ref must not exist yet.
    pub(crate) fn is_creation(&self) -> bool {
        self.expected.is_none()
    }
}
