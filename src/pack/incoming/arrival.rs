//! A pack as it comes in: cut into its entries, written to disk, and looked at as far as it is whole.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use gix_pack::data;

use super::{
    entry_header::{self, EntryHeader},
    inspection::Inspection,
    spent::Spent,
    table::{Form, Table},
};
use crate::{Error, ErrorKind, Phase, Run, pack::resolve::Inflater};

/// A pack's signature, version and count (gitformat-pack(5)).
pub(super) const HEADER: usize = 12;

/// How much is taken of a pack at a time, should all of it be ready at once: what is taken is held
/// against the limits.
const MAX_TAKEN: usize = 64 * 1024;

/// Receives the whole of a pack: its entries and its checksum. Its file ends with the last entry.
/// `None` for one without objects.
pub(super) fn receive(
    pack: &mut dyn BufRead,
    file: &mut File,
    hash: HashKind,
    inspection: &mut Inspection<'_>,
    spent: &Spent<'_>,
    run: &Run,
) -> Result<Option<(Table, ObjectId)>, Error> {
    let mut intake = Intake {
        pack,
        file,
        run,
        hasher: gix::hash::hasher(hash),
        checksum: crc32fast::Hasher::new(),
        taken: 0,
        offset: 0,
        failure: None,
        spent,
    };
    let done = receive_entries(&mut intake, hash, inspection, spent, run);
    done.map_err(|stop| match (intake.failure.take(), stop) {
        (Some(own), _) | (None, Stop::Failed(own)) => own,
        (None, Stop::Damaged(err)) => damaged(err, run),
    })
}

enum Stop {
    Failed(Error),
    /// What came in, or how it did.
    Damaged(io::Error),
}

impl From<io::Error> for Stop {
    fn from(err: io::Error) -> Self {
        Stop::Damaged(err)
    }
}

impl From<Error> for Stop {
    fn from(err: Error) -> Self {
        Stop::Failed(err)
    }
}

fn receive_entries(
    intake: &mut Intake<'_>,
    hash: HashKind,
    inspection: &mut Inspection<'_>,
    spent: &Spent<'_>,
    run: &Run,
) -> Result<Option<(Table, ObjectId)>, Stop> {
    let mut header = [0; HEADER];
    intake.read_exact(&mut header)?;
    let (version, count) = data::header::decode(&header).map_err(|_| invalid("is no pack"))?;
    if version != data::Version::V2 {
        return Err(invalid("is of an unknown version").into());
    }
    spent.check_count(count.into(), Table::memory_of_an_entry(hash))?;
    inspection.expect(count as usize);
    let mut entries = Entries {
        table: Table::new(hash, count as usize),
        inflater: Inflater::new(),
        content: Vec::new(),
        hash,
        inspection,
        spent,
    };
    for _ in 0..count {
        run.check()?;
        entries.receive(intake)?;
    }
    let checksum = intake.finish(hash)?;
    Ok((count > 0).then_some((entries.table, checksum)))
}

struct Entries<'a, 'i> {
    table: Table,
    inflater: Inflater,
    content: Vec<u8>,
    hash: HashKind,
    inspection: &'a mut Inspection<'i>,
    spent: &'a Spent<'a>,
}

impl Entries<'_, '_> {
    fn receive(&mut self, intake: &mut Intake<'_>) -> Result<(), Stop> {
        let start = intake.offset;
        intake.checksum = crc32fast::Hasher::new();
        let EntryHeader { form, size } = EntryHeader::read(intake, self.hash)?;
        let form = match form {
            entry_header::Form::OfsDelta(distance) => {
                let base = start.checked_sub(distance);
                let base = base.ok_or_else(|| invalid("has a delta of what is before it"))?;
                self.skip_delta(intake, size)?;
                Form::Delta(base)
            }
            entry_header::Form::RefDelta(base) => {
                self.skip_delta(intake, size)?;
                Form::DeltaById(base)
            }
            entry_header::Form::Whole(kind) => {
                self.spent.on_object(size, 0)?;
                self.spent.check_parsed(kind, size)?;
                let id = self.whole(intake, kind, size)?;
                Form::Whole(kind, id)
            }
        };
        let checksum = std::mem::take(&mut intake.checksum).finalize();
        self.table
            .push(start..intake.offset, checksum, form)
            .ok_or_else(|| invalid("has a delta of what is no entry"))?;
        Ok(())
    }

    /// A delta is applied once all bases are there.
    fn skip_delta(&mut self, intake: &mut Intake<'_>, size: u64) -> Result<(), Stop> {
        self.spent.check_size(size)?;
        let mut stream = self.inflater.read(intake, size);
        loop {
            let piece = stream.fill_buf()?.len();
            if piece == 0 {
                return Ok(());
            }
            stream.consume(piece);
        }
    }

    fn whole(&mut self, intake: &mut Intake<'_>, kind: Kind, size: u64) -> Result<ObjectId, Stop> {
        let mut hasher = gix::hash::hasher(self.hash);
        hasher.update(&gix::objs::encode::loose_header(kind, size));
        self.content.clear();
        let mut stream = self.inflater.read(intake, size);
        loop {
            let piece = stream.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            hasher.update(piece);
            // A blob has nothing in it to look at.
            if kind != Kind::Blob {
                self.content.extend_from_slice(piece);
            }
            let length = piece.len();
            stream.consume(length);
        }
        let id = hasher.try_finalize().map_err(|_| collision())?;
        self.inspection.look_at(kind, id, &self.content, None)?;
        if self.content.capacity() > 1024 * 1024 {
            self.content = Vec::new();
        }
        Ok(id)
    }
}

/// What is read of a pack is hashed and written to disk.
struct Intake<'a> {
    pack: &'a mut dyn BufRead,
    file: &'a mut File,
    run: &'a Run,
    spent: &'a Spent<'a>,
    hasher: gix::hash::Hasher,
    /// Of the entry that is being read.
    checksum: crc32fast::Hasher,
    /// Of what the pack has ready: read, and not on disk yet.
    taken: usize,
    offset: u64,
    /// What is our own fault and not the pack's.
    failure: Option<Error>,
}

impl Intake<'_> {
    /// Lets go of what was taken.
    fn settle(&mut self) -> io::Result<()> {
        if self.taken == 0 {
            return Ok(());
        }
        // An entry may be as long as the pack.
        self.run.check().map_err(|err| self.fail(err))?;
        let taken = &self.pack.fill_buf()?[..self.taken];
        self.hasher.update(taken);
        let written = self.file.write_all(taken);
        self.pack.consume(self.taken);
        self.taken = 0;
        self.run.advance(Phase::Receive, self.offset, None);
        let spent = self.spent.check_disk(self.offset);
        let written = written.map_err(|err| Error::io("writing the pack", err));
        written.and(spent).map_err(|err| self.fail(err))
    }

    fn fail(&mut self, err: Error) -> io::Error {
        self.failure = Some(err);
        io::ErrorKind::Other.into()
    }

    /// Checks the checksum of the pack, which is to be the last of it.
    fn finish(&mut self, hash: HashKind) -> Result<ObjectId, Stop> {
        self.settle()?;
        let hasher = std::mem::replace(&mut self.hasher, gix::hash::hasher(hash));
        let computed = hasher.try_finalize().map_err(|_| collision())?;
        let mut trailer = ObjectId::null(hash);
        self.pack.read_exact(trailer.as_mut_slice())?;
        if trailer != computed {
            return Err(invalid("has another checksum than it says").into());
        }
        match self.pack.fill_buf()?.is_empty() {
            true => Ok(computed),
            false => Err(invalid("goes on after its end").into()),
        }
    }
}

impl BufRead for Intake<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= MAX_TAKEN || self.pack.fill_buf()?.len() == self.taken {
            self.settle()?;
        }
        let ready = &self.pack.fill_buf()?[self.taken..];
        Ok(&ready[..ready.len().min(MAX_TAKEN)])
    }

    fn consume(&mut self, amount: usize) {
        // It is there: this was handed out.
        if let Ok(ready) = self.pack.fill_buf() {
            self.checksum.update(&ready[self.taken..][..amount]);
        }
        self.taken += amount;
        self.offset += amount as u64;
    }
}

impl Read for Intake<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let size = ready.len().min(to.len());
        to[..size].copy_from_slice(&ready[..size]);
        self.consume(size);
        Ok(size)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn collision() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the pack was made to collide with another object's SHA-1",
    )
}

/// The error of the pack's own reader is the reader's to tell; here it is a damaged pack.
pub(super) fn damaged(err: io::Error, run: &Run) -> Error {
    run.check()
        .err()
        .unwrap_or_else(|| Error::new(ErrorKind::Protocol, "the pack is damaged").with_source(err))
}
