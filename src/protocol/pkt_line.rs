//! Packets (gitprotocol-common(5), "pkt-line Format").

use std::io::{self, Read};

use gix_transport::packetline::blocking_io::encode;

use crate::buffered::invalid_data;

/// The size of the length field of a packet, in hexadecimal digits.
pub(crate) const HEAD_LEN: usize = 4;
/// The most bytes of content in a packet.
pub(crate) const MAX_DATA_LEN: usize = 65_516;
/// The least length of a packet with content. Empty packets are not sent by any server.
const MIN_LEN: usize = HEAD_LEN + 1;
const MAX_LEN: usize = HEAD_LEN + MAX_DATA_LEN;

/// The length field of a packet whose content is unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// A packet with so many bytes of content.
    Data(usize),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Reads the length field of the next packet. The end of the answer is an error.
pub(crate) fn read_head(from: &mut impl Read) -> io::Result<Packet> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    packet(head)
}

/// Replaces `data` by the content of a packet.
pub(crate) fn read_data(from: &mut impl Read, bytes: usize, data: &mut Vec<u8>) -> io::Result<()> {
    data.resize(bytes, 0);
    from.read_exact(data)
}

fn packet(head: [u8; HEAD_LEN]) -> io::Result<Packet> {
    let digit = |length: Option<usize>, digit: u8| {
        let value = char::from(digit).to_digit(16)?;
        Some(length? << 4 | value as usize)
    };
    match head.into_iter().fold(Some(0), digit) {
        Some(0) => Ok(Packet::Flush),
        Some(1) => Ok(Packet::Delimiter),
        Some(2) => Ok(Packet::ResponseEnd),
        Some(length @ MIN_LEN..=MAX_LEN) => Ok(Packet::Data(length - HEAD_LEN)),
        _ => Err(invalid_data("a packet has an invalid length")),
    }
}

/// A reader of packets up to a flush packet, which returns them without a copy.
pub(crate) struct Packets<R> {
    from: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Packets<R> {
    pub(crate) fn new(from: R) -> Self {
        Packets {
            from,
            // Twice the longest packet, so that most reads are long.
            buffer: vec![0; 2 * (HEAD_LEN + MAX_DATA_LEN)],
            start: 0,
            end: 0,
        }
    }

    /// The content of the next packet; `None` for a flush packet. The end of the answer and any other packet without
    /// content are errors.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.fill(HEAD_LEN)?;
        let head = self.buffer[self.start..].first_chunk();
        match packet(*head.expect("it was filled in"))? {
            Packet::Data(bytes) => {
                self.fill(HEAD_LEN + bytes)?;
                let data = self.start + HEAD_LEN..self.start + HEAD_LEN + bytes;
                self.start = data.end;
                Ok(Some(&self.buffer[data]))
            }
            Packet::Flush => {
                self.start += HEAD_LEN;
                Ok(None)
            }
            Packet::Delimiter | Packet::ResponseEnd => {
                Err(invalid_data("a packet is of an unexpected kind"))
            }
        }
    }

    /// Reads until at least `bytes` bytes are buffered.
    #[inline]
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.end - self.start >= bytes {
            Ok(())
        } else {
            self.read(bytes)
        }
    }

    /// The slow path of [`fill`](Self::fill).
    fn read(&mut self, bytes: usize) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < bytes {
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.end += read,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }
}

/// A request to a server, packet by packet.
#[derive(Default)]
pub(crate) struct Request(pub(crate) Vec<u8>);

impl Request {
    /// Appends a line, which has to fit into one packet: a few words, an id, or a name.
    pub(crate) fn line(&mut self, line: impl AsRef<[u8]>) {
        encode::text_to_write(line.as_ref(), &mut self.0).expect("a short line, into memory");
    }

    pub(crate) fn line_if(&mut self, is_wanted: bool, line: impl AsRef<[u8]>) {
        if is_wanted {
            self.line(line);
        }
    }

    pub(crate) fn delimiter(&mut self) {
        self.0.extend_from_slice(b"0001");
    }

    pub(crate) fn flush(&mut self) {
        self.0.extend_from_slice(b"0000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(to.len());
            self.0.read(&mut to[..most])
        }
    }

    #[test]
    fn packets_are_whole_whatever_pieces_they_come_in() {
        let mut longest = b"fff0".to_vec();
        longest.extend([b'x'; MAX_DATA_LEN]);
        let mut answer = b"0009first0005x".to_vec();
        for _ in 0..5 {
            answer.extend_from_slice(&longest);
        }
        answer.extend_from_slice(b"00000008next");
        for pieces in [1, 3, 5, 1000, 65_536, usize::MAX] {
            let mut packets = Packets::new(Slowly(&answer, pieces));
            let mut next = || packets.next().map(|next| next.map(<[u8]>::to_vec));
            assert_eq!(next().expect("a packet").as_deref(), Some(&b"first"[..]));
            assert_eq!(next().expect("a packet").as_deref(), Some(&b"x"[..]));
            for _ in 0..5 {
                assert_eq!(next().expect("a packet").as_deref(), Some(&longest[4..]));
            }
            assert_eq!(next().expect("a flush packet"), None);
            assert_eq!(next().expect("a packet").as_deref(), Some(&b"next"[..]));
            let end = next().expect_err("nothing more");
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        }
        for other in ["0001", "0002", "0004", "000", "0006x", "zzzz"] {
            assert!(Packets::new(other.as_bytes()).next().is_err(), "{other}");
        }
    }

    #[test]
    fn heads_of_packets() {
        let table: [(&[u8], Option<Packet>); 14] = [
            (b"0000", Some(Packet::Flush)),
            (b"0001", Some(Packet::Delimiter)),
            (b"0002", Some(Packet::ResponseEnd)),
            (b"0003", None),
            (b"0004", None),
            (b"0005", Some(Packet::Data(1))),
            (b"fff0", Some(Packet::Data(65_516))),
            (b"FFF0", Some(Packet::Data(65_516))),
            (b"fff1", None),
            (b"ffff", None),
            (b"-001", None),
            (b"+001", None),
            (b"zzzz", None),
            (b"000", None),
        ];
        for (mut bytes, expected) in table {
            let text = String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(read_head(&mut bytes).ok(), expected, "{text}");
        }
    }
}
