//! From the entries of a pack to its objects, while it arrives.
//!
//! What has arrived is resolved in windows, on other threads than the one that reads the pack. Should
//! those not keep up, it helps them: what comes in meanwhile waits at the sender, and not here. They share
//! a window, one whole object with all that is built on it after the other.
//!
//! The deltas of a window whose base is in an earlier one need that to be made once more. Git puts
//! bases close to their deltas, so it costs little; a pack that was made to cost more has the rest of
//! its deltas wait until all of it is there, when each entry is made at most once more.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use super::{
    delta_batch::{Allowance, DeltaBatch},
    inflated_cache::InflatedCache,
    inspection::Inspection,
    locked,
    resolving::{Pack, Resolver},
    table::Table,
    window::Window,
};
use crate::{
    Error,
    object::tree_diff::TreeFingerprint,
    pack::delta_tree::{ContentMemory, DeltaTraversal},
    scoped_workers::cores,
};

impl Pack<'_> {
    /// Has the pack arrive, and resolves the windows that are handed over meanwhile. Those are to be
    /// on disk and in the table.
    ///
    /// An error of the pack that shows as it arrives is told before any that shows in its deltas,
    /// and of those that of the first window, however fast it comes in. What all objects add up to is
    /// held against its limit as soon as it is known.
    pub(super) fn resolve_while<'s, T>(
        &self,
        arrive: impl FnOnce(&mut dyn FnMut(Window<'s>)) -> Result<T, Error>,
    ) -> Result<(T, Allowance), Error> {
        let most = cores();
        let windows = Windows {
            pack: self,
            room: self.room(most + 1),
            most,
            queue: Mutex::default(),
            has_come: Condvar::new(),
            is_given_up: AtomicBool::new(false),
            failure: Mutex::default(),
        };
        let arrived = thread::scope(|scope| {
            let windows = &windows;
            let mut threads = 0;
            let mut helper = Worker::new(windows);
            let all_have_come = AllHaveCome(windows);
            let arrived = arrive(&mut |window| {
                if threads < most {
                    threads += 1;
                    // Where none can be had, whoever reads the pack does it all.
                    let worker = thread::Builder::new();
                    let _ = worker.spawn_scoped(scope, || Worker::new(windows).work());
                }
                while let Some(open) = windows.next_if_full() {
                    helper.resolve(&open);
                }
                windows.hand_over(window);
            });
            let arrived = arrived.inspect_err(|_| windows.is_given_up.store(true, Relaxed));
            drop(all_have_come);
            helper.work();
            arrived
        })?;
        self.spent.nothing_waits();
        let allowance = locked(&windows.queue).allowance;
        let failure = windows.failure.into_inner();
        match failure.unwrap_or_else(PoisonError::into_inner) {
            None => Ok((arrived, allowance)),
            Some((_, err)) => Err(err),
        }
    }
}

/// The windows of a pack that have arrived, for the threads that resolve them.
struct Windows<'a, 's> {
    pack: &'a Pack<'a>,
    room: ContentMemory,
    /// The number of windows that wait before the reader of the pack helps.
    most: usize,
    queue: Mutex<Queue<'s>>,
    has_come: Condvar,
    /// The pack won't be there as a whole.
    is_given_up: AtomicBool,
    /// The first failure, with its place.
    failure: Mutex<Option<(Place, Error)>>,
}

/// The start of a window, and of a whole object in it.
type Place = (u32, u32);

#[derive(Default)]
struct Queue<'s> {
    windows: VecDeque<Window<'s>>,
    /// The one that was taken from here last.
    open: Option<Arc<Open<'s>>>,
    /// The allowance of all windows that were taken, in the order of the pack.
    allowance: Allowance,
    all_have_come: bool,
}

/// A window that is being resolved.
struct Open<'s> {
    part: DeltaBatch,
    at_hand: InflatedCache<'s>,
    /// The number of its entries that were taken.
    taken: AtomicUsize,
}

impl Open<'_> {
    fn has_more(&self) -> bool {
        self.taken.load(Relaxed) < self.part.entries().len()
    }

    /// A whole object that nobody else takes.
    fn take(&self, table: &Table) -> Option<u32> {
        let entries = self.part.entries();
        loop {
            let entry = *entries.get(self.taken.fetch_add(1, Relaxed))?;
            if !table.is_delta(entry) {
                return Some(entry);
            }
        }
    }
}

impl<'s> Windows<'_, 's> {
    fn hand_over(&self, window: Window<'s>) {
        locked(&self.queue).windows.push_back(window);
        self.has_come.notify_one();
    }

    /// Waits for a window that has something left to do.
    fn next(&self) -> Option<Arc<Open<'s>>> {
        let mut queue = locked(&self.queue);
        loop {
            let next = self.take(&mut queue);
            if next.is_some() || queue.all_have_come || self.are_over() {
                return next;
            }
            let waited = self.has_come.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_if_full(&self) -> Option<Arc<Open<'s>>> {
        let mut queue = locked(&self.queue);
        let is_full = queue.windows.len() >= self.most;
        is_full.then(|| self.take(&mut queue))?
    }

    fn take(&self, queue: &mut Queue<'s>) -> Option<Arc<Open<'s>>> {
        if self.are_over() {
            queue.windows.clear();
            queue.open = None;
        }
        if let Some(open) = queue.open.as_ref().filter(|open| open.has_more()) {
            return Some(Arc::clone(open));
        }
        queue.open = None;
        let Window { entries, at_hand } = queue.windows.pop_front()?;
        let open = Arc::new(Open {
            part: DeltaBatch::window(&self.pack.table, entries, &mut queue.allowance),
            at_hand,
            taken: AtomicUsize::new(0),
        });
        // There may be somebody with nothing to do.
        self.has_come.notify_all();
        queue.open = Some(Arc::clone(&open));
        Some(open)
    }

    fn are_over(&self) -> bool {
        self.is_given_up.load(Relaxed) || locked(&self.failure).is_some()
    }

    fn fail(&self, at: Place, err: Error) {
        let mut failure = locked(&self.failure);
        if failure.as_ref().is_none_or(|(first, _)| at < *first) {
            *failure = Some((at, err));
        }
    }
}

/// Whoever waits for a window is told when this is dropped.
struct AllHaveCome<'w, 'a, 's>(&'w Windows<'a, 's>);

impl Drop for AllHaveCome<'_, '_, '_> {
    fn drop(&mut self) {
        locked(&self.0.queue).all_have_come = true;
        self.0.has_come.notify_all();
    }
}

/// One thread's way through the windows.
struct Worker<'w, 'a, 's> {
    windows: &'w Windows<'a, 's>,
    /// As soon as there is something to do.
    tools: Option<(DeltaTraversal<'w, TreeFingerprint>, Inspection<'a>)>,
}

impl<'w, 'a, 's> Worker<'w, 'a, 's> {
    fn new(windows: &'w Windows<'a, 's>) -> Self {
        Worker {
            windows,
            tools: None,
        }
    }

    /// Resolves one window after the other until all have come.
    fn work(mut self) {
        while let Some(open) = self.windows.next() {
            self.resolve(&open);
        }
        // What was found in a pack that isn't taken counts for nobody.
        let tools = self.tools.filter(|_| !self.windows.are_over());
        let inspected = tools.map(|(_, inspection)| inspection.finish());
        if let Some(Err(err)) = inspected {
            self.windows.fail((u32::MAX, 0), err);
        }
    }

    /// Nothing is taken once something has failed, but whoever has taken an entry goes through with it: a
    /// fault in there is before that.
    fn resolve(&mut self, open: &Open<'s>) {
        while !self.windows.are_over()
            && let Some(entry) = open.take(&self.windows.pack.table)
        {
            if let Err(err) = self.try_to_resolve(entry, open) {
                self.windows.fail((open.part.first(), entry), err);
            }
        }
    }

    fn try_to_resolve(&mut self, entry: u32, open: &Open<'s>) -> Result<(), Error> {
        let Open { part, at_hand, .. } = open;
        let Windows {
            pack,
            room,
            is_given_up,
            ..
        } = self.windows;
        let (descent, inspection) = match &mut self.tools {
            Some(tools) => tools,
            none => none.insert((pack.descent(room)?, pack.found.inspection())),
        };
        let mut resolver = Resolver {
            pack,
            part,
            at_hand,
            ref_deltas: None,
            is_given_up,
            inspection,
        };
        descent.descend(entry, &mut resolver)
    }
}
