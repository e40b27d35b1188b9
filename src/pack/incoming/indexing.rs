//! From the entries of a pack to its objects, and to its index.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use gix::{
    ObjectId,
    objs::{Find, FindHeader, Kind},
    oid,
};
use gix_pack::data;

use super::{
    arrival::{collision, damaged},
    inspection::{Found, Inspection},
    spent::Spent,
    table::{Form, Table},
};
use crate::{
    Error, ErrorKind, Run,
    pack::{
        outgoing::Deflater,
        resolve::{Deltas, Descent, Room, Work},
    },
};

/// Entries that are worth a thread of their own.
const ENTRIES_PER_THREAD: usize = 4096;

/// A pack on disk whose deltas are to be resolved.
pub(super) struct Pack<'a> {
    pub(super) path: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) spent: &'a Spent<'a>,
    pub(super) run: &'a Run,
}

impl Pack<'_> {
    /// Resolves every delta, with bases from the receiver's store where the pack lacks them; those
    /// are added to the pack. How many were added.
    pub(super) fn resolve<'l>(
        &self,
        table: &mut Table,
        bases: &gix::odb::Handle,
        found: &'l Found<'l>,
    ) -> Result<usize, Error> {
        if !table.has_deltas() {
            return Ok(0);
        }
        let own = table.len();
        let deltas = table.deltas();
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = threads.min(own.div_ceil(ENTRIES_PER_THREAD));
        let room = Room::new(self.run.limits().memory / 4, threads);
        let next = AtomicUsize::new(0);
        let shared = &*table;
        let work = |inspection: Inspection<'l>| -> Result<(), Error> {
            let mut resolver = Resolver {
                pack: self,
                table: shared,
                deltas: &deltas,
                inspection,
            };
            let mut descent = self.descent(&room, shared.hash)?;
            loop {
                let root = next.fetch_add(1, Relaxed);
                if root >= own {
                    return resolver.inspection.finish();
                }
                if shared.kind(root as u32).is_some() && !shared.is_delta(root as u32) {
                    let done = descent.descend(root as u32, &mut resolver);
                    // Whoever fails, it is over for all.
                    done.inspect_err(|_| next.store(own, Relaxed))?;
                }
            }
        };
        thread::scope(|scope| {
            let work = &work;
            let helpers: Vec<_> = (1..threads)
                .map(|_| {
                    let inspection = found.inspection();
                    scope.spawn(move || work(inspection))
                })
                .collect();
            let mut done = work(found.inspection());
            for helper in helpers {
                let helped = helper
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                done = done.and(helped);
            }
            done
        })?;
        let added = self.complete(table, &deltas, &room, bases, found.inspection())?;
        let unresolved = (0..table.len() as u32).filter(|entry| table.kind(*entry).is_none());
        match unresolved.count() {
            0 => Ok(added),
            count => {
                let text = format!("the pack has {count} deltas whose base is nowhere");
                Err(Error::new(ErrorKind::Protocol, text))
            }
        }
    }

    fn descent<'r>(&self, room: &'r Room, hash: gix::hash::Kind) -> Result<Descent<'r>, Error> {
        Descent::new(self.path, hash, room, self.folder)
            .map_err(|err| Error::io("reading the pack", err))
    }

    /// Adds the bases that a thin pack lacks, each as a whole.
    fn complete(
        &self,
        table: &mut Table,
        deltas: &Deltas,
        room: &Room,
        bases: &gix::odb::Handle,
        mut inspection: Inspection<'_>,
    ) -> Result<usize, Error> {
        let absent = table.absent_bases();
        if absent.is_empty() {
            return Ok(0);
        }
        let mut file = File::options()
            .append(true)
            .open(self.path)
            .map_err(completing)?;
        let mut descent = self.descent(room, table.hash)?;
        let (mut added, mut size) = (0, 0);
        for base in absent {
            self.run.check()?;
            // Another one may have led to it.
            if table.is_complete_without(&base) {
                continue;
            }
            // Before it is read: it may be larger than anything that could be sent.
            let Ok(Some(header)) = bases.try_header(&base) else {
                continue;
            };
            size += header.size;
            self.spent.check_bases(size)?;
            self.spent.check_size(header.size)?;
            let mut content = Vec::new();
            let kind = match bases.try_find(&base, &mut content) {
                Ok(Some(found)) => found.kind,
                Ok(None) => continue,
                Err(err) => {
                    let text = format!("{base}, which the pack builds on, can't be read");
                    return Err(Error::new(ErrorKind::Corrupt, text).with_source(err));
                }
            };
            let start = table.end();
            let (length, checksum) = append(&mut file, kind, &content, self.run)?;
            drop(content);
            self.spent.check_disk(start + length)?;
            let entry = table.len() as u32;
            table.push(start..start + length, checksum, Form::Whole(kind, base));
            // Nobody looked at what it needs, and what is built on it needs the same.
            inspection.lead_out();
            added += 1;
            let mut resolver = Resolver {
                pack: self,
                table,
                deltas,
                inspection,
            };
            descent.descend(entry, &mut resolver)?;
            inspection = resolver.inspection;
        }
        inspection.finish()?;
        Ok(added)
    }
}

struct Resolver<'a, 'l> {
    pack: &'a Pack<'a>,
    table: &'a Table,
    deltas: &'a Deltas,
    inspection: Inspection<'l>,
}

impl Work for Resolver<'_, '_> {
    type Error = Error;

    fn place(&self, entry: u32) -> Range<u64> {
        self.table.place(entry)
    }

    fn visit(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.pack.run.check()?;
        // A whole object was looked at when it came in.
        if !self.table.is_delta(entry) {
            return Ok(());
        }
        self.pack.spent.check_parsed(kind, content.len() as u64)?;
        let id =
            gix::objs::compute_hash(self.table.hash, kind, content).map_err(|_| collision())?;
        self.table.resolve(entry, kind, &id);
        self.inspection.look_at(kind, id, content, base)
    }

    /// Which entry a delta is built on that names an object which is there twice, is up to whoever
    /// reads the pack. It may be one that is built on that delta.
    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), Error> {
        to.extend_from_slice(self.deltas.of(entry));
        let id = self.table.id(entry);
        let taken = self.table.take_deltas_of(&id).ok_or_else(|| {
            let text = format!("the pack has {id} twice, and a delta of it");
            Error::new(ErrorKind::Protocol, text)
        })?;
        to.extend(taken);
        Ok(())
    }

    fn allows(&mut self, entry: u32, size: u64, depth: u32) -> Result<(), Error> {
        match self.table.is_delta(entry) {
            true => self.pack.spent.on_object(size, depth),
            false => Ok(()),
        }
    }

    fn may_go_on(&self) -> bool {
        self.pack.run.check().is_ok()
    }

    fn allows_on_disk(&mut self, more: u64) -> Result<(), Error> {
        self.pack.spent.on_disk(more, self.table.end())
    }

    fn unreadable(&self, _entry: u32, err: io::Error) -> Error {
        damaged(err, self.pack.run)
    }

    fn failed(&self, err: io::Error) -> Error {
        Error::io("keeping objects on disk", err)
    }
}

/// Appends an entry; its length and its checksum.
fn append(file: &mut File, kind: Kind, content: &[u8], run: &Run) -> Result<(u64, u32), Error> {
    let header = match kind {
        Kind::Commit => data::entry::Header::Commit,
        Kind::Tree => data::entry::Header::Tree,
        Kind::Blob => data::entry::Header::Blob,
        Kind::Tag => data::entry::Header::Tag,
    };
    let mut piece = Vec::new();
    header
        .write_to(content.len() as u64, &mut piece)
        .map_err(completing)?;
    let (mut length, mut checksum) = (0, crc32fast::Hasher::new());
    let (mut deflater, mut done) = (Deflater::new(), 0);
    loop {
        run.check()?;
        let goes_on = deflater.step(content, &mut done, &mut piece);
        file.write_all(&piece).map_err(completing)?;
        checksum.update(&piece);
        length += piece.len() as u64;
        piece.clear();
        if !goes_on {
            return Ok((length, checksum.finalize()));
        }
    }
}

/// Ends the pack with the checksum that it came with.
pub(super) fn seal(path: &Path, checksum: ObjectId) -> Result<ObjectId, Error> {
    let mut file = File::options()
        .append(true)
        .open(path)
        .map_err(completing)?;
    file.write_all(checksum.as_bytes()).map_err(completing)?;
    Ok(checksum)
}

/// Ends a pack that entries were added to: with another count and another checksum.
pub(super) fn seal_anew(path: &Path, table: &Table, run: &Run) -> Result<ObjectId, Error> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(completing)?;
    let header = data::header::encode(data::Version::V2, table.len() as u32);
    file.write_all(&header).map_err(completing)?;
    file.seek(SeekFrom::Start(0)).map_err(completing)?;
    let mut hasher = gix::hash::hasher(table.hash);
    let mut chunk = vec![0; 1024 * 1024];
    loop {
        run.check()?;
        let read = file.read(&mut chunk).map_err(completing)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
    }
    let checksum = hasher.try_finalize().map_err(|_| collision())?;
    file.write_all(checksum.as_bytes()).map_err(completing)?;
    Ok(checksum)
}

fn completing(err: io::Error) -> Error {
    Error::io("completing the pack", err)
}

/// The entries of a pack by the ids of their objects.
pub(super) struct ById<'a> {
    table: &'a Table,
    entries: Vec<u32>,
}

impl<'a> ById<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        let mut entries: Vec<_> = (0..table.len() as u32).collect();
        entries.sort_unstable_by_key(|entry| table.id(*entry));
        ById { table, entries }
    }

    pub(super) fn kind_of(&self, id: &oid) -> Option<Kind> {
        let found = self
            .entries
            .binary_search_by(|entry| self.table.id(*entry).as_ref().cmp(id));
        self.table.kind(self.entries[found.ok()?])
    }

    /// In the order of the index.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let kinds = self
            .entries
            .iter()
            .filter_map(|entry| self.table.kind(*entry));
        kinds.collect()
    }

    /// `git index-pack --strict` takes no other pack.
    pub(super) fn check_that_each_is_there_once(&self) -> Result<(), Error> {
        let mut pairs = self.entries.windows(2);
        match pairs.find(|pair| self.table.id(pair[0]) == self.table.id(pair[1])) {
            None => Ok(()),
            Some(pair) => {
                let text = format!("the pack has object {} twice", self.table.id(pair[0]));
                Err(Error::new(ErrorKind::Protocol, text))
            }
        }
    }

    /// Writes the index (gitformat-pack(5), version 2).
    pub(super) fn write_index(&self, path: &Path, pack: &ObjectId) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let file = File::options().write(true).create_new(true).open(path)?;
            let mut out = Hashed {
                inner: BufWriter::with_capacity(64 * 1024, file),
                hasher: gix::hash::hasher(self.table.hash),
            };
            self.write_tables(&mut out)?;
            out.write_all(pack.as_bytes())?;
            let Hashed { mut inner, hasher } = out;
            let checksum = hasher.try_finalize().map_err(io::Error::other)?;
            inner.write_all(checksum.as_bytes())?;
            inner.flush()
        };
        write().map_err(|err| Error::io("writing the index of the pack", err))
    }

    fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\xfftOc\0\0\0\x02")?;
        let mut fan = [0_u32; 256];
        for entry in &self.entries {
            fan[usize::from(self.table.id(*entry).first_byte())] += 1;
        }
        let mut total = 0;
        for count in fan {
            total += count;
            out.write_all(&u32::to_be_bytes(total))?;
        }
        for entry in &self.entries {
            out.write_all(self.table.id(*entry).as_bytes())?;
        }
        for entry in &self.entries {
            out.write_all(&self.table.checksums[*entry as usize].to_be_bytes())?;
        }
        let mut far = Vec::new();
        for entry in &self.entries {
            let offset = self.table.place(*entry).start;
            let near = u32::try_from(offset).ok().filter(|near| near & FAR == 0);
            let field = near.unwrap_or_else(|| {
                far.push(offset);
                FAR | (far.len() as u32 - 1)
            });
            out.write_all(&field.to_be_bytes())?;
        }
        for offset in far {
            out.write_all(&offset.to_be_bytes())?;
        }
        Ok(())
    }
}

/// Marks an offset that is in the table of those with 64 bits.
const FAR: u32 = 1 << 31;

struct Hashed<W> {
    inner: W,
    hasher: gix::hash::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
