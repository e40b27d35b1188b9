//! Packs written by hand, byte by byte, so that they can be wrong in any way (gitformat-pack(5)).

use gix::hash::Kind as Hash;
use gix::objs::Kind;
use gix::zlib::stream::deflate::{Compress, FlushCompress};
use gix::zlib::{Compression, Status};
use refsync::ObjectId;

pub(crate) const COMMIT: u8 = 1;
pub(crate) const TREE: u8 = 2;
pub(crate) const BLOB: u8 = 3;
pub(crate) const TAG: u8 = 4;
pub(crate) const OFS_DELTA: u8 = 6;
pub(crate) const REF_DELTA: u8 = 7;

pub(crate) struct Pack {
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
    count: u32,
}

impl Pack {
    pub(crate) fn new(hash: Hash) -> Self {
        Pack {
            hash,
            bytes: vec![0; 12],
            count: 0,
        }
    }

    /// The offset of the next entry.
    pub(crate) fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// An entry of these very bytes; where it is.
    pub(crate) fn raw(&mut self, entry: &[u8]) -> u64 {
        let at = self.end();
        self.bytes.extend_from_slice(entry);
        self.count += 1;
        at
    }

    pub(crate) fn object(&mut self, kind: Kind, content: &[u8]) -> ObjectId {
        self.place(kind, content);
        id(self.hash, kind, content)
    }

    /// The same, and where it is.
    pub(crate) fn place(&mut self, kind: Kind, content: &[u8]) -> u64 {
        let header = size(type_of(kind), content.len() as u64);
        self.raw(&[header, deflate(content)].concat())
    }

    /// With the id known to the caller, and the stream of the content, too: for contents that are
    /// too large to make one of their own each time.
    pub(crate) fn stream(&mut self, kind: u8, length: u64, stream: &[u8]) -> u64 {
        let header = size(kind, length);
        self.raw(&[&header, stream].concat())
    }

    pub(crate) fn ofs_delta(&mut self, base: u64, delta: &[u8]) -> u64 {
        let distance = self.end() - base;
        self.ofs_delta_at(distance, delta)
    }

    pub(crate) fn ofs_delta_at(&mut self, back: u64, delta: &[u8]) -> u64 {
        let header = size(OFS_DELTA, delta.len() as u64);
        self.raw(&[header, distance(back), deflate(delta)].concat())
    }

    pub(crate) fn ref_delta(&mut self, base: &ObjectId, delta: &[u8]) -> u64 {
        let header = size(REF_DELTA, delta.len() as u64);
        self.raw(&[&header, base.as_bytes(), &deflate(delta)].concat())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let count = self.count;
        self.finish_as(b"PACK", 2, count)
    }

    pub(crate) fn finish_counting(self, count: u32) -> Vec<u8> {
        self.finish_as(b"PACK", 2, count)
    }

    pub(crate) fn finish_as(mut self, signature: &[u8; 4], version: u32, count: u32) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(signature);
        self.bytes[4..8].copy_from_slice(&version.to_be_bytes());
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        let trailer = hash(self.hash, &[&self.bytes]);
        self.bytes.extend_from_slice(trailer.as_bytes());
        self.bytes
    }
}

pub(crate) fn hash(kind: Hash, parts: &[&[u8]]) -> ObjectId {
    let mut hasher = gix::hash::hasher(kind);
    for part in parts {
        hasher.update(part);
    }
    hasher.try_finalize().expect("no collision").into()
}

pub(crate) fn id(hash_kind: Hash, kind: Kind, content: &[u8]) -> ObjectId {
    let header = gix::objs::encode::loose_header(kind, content.len() as u64);
    hash(hash_kind, &[&header, content])
}

fn type_of(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => COMMIT,
        Kind::Tree => TREE,
        Kind::Blob => BLOB,
        Kind::Tag => TAG,
    }
}

/// The header of an entry: its type, and a size in as few bytes as possible.
pub(crate) fn size(kind: u8, size: u64) -> Vec<u8> {
    let mut rest = size >> 4;
    let mut bytes = vec![kind << 4 | (size & 15) as u8];
    while rest > 0 {
        *bytes.last_mut().expect("a byte") |= 0x80;
        bytes.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

/// The distance of an offset delta.
pub(crate) fn distance(mut back: u64) -> Vec<u8> {
    let mut bytes = vec![(back & 0x7f) as u8];
    while back >= 0x80 {
        back = (back >> 7) - 1;
        bytes.insert(0, 0x80 | (back & 0x7f) as u8);
    }
    bytes
}

pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    match content.len() {
        // Setting up to compress takes longer than all else that is done with a small object.
        ..1024 => store(content),
        _ => deflate_pieces([content]),
    }
}

/// A zlib stream of one stored block (RFC 1950, RFC 1951).
fn store(content: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let length = content.len() as u16;
    let mut stream = vec![0x78, 0x01, 1];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend_from_slice(content);
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// One stream of all pieces.
pub(crate) fn deflate_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut state = Compress::new(Compression::new(6).expect("a level"));
    let mut out = Vec::new();
    let mut room = vec![0; 64 * 1024];
    let mut step = |mut input: &[u8], flush: fn() -> FlushCompress, out: &mut Vec<u8>| {
        loop {
            let (read, written) = (state.total_in(), state.total_out());
            let status = state
                .compress(input, &mut room, flush())
                .expect("a whole state");
            input = &input[(state.total_in() - read) as usize..];
            let written = (state.total_out() - written) as usize;
            out.extend_from_slice(&room[..written]);
            if status == Status::StreamEnd || (input.is_empty() && written < room.len()) {
                return;
            }
        }
    };
    for piece in pieces {
        step(piece, || FlushCompress::None, &mut out);
    }
    step(&[], || FlushCompress::Finish, &mut out);
    out
}

/// A zlib stream of that many zeros, a thousandth of them in size.
pub(crate) fn deflate_zeros(length: u64) -> Vec<u8> {
    let piece = vec![0; 1 << 20];
    let pieces = (0..length.div_ceil(1 << 20)).map(|at| {
        let left = length - (at << 20);
        &piece[..left.min(1 << 20) as usize]
    });
    deflate_pieces(pieces)
}

/// The instructions of deltas.
pub(crate) mod delta {
    pub(crate) fn size(mut size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = size >= 0x80;
            bytes.push((size & 0x7f) as u8 | u8::from(more) << 7);
            size >>= 7;
            if !more {
                return bytes;
            }
        }
    }

    pub(crate) fn of(base: u64, result: u64, instructions: &[u8]) -> Vec<u8> {
        [size(base), size(result), instructions.to_vec()].concat()
    }

    pub(crate) fn insert(text: &[u8]) -> Vec<u8> {
        let pieces = text.chunks(127);
        pieces
            .flat_map(|piece| [&[piece.len() as u8], piece].concat())
            .collect()
    }

    /// At most 2^24 - 1 bytes.
    pub(crate) fn copy(offset: u32, length: u32) -> Vec<u8> {
        let mut bytes = vec![0xff];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(&length.to_le_bytes()[..3]);
        bytes
    }

    /// The whole of a base of that size, whatever it is.
    pub(crate) fn copy_all(length: u64) -> Vec<u8> {
        const MOST: u64 = 0xff_ffff;
        let starts = (0..length).step_by(MOST as usize);
        starts
            .flat_map(|at| copy(at as u32, (length - at).min(MOST) as u32))
            .collect()
    }

    /// The base with a text after it: another object for each text.
    pub(crate) fn append(base: u64, text: &[u8]) -> Vec<u8> {
        let instructions = [copy_all(base), insert(text)].concat();
        of(base, base + text.len() as u64, &instructions)
    }
}
