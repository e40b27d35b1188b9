use std::{
    fmt,
    io::{self, BufReader, Cursor, Read, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use rustls::pki_types::CertificateDer;
use ureq::http::{HeaderName, HeaderValue, Method, Request, header};

use super::{
    CancelFlag, Credentials, Meter, NetworkPolicy, Origin, RemoteUrl, Timeouts,
    connect::{Dialer, NoResolver, tls_config},
    failure::Failure,
    response::{Head, expected_content_type, incomplete},
    socket::Link,
};
use crate::{Error, ErrorKind};

/// GitHub and others decide by the prefix whether a Git client is talking to them.
const USER_AGENT: &str = concat!("git/refsync-", env!("CARGO_PKG_VERSION"));

/// How much of an answer's body is remembered: an `ERR` packet is a line of text.
const BEGINNING: usize = 1024;

/// Smart HTTP answers have a handful of headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// What [`HttpClient::new`] needs to know.
#[derive(Debug)]
pub(crate) struct ClientOptions {
    /// The repository; requests go to its origin and nowhere else.
    pub(crate) url: RemoteUrl,
    /// Sent with every request, if there are any.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) timeouts: Timeouts,
    /// Trusted beside the public certificate authorities.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    pub(crate) cancel: CancelFlag,
    pub(crate) meter: Arc<Meter>,
}

/// HTTP for `gix_transport`, to one origin.
///
/// Clones share connections and the failure: hand one to `gix_transport` and ask the other one
/// [what failed](HttpClient::take_failure). The connection is kept for the next request if the body
/// of the response was read to its end, which gix does before it makes one. After the last request of
/// a run, [`finish`](HttpClient::finish) does it.
///
/// A request is sent when its headers or its body are first read. All errors come from there, so a
/// 401 never makes gix ask for credentials.
#[derive(Clone)]
pub(crate) struct HttpClient(Arc<Inner>);

struct Inner {
    agent: ureq::Agent,
    origin: Origin,
    authorization: Option<HeaderValue>,
    link: Arc<Link>,
    /// The exchange that was answered last, for [`HttpClient::finish`].
    last: Mutex<Option<Exchange>>,
}

impl HttpClient {
    /// Connects to nobody yet.
    ///
    /// Fails with [`ErrorKind::Forbidden`] if the policy rules out the URL's scheme, and with
    /// [`ErrorKind::InvalidOptions`] if credentials or certificates can't be used.
    pub(crate) fn new(options: ClientOptions) -> Result<Self, Error> {
        let origin = options.url.origin().clone();
        options.policy.check_scheme(&origin)?;
        let authorization = options
            .credentials
            .map(|credentials| credentials.authorization())
            .transpose()?;
        let link = Arc::new(Link {
            cancel: options.cancel,
            meter: options.meter,
            failure: Failure::default(),
            timeouts: options.timeouts,
        });
        let dialer = Dialer {
            link: link.clone(),
            policy: options.policy,
            tls: Arc::new(tls_config(options.extra_roots)?),
        };
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(MAX_HEADER_BYTES)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .build();
        Ok(HttpClient(Arc::new(Inner {
            agent: ureq::Agent::with_parts(config, dialer, NoResolver),
            origin,
            authorization,
            link,
            last: Mutex::new(None),
        })))
    }

    /// The first error of the last request. To be preferred over what gix makes of it.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.0.link.failure.take()
    }

    /// How the body of the last answer began, as far as it has been read.
    pub(crate) fn beginning(&self) -> Vec<u8> {
        let last = lock(&self.0.last).clone();
        last.map_or_else(Vec::new, |exchange| match &*lock(&exchange.0) {
            State::Answered(answer) => answer.beginning.clone(),
            State::Pending(_) | State::Over => Vec::new(),
        })
    }

    /// Ends a run that went well, so that the next one finds its connection.
    ///
    /// gix reads up to the flush packet, but an answer in chunks ends after it. May wait for that as
    /// for any other byte. What comes instead of the end costs the connection and nothing else.
    pub(crate) fn finish(&self) {
        let last = lock(&self.0.last).take();
        if let Some(exchange) = last {
            let at_end = exchange.answer(|answer| answer.body.read(&mut [0]));
            if !matches!(at_end, Ok(0)) {
                *lock(&exchange.0) = State::Over;
                self.take_failure();
            }
        }
    }

    fn begin(
        &self,
        method: Method,
        url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Exchange {
        // What nobody took is about a request that nobody is interested in any more.
        self.take_failure();
        let mut request = Request::builder().method(method).uri(url);
        for line in headers {
            if let Some((name, value)) = line.as_ref().split_once(':')
                && !is_ours(name)
            {
                request = request.header(name, value.trim());
            }
        }
        Exchange(Arc::new(Mutex::new(State::Pending(Pending {
            client: self.clone(),
            request: request.body(Vec::new()),
        }))))
    }
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
        Ok(self.begin(Method::GET, url, headers).into_response().into())
    }

    /// Collects the body in memory whatever its kind, and sends it with its length. Unbounded bodies,
    /// which are packs, have yet to be streamed.
    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        Ok(self.begin(Method::POST, url, headers).into_response())
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }
}

/// One request and its answer, seen by gix as three separate ends.
#[derive(Clone)]
struct Exchange(Arc<Mutex<State>>);

enum State {
    Pending(Pending),
    Answered(Answer),
    /// Failed for good: a body that broke must not look ended when it is read again.
    Over,
}

struct Pending {
    client: HttpClient,
    request: Result<Request<Vec<u8>>, ureq::http::Error>,
}

struct Answer {
    link: Arc<Link>,
    headers: Cursor<String>,
    beginning: Vec<u8>,
    body: io::Chain<Cursor<Vec<u8>>, ureq::BodyReader<'static>>,
}

impl Exchange {
    fn into_response(self) -> PostResponse<BufReader<Headers>, BufReader<ResponseBody>, PostBody> {
        PostResponse {
            post_body: PostBody(self.clone()),
            headers: BufReader::new(Headers(self.clone())),
            body: BufReader::with_capacity(64 * 1024, ResponseBody(self)),
        }
    }

    fn answer(&self, read: impl FnOnce(&mut Answer) -> io::Result<usize>) -> io::Result<usize> {
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
        let Inner {
            agent,
            origin,
            authorization,
            link,
            ..
        } = &*self.client.0;
        let mut request = self.request.map_err(|err| {
            Error::new(
                ErrorKind::Protocol,
                "the request can't be expressed in HTTP",
            )
            .with_source(err)
        })?;
        if Origin::of(request.uri()).as_ref() != Some(origin) {
            return Err(Error::new(
                ErrorKind::Forbidden,
                format!("requests go to {origin} only"),
            ));
        }
        let expected = expected_content_type(request.method(), request.uri()).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "only Git's smart HTTP is supported")
        })?;
        if let Some(value) = authorization {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, value.clone());
        }

        let span = tracing::debug_span!(
            "http",
            method = %request.method(),
            url = %format_args!("{origin}{}", request.uri().path()),
            status = tracing::field::Empty,
        );
        let _in_span = span.enter();
        link.cancel.check()?;
        link.meter.count_request();
        let is_listing = request.method() == Method::GET;
        let response = if is_listing {
            agent.run(request.map(|_| ()))
        } else {
            agent.run(request)
        }
        .map_err(|err| incomplete(err, ErrorKind::NotAGitServer))?;
        span.record("status", response.status().as_u16());

        // On failure the response is dropped, and with its unread body the connection.
        Head {
            status: response.status(),
            headers: response.headers(),
            authorized: authorization.is_some(),
        }
        .check(&expected, SystemTime::now())?;
        let mut body = response.into_body().into_reader();
        let start = if is_listing {
            start_of_listing(&mut body)
        } else {
            Ok(Vec::new())
        };
        let start = start.map_err(|err| incomplete(err.into(), ErrorKind::Protocol))?;
        Ok(Answer {
            headers: Cursor::new(format!("Content-Type: {expected}\n")),
            beginning: Vec::new(),
            body: Cursor::new(start).chain(body),
            link: link.clone(),
        })
    }
}

/// A server that answers in protocol v1 says so in a packet of its own, and goes on as in v0
/// (gitprotocol-pack(5)). gix doesn't know that packet, so it is left out.
fn start_of_listing(body: &mut impl Read) -> io::Result<Vec<u8>> {
    const ANNOUNCED: &[u8] = b"001e# service=git-upload-pack\n0000";
    const VERSION_1: &[u8] = b"000eversion 1\n";
    let mut start = Vec::new();
    let most = ANNOUNCED.len() + VERSION_1.len();
    body.take(most as u64).read_to_end(&mut start)?;
    if start.ends_with(VERSION_1) && start.starts_with(ANNOUNCED) {
        start.truncate(ANNOUNCED.len());
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
            let read = answer.body.read(buf).map_err(|err| {
                let err = incomplete(ureq::Error::from(err), ErrorKind::Protocol);
                answer.link.failure.record(err)
            })?;
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("origin", &self.0.origin)
            .field("authorized", &self.0.authorization.is_some())
            .finish_non_exhaustive()
    }
}
