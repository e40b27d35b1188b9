//! [`RefSource`]: the interface of an end, and the messages that ends exchange. Plain data and traits, without I/O.

use std::io::BufRead;

use bstr::{BStr, BString};

use crate::{Error, ErrorKind, ObjectId, Reason, RefList, SyncContext, Traffic};

/// One end of a sync: a repository that can be a source, a destination, or both.
///
/// The operations follow git's two services. A *source* lists its refs and sends objects (upload-pack). A
/// *destination* lists its refs and receives objects and ref updates (receive-pack). The crate has the ends `SmartHttp`
/// and [`LocalStore`](crate::LocalStore); a service whose objects are not in a `.git` folder implements its own.
///
/// Ends are shared between threads and between runs. The data of one run is in the [`SyncContext`].
#[allow(unused_variables, reason = "the names are for implementors")]
pub trait RefSource: Send + Sync {
    /// Lists the refs whose full names start with one of `prefixes`, as `service` shows them: an end may show
    /// different refs for a fetch and for a push.
    ///
    /// An end may list further refs. Names outside of `refs/heads/` and `refs/tags/` are ignored.
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<RefList, Error>;

    /// Lists the refs of a destination through upload-pack, if that is much cheaper than to [`list`](RefSource::list)
    /// them through receive-pack. `None`, the default, if it is not.
    ///
    /// A run ends if this listing shows that no ref has to move. Otherwise it lists the destination through
    /// receive-pack, and uses only that listing.
    fn list_for_fetch(
        &self,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<Option<RefList>, Error> {
        Ok(None)
    }

    /// The objects of an end that can read them, for ancestry. The default, `None`, is for an end that cannot, such as
    /// a remote.
    ///
    /// They are needed of a source in a [`Push`], which decides about refs before objects are sent.
    fn objects(&self, context: &SyncContext) -> Result<Option<Box<dyn Objects + '_>>, Error> {
        Ok(None)
    }

    /// Sends one pack with all objects that are reachable from `request.wants` and not from `request.haves`.
    ///
    /// `receive` is called with the pack as a stream; its error ends the request and is returned. It is called at most
    /// once, and only after the end has found that it has all of these objects. The default is for an end that
    /// cannot be a source.
    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "this end cannot be a source: it sends no objects",
        ))
    }

    /// Begins to receive objects and ref updates. The default is for an end that cannot be a destination.
    fn receive_pack(&self, context: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "this end cannot be a destination: it receives no objects",
        ))
    }

    /// Removes the leftovers of killed runs. It is called for a destination at the start of a run, but not of a dry run.
    /// Leftovers that cannot be removed stay until the next run.
    ///
    /// The default is for an end without leftovers.
    fn sweep(&self) {}

    /// Sets HEAD to `branch`, the source's default branch, if HEAD names a branch that does not exist and `branch`
    /// exists. It is called for a destination at the end of a run.
    ///
    /// The default is for an end whose HEAD cannot be set, such as a remote.
    fn set_unborn_head(&self, branch: &BStr, context: &SyncContext) -> Result<(), Error> {
        Ok(())
    }
}

/// One of git's two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Sending objects: the end is the source.
    UploadPack,
    /// Receiving objects and ref updates: the end is the destination.
    ReceivePack,
}

/// The way in which a destination receives objects and ref updates.
#[non_exhaustive]
pub enum ReceivePack<'a> {
    /// Objects first: they decide which refs move.
    Quarantine(Box<dyn Quarantine + 'a>),
    /// Ref updates first, decided with the source's objects, followed by the pack.
    Push(Box<dyn Push + 'a>),
}

/// The receiver of the pack that [`RefSource::upload_pack`] streams.
pub type PackReceiver<'a> = dyn FnMut(&mut dyn BufRead) -> Result<(), Error> + 'a;

/// A request for a pack.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PackRequest {
    /// The wanted tips, which the end has listed.
    pub wants: Vec<ObjectId>,
    /// Objects that the receiver has with everything reachable from them, except beyond its shallow boundary. In a pull
    /// these are commits, the most useful ones first; in a push, all objects that the destination lists. Unknown ids
    /// are ignored.
    pub haves: Vec<ObjectId>,
    /// The receiver's shallow boundary: commits that it has without their parents.
    pub shallow: Vec<ObjectId>,
    /// Whether the pack may be thin: its deltas may have bases that the receiver has and the pack lacks.
    pub thin: bool,
    /// Whether deltas may name their base by its offset in the pack (`OFS_DELTA`), which is shorter than an id.
    pub ofs_delta: bool,
}

/// The answer of an end to a [`PackRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackAnswer {
    /// The pack was sent.
    Sent,
    /// The end does not send some of the wanted tips. Nothing was sent.
    Unavailable {
        /// These tips, at least one, each with the end's message, safe to print.
        tips: Vec<(ObjectId, String)>,
    },
    /// The end has failed to make a pack for all wants together.
    GaveUp {
        /// The end's message, safe to print.
        detail: String,
        /// Whether the message says that its objects are damaged or missing.
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
    /// The object cannot be read.
    Unknown,
}

/// The facts about an end's objects that decide whether a ref may move.
pub trait Objects {
    /// The kind of object that a tip is.
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error>;

    /// Returns the relation of each pair of commits `(old, new)`, in the order given.
    ///
    /// [`ancestry::compare`](crate::ancestry::compare) implements it for an end that can look up commits. Any other
    /// implementation must return [`Relation::Unknown`] if it is not certain.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) soon after `cancelled` returns true.
    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error>;

    /// Looks for the objects again. It is called after an object seems to be missing, because another process may have
    /// moved it, as `git repack` does. The default is for an end that notices that by itself.
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

/// The place where a destination keeps received objects until they are verified. Its [`Objects`] are those of the store
/// and the received ones.
///
/// Dropping it removes the received objects. Only [`apply`](Quarantine::apply) makes objects and refs visible to others.
#[allow(unused_variables, reason = "the names are for implementors")]
pub trait Quarantine: Objects {
    /// The commits to offer to the source, at most `limit`, the most useful ones first. `near` are the tips of the refs
    /// to move.
    ///
    /// Only commits reachable from a ref may be offered. An object that merely exists may be left from an aborted run,
    /// with a part of its history missing.
    fn haves(
        &mut self,
        near: &[ObjectId],
        limit: usize,
        context: &SyncContext,
    ) -> Result<Vec<ObjectId>, Error>;

    /// The shallow boundary of the store; empty for a complete one.
    fn shallow(&self) -> &[ObjectId];

    /// Receives one pack, which may be thin.
    fn receive(&mut self, pack: &mut dyn BufRead, context: &SyncContext) -> Result<Traffic, Error>;

    /// Keeps the pack that was received last in addition to later ones. `tips` were found to be complete; from now on
    /// objects reachable from them count as complete, as those reachable from refs do. Returns whether the quarantine
    /// supports this; the default is for one that does not.
    fn keep(&mut self, tips: &[ObjectId]) -> Result<bool, Error> {
        Ok(false)
    }

    /// Drops the pack that was received last. Kept packs stay.
    fn discard(&mut self) -> Result<(), Error>;

    /// Finds the `tips` that cannot be published, each with the reason: [`Reason::Incomplete`] if an object reachable
    /// from it is missing or damaged, [`Reason::Faulty`] or [`Reason::TooLarge`] if such an object is refused.
    ///
    /// Objects reachable from a ref of the store are assumed to be complete. All others are checked, received ones and
    /// those of the store.
    fn find_incomplete(
        &mut self,
        tips: &[ObjectId],
        context: &SyncContext,
    ) -> Result<Vec<(ObjectId, Reason)>, Error>;

    /// Whether all objects reachable from these commits of the store were found to exist, without trust in its refs. If
    /// not, an [incomplete](Reason::Incomplete) tip may be the fault of the store: a source does not send objects
    /// reachable from haves. The default is for a quarantine that does not check.
    fn is_whole_behind(
        &mut self,
        haves: &[ObjectId],
        context: &SyncContext,
    ) -> Result<bool, Error> {
        Ok(false)
    }

    /// Makes the received objects part of the store, then moves the refs, each by compare-and-swap. Returns one answer
    /// per update, in order. A failed update changes nothing and stops none of the others.
    fn apply(
        &mut self,
        updates: &[RefUpdate],
        context: &SyncContext,
    ) -> Result<Vec<Result<(), Reason>>, Error>;
}

/// A destination that receives ref updates together with the objects for them, such as a remote.
pub trait Push {
    /// The forms of delta that the destination accepts, for [`PackRequest::thin`] and [`PackRequest::ofs_delta`].
    fn takes(&self) -> PackFeatures;

    /// Whether the destination requires the length of a pack before its first byte. If that shows only in a failed push,
    /// the pack is made and pushed once more.
    fn says_length(&self) -> bool {
        false
    }

    /// Sends the updates, each a compare-and-swap, and the pack with their objects. The report has one answer per
    /// update, in order.
    ///
    /// # Errors
    /// An error means that certainly no update was applied. If that is in doubt, the answer to each update is
    /// [`PushAnswer::Unclear`] instead.
    fn push(
        &mut self,
        updates: &[RefUpdate],
        pack: &mut dyn BufRead,
        context: &SyncContext,
    ) -> Result<PushReport, Error>;
}

/// The report of a destination on a push.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PushReport {
    /// The answer to each update, in order.
    pub answers: Vec<PushAnswer>,
    /// The lines that the destination printed during the push, such as the output of its hooks, safe to print.
    pub messages: Vec<String>,
    /// The error that kept the destination from a complete answer. `None` if it has answered, even if the answer is
    /// unclear.
    pub failure: Option<Error>,
}

/// A report with answers only.
impl From<Vec<PushAnswer>> for PushReport {
    fn from(answers: Vec<PushAnswer>) -> Self {
        PushReport {
            answers,
            ..PushReport::default()
        }
    }
}

/// The forms of delta that a receiver accepts.
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
    /// The ref has the new tip.
    Done,
    /// The destination refused the update.
    Refused {
        /// The destination's message, safe to print.
        text: String,
    },
    /// The answer was lost or is malformed.
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
    /// The tip that the ref must have before the update; `None` if it must not exist.
    pub expected: Option<ObjectId>,
    /// The new tip.
    pub new: ObjectId,
}

impl<'a> RefUpdate<'a> {
    /// An update of the ref of this full name from `expected` to `new`.
    pub fn new(name: &'a BStr, expected: Option<ObjectId>, new: ObjectId) -> Self {
        RefUpdate {
            name,
            expected,
            new,
        }
    }

    /// Whether the ref must not exist yet.
    pub(crate) fn is_creation(&self) -> bool {
        self.expected.is_none()
    }
}
