//! Side-bands (gitprotocol-pack(5), "Packfile Data"): the pack or report in band 1, progress in band 2, a fatal error in
//! band 3.

use std::io::{self, BufRead, Read};

use super::{
    messages::Messages,
    pkt_line::{Packet, read_data, read_head},
    printable,
    sideband_budget::{SidebandBudget, TooMuchNoise},
};
use crate::{
    Error,
    buffered::{invalid_data, read_buffered},
};

/// The most messages of a server that are logged: a hook may print without end.
const MAX_LOGGED: u32 = 100;

/// The most bytes of a message that are logged.
const MAX_MESSAGE: usize = 4096;

/// A reader of band 1. Band 2 is counted against the [`SidebandBudget`].
///
/// An error is recorded for [`trouble`](SideBand::trouble) before it is returned.
pub(crate) struct SideBand<R> {
    from: R,
    budget: SidebandBudget,
    /// The length of the first packet, if its length field was read by the caller.
    headless: Option<usize>,
    /// Unread bytes of band 1 in the current packet.
    left: usize,
    is_over: bool,
    logged: u32,
    messages: Messages,
    trouble: Option<Trouble>,
}

/// The reason for an early end of band 1, apart from errors of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The text of an `ERR` packet, safe to print.
    Refused(String),
    /// The text of band 3, safe to print.
    Fatal(String),
    OverBudget(TooMuchNoise),
    Garbled,
    /// The answer ended before its flush packet.
    EndedEarly,
}

impl<R: BufRead> SideBand<R> {
    /// Starts at a packet, or, with `headless`, at the content of a packet of that length.
    pub(crate) fn new(from: R, budget: SidebandBudget, headless: Option<usize>) -> Self {
        SideBand {
            from,
            budget,
            headless,
            left: 0,
            is_over: false,
            logged: 0,
            messages: Messages::default(),
            trouble: None,
        }
    }

    pub(crate) fn trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// The lines of band 2.
    pub(crate) fn into_messages(self) -> Vec<String> {
        self.messages.finish()
    }

    /// Reads the rest up to the flush packet.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        loop {
            let rest = self.fill_buf()?.len();
            if rest == 0 {
                return Ok(());
            }
            self.count(rest)?;
            self.consume(rest);
        }
    }

    fn next_packet(&mut self) -> io::Result<()> {
        let next = self.try_next_packet();
        next.map_err(|err| match err.kind() {
            io::ErrorKind::UnexpectedEof => self.fail(Trouble::EndedEarly),
            _ => err,
        })
    }

    fn try_next_packet(&mut self) -> io::Result<()> {
        if let Some(bytes) = self.headless.take() {
            return self.enter(bytes);
        }
        match read_head(&mut self.from) {
            Ok(Packet::Data(bytes)) => self.enter(bytes),
            Ok(Packet::Flush) => {
                self.is_over = true;
                Ok(())
            }
            Ok(Packet::Delimiter | Packet::ResponseEnd) => Err(self.garbled()),
            Err(err) if err.kind() == io::ErrorKind::InvalidData => Err(self.garbled()),
            Err(err) => Err(err),
        }
    }

    fn enter(&mut self, bytes: usize) -> io::Result<()> {
        let mut band = [0];
        self.from.read_exact(&mut band)?;
        let bytes = bytes - 1;
        match band[0] {
            1 if bytes > 0 => {
                self.left = bytes;
                Ok(())
            }
            // An empty packet keeps the connection alive.
            1 => self.count(0),
            2 => {
                self.count(bytes)?;
                let text = self.message(bytes)?;
                self.messages.push(&text);
                self.logged += 1;
                if self.logged <= MAX_LOGGED {
                    tracing::debug!(text = printable(&text), "the server says");
                }
                Ok(())
            }
            3 => {
                let text = self.message(bytes)?;
                Err(self.fail(Trouble::Fatal(printable(&text))))
            }
            b'E' => {
                let text = self.message(bytes)?;
                Err(match text.strip_prefix(b"RR ") {
                    Some(text) => self.fail(Trouble::Refused(printable(text))),
                    None => self.garbled(),
                })
            }
            _ => Err(self.garbled()),
        }
    }

    fn message(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        read_data(&mut self.from, bytes, &mut text)?;
        text.truncate(MAX_MESSAGE);
        Ok(text)
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        let heard = self.budget.take(bytes);
        heard.map_err(|err| self.fail(Trouble::OverBudget(err)))
    }

    fn garbled(&mut self) -> io::Error {
        self.fail(Trouble::Garbled)
    }

    fn fail(&mut self, trouble: Trouble) -> io::Error {
        let stand_in = match &trouble {
            Trouble::Refused(text) | Trouble::Fatal(text) => io::Error::other(text.clone()),
            Trouble::OverBudget(noise) => io::Error::other(Error::from(noise.clone()).to_string()),
            Trouble::Garbled => invalid_data("a packet is of an unknown side-band"),
            Trouble::EndedEarly => io::ErrorKind::UnexpectedEof.into(),
        };
        self.trouble.get_or_insert(trouble);
        stand_in
    }
}

impl<R: BufRead> BufRead for SideBand<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.trouble.is_some() {
            return Err(io::Error::other("the answer failed before"));
        }
        while self.left == 0 && !self.is_over {
            self.next_packet()?;
        }
        if self.is_over {
            return Ok(&[]);
        }
        if self.from.fill_buf()?.is_empty() {
            return Err(self.fail(Trouble::EndedEarly));
        }
        let buffer = self.from.fill_buf()?;
        Ok(&buffer[..buffer.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.left);
        self.left -= amount;
        self.from.consume(amount);
    }
}

impl<R: BufRead> Read for SideBand<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(content: &[u8]) -> Vec<u8> {
        [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
    }

    fn read(
        packets: &[&[u8]],
        end: &[u8],
        noise: u64,
    ) -> (Vec<u8>, io::Result<()>, Option<Trouble>) {
        let mut answer: Vec<u8> = packets.iter().flat_map(|content| packet(content)).collect();
        answer.extend_from_slice(end);
        let mut bands = SideBand::new(&*answer, SidebandBudget::up_to(noise), None);
        let mut matter = Vec::new();
        let read = bands.read_to_end(&mut matter).map(drop);
        (matter, read, bands.trouble())
    }

    #[test]
    fn the_matter_is_what_the_first_band_carries() {
        let packets: &[&[u8]] = &[b"\x01PA", b"\x02Counting objects", b"\x01", b"\x01CK"];
        let (matter, read, trouble) = read(packets, b"0000more", 100);
        assert_eq!(matter, b"PACK");
        assert!(read.is_ok() && trouble.is_none());
    }

    #[test]
    fn why_it_may_end_early() {
        let fatal: &[&[u8]] = &[b"\x01PA", b"\x03out of memory"];
        let (matter, _, trouble) = read(fatal, b"", 100);
        assert_eq!(matter, b"PA");
        assert!(matches!(trouble, Some(Trouble::Fatal(text)) if text == "out of memory"));
        let (_, _, trouble) = read(&[b"\x01PA", b"ERR no!"], b"", 100);
        assert!(matches!(trouble, Some(Trouble::Refused(text)) if text == "no!"));

        for (packets, end) in [
            (&[&b"\x01PA"[..], b"\x07"][..], &b""[..]),
            (&[b"PACK"], b""),
            (&[], b"0001"),
            (&[], b"zzzz"),
        ] {
            let (_, _, trouble) = read(packets, end, 100);
            assert!(matches!(trouble, Some(Trouble::Garbled)), "{packets:?}");
        }

        for end in [&b""[..], b"00", b"0009\x01PA"] {
            let (_, read, trouble) = read(&[b"\x01PA"], end, 100);
            let err = read.expect_err("cut off");
            assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
            assert!(matches!(trouble, Some(Trouble::EndedEarly)), "{trouble:?}");
        }
    }

    #[test]
    fn progress_and_empty_packets_have_a_budget() {
        for endless in [&b"\x02x"[..], b"\x01"] {
            let packets = vec![endless; 30];
            let (_, _, trouble) = read(&packets, b"0000", 100);
            let Some(Trouble::OverBudget(err)) = trouble else {
                panic!("{trouble:?}");
            };
            let text = "more than 100 bytes of messages (limit `noise`)";
            assert_eq!(Error::from(err).to_string(), text);
            assert!(read(&packets, b"0000", 1000).2.is_none());
        }
    }

    #[test]
    fn what_follows_the_matter_has_a_budget() {
        let answer = [packet(b"\x01pack"), packet(&[1; 1000]), b"0000".to_vec()].concat();
        for (limit, fits) in [(500, false), (5000, true)] {
            let mut bands = SideBand::new(&*answer, SidebandBudget::up_to(limit), None);
            bands.read_exact(&mut [0; 4]).expect("the matter");
            assert_eq!(bands.finish().is_ok(), fits);
        }
    }
}
