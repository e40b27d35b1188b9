//! What is in all the trees of a pack: read in the order of its deltas, each once, and of each only
//! what it has and the tree that it is a delta of hasn't.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use gix::{
    ObjectId,
    objs::{Kind, tree::EntryRef},
};

use super::{
    StoredPacks,
    delta_chains::{Chains, GivenUp, Look},
    pack_scan::bases_and_kinds,
    rev_index::Survey,
};
use crate::{
    Error, Phase, SyncContext,
    object::{
        tree_diff::TreeFingerprint,
        tree_entries::{each_new, kind_of},
    },
    pack::{
        name_hash::name_hash,
        resolve::{Deltas, NO_BASE, Visited},
    },
};

/// Bytes that reading the trees of a pack may take.
pub(crate) struct Memory {
    /// For contents that wait for their turn.
    pub(crate) contents: u64,
    /// For one tree.
    pub(crate) each: u64,
    /// For what was found. Of trees that aren't deltas of each other there is very much.
    pub(crate) links: u64,
}

/// For objects that nobody sends us.
pub(crate) const OWN: Memory = Memory {
    contents: 32 * 1024 * 1024,
    each: u64::MAX,
    links: 512 * 1024 * 1024,
};

/// How many links take as much memory as what is not in the pack, beside its own.
const LINKS_OF_ELSEWHERE: usize = 3;

/// From how many commits on it can be worth it to look at all of a pack, and how small a part of its
/// objects they may be.
pub(crate) const MANY_COMMITS: usize = 1000;
pub(crate) const MIN_SHARE: usize = 20;

/// Whether reading all trees of the largest pack is less than following those of so many commits.
pub(crate) fn is_worth_it(commits: usize, packs: &StoredPacks) -> bool {
    commits >= MANY_COMMITS && commits >= packs.most_objects() / MIN_SHARE
}

/// An entry of a tree.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) to: Target,
    pub(crate) kind: Kind,
    /// Of its name alone, and how long that is.
    pub(crate) name_hash: u32,
    pub(crate) name_length: u8,
}

#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At this place in the pack.
    Here(u32),
    /// One of [`Read::elsewhere`].
    Elsewhere(u32),
}

/// What the trees of a pack have in them. None was read by default.
#[derive(Default)]
pub(crate) struct TreeLinks {
    pub(crate) bases: Vec<u32>,
    pub(crate) kinds: Vec<Option<Kind>>,
    /// Of each tree, by its place: who has read it, and what it has beyond its base.
    read: Vec<OnceLock<(u32, Range<u32>)>>,
    readers: Vec<Read>,
}

/// What one thread has read.
#[derive(Default)]
pub(crate) struct Read {
    links: Vec<Link>,
    pub(crate) elsewhere: Vec<ObjectId>,
}

impl TreeLinks {
    /// `None` if some tree can't be read that way, or if there is not enough memory.
    pub(crate) fn read(
        survey: &Survey<'_>,
        memory: &Memory,
        phase: Phase,
        run: &SyncContext,
    ) -> Result<Option<Self>, Error> {
        let (bases, kinds) = bases_and_kinds(survey.entries);
        let read: Vec<_> = (0..survey.order.len()).map(|_| OnceLock::new()).collect();
        let (count, links) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Each is numbered with 32 bits.
        let most_links = memory.links.min(u32::MAX.into()) as usize / size_of::<Link>();
        let trees = |reader| Trees {
            survey,
            read: &read,
            count: &count,
            links: &links,
            most_links,
            reader,
            found: Read::default(),
            phase,
            run,
        };
        let chains = Chains {
            survey,
            bases: &bases,
            kinds: &kinds,
            deltas: Deltas::of_bases(&bases),
            run,
        };
        let readers = chains.descend(Kind::Tree, (memory.contents, memory.each), trees);
        match readers {
            Ok(readers) => Ok(Some(TreeLinks {
                bases,
                kinds,
                readers: readers.into_iter().map(|trees| trees.found).collect(),
                read,
            })),
            Err(GivenUp::Stopped(err)) => Err(err),
            Err(GivenUp::Unreadable) => Ok(None),
        }
    }

    pub(crate) fn of(&self, tree: u32) -> Option<(&Read, &[Link])> {
        let (reader, range) = self.read.get(tree as usize)?.get()?;
        let read = &self.readers[*reader as usize];
        Some((read, &read.links[range.start as usize..range.end as usize]))
    }

    /// Whether every tree leads only to what is in the pack, of the kind that the tree says, and
    /// trees to trees no more than `levels` times.
    pub(crate) fn are_closed(&self, levels: u16, run: &SyncContext) -> Result<bool, Error> {
        let is_here = |link: &Link| match link.to {
            Target::Here(place) => self.kinds[place as usize] == Some(link.kind),
            Target::Elsewhere(_) => false,
        };
        let mut links = self.readers.iter().flat_map(|reader| &reader.links);
        let all_are_read = (0..)
            .zip(&self.kinds)
            .all(|(place, kind)| *kind != Some(Kind::Tree) || self.of(place).is_some());
        Ok(all_are_read && links.all(is_here) && self.nest_at_most(levels, run)?)
    }

    /// A tree has none but the trees of its base and its own, so it goes no deeper than those do.
    fn nest_at_most(&self, levels: u16, run: &SyncContext) -> Result<bool, Error> {
        const NEW: u16 = 0;
        const ENTERED: u16 = u16::MAX;
        let mut heights = vec![NEW; self.kinds.len()];
        let mut way = Vec::new();
        for (place, kind) in (0..).zip(&self.kinds) {
            if *kind == Some(Kind::Tree) {
                way.push(place);
            }
            while let Some(tree) = way.last().copied() {
                run.check()?;
                let entered = std::mem::replace(&mut heights[tree as usize], ENTERED);
                if entered != NEW && entered != ENTERED {
                    heights[tree as usize] = entered;
                    way.pop();
                    continue;
                }
                let base = self.bases[tree as usize];
                let base = (base != NO_BASE).then_some((base, 0));
                let mut height = 1;
                let before = way.len();
                for (below, step) in self.trees_in(tree).map(|tree| (tree, 1)).chain(base) {
                    match heights[below as usize] {
                        NEW => way.push(below),
                        // Only by way of a base: what is in it need not be in here.
                        ENTERED => return Ok(false),
                        known => height = height.max(known + step),
                    }
                }
                if height > levels {
                    return Ok(false);
                }
                if way.len() == before {
                    heights[tree as usize] = height;
                    way.pop();
                }
            }
        }
        Ok(true)
    }

    fn trees_in(&self, tree: u32) -> impl Iterator<Item = u32> {
        let links = self.of(tree).map_or(&[][..], |(_, links)| links);
        links.iter().filter_map(|link| match (link.kind, link.to) {
            (Kind::Tree, Target::Here(place)) => Some(place),
            _ => None,
        })
    }
}

/// Reads trees on the way down.
struct Trees<'a> {
    survey: &'a Survey<'a>,
    read: &'a [OnceLock<(u32, Range<u32>)>],
    count: &'a AtomicUsize,
    /// How many all readers have found.
    links: &'a AtomicUsize,
    most_links: usize,
    reader: u32,
    found: Read,
    phase: Phase,
    run: &'a SyncContext,
}

impl Trees<'_> {
    fn note(&mut self, entry: &EntryRef<'_>) {
        let Some(kind) = kind_of(entry) else {
            return;
        };
        let to = match self.survey.order.find(entry.oid) {
            Some(place) => Target::Here(place),
            None => {
                self.found.elsewhere.push(entry.oid.to_owned());
                Target::Elsewhere(self.found.elsewhere.len() as u32 - 1)
            }
        };
        self.found.links.push(Link {
            to,
            kind,
            name_hash: name_hash(entry.filename),
            name_length: entry.filename.len().min(16) as u8,
        });
    }
}

impl Look for Trees<'_> {
    type Note = TreeFingerprint;

    fn look_at(
        &mut self,
        entry: u32,
        content: &[u8],
        base: Option<Visited<'_, TreeFingerprint>>,
    ) -> Result<TreeFingerprint, GivenUp> {
        let count = self.count.fetch_add(1, Relaxed) as u64;
        if count.is_multiple_of(1024) {
            self.run.advance(self.phase, count, None);
        }
        let first = self.found.links.len() as u32;
        let first_elsewhere = self.found.elsewhere.len();
        // Without its base at hand it isn't known what is new.
        let is_known = base.is_some() || self.survey.is_whole(entry);
        let format = self.survey.order.index.object_hash();
        let changed = base.as_ref().and_then(|base| {
            // If it isn't, the whole tree that it is made from in the end can't be read, nor can all that
            // is made from that. Whoever needs one of them finds out: there or by reading it in full.
            let is_sound = || true;
            base.note.changed(content, base.content, format, is_sound)
        });
        let base = base.map_or(&[][..], |base| base.content);
        let mut note = |entry: EntryRef<'_>, _: Option<_>| self.note(&entry);
        let read = match &changed {
            Some(changed) => {
                let mut entries = changed.entries.iter();
                entries.try_for_each(|(raw, _)| each_new(raw, &[], format, &mut note))
            }
            None if is_known => each_new(content, base, format, note),
            None => None,
        };
        let elsewhere = self.found.elsewhere.len() - first_elsewhere;
        let more = self.found.links.len() - first as usize + elsewhere * LINKS_OF_ELSEWHERE;
        if self.links.fetch_add(more, Relaxed) + more > self.most_links {
            return Err(GivenUp::Unreadable);
        }
        // One that can't be parsed may not be needed.
        if read.is_some() {
            let links = first..self.found.links.len() as u32;
            let _ = self.read[entry as usize].set((self.reader, links));
        }
        Ok(changed.map_or_else(TreeFingerprint::default, |changed| changed.fingerprint))
    }
}
