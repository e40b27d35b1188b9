//! From the entries of a pack to its objects: while it arrives, and when all of it is there.
//!
//! What has arrived is resolved in windows, on other threads than the one that reads the pack. The
//! deltas of a window whose base is in an earlier one need that to be made once more. Git puts bases
//! close to their deltas, so it costs little; a pack that was made to cost more has the rest of its
//! deltas wait until all of it is there, when each entry is made at most once more.

use std::{
    io,
    ops::Range,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use gix::objs::Kind;

use super::{
    arrival::{collision, damaged},
    inspection::{Found, Inspection},
    part::{Allowance, Part},
    ref_deltas::RefDeltas,
    spent::Spent,
    table::Table,
};
use crate::{
    Error, ErrorKind, Run,
    pack::resolve::{Descent, Room, Work},
};

/// Entries that are worth a thread of their own.
const ENTRIES_PER_THREAD: usize = 256;

/// A pack on disk whose deltas are to be resolved.
pub(super) struct Pack<'a> {
    pub(super) path: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) table: Table,
    pub(super) found: &'a Found<'a>,
    pub(super) spent: &'a Spent<'a>,
    pub(super) run: &'a Run,
}

impl Pack<'_> {
    /// Has the pack arrive, and resolves the windows that are handed over meanwhile. Those are to be
    /// on disk and in the table.
    ///
    /// An error of the pack that shows as it arrives is told before any that shows in its deltas,
    /// and of those the first in the order of the pack, however fast it comes in.
    pub(super) fn resolve_while<T>(
        &self,
        arrive: impl FnOnce(&mut dyn FnMut(Range<u32>)) -> Result<T, Error>,
    ) -> Result<(T, Allowance), Error> {
        // The thread that reads mostly waits for the network.
        let most = cores();
        let (hand_over, handed_over) = mpsc::channel();
        let windows = Windows {
            pack: self,
            room: self.room(most),
            handed_over: Mutex::new((handed_over, Allowance::default())),
            is_given_up: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        let arrived = thread::scope(|scope| {
            let (hand_over, windows) = (hand_over, &windows);
            let mut threads = 0;
            let arrived = arrive(&mut |window| {
                // Somebody receives it for as long as there are windows.
                let _ = hand_over.send(window);
                if threads < most {
                    threads += 1;
                    // Where none can be had, all is resolved at the end.
                    let worker = thread::Builder::new();
                    let _ = worker.spawn_scoped(scope, || windows.work());
                }
            });
            arrived.inspect_err(|_| windows.is_given_up.store(true, Relaxed))
        })?;
        self.spent.nothing_waits();
        let sum = self.spent.check_sum();
        let failure = windows.failure.into_inner();
        let (_, allowance) = *locked(&windows.handed_over);
        match failure.unwrap_or_else(PoisonError::into_inner) {
            None => sum.map(|()| (arrived, allowance)),
            Some((_, err)) => Err(err),
        }
    }

    /// Resolves the deltas of the last part, as far as they have their bases in the pack.
    pub(super) fn resolve(&self, part: &Part, ref_deltas: &RefDeltas) -> Result<(), Error> {
        let count = part.entries().len();
        if count == 0 {
            return Ok(());
        }
        let threads = cores().min(count.div_ceil(ENTRIES_PER_THREAD));
        let room = self.room(threads);
        let (next, is_given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || -> Result<(), Error> {
            let mut inspection = self.found.inspection();
            let mut descent = self.descent(&room)?;
            let mut resolver = Resolver {
                pack: self,
                part,
                ref_deltas: Some(ref_deltas),
                is_given_up: &is_given_up,
                inspection: &mut inspection,
            };
            while let Some(entry) = part.entries().get(next.fetch_add(1, Relaxed)) {
                if !self.table.is_delta(*entry) {
                    let done = descent.descend(*entry, &mut resolver);
                    // Whoever fails, it is over for all.
                    done.inspect_err(|_| next.store(count, Relaxed))?;
                }
            }
            inspection.finish()
        };
        thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for helper in helpers {
                let helped = helper
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                done = done.and(helped);
            }
            done
        })
    }

    /// Whether nothing is left.
    pub(super) fn check_that_all_is_resolved(&self) -> Result<(), Error> {
        let entries = 0..self.table.len();
        match entries
            .filter(|entry| self.table.kind(*entry).is_none())
            .count()
        {
            0 => Ok(()),
            count => {
                let text = format!("the pack has {count} deltas whose base is nowhere");
                Err(Error::new(ErrorKind::Protocol, text))
            }
        }
    }

    pub(super) fn room(&self, descents: usize) -> Room {
        Room::new(self.run.limits().memory / 4, descents)
    }

    pub(super) fn descent<'r>(&self, room: &'r Room) -> Result<Descent<'r>, Error> {
        Descent::new(self.path, self.table.hash, room, self.folder)
            .map_err(|err| Error::io("reading the pack", err))
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// What has arrived of a pack, for the threads that resolve it.
struct Windows<'a> {
    pack: &'a Pack<'a>,
    room: Room,
    handed_over: Mutex<(mpsc::Receiver<Range<u32>>, Allowance)>,
    /// The pack won't be there as a whole.
    is_given_up: AtomicBool,
    /// Where it was, and what.
    failure: Mutex<Option<(u32, Error)>>,
}

impl Windows<'_> {
    /// Resolves one window after the other until all have arrived.
    fn work(&self) {
        let mut at = u32::MAX;
        if let Err(err) = self.resolve(&mut at) {
            let mut failure = locked(&self.failure);
            if failure.as_ref().is_none_or(|(first, _)| at < *first) {
                *failure = Some((at, err));
            }
        }
    }

    fn resolve(&self, at: &mut u32) -> Result<(), Error> {
        let pack = self.pack;
        let mut inspection = pack.found.inspection();
        let mut descent = pack.descent(&self.room)?;
        while let Some(part) = self.next() {
            *at = part.first();
            let mut resolver = Resolver {
                pack,
                part: &part,
                ref_deltas: None,
                is_given_up: &self.is_given_up,
                inspection: &mut inspection,
            };
            for entry in part.entries() {
                if !pack.table.is_delta(*entry) {
                    descent.descend(*entry, &mut resolver)?;
                }
            }
        }
        *at = u32::MAX;
        inspection.finish()
    }

    /// Waits for a window that nobody else takes. None comes once one has failed, but whoever has
    /// taken one goes through with it: a fault in there is before that.
    fn next(&self) -> Option<Part> {
        let mut handed_over = locked(&self.handed_over);
        if locked(&self.failure).is_some() {
            return None;
        }
        let (windows, allowance) = &mut *handed_over;
        let window = windows.recv().ok()?;
        let is_wanted = !self.is_given_up.load(Relaxed);
        is_wanted.then(|| Part::window(&self.pack.table, window, allowance))
    }
}

/// What is done with the entries of a part.
pub(super) struct Resolver<'a, 'l> {
    pub(super) pack: &'a Pack<'a>,
    pub(super) part: &'a Part,
    /// None as long as there may be more to come.
    pub(super) ref_deltas: Option<&'a RefDeltas>,
    pub(super) is_given_up: &'a AtomicBool,
    pub(super) inspection: &'a mut Inspection<'l>,
}

impl Resolver<'_, '_> {
    fn is_to_be_resolved(&self, entry: u32) -> bool {
        !self.part.only_leads_on(entry) && self.pack.table.kind(entry).is_none()
    }
}

impl Work for Resolver<'_, '_> {
    type Error = Error;

    fn place(&self, entry: u32) -> Range<u64> {
        self.pack.table.place(entry)
    }

    fn visit(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.pack.run.check()?;
        if self.is_given_up.load(Relaxed) {
            return Err(Error::cancelled());
        }
        // A whole object was looked at when it came in.
        if !self.is_to_be_resolved(entry) {
            return Ok(());
        }
        let table = &self.pack.table;
        self.pack.spent.check_parsed(kind, content.len() as u64)?;
        let id = gix::objs::compute_hash(table.hash, kind, content).map_err(|_| collision())?;
        table.resolve(entry, kind, &id);
        self.inspection.look_at(kind, id, content, base)
    }

    /// Which entry a delta is built on that names an object which is there twice, is up to whoever
    /// reads the pack. It may be one that is built on that delta.
    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), Error> {
        to.extend(self.part.deltas_of(entry));
        let Some(ref_deltas) = self.ref_deltas else {
            return Ok(());
        };
        let id = self.pack.table.id(entry);
        let taken = ref_deltas.take(&id).ok_or_else(|| {
            let text = format!("the pack has {id} twice, and a delta of it");
            Error::new(ErrorKind::Protocol, text)
        })?;
        to.extend(taken);
        Ok(())
    }

    fn allows(&mut self, entry: u32, size: u64, depth: u32) -> Result<(), Error> {
        match self.is_to_be_resolved(entry) {
            true => self.pack.spent.on_delta(size, depth),
            // Its own window may have done without it.
            false => self.pack.spent.check_made(size, depth),
        }
    }

    fn may_go_on(&self) -> bool {
        self.pack.run.check().is_ok() && !self.is_given_up.load(Relaxed)
    }

    fn allows_on_disk(&mut self, more: u64) -> Result<(), Error> {
        self.pack.spent.on_disk(more, self.pack.table.end())
    }

    fn unreadable(&self, _entry: u32, err: io::Error) -> Error {
        damaged(err, self.pack.run)
    }

    fn failed(&self, err: io::Error) -> Error {
        Error::io("keeping objects on disk", err)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
