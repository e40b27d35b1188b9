//! Reading and inflating the entries of a pack on disk.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::Range,
};

use gix_pack::data;

use crate::{
    buffered::invalid_data,
    pack::{
        entry_header::MAX_HEADER,
        inflate::{Inflater, Inflating},
    },
};

/// The bytes of a large entry that are read at a time.
const CHUNK: usize = 64 * 1024;

pub(super) struct EntryReader {
    pack: File,
    hash: gix::hash::Kind,
    inflater: Inflater,
    /// The number of bytes above which an entry is large.
    large: u64,
    /// The bytes of the entry whose header was read last; empty for a large one.
    raw: Vec<u8>,
}

impl EntryReader {
    pub(super) fn new(pack: File, hash: gix::hash::Kind, large: usize) -> Self {
        EntryReader {
            pack,
            hash,
            inflater: Inflater::new(),
            large: large as u64,
            raw: Vec::new(),
        }
    }

    /// Reads the header of the entry at the offsets `range`, and the rest of a small entry with it.
    pub(super) fn header(&mut self, range: &Range<u64>) -> io::Result<data::Entry> {
        let size = range.end.saturating_sub(range.start);
        let is_small = size <= self.large;
        let ahead = if is_small {
            size
        } else {
            size.min(MAX_HEADER as u64)
        };
        self.raw.resize(ahead as usize, 0);
        self.pack.seek(SeekFrom::Start(range.start))?;
        self.pack.read_exact(&mut self.raw)?;
        let header = data::Entry::from_bytes(&self.raw, range.start, self.hash)
            .map_err(|_| not_as_it_was())?;
        if !is_small {
            self.raw.clear();
        }
        Ok(header)
    }

    /// Whether the entry whose header was read is large, packed or inflated.
    pub(super) fn is_large(&self, header: &data::Entry) -> bool {
        self.raw.is_empty() || header.decompressed_size > self.large
    }

    /// Replaces `content` by the inflated content of the entry whose header was read.
    pub(super) fn inflate(
        &mut self,
        header: &data::Entry,
        range: &Range<u64>,
        content: &mut Vec<u8>,
    ) -> io::Result<()> {
        let size = header.decompressed_size as usize;
        if !self.raw.is_empty() {
            let stream = &self.raw[header.header_size()..];
            return self.inflater.inflate(stream, size, content);
        }
        content.clear();
        content.reserve_exact(size);
        self.stream(header, range)?.read_to_end(content)?;
        Ok(())
    }

    /// The inflated content of the entry as a stream.
    pub(super) fn stream<'s>(
        &'s mut self,
        header: &data::Entry,
        range: &Range<u64>,
    ) -> io::Result<Inflating<&'s mut Inflater, Box<dyn BufRead + 's>>> {
        let from: Box<dyn BufRead + 's> = if self.raw.is_empty() {
            self.pack.seek(SeekFrom::Start(header.data_offset))?;
            let rest = range.end.saturating_sub(header.data_offset);
            Box::new(BufReader::with_capacity(CHUNK, (&self.pack).take(rest)))
        } else {
            Box::new(&self.raw[header.header_size()..])
        };
        Ok(self.inflater.read(from, header.decompressed_size))
    }
}

pub(super) fn not_as_it_was() -> io::Error {
    invalid_data("the entry has changed since it was received")
}
