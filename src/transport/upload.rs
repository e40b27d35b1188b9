//! Requests with a body that may be too large for memory, such as a pack.

use std::{
    io::{self, BufRead, BufReader, Read as _},
    sync::atomic::Ordering,
};

use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use super::{
    Call, HttpClient, body::ResponseBody, call::not_http, response::incomplete,
    socket::connection_broke, upload_body::UploadBody,
};
use crate::{Error, ErrorKind};

/// The bytes of an answer that are read at a time.
const READ_AHEAD: usize = 64 * 1024;

/// The most bytes of a probe's answer that are read to keep the connection.
const MAX_PROBE_ANSWER: u64 = 64 * 1024;

/// The answer to a request.
pub(crate) struct Answer {
    pub(crate) body: BufReader<ResponseBody>,
    /// Whether the server may have had the whole request before, and acted on it.
    pub(crate) is_repeated: bool,
}

/// The failure of a request without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: Error,
    /// Whether the server may have acted on the request. It has not if the last byte was not sent yet, or if its answer
    /// was an error status.
    pub(crate) may_have_acted: bool,
}

impl HttpClient {
    /// Sends `body` to a service of the repository and returns the answer.
    ///
    /// A small body is sent with its length, a larger one in chunks as it is read. Before a chunked request, a probe
    /// without a body checks whether the server would accept it, because an error answer during an upload is easily
    /// lost. For a server that refuses chunks (HTTP 411) the body is written to a file first, to know its length. If
    /// that shows only after the body was begun, later requests [have the length](HttpClient::says_lengths).
    pub(crate) fn upload(
        &self,
        call: &Call<'_>,
        body: &mut dyn BufRead,
    ) -> Result<Answer, Unanswered> {
        self.finish();
        self.take_failure();
        let mut upload = UploadBody::new(body, &self.link);
        upload.moves_refs = call.moves_refs();
        let answer = self.try_upload(call, &mut upload);
        let is_repeated = upload.was_over;
        let answer = answer.map(|body| Answer { body, is_repeated });
        answer.map_err(|err| {
            let error = self.first_failure(err);
            let may_have_acted = is_repeated || upload.is_over() && !is_refusal(error.kind());
            Unanswered {
                error,
                may_have_acted,
            }
        })
    }

    /// The same for a body in memory, which is sent again with its length if necessary.
    pub(crate) fn upload_bytes(
        &self,
        call: &Call<'_>,
        body: &[u8],
    ) -> Result<BufReader<ResponseBody>, Error> {
        let said_length = self.says_lengths();
        let mut answer = self.upload(call, &mut &body[..]);
        if answer.is_err() && self.says_lengths() && !said_length {
            answer = self.upload(call, &mut &body[..]);
        }
        answer
            .map(|answer| answer.body)
            .map_err(|unanswered| unanswered.error)
    }

    /// Whether large bodies are sent with their length, because the server has refused one without it.
    pub(crate) fn says_lengths(&self) -> bool {
        self.says_lengths.load(Ordering::Relaxed)
    }

    fn try_upload(
        &self,
        call: &Call<'_>,
        upload: &mut UploadBody<'_>,
    ) -> Result<BufReader<ResponseBody>, Error> {
        upload.read_ahead()?;
        if upload.length.is_none() && (self.says_lengths() || !self.takes_chunks(call)?) {
            tracing::debug!("the server takes no chunks");
            upload.set_aside()?;
        }
        let is_chunked = upload.length.is_none();
        let response = self.post(call, upload)?;
        if is_chunked && response.status() == StatusCode::LENGTH_REQUIRED {
            self.says_lengths.store(true, Ordering::Relaxed);
        }
        let response = self.accept(response)?;
        if !upload.is_over() {
            // The server closed the connection during the request and reported a success.
            return Err(connection_broke());
        }
        let expected = format!("application/x-{}-result", call.service);
        let body = self.answer(response, &expected)?;
        Ok(BufReader::with_capacity(READ_AHEAD, body))
    }

    fn post(&self, call: &Call<'_>, upload: &mut UploadBody<'_>) -> Result<Response<Body>, Error> {
        let mut request = call.request();
        if let Some(length) = upload.length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        self.exchange(request.body(()).map_err(not_http)?, Some(upload))
    }

    /// Sends a probe before a large request, as git does (`probe_rpc` in `remote-curl.c`), but chunked like the large request.
    /// Returns whether the server accepts chunks.
    ///
    /// # Errors
    /// The error of the large request, if the server would refuse that.
    fn takes_chunks(&self, call: &Call<'_>) -> Result<bool, Error> {
        let mut flush = &b"0000"[..];
        let mut probe = UploadBody::new(&mut flush, &self.link);
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

/// Whether the server has refused the request without acting on it: HTTP 3xx or 4xx, but not a rate limit, which a proxy may
/// send after it has passed the request on.
fn is_refusal(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(
        kind,
        Redirected | Authentication | PermissionDenied | NotFound | Remote
    )
}
