//! All objects of a kind in a pack, each made once, on the way down from those that are whole.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use gix::{hash::Hasher, objs::Kind};

use super::rev_index::Survey;
use crate::{
    Error, SyncContext,
    pack::resolve::{Deltas, Descent, NO_BASE, Room, Visited, Work},
};

/// A pack of which it is known what is a delta of what.
pub(crate) struct Chains<'a> {
    pub(crate) survey: &'a Survey<'a>,
    pub(crate) bases: &'a [u32],
    pub(crate) kinds: &'a [Option<Kind>],
    pub(crate) deltas: Deltas,
    pub(crate) run: &'a SyncContext,
}

/// What is done with each object.
pub(crate) trait Look {
    /// What is kept of one while there is something to be built on it.
    type Note;

    /// `base` is what the content was made from, if it is at hand.
    fn look_at(
        &mut self,
        entry: u32,
        content: &[u8],
        base: Option<Visited<'_, Self::Note>>,
    ) -> Result<Self::Note, GivenUp>;
}

/// Why not all of them were looked at.
pub(crate) enum GivenUp {
    Stopped(Error),
    Unreadable,
}

impl From<io::Error> for GivenUp {
    fn from(_: io::Error) -> Self {
        GivenUp::Unreadable
    }
}

impl Chains<'_> {
    /// Every core has somebody to look at what it comes to, by its number. All of them share `contents`
    /// bytes of memory, beside an object of at most `largest` bytes each. The first trouble is the end
    /// of it.
    pub(crate) fn descend<L: Look + Send>(
        &self,
        kind: Kind,
        (contents, largest): (u64, u64),
        looker: impl Fn(u32) -> L + Sync,
    ) -> Result<Vec<L>, GivenUp> {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
        let room = Room::new(contents, threads);
        let next = AtomicUsize::new(0);
        let work = |number: u32| -> Result<L, GivenUp> {
            let mut worker = Worker {
                chains: self,
                largest,
                looker: looker(number),
            };
            let hash = self.survey.order.index.object_hash();
            let mut descent = Descent::new(self.survey.pack, hash, &room, &std::env::temp_dir())?;
            loop {
                let root = next.fetch_add(1, Relaxed);
                match self.kinds.get(root) {
                    None => return Ok(worker.looker),
                    Some(found) if *found == Some(kind) && self.bases[root] == NO_BASE => {
                        let done = descent.descend(root as u32, &mut worker);
                        done.inspect_err(|_| next.store(self.kinds.len(), Relaxed))?;
                    }
                    Some(_) => {}
                }
            }
        };
        thread::scope(|scope| {
            let work = &work;
            let helpers: Vec<_> = (1..threads as u32)
                .map(|number| scope.spawn(move || work(number)))
                .collect();
            let first = work(0);
            let helped = helpers.into_iter().map(|helper| {
                helper
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            std::iter::once(first)
                .chain(helped.collect::<Vec<_>>())
                .collect()
        })
    }
}

struct Worker<'a, L> {
    chains: &'a Chains<'a>,
    largest: u64,
    looker: L,
}

impl<L: Look> Work for Worker<'_, L> {
    type Error = GivenUp;

    type Note = L::Note;

    fn place(&self, entry: u32) -> Range<u64> {
        self.chains.survey.place(entry)
    }

    fn visit(
        &mut self,
        entry: u32,
        _kind: Kind,
        content: &[u8],
        base: Option<Visited<'_, L::Note>>,
    ) -> Result<L::Note, GivenUp> {
        self.chains.run.check().map_err(GivenUp::Stopped)?;
        self.looker.look_at(entry, content, base)
    }

    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), GivenUp> {
        to.extend_from_slice(self.chains.deltas.of(entry));
        Ok(())
    }

    fn allows(
        &mut self,
        _entry: u32,
        _kind: Kind,
        size: u64,
        _depth: u32,
    ) -> Result<bool, GivenUp> {
        match size <= self.largest {
            true => Ok(true),
            false => Err(GivenUp::Unreadable),
        }
    }

    fn oversized(
        &mut self,
        _entry: u32,
        _kind: Kind,
        _size: u64,
        _hasher: Hasher,
    ) -> Result<L::Note, GivenUp> {
        Err(GivenUp::Unreadable)
    }

    fn may_lead_on(&self, entry: u32) -> bool {
        !self.chains.deltas.of(entry).is_empty()
    }

    fn may_go_on(&self) -> bool {
        self.chains.run.check().is_ok()
    }

    fn unreadable(&self, _entry: u32, _err: io::Error) -> GivenUp {
        let stopped = self.chains.run.check().err().map(GivenUp::Stopped);
        stopped.unwrap_or(GivenUp::Unreadable)
    }

    fn failed(&self, _err: io::Error) -> GivenUp {
        GivenUp::Unreadable
    }
}
