//! [`UploadBody`]: the body of a request that may be too large for memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read, Seek as _, Write as _},
};

use super::link::Link;
use crate::Error;

/// The largest body that is sent with its length from memory, like git's `http.postBuffer`. Some servers refuse a body
/// without a length.
const POST_BUFFER: usize = 1024 * 1024;

/// A body that reads ahead, so that it knows its last bytes before it returns them.
///
/// A server may act on the last bytes at once, even if the end of the HTTP body never arrives. So from that point on the
/// outcome of a push is unclear until the server answers.
pub(super) struct UploadBody<'a> {
    ahead: Cursor<Vec<u8>>,
    rest: Box<dyn BufRead + 'a>,
    /// The file with the rest of the body, if it was written to one.
    aside: Option<File>,
    /// Whether bytes of the rest were returned that are stored nowhere, so that the body cannot start again.
    rest_has_begun: bool,
    rest_is_over: bool,
    /// The length of the body in bytes, if it is known.
    pub(super) length: Option<u64>,
    pub(super) moves_refs: bool,
    /// Whether all bytes had been returned before the body started again.
    pub(super) was_over: bool,
    link: &'a Link,
}

impl<'a> UploadBody<'a> {
    pub(super) fn new(body: &'a mut dyn BufRead, link: &'a Link) -> Self {
        UploadBody {
            ahead: Cursor::default(),
            rest: Box::new(body),
            aside: None,
            rest_has_begun: false,
            rest_is_over: false,
            length: None,
            moves_refs: false,
            was_over: false,
            link,
        }
    }

    /// Starts again from the first byte. False if bytes were returned that are stored nowhere.
    pub(super) fn rewind(&mut self) -> bool {
        let was_over = self.is_over();
        if self.aside.is_some() && self.read_aside().is_err() {
            return false;
        }
        if self.rest_has_begun {
            return false;
        }
        self.was_over |= was_over;
        self.ahead.set_position(0);
        true
    }

    /// Starts reading the rest at the beginning of its file.
    fn read_aside(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.aside {
            file.rewind()?;
            self.rest = Box::new(BufReader::new(file.try_clone()?));
            self.rest_is_over = false;
            self.rest_has_begun = false;
        }
        Ok(())
    }

    /// Whether all bytes were returned.
    pub(super) fn is_over(&self) -> bool {
        self.rest_is_over && self.ahead.position() == self.ahead.get_ref().len() as u64
    }

    pub(super) fn read_ahead(&mut self) -> Result<(), Error> {
        let mut ahead = Vec::new();
        let mut part = vec![0; 16 * 1024];
        while !self.rest_is_over && ahead.len() < POST_BUFFER {
            let read = self.read_rest(&mut part)?;
            ahead.extend_from_slice(&part[..read]);
        }
        self.length = self.rest_is_over.then_some(ahead.len() as u64);
        self.ahead = Cursor::new(ahead);
        Ok(())
    }

    /// Writes the rest of the body to an unnamed file, to know its length, and reads on from there.
    pub(super) fn set_aside(&mut self) -> Result<(), Error> {
        let failed = |err| Error::io("keeping the body of a request", err);
        let mut file = self.link.run().temporary_file().map_err(failed)?;
        let mut part = std::mem::take(self.ahead.get_mut());
        let mut length = 0;
        loop {
            length += part.len() as u64;
            self.link.run().check_disk(length)?;
            file.write_all(&part).map_err(failed)?;
            if self.rest_is_over {
                break;
            }
            part.resize(64 * 1024, 0);
            let read = self.read_rest(&mut part)?;
            part.truncate(read);
        }
        self.ahead = Cursor::default();
        self.aside = Some(file);
        self.length = Some(length);
        self.read_aside().map_err(failed)
    }

    fn read_rest(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if self.rest_is_over {
            return Ok(0);
        }
        self.link.run().check()?;
        let read = self.rest.read(buf).map_err(body_failed)?;
        self.rest_is_over = self.rest.fill_buf().map_err(body_failed)?.is_empty();
        Ok(read)
    }
}

/// The error of the body's own reader, if the I/O error wraps one.
fn body_failed(err: io::Error) -> Error {
    Error::own_or_io("reading the body of a request", err)
}

impl Read for UploadBody<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut read = self.ahead.read(buf)?;
        // The server has closed the connection: stop making the body. ureq sees an end here that the server never
        // sees.
        if read == 0 && !self.link.request().hung_up {
            self.rest_has_begun |= !self.rest_is_over;
            let failure = &self.link.failure;
            read = self.read_rest(buf).map_err(|err| failure.record(err))?;
        }
        if self.moves_refs && self.is_over() {
            self.link.run().settle();
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Timeouts;

    /// A connection may be found closed only once the body is under way.
    #[test]
    fn what_was_set_aside_can_be_begun_again() {
        let link = Link::new(Timeouts::default());
        let bytes: Vec<u8> = (0..POST_BUFFER as u32 + 9)
            .flat_map(u32::to_be_bytes)
            .collect();
        let mut body = &bytes[..];
        let mut upload = UploadBody::new(&mut body, &link);
        upload.read_ahead().expect("bytes in memory");
        upload.set_aside().expect("a temporary file");
        for handed_out_before in [0, 1000, bytes.len()] {
            let mut first = vec![0; handed_out_before];
            upload.read_exact(&mut first).expect("bytes in a file");
            assert!(upload.rewind());
        }
        let mut all = Vec::new();
        upload.read_to_end(&mut all).expect("bytes in a file");
        assert!(all == bytes);
        assert!(upload.was_over);
    }

    #[test]
    fn the_end_is_known_before_the_last_bytes_are_out() {
        let link = Link::new(Timeouts::default());
        for length in [1, 1000, POST_BUFFER + 100_000] {
            let bytes = vec![b'x'; length];
            let mut body = BufReader::with_capacity(1000, &*bytes);
            let mut upload = UploadBody::new(&mut body, &link);
            upload.read_ahead().expect("bytes in memory");
            let mut handed_out = 0;
            while !upload.is_over() {
                assert!(handed_out < length);
                handed_out += upload.read(&mut [0; 4096]).expect("bytes in memory");
            }
            assert_eq!(handed_out, length);
        }
    }
}
