//! The side of the client that `gix_transport` sees: a request and its answer as three ends.

use std::{
    io::{self, BufReader, Cursor, Read, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use ureq::http::{HeaderName, Method, Request, Uri, header};

use super::{
    HttpClient,
    response::{expected_content_type, incomplete},
    socket::Link,
};
use crate::{Error, ErrorKind};

/// How much of an answer's body is remembered: an `ERR` packet is a line of text.
const BEGINNING: usize = 1024;

impl Http for HttpClient {
    type Headers = BufReader<Headers>;
    type ResponseBody = BufReader<ResponseBody>;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        Ok(begin(self, Method::GET, url, headers)
            .into_response()
            .into())
    }

    /// Collects the body in memory whatever its kind, and sends it with its length: what gix says to
    /// a server is small. A pack goes through [`HttpClient::upload`].
    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        Ok(begin(self, Method::POST, url, headers).into_response())
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }
}

/// A request is sent when its headers or its body are first read. All errors come from there, so a
/// 401 never makes gix ask for credentials.
fn begin(
    client: &HttpClient,
    method: Method,
    url: &str,
    headers: impl IntoIterator<Item = impl AsRef<str>>,
) -> Exchange {
    // What nobody took is about a request that nobody is interested in any more.
    client.take_failure();
    let mut request = Request::builder().method(method).uri(url);
    for line in headers {
        if let Some((name, value)) = line.as_ref().split_once(':')
            && !is_ours(name)
        {
            request = request.header(name, value.trim());
        }
    }
    Exchange::new(State::Pending(Pending {
        client: client.clone(),
        request: request.body(Vec::new()),
    }))
}

/// Whether gix has no say in this header.
fn is_ours(name: &str) -> bool {
    [
        header::USER_AGENT,
        header::AUTHORIZATION,
        header::ACCEPT_ENCODING,
    ]
    .iter()
    .any(|ours: &HeaderName| name.eq_ignore_ascii_case(ours.as_str()))
}

/// One request and its answer, seen by gix as three separate ends.
#[derive(Clone)]
pub(super) struct Exchange(pub(super) Arc<Mutex<State>>);

pub(super) enum State {
    Pending(Pending),
    Answered(Answer),
    /// Failed for good: a body that broke must not look ended when it is read again.
    Over,
}

pub(super) struct Pending {
    client: HttpClient,
    request: Result<Request<Vec<u8>>, ureq::http::Error>,
}

pub(super) struct Answer {
    link: Arc<Link>,
    headers: Cursor<String>,
    pub(super) beginning: Vec<u8>,
    pub(super) body: io::Chain<Cursor<Vec<u8>>, ureq::BodyReader<'static>>,
}

impl Answer {
    fn new(
        client: &HttpClient,
        content_type: &str,
        start: Vec<u8>,
        body: ureq::BodyReader<'static>,
    ) -> Self {
        Answer {
            link: client.0.link.clone(),
            headers: Cursor::new(format!("Content-Type: {content_type}\n")),
            beginning: Vec::new(),
            body: Cursor::new(start).chain(body),
        }
    }
}

impl Exchange {
    fn new(state: State) -> Self {
        Exchange(Arc::new(Mutex::new(state)))
    }

    /// One that has been answered already.
    pub(super) fn answered(
        client: &HttpClient,
        content_type: &str,
        body: ureq::BodyReader<'static>,
    ) -> BufReader<ResponseBody> {
        let answer = Answer::new(client, content_type, Vec::new(), body);
        let exchange = Exchange::new(State::Answered(answer));
        *lock(&client.0.last) = Some(exchange.clone());
        exchange.into_body()
    }

    fn into_body(self) -> BufReader<ResponseBody> {
        BufReader::with_capacity(64 * 1024, ResponseBody(self))
    }

    fn into_response(self) -> PostResponse<BufReader<Headers>, BufReader<ResponseBody>, PostBody> {
        PostResponse {
            post_body: PostBody(self.clone()),
            headers: BufReader::new(Headers(self.clone())),
            body: self.into_body(),
        }
    }

    pub(super) fn answer(
        &self,
        read: impl FnOnce(&mut Answer) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut state = lock(&self.0);
        let mut answer = match mem::replace(&mut *state, State::Over) {
            State::Pending(pending) => {
                let client = pending.client.clone();
                let answer = pending.send()?;
                *lock(&client.0.last) = Some(self.clone());
                answer
            }
            State::Answered(answer) => answer,
            State::Over => return Err(io::Error::other("the request failed before")),
        };
        let read = read(&mut answer)?;
        *state = State::Answered(answer);
        Ok(read)
    }
}

impl Pending {
    fn send(self) -> io::Result<Answer> {
        let link = self.client.0.link.clone();
        self.try_send().map_err(|err| link.failure.record(err))
    }

    fn try_send(self) -> Result<Answer, Error> {
        let request = self.request.map_err(not_http)?;
        let is_listing = request.method() == Method::GET;
        let expected = expected_answer(request.method(), request.uri())?;
        let response = if is_listing {
            self.client.ask(request.map(|_| ()))
        } else {
            self.client.ask(request)
        }?;
        self.client.head(&response).check_content_type(&expected)?;
        let mut body = response.into_body().into_reader();
        let start = if is_listing {
            start_of_listing(&mut body)
        } else {
            Ok(Vec::new())
        };
        let start = start.map_err(|err| incomplete(err.into(), ErrorKind::Protocol))?;
        Ok(Answer::new(&self.client, &expected, start, body))
    }
}

/// How much of an answer may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    limit: usize,
    left: usize,
}

impl Allowance {
    /// Up to the end of the capabilities.
    pub(crate) fn of(limit: usize) -> Option<Self> {
        Some(Allowance { limit, left: limit })
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| {
            let most = format_args!("{} bytes of capabilities", self.limit);
            Error::over_budget("capabilities", most)
        })?;
        Ok(())
    }
}

pub(super) fn not_http(err: ureq::http::Error) -> Error {
    let text = "the request can't be expressed in HTTP";
    Error::new(ErrorKind::Protocol, text).with_source(err)
}

pub(super) fn expected_answer(method: &Method, uri: &Uri) -> Result<String, Error> {
    expected_content_type(method, uri)
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "only Git's smart HTTP is supported"))
}

/// A server that answers in protocol v1 says so in a packet of its own, and goes on as in v0
/// (gitprotocol-pack(5)). gix doesn't know that packet, so it is left out.
fn start_of_listing(body: &mut impl Read) -> io::Result<Vec<u8>> {
    const ANNOUNCED: [&[u8]; 2] = [
        b"001e# service=git-upload-pack\n0000",
        b"001f# service=git-receive-pack\n0000",
    ];
    const VERSION_1: &[u8] = b"000eversion 1\n";
    let mut start = Vec::new();
    let most = ANNOUNCED[1].len() + VERSION_1.len();
    body.take(most as u64).read_to_end(&mut start)?;
    for announced in ANNOUNCED {
        if start
            .strip_prefix(announced)
            .is_some_and(|rest| rest.starts_with(VERSION_1))
        {
            start.drain(announced.len()..announced.len() + VERSION_1.len());
        }
    }
    Ok(start)
}

/// The one header that gix looks at.
pub(crate) struct Headers(Exchange);

impl Read for Headers {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.answer(|answer| answer.headers.read(buf))
    }
}

/// The body of a response.
pub(crate) struct ResponseBody(Exchange);

impl Read for ResponseBody {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.answer(|answer| {
            let failure = &answer.link.failure;
            let mut allowance = lock(&answer.link.allowance);
            // At its end, one byte more tells whether the answer is at its end as well.
            let most = allowance.map_or(usize::MAX, |allowance| allowance.left.max(1));
            let most = most.min(buf.len());
            let read = answer.body.read(&mut buf[..most]).map_err(|err| {
                let err = incomplete(ureq::Error::from(err), ErrorKind::Protocol);
                failure.record(err)
            })?;
            if let Some(allowance) = &mut *allowance {
                allowance.take(read).map_err(|err| failure.record(err))?;
            }
            if read > 0 {
                answer.link.framing.ends();
            }
            let wanted = read.min(BEGINNING - answer.beginning.len());
            answer.beginning.extend_from_slice(&buf[..wanted]);
            Ok(read)
        })
    }
}

/// Collects the body of a request.
pub(crate) struct PostBody(Exchange);

impl Write for PostBody {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut state = lock(&self.0.0);
        match &mut *state {
            State::Pending(Pending {
                request: Ok(request),
                ..
            }) => request.body_mut().write(buf),
            // A request that can't be built fails with a better text when its answer is read.
            State::Pending(_) => Ok(buf.len()),
            State::Answered(_) | State::Over => {
                Err(io::Error::other("the request has been sent already"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
