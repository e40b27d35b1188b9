//! Commits that another thread reads before a walk asks for them.
//!
//! Most of the time of a long walk without a commit-graph goes into inflating commits. Which ones come
//! next is known from those that were read; so a second thread reads on, the newest first, as walks do.
//! Should a walk want the very commit that is being read there, it reads another one in the meantime.

use std::{
    collections::{BinaryHeap, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use gix::ObjectId;

use super::commits::{ReadCommit, read_commit};
use crate::stored_packs::odb::Odb;

/// How many commits may wait to be asked for, each with its parents. It takes some megabytes.
#[cfg(not(any(test, fuzzing)))]
const MAX_WAITING: usize = 32 * 1024;
#[cfg(any(test, fuzzing))]
const MAX_WAITING: usize = 16;
/// How many may wait to be read. They take less.
const MAX_QUEUED: usize = 32 * 1024;

/// The thread, and what it shares with the walk.
pub(super) struct CommitsAhead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What to do for a commit that the walk asks for.
pub(super) enum Step {
    Take(Box<ReadCommit>),
    /// To be [known](CommitsAhead::know) then.
    ReadIt,
    /// This one; to be [put](CommitsAhead::put) then, before the first one is asked for again.
    ReadAnother(ObjectId),
}

#[derive(Default)]
struct Shared {
    schedule: Mutex<Schedule>,
    /// That there is something to do again.
    wake: Condvar,
}

impl CommitsAhead {
    /// `None` if there is no thread to be had. The walk won't ask for the parents of commits where the
    /// history is `shallow`.
    pub(super) fn start(odb: Odb, shallow: &HashSet<ObjectId>) -> Option<Self> {
        let shared = Arc::<Shared>::default();
        let mut schedule = shared.lock();
        schedule.asked.extend(shallow.iter().map(key));
        drop(schedule);
        let work = {
            let shared = Arc::clone(&shared);
            move || {
                let mut buffer = Vec::new();
                let mut done = None;
                while let Some(next) = shared.next(done) {
                    done = Some(Box::new(read_commit(&odb, next, &mut buffer)));
                }
            }
        };
        let thread = thread::Builder::new().name("refsync commits".to_owned());
        Some(CommitsAhead {
            shared,
            thread: Some(thread.spawn(work).ok()?),
        })
    }

    pub(super) fn ask(&self, id: &ObjectId) -> Step {
        let mut schedule = self.shared.lock();
        let step = schedule.ask(id);
        self.shared.wake_if_due(schedule);
        step
    }

    pub(super) fn put(&self, read: Box<ReadCommit>) {
        let mut schedule = self.shared.lock();
        schedule.put(read);
        self.shared.wake_if_due(schedule);
    }

    /// The walk knows this one; its parents may come next.
    pub(super) fn know(&self, date: i64, parents: &[ObjectId]) {
        let mut schedule = self.shared.lock();
        schedule.queue(date, parents);
        self.shared.wake_if_due(schedule);
    }
}

impl Drop for CommitsAhead {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.wake.notify_one();
        // At most until it has read one more. Should it have panicked, the walk has read the rest itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the other thread: what to read after `done`. `None` once the walk is over.
    fn next(&self, done: Option<Box<ReadCommit>>) -> Option<ObjectId> {
        let mut schedule = self.lock();
        schedule.reading = None;
        if let Some(done) = done {
            schedule.put(done);
        }
        loop {
            if schedule.is_over {
                return None;
            }
            if let Some(next) = schedule.next() {
                schedule.reading = Some(next);
                return Some(next);
            }
            schedule.is_idle = true;
            let woken = self.wake.wait(schedule);
            schedule = woken.unwrap_or_else(PoisonError::into_inner);
            schedule.is_idle = false;
        }
    }

    fn wake_if_due(&self, schedule: MutexGuard<'_, Schedule>) {
        let is_due = schedule.is_idle && schedule.has_work();
        drop(schedule);
        if is_due {
            self.wake.notify_one();
        }
    }
}

/// Who reads what. Nothing in here is ever the answer to a walk but a commit by its own id.
#[derive(Default)]
struct Schedule {
    /// Those that the walk has asked for, by the first bytes of the id: with all of a long history in
    /// it. Of two commits that begin with the same, one is not read ahead.
    asked: HashSet<u64>,
    /// The others that are known, by the same.
    commits: HashMap<u64, State>,
    /// With the date of a child.
    queue: BinaryHeap<(i64, ObjectId)>,
    /// What is [waiting](State::Waiting): commits and parents.
    waiting: usize,
    /// By the other thread.
    reading: Option<ObjectId>,
    is_idle: bool,
    is_over: bool,
}

enum State {
    Queued,
    /// Read, and not asked for yet.
    Waiting(Box<ReadCommit>),
}

impl Schedule {
    fn ask(&mut self, id: &ObjectId) -> Step {
        if self.reading.as_ref() == Some(id)
            && let Some(another) = self.next()
        {
            return Step::ReadAnother(another);
        }
        self.asked.insert(key(id));
        match self.commits.remove(&key(id)) {
            Some(State::Waiting(read)) => {
                self.waiting -= size(&read);
                // It may be there all the same: packs come and go while they are looked into.
                if read.id == *id && read.found.is_some() {
                    return Step::Take(read);
                }
            }
            _ if self.waiting >= MAX_WAITING => self.begin_anew(),
            _ => {}
        }
        Step::ReadIt
    }

    /// What was read is not what the walk wants. It tells itself where it goes.
    fn begin_anew(&mut self) {
        self.commits.clear();
        self.queue.clear();
        self.waiting = 0;
    }

    fn put(&mut self, read: Box<ReadCommit>) {
        if let Some((commit, _)) = read.found {
            self.queue(commit.date, &read.parents);
        }
        let state = self.commits.get_mut(&key(&read.id));
        if let Some(state @ State::Queued) = state {
            self.waiting += size(&read);
            *state = State::Waiting(read);
        }
    }

    fn queue(&mut self, date: i64, commits: &[ObjectId]) {
        for id in commits {
            if self.queue.len() < MAX_QUEUED
                && !self.asked.contains(&key(id))
                && let Entry::Vacant(new) = self.commits.entry(key(id))
            {
                new.insert(State::Queued);
                self.queue.push((date, *id));
            }
        }
    }

    fn next(&mut self) -> Option<ObjectId> {
        while self.has_work() {
            let (_, id) = self.queue.pop()?;
            if let Some(State::Queued) = self.commits.get(&key(&id)) {
                return Some(id);
            }
        }
        None
    }

    fn has_work(&self) -> bool {
        self.waiting < MAX_WAITING && !self.queue.is_empty()
    }
}

fn size(read: &ReadCommit) -> usize {
    1 + read.parents.len()
}

fn key(id: &ObjectId) -> u64 {
    let (first, _) = id.as_bytes().split_first_chunk().expect("20 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ancestry::{Commit, CommitGraph},
        pack::commits::StoreCommits,
        test_support::git_cli,
    };

    /// For each commit its date, and which others are its parents: they come before it.
    type History = Vec<(i64, Vec<usize>)>;

    fn id(commit: usize) -> ObjectId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&(commit as u64).to_be_bytes());
        ObjectId::from_bytes_or_panic(&bytes)
    }

    fn commit(id: &ObjectId) -> usize {
        key(id) as usize
    }

    fn read(history: &History, id: ObjectId) -> Box<ReadCommit> {
        let (date, parents) = &history[commit(&id)];
        let found = Commit {
            generation: None,
            date: *date,
        };
        Box::new(ReadCommit {
            id,
            // Some can't be read.
            found: (date % 7 != 0).then_some((found, id)),
            parents: parents.iter().map(|parent| self::id(*parent)).collect(),
        })
    }

    fn histories() -> impl Strategy<Value = History> {
        let parents = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
        prop::collection::vec((0..50_i64, parents), 1..120).prop_map(|commits| {
            let commits = commits.into_iter().enumerate();
            let commits = commits.map(|(number, (date, parents))| {
                let parents = parents.iter().filter(|_| number > 0);
                (date, parents.map(|parent| parent.index(number)).collect())
            });
            commits.collect()
        })
    }

    /// What the walk is told of each commit it asks for.
    fn walk(history: &History, mut other_goes_on: impl FnMut() -> bool) {
        let mut schedule = Schedule::default();
        let mut asked = vec![false; history.len()];
        let mut read_by_other = vec![false; history.len()];
        let mut pending = vec![id(history.len() - 1), id(history.len() / 2)];
        while let Some(next) = pending.pop() {
            if std::mem::replace(&mut asked[commit(&next)], true) {
                continue;
            }
            let found = loop {
                while other_goes_on() {
                    if let Some(done) = schedule.reading.take() {
                        schedule.put(read(history, done));
                    }
                    schedule.reading = schedule.next();
                    if let Some(id) = schedule.reading {
                        let number = commit(&id);
                        assert!(!std::mem::replace(&mut read_by_other[number], true));
                        assert!(!asked[number] || id == next);
                    }
                }
                let is_full = schedule.waiting >= MAX_WAITING;
                let step = schedule.ask(&next);
                // Only what was given up is read again.
                if is_full && schedule.waiting == 0 {
                    read_by_other.fill(false);
                }
                match step {
                    Step::Take(found) => break found,
                    Step::ReadIt => {
                        let found = read(history, next);
                        if let Some((commit, _)) = found.found {
                            schedule.queue(commit.date, &found.parents);
                        }
                        break found;
                    }
                    Step::ReadAnother(another) => {
                        assert_ne!(another, next);
                        schedule.put(read(history, another));
                    }
                }
            };
            let expected = read(history, next);
            assert_eq!(found.id, next);
            assert_eq!(found.found, expected.found);
            assert_eq!(found.parents, expected.parents);
            if found.found.is_some() {
                pending.extend(found.parents);
            }
            assert!(schedule.asked.contains(&key(&next)));
            assert!(!schedule.commits.contains_key(&key(&next)));
            let waiting = schedule.commits.values().map(|state| match state {
                State::Waiting(read) => size(read),
                State::Queued => 0,
            });
            assert_eq!(schedule.waiting, waiting.sum::<usize>());
            // One that is read by each comes on top.
            assert!(schedule.waiting < MAX_WAITING + 2 * 4);
        }
    }

    #[test]
    fn the_walk_is_told_of_each_commit_whoever_has_read_it() {
        proptest!(|(history in histories(), steps in prop::collection::vec(any::<bool>(), 1..40))| {
            let mut steps = steps.into_iter().cycle();
            // Not forever.
            let mut left = 3 * history.len();
            walk(&history, || {
                left = left.saturating_sub(1);
                left > 0 && steps.next() == Some(true)
            });
        });
    }

    #[test]
    fn of_two_that_begin_alike_the_right_one_is_told() {
        let [one, other] = [1, 2].map(|last| {
            let mut bytes = [7; 20];
            bytes[19] = last;
            ObjectId::from_bytes_or_panic(&bytes)
        });
        let mut schedule = Schedule::default();
        schedule.queue(1, &[one, other]);
        assert_eq!(schedule.next(), Some(one));
        let commit = Commit {
            generation: None,
            date: 1,
        };
        schedule.put(Box::new(ReadCommit {
            id: one,
            found: Some((commit, one)),
            parents: Vec::new(),
        }));
        assert!(matches!(schedule.ask(&other), Step::ReadIt));
        assert!(matches!(schedule.ask(&one), Step::ReadIt));
        assert_eq!(schedule.waiting, 0);
    }

    #[test]
    fn what_nobody_asks_for_is_given_up_once_there_is_too_much_of_it() {
        let line = |first: usize| (first..).map(|number| (1, vec![number + 1]));
        let history: History = line(0).take(200).collect();
        let mut schedule = Schedule::default();
        schedule.queue(1, &[id(0)]);
        while let Some(next) = schedule.next() {
            schedule.put(read(&history, next));
        }
        assert!(schedule.waiting >= MAX_WAITING);
        assert!(matches!(schedule.ask(&id(100)), Step::ReadIt));
        assert_eq!(schedule.waiting, 0);
        schedule.queue(
            1,
            &history[100].1.iter().map(|at| id(*at)).collect::<Vec<_>>(),
        );
        assert_eq!(schedule.next(), Some(id(101)));
        // What was given up may be wanted after all.
        schedule.queue(1, &[id(1)]);
        assert_eq!(schedule.next(), Some(id(1)));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn another_thread_takes_part_and_ends_with_the_walk() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        git_cli::git(dir.path(), &["init", "--quiet", "--bare"], b"");
        let commit = |number| {
            let author = format!("A <a> {number} +0000");
            format!("commit refs/heads/main\ncommitter {author}\ndata 0\n\n")
        };
        let stream: String = (1..200).map(commit).collect();
        git_cli::git(dir.path(), &["fast-import", "--quiet"], stream.as_bytes());
        let tip = git_cli::git(dir.path(), &["rev-parse", "main"], b"");
        let tip = ObjectId::from_hex(tip.trim().as_bytes()).expect("an id");
        let odb = Odb::at(dir.path().join("objects"), gix::hash::Kind::Sha1).expect("a store");
        let none = HashSet::new();
        for most in [200, 50] {
            let mut by_itself = StoreCommits::new(&odb, None, &none);
            let mut commits = StoreCommits::new(&odb, None, &none).reading_ahead();
            let mut next = vec![tip];
            let mut count = 0;
            while let Some(id) = next.pop().filter(|_| count < most) {
                let found = commits.commit(&id, &mut next);
                let mut parents = Vec::new();
                assert_eq!(by_itself.commit(&id, &mut parents), found);
                assert_eq!(next, parents);
                count += 1;
            }
            assert_eq!(count, most.min(199));
            let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
            assert_eq!(commits.is_helped(), cores > 1);
            assert!(!by_itself.is_helped());
        }
    }
}
