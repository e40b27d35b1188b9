//! What is in the trees of all commits, where the receiver has nothing.
//!
//! Nearly every tree of the largest pack is needed then. They are read in the order of its deltas,
//! each once, and of each only what it has and the tree that it is a delta of hasn't. Then what is
//! behind the commits is marked, newest first: a tree whose base is marked, too, leads to that and
//! to its own entries. Should the base turn out not to be needed, the tree is read in full.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use gix::{ObjectId, hashtable::HashSet, objs::Kind};

use super::{
    NoPack,
    scan::bases_and_kinds,
    search::name_hash,
    selection::Selected,
    stored::Survey,
    trees::{kind_of, tree_content},
};
use crate::{
    Error, Phase, Run,
    pack::{
        entries::each_new,
        resolve::{Deltas, Descent, NO_BASE, Room, Work},
    },
};

/// For contents that wait for their turn.
const MEMORY: u64 = 32 * 1024 * 1024;

/// The trees and blobs behind `roots`, each once. `None` if some tree in the pack can't be read that
/// way, wherever it is needed.
pub(super) fn find(
    odb: &gix::odb::Handle,
    survey: &Survey<'_>,
    roots: &[(ObjectId, Kind)],
    run: &Run,
) -> Result<Option<Vec<Selected>>, NoPack> {
    let Some(links) = TreeLinks::read(survey, run)? else {
        return Ok(None);
    };
    let mut marking = Marking {
        odb,
        survey,
        links: &links,
        run,
        is_marked: vec![false; survey.len()],
        marked_elsewhere: HashSet::default(),
        pending: Vec::new(),
        unsettled: Vec::new(),
        found: Vec::new(),
    };
    for (root, kind) in roots {
        marking.mark_id(*root, *kind, name_hash(b""))?;
        marking.follow()?;
    }
    marking.settle()?;
    Ok(Some(marking.found))
}

/// An entry of a tree.
#[derive(Clone, Copy)]
struct Link {
    to: Target,
    kind: Kind,
    /// Of its name alone, and how long that is: see [`path_hash()`].
    name_hash: u32,
    name_length: u8,
}

#[derive(Clone, Copy)]
enum Target {
    /// At this place in the pack.
    Here(u32),
    /// One of [`Read::elsewhere`].
    Elsewhere(u32),
}

/// What the trees of a pack have in them.
struct TreeLinks {
    bases: Vec<u32>,
    kinds: Vec<Option<Kind>>,
    /// Of each tree, by its place: who has read it, and what it has beyond its base.
    read: Vec<OnceLock<(u32, Range<u32>)>>,
    readers: Vec<Read>,
}

/// What one thread has read.
#[derive(Default)]
struct Read {
    links: Vec<Link>,
    elsewhere: Vec<ObjectId>,
}

impl TreeLinks {
    fn read(survey: &Survey<'_>, run: &Run) -> Result<Option<Self>, NoPack> {
        let (bases, kinds) = bases_and_kinds(survey.entries);
        let deltas = Deltas::of_bases(&bases);
        let read: Vec<_> = (0..survey.len()).map(|_| OnceLock::new()).collect();
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
        let room = Room::new(MEMORY, threads);
        let next = AtomicUsize::new(0);
        let count = AtomicUsize::new(0);
        let work = |reader: u32| -> Result<Read, NoTree> {
            let mut trees = Trees {
                survey,
                deltas: &deltas,
                read: &read,
                count: &count,
                reader,
                found: Read::default(),
                run,
            };
            let hash = survey.index.object_hash();
            let mut descent = Descent::new(survey.pack, hash, &room, &std::env::temp_dir())?;
            loop {
                let root = next.fetch_add(1, Relaxed);
                match kinds.get(root) {
                    None => return Ok(trees.found),
                    Some(Some(Kind::Tree)) if bases[root] == NO_BASE => {
                        let done = descent.descend(root as u32, &mut trees);
                        done.inspect_err(|_| next.store(kinds.len(), Relaxed))?;
                    }
                    Some(_) => {}
                }
            }
        };
        let readers = thread::scope(|scope| {
            let work = &work;
            let helpers: Vec<_> = (1..threads as u32)
                .map(|reader| scope.spawn(move || work(reader)))
                .collect();
            let first = work(0);
            let helped = helpers.into_iter().map(|helper| {
                helper
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            std::iter::once(first)
                .chain(helped.collect::<Vec<_>>())
                .collect::<Result<Vec<_>, _>>()
        });
        match readers {
            Ok(readers) => Ok(Some(TreeLinks {
                bases,
                kinds,
                read,
                readers,
            })),
            Err(NoTree::Stopped(err)) => Err(err.into()),
            Err(NoTree::Unreadable) => Ok(None),
        }
    }

    fn of(&self, tree: u32) -> Option<(&Read, &[Link])> {
        let (reader, range) = self.read[tree as usize].get()?;
        let read = &self.readers[*reader as usize];
        Some((read, &read.links[range.start as usize..range.end as usize]))
    }
}

/// Why reading all trees was given up.
enum NoTree {
    Stopped(Error),
    Unreadable,
}

impl From<io::Error> for NoTree {
    fn from(_: io::Error) -> Self {
        NoTree::Unreadable
    }
}

/// Reads trees on the way down.
struct Trees<'a> {
    survey: &'a Survey<'a>,
    deltas: &'a Deltas,
    read: &'a [OnceLock<(u32, Range<u32>)>],
    count: &'a AtomicUsize,
    reader: u32,
    found: Read,
    run: &'a Run,
}

impl Work for Trees<'_> {
    type Error = NoTree;

    fn place(&self, entry: u32) -> Range<u64> {
        self.survey.place(entry)
    }

    fn visit(
        &mut self,
        entry: u32,
        _kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), NoTree> {
        self.run.check().map_err(NoTree::Stopped)?;
        let count = self.count.fetch_add(1, Relaxed) as u64;
        if count.is_multiple_of(1024) {
            self.run.advance(Phase::Count, count, None);
        }
        let first = self.found.links.len() as u32;
        // Without its base at hand it isn't known what is new.
        let is_known = base.is_some() || self.survey.is_whole(entry);
        let format = self.survey.index.object_hash();
        let read = is_known.then(|| {
            each_new(content, base.unwrap_or_default(), format, |entry| {
                let Some(kind) = kind_of(&entry) else {
                    return;
                };
                let to = match self.survey.find(entry.oid) {
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
            })
        });
        // One that can't be parsed may not be needed.
        if read.flatten().is_some() {
            let links = first..self.found.links.len() as u32;
            let _ = self.read[entry as usize].set((self.reader, links));
        }
        Ok(())
    }

    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), NoTree> {
        to.extend_from_slice(self.deltas.of(entry));
        Ok(())
    }

    fn allows(&mut self, _entry: u32, _size: u64, _depth: u32) -> Result<(), NoTree> {
        Ok(())
    }

    fn may_go_on(&self) -> bool {
        self.run.check().is_ok()
    }

    fn unreadable(&self, _entry: u32, _err: io::Error) -> NoTree {
        let stopped = self.run.check().err().map(NoTree::Stopped);
        stopped.unwrap_or(NoTree::Unreadable)
    }

    fn failed(&self, _err: io::Error) -> NoTree {
        NoTree::Unreadable
    }
}

/// The hash of a path by that of its folder's: only the last 16 characters count, the last ones
/// most (see [`name_hash()`]).
fn path_hash(folder: u32, name_hash: u32, name_length: u8) -> u32 {
    let shift = 2 * u32::from(name_length);
    name_hash.wrapping_add(folder.checked_shr(shift).unwrap_or_default())
}

/// What is needed is marked, and what it needs after it.
struct Marking<'a> {
    odb: &'a gix::odb::Handle,
    survey: &'a Survey<'a>,
    links: &'a TreeLinks,
    run: &'a Run,
    is_marked: Vec<bool>,
    marked_elsewhere: HashSet<ObjectId>,
    /// Trees that are marked and not followed yet, with the hash of their path.
    pending: Vec<(Tree, u32)>,
    /// Trees whose own entries were followed, and whose base was not marked by then.
    unsettled: Vec<(u32, u32)>,
    found: Vec<Selected>,
}

enum Tree {
    Here(u32),
    Elsewhere(ObjectId),
}

impl Marking<'_> {
    fn mark_id(&mut self, id: ObjectId, kind: Kind, name_hash: u32) -> Result<(), NoPack> {
        if let Some(place) = self.survey.find(&id) {
            return self.mark(place, kind, name_hash);
        }
        if self.marked_elsewhere.insert(id) {
            self.found.push(Selected {
                id,
                kind,
                name_hash,
                place: None,
            });
            if kind == Kind::Tree {
                self.pending.push((Tree::Elsewhere(id), name_hash));
            }
        }
        Ok(())
    }

    fn mark(&mut self, place: u32, kind: Kind, name_hash: u32) -> Result<(), NoPack> {
        let id = || self.survey.id(place);
        if self.links.kinds[place as usize].is_some_and(|known| known != kind) {
            return Err(NoPack::unfit(id()));
        }
        if !std::mem::replace(&mut self.is_marked[place as usize], true) {
            self.found.push(Selected {
                id: id(),
                kind,
                name_hash,
                place: Some(place),
            });
            if kind == Kind::Tree {
                self.pending.push((Tree::Here(place), name_hash));
            }
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), NoPack> {
        while let Some((tree, path)) = self.pending.pop() {
            self.run.check()?;
            match tree {
                Tree::Elsewhere(id) => self.read_in_full(id, path)?,
                Tree::Here(place) => match self.links.of(place) {
                    Some((read, links)) => {
                        self.follow_links(read, links, path)?;
                        let base = self.links.bases[place as usize];
                        if base != NO_BASE && !self.is_marked[base as usize] {
                            self.unsettled.push((place, path));
                        }
                    }
                    None => self.read_in_full(self.survey.id(place), path)?,
                },
            }
        }
        Ok(())
    }

    fn follow_links(&mut self, read: &Read, links: &[Link], path: u32) -> Result<(), NoPack> {
        for link in links {
            let hash = path_hash(path, link.name_hash, link.name_length);
            match link.to {
                Target::Here(place) => self.mark(place, link.kind, hash)?,
                Target::Elsewhere(at) => {
                    self.mark_id(read.elsewhere[at as usize], link.kind, hash)?;
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), NoPack> {
        let mut unsettled = VecDeque::from(std::mem::take(&mut self.unsettled));
        while let Some((place, path)) = unsettled.pop_front() {
            let base = self.links.bases[place as usize];
            if !self.is_marked[base as usize] {
                self.read_in_full(self.survey.id(place), path)?;
                self.follow()?;
                unsettled.extend(self.unsettled.drain(..));
            }
        }
        Ok(())
    }

    fn read_in_full(&mut self, tree: ObjectId, path: u32) -> Result<(), NoPack> {
        let content = tree_content(self.odb, &tree)?;
        let mut entries = Vec::new();
        each_new(&content, &[], tree.kind(), |entry| {
            let Some(kind) = kind_of(&entry) else {
                return;
            };
            let length = entry.filename.len().min(16) as u8;
            let hash = path_hash(path, name_hash(entry.filename), length);
            entries.push((entry.oid.to_owned(), kind, hash));
        })
        .ok_or_else(|| NoPack::unreadable(tree))?;
        for (id, kind, hash) in entries {
            self.mark_id(id, kind, hash)?;
        }
        Ok(())
    }
}
