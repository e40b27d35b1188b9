//! The walk among commits with generations: from the highest level down, each commit once.
//!
//! A commit is visited after all of its children, so it has all its colours by then and needs them no longer
//! afterwards: colours are kept only for waiting commits.

use std::collections::HashMap;

use super::{
    Reach,
    walked_history::{Index, WalkedHistory},
};
use crate::Error;

/// A search for one commit in the history of another. `from` has the higher level.
pub(super) struct Search {
    pub(super) from: Index,
    pub(super) to: Index,
}

/// The answer to each search, in the order given.
pub(super) fn search(
    history: &mut WalkedHistory<'_>,
    searches: &[Search],
) -> Result<Vec<Reach>, Error> {
    let mut reaches = Vec::with_capacity(searches.len());
    if searches.len() <= 64 {
        reaches.extend(Descent::<1>::new(history, searches).run()?);
    } else {
        for searches in searches.chunks(16 * 64) {
            reaches.extend(Descent::<16>::new(history, searches).run()?);
        }
    }
    Ok(reaches)
}

/// A set of searches, one bit for each. The colours of a commit are the searches that have reached it.
type Colours<const W: usize> = [u64; W];

struct Descent<'h, 'g, const W: usize> {
    history: &'h mut WalkedHistory<'g>,
    searches: &'h [Search],
    /// The state of each commit, by index.
    commits: Vec<Mark>,
    /// Slots of waiting commits, each in the list of its level.
    waiting: Vec<Waiting<W>>,
    /// The slots that are free again.
    free: Vec<u32>,
    /// The first slot of each level's list.
    levels: Vec<u32>,
    /// The colours of the searches for each commit that is a `to`.
    wanted: HashMap<Index, Colours<W>>,
    /// Whether a commit is a `to`, by index. No commit beyond the end is one.
    ends: Vec<bool>,
    /// The level of each search's `to`, below which the search is over; the highest is last.
    floors: Vec<(u32, usize)>,
    /// The undecided searches.
    open: Colours<W>,
    found: Colours<W>,
    /// The searches that have met a hole.
    doubtful: Colours<W>,
}

/// The state of a commit: [`NOT_MET`], [`DONE`], or the slot in which it waits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(u32);

const NONE: u32 = u32::MAX;
const NOT_MET: Mark = Mark(NONE);
const DONE: Mark = Mark(NONE - 1);

struct Waiting<const W: usize> {
    commit: Index,
    colours: Colours<W>,
    /// The next slot in the list.
    next: u32,
}

impl<'h, 'g, const W: usize> Descent<'h, 'g, W> {
    fn new(history: &'h mut WalkedHistory<'g>, searches: &'h [Search]) -> Self {
        let none = [0; W];
        let mut descent = Descent {
            commits: vec![NOT_MET; history.len()],
            ends: vec![false; history.len()],
            history,
            searches,
            waiting: Vec::new(),
            free: Vec::new(),
            levels: Vec::new(),
            wanted: HashMap::new(),
            floors: Vec::new(),
            open: none,
            found: none,
            doubtful: none,
        };
        for (search, ends) in searches.iter().enumerate() {
            let mut colour = none;
            colour[search / 64] = 1 << (search % 64);
            add(&mut descent.open, &colour);
            add(descent.wanted.entry(ends.to).or_insert(none), &colour);
            descent.ends[ends.to as usize] = true;
            let floor = descent.history.level(ends.to).unwrap_or_default();
            descent.floors.push((floor, search));
            let top = descent.history.level(ends.from).unwrap_or_default();
            descent.paint(ends.from, &colour, top);
        }
        descent.floors.sort_unstable();
        descent
    }

    fn run(mut self) -> Result<impl Iterator<Item = Reach>, Error> {
        for level in (0..self.levels.len() as u32).rev() {
            self.close_above(level);
            if self.open == [0; W] {
                break;
            }
            while self.levels[level as usize] != NONE {
                self.history.step()?;
                let slot = self.levels[level as usize];
                let waiting = &self.waiting[slot as usize];
                let (commit, colours) = (waiting.commit, waiting.colours);
                self.levels[level as usize] = waiting.next;
                self.free.push(slot);
                self.commits[commit as usize] = DONE;
                self.visit(commit, colours, level)?;
            }
        }
        let (found, doubtful) = (self.found, self.doubtful);
        Ok((0..self.searches.len()).map(move |search| {
            let has = |colours: &Colours<W>| colours[search / 64] >> (search % 64) & 1 == 1;
            if has(&found) {
                Reach::Yes
            } else if has(&doubtful) {
                Reach::Unknown
            } else {
                Reach::No
            }
        }))
    }

    fn visit(&mut self, commit: Index, mut colours: Colours<W>, level: u32) -> Result<(), Error> {
        retain(&mut colours, &self.open);
        if self.ends.get(commit as usize) == Some(&true)
            && let Some(wanted) = self.wanted.get(&commit)
        {
            let mut found = *wanted;
            retain(&mut found, &colours);
            add(&mut self.found, &found);
            remove(&mut self.open, &found);
            remove(&mut colours, &found);
        }
        if colours == [0; W] {
            return Ok(());
        }
        for edge in self.history.edges(commit) {
            let parent = self.history.edge(edge);
            self.history.load(parent)?;
            self.paint(parent, &colours, level);
        }
        Ok(())
    }

    /// Adds colours to a commit that was looked up, and has it wait at `level` or below.
    fn paint(&mut self, commit: Index, colours: &Colours<W>, level: u32) {
        if self.history.is_hole(commit) {
            return add(&mut self.doubtful, colours);
        }
        let at = commit as usize;
        if at >= self.commits.len() {
            self.commits.resize(self.history.len(), NOT_MET);
        }
        match self.commits[at] {
            NOT_MET => {}
            // Only a graph with wrong generations comes back to a visited commit.
            DONE => return add(&mut self.doubtful, colours),
            Mark(slot) => return add(&mut self.waiting[slot as usize].colours, colours),
        }
        let level = self.history.level(commit).unwrap_or(level).min(level) as usize;
        if level >= self.levels.len() {
            self.levels.resize(level + 1, NONE);
        }
        let waiting = Waiting {
            commit,
            colours: *colours,
            next: self.levels[level],
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.waiting[slot as usize] = waiting;
                slot
            }
            None => {
                self.waiting.push(waiting);
                self.waiting.len() as u32 - 1
            }
        };
        self.levels[level] = slot;
        self.commits[at] = Mark(slot);
    }

    /// Closes the searches whose `to` is above `level`.
    fn close_above(&mut self, level: u32) {
        while let Some((_, search)) = self.floors.pop_if(|(floor, _)| *floor > level) {
            self.open[search / 64] &= !(1 << (search % 64));
        }
    }
}

fn add<const W: usize>(to: &mut Colours<W>, more: &Colours<W>) {
    to.iter_mut().zip(more).for_each(|(to, more)| *to |= more);
}

fn retain<const W: usize>(to: &mut Colours<W>, those: &Colours<W>) {
    to.iter_mut()
        .zip(those)
        .for_each(|(to, those)| *to &= those);
}

fn remove<const W: usize>(from: &mut Colours<W>, those: &Colours<W>) {
    from.iter_mut()
        .zip(those)
        .for_each(|(from, those)| *from &= !those);
}
