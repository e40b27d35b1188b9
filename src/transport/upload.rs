//! Requests whose body is too large to be held in memory.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, Write as _};

use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use super::{
    Call, HttpClient,
    body::ResponseBody,
    call::not_http,
    response::incomplete,
    socket::{Link, connection_broke},
};
use crate::{Error, ErrorKind};

/// What is sent in one piece and with its length, as git's `http.postBuffer`. Some servers refuse a
/// body without one.
const POST_BUFFER: usize = 1024 * 1024;

/// How much of an answer is read at a time.
const READ_AHEAD: usize = 64 * 1024;

/// How much of the answer to a probe is read for the sake of the connection.
const MAX_PROBE_ANSWER: u64 = 64 * 1024;

/// The answer to a request.
pub(crate) struct Answer {
    pub(crate) body: BufReader<ResponseBody>,
    /// Whether the server may have had the whole request before, and acted on it.
    pub(crate) is_repeated: bool,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: Error,
    /// Whether the server may have done what it was asked to. It can't have before the last byte
    /// was on its way, and it hasn't if it said no.
    pub(crate) may_have_acted: bool,
}

impl HttpClient {
    /// Sends `body` to a service of the repository and gives what it answers.
    ///
    /// A body that fits into a small buffer goes with its length, a larger one in chunks as it is
    /// read. Before that, an empty request finds out whether the server would take it: a server that
    /// says no during an upload is hard to hear. For one that takes no chunks the body is put into a
    /// file first, to know its length.
    pub(crate) fn upload(
        &self,
        call: &Call<'_>,
        body: &mut dyn BufRead,
    ) -> Result<Answer, Unanswered> {
        self.finish();
        self.take_failure();
        let mut upload = Upload::new(body, &self.0.link);
        upload.moves_refs = call.moves_refs;
        let answer = self.try_upload(call, &mut upload);
        let is_repeated = upload.was_over;
        let answer = answer.map(|body| Answer { body, is_repeated });
        answer.map_err(|err| {
            self.0.link.failure.record(err);
            let error = self.take_failure().unwrap_or_else(connection_broke);
            let may_have_acted = is_repeated || upload.is_over() && !is_refusal(error.kind());
            Unanswered {
                error,
                may_have_acted,
            }
        })
    }

    fn try_upload(
        &self,
        call: &Call<'_>,
        upload: &mut Upload<'_>,
    ) -> Result<BufReader<ResponseBody>, Error> {
        upload.read_ahead()?;
        if upload.length.is_none() && !self.takes_chunks(call)? {
            tracing::debug!("the server takes no chunks");
            upload.set_aside()?;
        }
        let response = self.post(call, upload)?;
        let response = self.accept(response)?;
        if !upload.is_over() {
            // It hung up on the request and called that a success.
            return Err(connection_broke());
        }
        let expected = format!("application/x-{}-result", call.service);
        let body = self.answer(response, &expected)?;
        Ok(BufReader::with_capacity(READ_AHEAD, body))
    }

    fn post(&self, call: &Call<'_>, upload: &mut Upload<'_>) -> Result<Response<Body>, Error> {
        let mut request = call.request();
        if let Some(length) = upload.length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        self.exchange(request.body(()).map_err(not_http)?, Some(upload))
    }

    /// Asks as git does before a large request (`probe_rpc` in its `remote-curl.c`), but in chunks, as
    /// the large request would come: once that is under way, there is no way back.
    ///
    /// Fails if the server would take no request at all.
    fn takes_chunks(&self, call: &Call<'_>) -> Result<bool, Error> {
        let mut flush = &b"0000"[..];
        let mut probe = Upload::new(&mut flush, &self.0.link);
        probe.read_ahead()?;
        probe.length = None;
        let response = self.post(call, &mut probe)?;
        if response.status() == StatusCode::LENGTH_REQUIRED {
            return Ok(false);
        }
        let answer = self.accept(response)?.into_body().into_reader();
        io::copy(&mut answer.take(MAX_PROBE_ANSWER), &mut io::sink())
            .map_err(|err| incomplete(err.into(), ErrorKind::Protocol))?;
        Ok(true)
    }
}

/// Whether the server wouldn't have the request: HTTP 3xx or 4xx. What is between here and the server
/// may ask for fewer requests once it has passed one on.
fn is_refusal(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(
        kind,
        Redirected | Authentication | PermissionDenied | NotFound | Remote
    )
}

/// A body that knows that its last bytes are the last ones before it hands them out.
///
/// A server may act on them right away, whether or not HTTP's own end of the body ever arrives.
pub(super) struct Upload<'a> {
    ahead: Cursor<Vec<u8>>,
    rest: Box<dyn BufRead + 'a>,
    /// Whether what has been handed out of the rest is nowhere else.
    rest_has_begun: bool,
    rest_is_over: bool,
    /// How long it is, where that is known.
    length: Option<u64>,
    moves_refs: bool,
    /// Whether all of it had been handed out when it was begun again.
    was_over: bool,
    link: &'a Link,
}

impl<'a> Upload<'a> {
    fn new(body: &'a mut dyn BufRead, link: &'a Link) -> Self {
        Upload {
            ahead: Cursor::default(),
            rest: Box::new(body),
            rest_has_begun: false,
            rest_is_over: false,
            length: None,
            moves_refs: false,
            was_over: false,
            link,
        }
    }

    /// Begins again, if that can be: nothing has been handed out but what was read ahead.
    pub(super) fn rewind(&mut self) -> bool {
        if self.rest_has_begun {
            return false;
        }
        self.was_over |= self.is_over();
        self.ahead.set_position(0);
        true
    }

    /// Whether all of it has been handed out.
    fn is_over(&self) -> bool {
        self.rest_is_over && self.ahead.position() == self.ahead.get_ref().len() as u64
    }

    fn read_ahead(&mut self) -> Result<(), Error> {
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

    /// Puts all of it into a file without a name, and goes on from there.
    fn set_aside(&mut self) -> Result<(), Error> {
        let failed = |err| Error::io("keeping the body of a request", err);
        let mut file = self.link.run.temporary_file().map_err(failed)?;
        let mut part = std::mem::take(self.ahead.get_mut());
        let mut length = 0;
        loop {
            length += part.len() as u64;
            self.link.run.check_disk(length)?;
            file.write_all(&part).map_err(failed)?;
            if self.rest_is_over {
                break;
            }
            part.resize(64 * 1024, 0);
            let read = self.read_rest(&mut part)?;
            part.truncate(read);
        }
        file.rewind().map_err(failed)?;
        self.ahead = Cursor::default();
        self.rest = Box::new(BufReader::new(file));
        self.rest_is_over = false;
        self.length = Some(length);
        Ok(())
    }

    fn read_rest(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if self.rest_is_over {
            return Ok(0);
        }
        self.link.run.check()?;
        let read = self.rest.read(buf).map_err(body_failed)?;
        self.rest_is_over = self.rest.fill_buf().map_err(body_failed)?.is_empty();
        Ok(read)
    }
}

/// What the body's own reader has to say goes before its being an I/O error.
fn body_failed(err: io::Error) -> Error {
    err.downcast::<Error>()
        .unwrap_or_else(|err| Error::io("reading the body of a request", err))
}

impl Read for Upload<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut read = self.ahead.read(buf)?;
        // For a server that has hung up nothing more is worth being made. The end that ureq sees
        // then is one that the server doesn't.
        if read == 0 && !self.link.hung_up.get() {
            self.rest_has_begun |= !self.rest_is_over;
            let failure = &self.link.failure;
            read = self.read_rest(buf).map_err(|err| failure.record(err))?;
        }
        if self.moves_refs && self.is_over() {
            self.link.run.settle();
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transport::{CurrentRun, Timeouts};

    #[test]
    fn the_end_is_known_before_the_last_bytes_are_out() {
        let link = Link::new(CurrentRun::default(), Arc::default(), Timeouts::default());
        for length in [1, 1000, POST_BUFFER + 100_000] {
            let bytes = vec![b'x'; length];
            let mut body = BufReader::with_capacity(1000, &*bytes);
            let mut upload = Upload::new(&mut body, &link);
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
