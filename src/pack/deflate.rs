//! Deflating the zlib streams of a pack's entries.

use gix::zlib::{
    Compression, Status,
    stream::deflate::{Compress, FlushCompress},
};

/// The level of compression. Git's default is 6; the 6 of zlib-rs is another algorithm, whose streams are up to
/// 0.4 % larger. With level 7 they are up to 0.6 % smaller than git's.
const LEVEL: i32 = 7;

/// Limit of the output of a step in bytes.
const CHUNK: usize = 64 * 1024;

/// A compressor of one stream after the other. To make one allocates, so callers keep it.
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new() -> Self {
        Deflater(Compress::new(Compression::new(LEVEL).unwrap_or_default()))
    }

    /// A deflater for entries that are kept until the next `git gc` and not sent: a fifth of the time, for some
    /// more bytes.
    pub(crate) fn quick() -> Self {
        Deflater(Compress::new(Compression::new(1).unwrap_or_default()))
    }

    /// Appends the next part of the stream of `content` to `to`. `done` counts the bytes of `content` that went
    /// into the stream; 0 starts a new one. `false` once the stream is whole.
    pub(crate) fn step(&mut self, content: &[u8], done: &mut usize, to: &mut Vec<u8>) -> bool {
        if *done == 0 {
            self.0.reset();
        }
        let rest = &content[*done..];
        let room = CHUNK.min(rest.len() + 64);
        let (taken, goes_on) = self.compress(rest, FlushCompress::Finish, room, to);
        *done += taken;
        goes_on
    }

    /// Begins a stream for [`append`](Self::append).
    pub(crate) fn restart(&mut self) {
        self.0.reset();
    }

    /// Appends the stream of more content to `to`; an empty `content` ends the stream. Returns the number of bytes
    /// that were taken, and whether the stream goes on.
    pub(crate) fn append(&mut self, content: &[u8], to: &mut Vec<u8>) -> (usize, bool) {
        let flush = if content.is_empty() {
            FlushCompress::Finish
        } else {
            FlushCompress::None
        };
        self.compress(content, flush, CHUNK, to)
    }

    /// Appends at most `room` bytes to `to`.
    fn compress(
        &mut self,
        content: &[u8],
        flush: FlushCompress,
        room: usize,
        to: &mut Vec<u8>,
    ) -> (usize, bool) {
        let filled = to.len();
        to.resize(filled + room, 0);
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let status = self
            .0
            .compress(content, &mut to[filled..], flush)
            .expect("the state is whole and never out of memory");
        to.truncate(filled + (self.0.total_out() - written) as usize);
        let taken = (self.0.total_in() - read) as usize;
        (taken, status != Status::StreamEnd)
    }

    /// Deflates `content` as one stream.
    pub(crate) fn deflate(&mut self, content: &[u8]) -> Vec<u8> {
        let (mut stream, mut done) = (Vec::new(), 0);
        while self.step(content, &mut done, &mut stream) {}
        stream.shrink_to_fit();
        stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{inflate, noise};

    /// The content of a stream that is made piece by piece.
    fn append_in_pieces(deflater: &mut Deflater, content: &[u8]) -> Vec<u8> {
        let mut stream = Vec::new();
        deflater.restart();
        for mut piece in content.chunks(100_000) {
            while !piece.is_empty() {
                let (taken, goes_on) = deflater.append(piece, &mut stream);
                assert!(goes_on);
                piece = &piece[taken..];
            }
        }
        while deflater.append(&[], &mut stream).1 {}
        inflate(&stream, content.len())
    }

    #[test]
    fn every_stream_is_whole() {
        let mut deflater = Deflater::new();
        for content in [
            Vec::new(),
            vec![7],
            vec![0; 1 << 20],
            // Larger compressed than it is.
            noise(1 << 20, 1),
            b"a line\n".repeat(1000),
        ] {
            let stream = deflater.deflate(&content);
            assert!(inflate(&stream, content.len()) == content);
            assert!(append_in_pieces(&mut deflater, &content) == content);
        }
    }
}
