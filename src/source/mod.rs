//! The edge: what a sync needs from an end, and the ends that come with the crate.

use std::io::BufRead;

use bstr::BString;

use crate::{
    Error, ErrorKind, ObjectId, Reason, RefList, Run, TipKind, Traffic, ancestry::CommitGraph,
};

mod checked_out;
#[cfg(feature = "http")]
mod http;
mod local;
mod packed_refs;
mod quarantine;
mod ref_update;

#[cfg(feature = "http")]
pub use http::SmartHttp;
pub use local::LocalStore;

/// One end of a sync.
///
/// Think of git's two services. An end that can be a *source* lists its refs and gives objects
/// (upload-pack). An end that can be a *destination* lists its refs and takes objects and ref
/// updates (receive-pack). [`SmartHttp`] and [`LocalStore`] are the ends that come with the crate;
/// a service whose objects don't live in a `.git` folder implements its own.
///
/// Ends are shared between threads and between runs; what belongs to one run is in [`Run`].
pub trait RefSource: Send + Sync {
    /// Lists the refs whose full name starts with one of `prefixes`.
    ///
    /// An end may list more than that; names outside of `refs/heads/` and `refs/tags/` are ignored.
    fn list(&self, prefixes: &[BString], run: &Run) -> Result<RefList, Error>;

    /// Gives one pack with everything behind `request.wants` that isn't behind `request.haves`.
    ///
    /// The pack is handed to `receive` as a stream; its error ends the request and is returned.
    /// The default is for an end that can't be a source.
    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &Run,
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
    fn receive_pack(&self, run: &Run) -> Result<Box<dyn Quarantine + '_>, Error> {
        let _ = run;
        Err(Error::new(
            ErrorKind::Unsupported,
            "this end can't take objects: it can't be a destination",
        ))
    }
}

/// Takes the pack that [`RefSource::upload_pack`] streams.
pub type PackReceiver<'a> = dyn FnMut(&mut dyn BufRead) -> Result<(), Error> + 'a;

/// What to put into a pack.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PackRequest {
    /// Tips to send, as listed by the end that is asked.
    pub wants: Vec<ObjectId>,
    /// Commits that the receiver has with all of their history, best ones first. An end that
    /// doesn't know one ignores it.
    pub haves: Vec<ObjectId>,
    /// The receiver's shallow boundary: commits that it has without their parents.
    pub shallow: Vec<ObjectId>,
}

/// How an end answered a [`PackRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackAnswer {
    /// The pack was sent.
    Sent,
    /// One of the wanted tips is not to be had, with the end's words for it. Nothing was sent.
    Unavailable {
        /// The tip in question.
        tip: ObjectId,
        /// The end's words, safe to print.
        detail: String,
    },
}

/// The place where a destination keeps what it receives until it has been verified.
///
/// Dropping it abandons everything that was received; only [`apply`](Quarantine::apply) makes
/// objects and refs visible to others.
pub trait Quarantine {
    /// Commits to offer to the other side, at most `limit`, best ones first. `near` are the tips
    /// of the refs that are about to move.
    ///
    /// Only what is reachable from a ref may be offered: an object that merely exists can be the
    /// debris of a run that was cut off, with half of its history missing.
    fn haves(&mut self, near: &[ObjectId], limit: usize, run: &Run)
    -> Result<Vec<ObjectId>, Error>;

    /// The shallow boundary of this store; empty for a complete one.
    fn shallow(&self) -> &[ObjectId];

    /// Takes in one pack. It may be thin.
    fn receive(&mut self, pack: &mut dyn BufRead, run: &Run) -> Result<Traffic, Error>;

    /// Drops what was received, to start over.
    fn discard(&mut self) -> Result<(), Error>;

    /// Of `tips`, those that are not here with everything behind them, each with what is wrong.
    ///
    /// Everything that is reachable from a ref of the store is taken to be complete; everything
    /// else is walked, whether it has just arrived or lies in the store already.
    fn incomplete(
        &mut self,
        tips: &[ObjectId],
        run: &Run,
    ) -> Result<Vec<(ObjectId, String)>, Error>;

    /// What kind of object a tip is.
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error>;

    /// The commits of the store and of what was received.
    fn commits(&mut self) -> Result<Box<dyn CommitGraph + '_>, Error>;

    /// Makes the objects that were received part of the store, then moves the refs, each by
    /// compare-and-swap. One answer per update, in order; an update that fails changes nothing and
    /// stops none of the others.
    fn apply(&mut self, updates: &[RefUpdate], run: &Run)
    -> Result<Vec<Result<(), Reason>>, Error>;
}

/// One ref to create or to move.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefUpdate {
    /// The full name.
    pub name: BString,
    /// The tip that it must have for the update to happen; `None`: it must not exist.
    pub expected: Option<ObjectId>,
    /// The tip that it gets.
    pub new: ObjectId,
}
