//! The walk among commits without generations. The [parent module](super) argues why it may stop where it does.

use super::{
    Reach,
    walked_history::{Index, Priority, UNKNOWN, WalkedHistory},
};
use crate::Error;
use std::collections::{BinaryHeap, HashMap};

/// Two different commits that were both looked up. A hole among them is a shallow one.
pub(super) struct Pair {
    pub(super) old: Index,
    pub(super) new: Index,
}

/// The answer for a pair. At most one of the two is [`Reach::Yes`].
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) new_reaches_old: Reach,
    pub(super) old_reaches_new: Reach,
}

impl Answer {
    pub(super) const NO: Answer = Answer {
        new_reaches_old: Reach::No,
        old_reaches_new: Reach::No,
    };
}

/// The answer for each pair, in the order given. Pairs that don't fit into one pass get another one over the same
/// `history`, which looks no commit up twice.
pub(super) fn relate(
    history: &mut WalkedHistory<'_>,
    pairs: &[Pair],
) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::with_capacity(pairs.len());
    if pairs.len() <= 64 {
        answers.extend(Walk::<1>::new(history, pairs).run()?);
    } else {
        for pairs in pairs.chunks(8 * 64) {
            answers.extend(Walk::<8>::new(history, pairs).run()?);
        }
    }
    Ok(answers)
}

/// A set of ends, one bit per pair and end. The colours of a commit are the ends that have reached it.
type Colours<const W: usize> = [[u64; W]; 2];
const NEW: usize = 0;
const OLD: usize = 1;
const ENDS: [usize; 2] = [NEW, OLD];

struct Walk<'h, 'g, const W: usize> {
    history: &'h mut WalkedHistory<'g>,
    pairs: &'h [Pair],
    /// The colours of each commit, by index.
    colours: Vec<Colours<W>>,
    /// The state of each commit, by index.
    visits: Vec<Visits>,
    queue: BinaryHeap<Priority>,
    holes: Vec<Index>,
    /// For each commit that is an end: the colours that settle a pair when they arrive there.
    wanted: HashMap<Index, Colours<W>>,
    /// The colours that may still arrive at the other end of their pair.
    open: Colours<W>,
    found: Colours<W>,
    /// Generation, end and pair: below the generation the end can't lead to the pair's other end. The highest is
    /// last.
    floors: Vec<(u32, usize, usize)>,
    first_visits: usize,
    repeated_visits: usize,
    visits_until_sweep: usize,
}

#[derive(Clone, Copy, Default)]
struct Visits {
    queued: bool,
    /// Whether the commit was visited; for a hole, whether the list of holes has it.
    visited: bool,
    /// Whether [`Walk::wanted`] has an entry for the commit.
    wanted: bool,
}

impl<'h, 'g, const W: usize> Walk<'h, 'g, W> {
    fn new(history: &'h mut WalkedHistory<'g>, pairs: &'h [Pair]) -> Self {
        let mut walk = Walk {
            colours: vec![[[0; W]; 2]; history.len()],
            visits: vec![Visits::default(); history.len()],
            history,
            pairs,
            queue: BinaryHeap::new(),
            holes: Vec::new(),
            wanted: HashMap::new(),
            open: [[0; W]; 2],
            found: [[0; W]; 2],
            floors: Vec::new(),
            first_visits: 0,
            repeated_visits: 0,
            visits_until_sweep: 0,
        };
        for (pair, ends) in pairs.iter().enumerate() {
            for (end, from, to) in [(NEW, ends.new, ends.old), (OLD, ends.old, ends.new)] {
                let mut colour = [[0; W]; 2];
                colour[end][pair / 64] = 1 << (pair % 64);
                add(&mut walk.open, &colour);
                add(walk.wanted.entry(to).or_insert([[0; W]; 2]), &colour);
                walk.visits[to as usize].wanted = true;
                walk.floors.push((walk.history.floor(to), end, pair));
                walk.paint(from, &colour);
            }
        }
        walk.floors.sort_unstable();
        walk
    }

    fn run(mut self) -> Result<impl Iterator<Item = Answer>, Error> {
        while let Some(head) = self.queue.peek().copied() {
            self.history.step()?;
            self.close_above(head.generation);
            // Among known generations the floors close everything as early as a sweep could.
            if head.generation == UNKNOWN {
                self.sweep_when_due();
            }
            if is_empty(&self.open) {
                break;
            }
            self.queue.pop();
            self.visit(head.index())?;
            if self.repeated_visits > self.first_visits + 1000 {
                self.distrust_dates()?;
            }
        }
        Ok(self.answers())
    }

    fn visit(&mut self, index: Index) -> Result<(), Error> {
        let visits = &mut self.visits[index as usize];
        visits.queued = false;
        if std::mem::replace(&mut visits.visited, true) {
            self.repeated_visits += 1;
        } else {
            self.first_visits += 1;
        }
        let colours = self.undecided(&self.colours[index as usize]);
        if is_empty(&colours) {
            return Ok(());
        }
        for edge in self.history.edges(index) {
            let parent = self.history.edge(edge);
            self.history.load(parent)?;
            self.paint(parent, &colours);
        }
        Ok(())
    }

    /// Adds colours to a commit that was looked up.
    fn paint(&mut self, index: Index, colours: &Colours<W>) {
        let at = index as usize;
        if at >= self.colours.len() {
            self.colours.resize(self.history.len(), [[0; W]; 2]);
            self.visits.resize(self.history.len(), Visits::default());
        }
        if !add(&mut self.colours[at], colours) {
            return;
        }
        if self.visits[at].wanted {
            self.arrive(index);
        }
        if self.history.is_hole(index) {
            if !std::mem::replace(&mut self.visits[at].visited, true) {
                self.holes.push(index);
            }
        } else if !std::mem::replace(&mut self.visits[at].queued, true) {
            self.queue.push(self.history.priority(index));
        }
    }

    fn arrive(&mut self, index: Index) {
        let wanted = &self.wanted[&index];
        let colours = &self.colours[index as usize];
        for end in ENDS {
            for word in 0..W {
                let found = wanted[end][word] & colours[end][word] & self.open[end][word];
                self.found[end][word] |= found;
                self.open[NEW][word] &= !found;
                self.open[OLD][word] &= !found;
            }
        }
    }

    /// Closes the colours that can't arrive any more once no commit above `generation` is queued.
    fn close_above(&mut self, generation: u32) {
        while let Some((_, end, pair)) = self.floors.pop_if(|(floor, ..)| *floor > generation) {
            self.open[end][pair / 64] &= !(1 << (pair % 64));
        }
    }

    /// Sweeping once per as many visits as there is to sweep costs a constant per visit, and
    /// overshoots the last common ancestors by no more than that.
    fn sweep_when_due(&mut self) {
        if self.visits_until_sweep > 0 {
            self.visits_until_sweep -= 1;
            return;
        }
        self.visits_until_sweep = self.queue.len() + self.holes.len();
        self.sweep();
    }

    /// Closes the colours that no queued commit can carry on.
    fn sweep(&mut self) {
        let (mut queued, mut queued_alone) = ([[0; W]; 2], [[0; W]; 2]);
        for commit in &self.queue {
            let colours = &self.colours[commit.index() as usize];
            add(&mut queued, colours);
            add(&mut queued_alone, &alone(colours));
        }
        let holes_alone = self.holes_alone();
        for end in ENDS {
            for word in 0..W {
                // The other colour may still arrive at a hole, and turn an unknown into a no.
                let doubtful = holes_alone[end][word] & queued[1 - end][word];
                self.open[end][word] &= queued_alone[end][word] | doubtful;
            }
        }
    }

    /// Replaces dates by topological levels. Dates that put parents before their children make the walk start over
    /// and over; levels never do, at the price of reading all of the history.
    fn distrust_dates(&mut self) -> Result<(), Error> {
        self.repeated_visits = 0;
        let queued: Vec<Index> = self.queue.drain().map(Priority::index).collect();
        self.history.rank_by_level(queued.clone())?;
        let history = &self.history;
        self.queue = queued
            .into_iter()
            .map(|index| history.priority(index))
            .collect();
        Ok(())
    }

    fn answers(self) -> impl Iterator<Item = Answer> {
        let holes_alone = self.holes_alone();
        let found = self.found;
        let reach = move |end: usize, pair: usize| {
            let has = |colours: &Colours<W>| colours[end][pair / 64] >> (pair % 64) & 1 == 1;
            if has(&found) {
                Reach::Yes
            } else if has(&holes_alone) {
                Reach::Unknown
            } else {
                Reach::No
            }
        };
        (0..self.pairs.len()).map(move |pair| Answer {
            new_reaches_old: reach(NEW, pair),
            old_reaches_new: reach(OLD, pair),
        })
    }

    /// The colours that some hole has without having the pair's other colour.
    fn holes_alone(&self) -> Colours<W> {
        let mut colours = [[0; W]; 2];
        for hole in &self.holes {
            add(&mut colours, &alone(&self.colours[*hole as usize]));
        }
        colours
    }

    /// `colours` without those of pairs that are decided.
    fn undecided(&self, colours: &Colours<W>) -> Colours<W> {
        let open = |word: usize| self.open[NEW][word] | self.open[OLD][word];
        colours.map(|bits| std::array::from_fn(|word| bits[word] & open(word)))
    }
}

/// Adds colours; whether `to` has gained one.
fn add<const W: usize>(to: &mut Colours<W>, colours: &Colours<W>) -> bool {
    let mut gained = 0;
    for end in ENDS {
        for word in 0..W {
            gained |= colours[end][word] & !to[end][word];
            to[end][word] |= colours[end][word];
        }
    }
    gained != 0
}

fn alone<const W: usize>(colours: &Colours<W>) -> Colours<W> {
    ENDS.map(|end| std::array::from_fn(|word| colours[end][word] & !colours[1 - end][word]))
}

fn is_empty<const W: usize>(colours: &Colours<W>) -> bool {
    colours.as_flattened().iter().all(|bits| *bits == 0)
}
