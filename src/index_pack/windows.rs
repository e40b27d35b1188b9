//! Resolving the deltas of a pack while it arrives.
//!
//! The thread that reads the pack hands over windows of entries; other threads resolve them. If they fall behind, the
//! reading thread helps, so that the backlog is in the connection and not in memory. Threads share a window: each
//! takes one whole object at a time with all deltas of it.
//!
//! A delta whose base is in an earlier window needs that base to be reconstructed again. Git writes bases close to
//! their deltas, so that costs little. The cost is bounded by [`Allowance`]: in a pack made to exceed it, the remaining
//! deltas wait until the pack has arrived, and then each entry is reconstructed at most once more.

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
    resolving::{Pack, Resolver},
    table::Table,
    window::Window,
};
use crate::{
    Error,
    pack::delta_tree::{ContentMemory, DeltaTraversal},
    scoped_workers::{cores, into_inner, lock},
};

impl Pack<'_> {
    /// Calls `arrive`, which reads the pack, and resolves the windows that it hands over. Their entries must be on
    /// disk and in the table.
    ///
    /// The error does not depend on the speed of arrival or of threads: an error of the stream comes before any
    /// error in its deltas, and among these the one of the first window wins.
    pub(super) fn resolve_while<'s, T>(
        &self,
        arrive: impl FnOnce(&mut dyn FnMut(Window<'s>)) -> Result<T, Error>,
    ) -> Result<(T, Allowance), Error> {
        let most = cores();
        let windows = Windows {
            pack: self,
            content_memory: self.content_memory(most + 1),
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
                    // If no thread can be started, the reading thread resolves all windows.
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
        self.budget.nothing_waits();
        let allowance = lock(&windows.queue).allowance;
        match into_inner(windows.failure) {
            None => Ok((arrived, allowance)),
            Some((_, err)) => Err(err),
        }
    }
}

/// The windows of a pack that have arrived, for the threads that resolve them.
struct Windows<'a, 's> {
    pack: &'a Pack<'a>,
    content_memory: ContentMemory,
    /// The number of waiting windows from which on the reading thread helps.
    most: usize,
    queue: Mutex<Queue<'s>>,
    has_come: Condvar,
    /// Whether the stream has failed, so that no result is needed.
    is_given_up: AtomicBool,
    /// The failure that comes first in the order of the pack.
    failure: Mutex<Option<(EntryOrder, Error)>>,
}

/// The order of failures: the first entry of a window, and a whole object in it. A base of an earlier window may be
/// reconstructed again for a later one, so the object alone does not tell the order.
type EntryOrder = (u32, u32);

#[derive(Default)]
struct Queue<'s> {
    windows: VecDeque<Window<'s>>,
    /// The window that was taken last and may have entries left.
    open: Option<Arc<Open<'s>>>,
    /// The allowance after all windows that were taken. Windows are taken in the order of the pack, so it depends
    /// on the pack alone.
    allowance: Allowance,
    all_have_come: bool,
}

/// A window that is being resolved.
struct Open<'s> {
    batch: DeltaBatch,
    inflated: InflatedCache<'s>,
    /// The number of entries that were taken.
    taken: AtomicUsize,
}

impl Open<'_> {
    fn has_more(&self) -> bool {
        self.taken.load(Relaxed) < self.batch.entries.len()
    }

    /// Takes the next whole object for one thread.
    fn take(&self, table: &Table) -> Option<u32> {
        let entries = &self.batch.entries;
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
        lock(&self.queue).windows.push_back(window);
        self.has_come.notify_one();
    }

    /// Waits for a window with entries left; `None` once all windows are done or the pack has failed.
    fn next(&self) -> Option<Arc<Open<'s>>> {
        let mut queue = lock(&self.queue);
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
        let mut queue = lock(&self.queue);
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
        let Window { entries, inflated } = queue.windows.pop_front()?;
        let open = Arc::new(Open {
            batch: DeltaBatch::window(&self.pack.table, entries, &mut queue.allowance),
            inflated,
            taken: AtomicUsize::new(0),
        });
        // Threads share this window: wake all that wait.
        self.has_come.notify_all();
        queue.open = Some(Arc::clone(&open));
        Some(open)
    }

    fn are_over(&self) -> bool {
        self.is_given_up.load(Relaxed) || lock(&self.failure).is_some()
    }

    fn fail(&self, at: EntryOrder, err: Error) {
        let mut failure = lock(&self.failure);
        if failure.as_ref().is_none_or(|(first, _)| at < *first) {
            *failure = Some((at, err));
        }
    }
}

/// Ends the wait of all threads when it is dropped, also by a panic of the reading thread.
struct AllHaveCome<'w, 'a, 's>(&'w Windows<'a, 's>);

impl Drop for AllHaveCome<'_, '_, '_> {
    fn drop(&mut self) {
        lock(&self.0.queue).all_have_come = true;
        self.0.has_come.notify_all();
    }
}

/// One thread's way through the windows.
struct Worker<'w, 'a, 's> {
    windows: &'w Windows<'a, 's>,
    /// Made for the first entry: they open the pack's file.
    tools: Option<(DeltaTraversal<'w>, Inspection<'a>)>,
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
        // The findings of a failed pack are dropped.
        let tools = self.tools.filter(|_| !self.windows.are_over());
        let inspected = tools.map(|(_, inspection)| inspection.finish());
        if let Some(Err(err)) = inspected {
            self.windows.fail((u32::MAX, 0), err);
        }
    }

    /// Resolves entries of a window until none is left. After a failure no new entry is claimed; a thread finishes
    /// the entry that it holds, because an error in it may come first in the order of the pack.
    fn resolve(&mut self, open: &Open<'s>) {
        while !self.windows.are_over()
            && let Some(entry) = open.take(&self.windows.pack.table)
        {
            if let Err(err) = self.try_to_resolve(entry, open) {
                self.windows.fail((open.batch.first, entry), err);
            }
        }
    }

    fn try_to_resolve(&mut self, entry: u32, open: &Open<'s>) -> Result<(), Error> {
        let Open {
            batch, inflated, ..
        } = open;
        let Windows {
            pack,
            content_memory,
            is_given_up,
            ..
        } = self.windows;
        let (traversal, inspection) = match &mut self.tools {
            Some(tools) => tools,
            none => none.insert((pack.traversal(content_memory)?, pack.findings.inspection())),
        };
        let mut resolver = Resolver {
            pack,
            batch,
            inflated,
            ref_deltas: None,
            is_given_up,
            inspection,
        };
        traversal.traverse(entry, &mut resolver)
    }
}
