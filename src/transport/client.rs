//! [`HttpClient`]: requests to one origin, with credentials, one retry on a closed connection, and checked answers.

use std::{
    fmt,
    io::Read as _,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use rustls::{crypto::CryptoProvider, pki_types::CertificateDer};
use ureq::{
    Body, SendBody,
    http::{Method, Request, Response, header},
};

use super::{
    Credentials, NetworkPolicy, Origin, Redirects, RemoteUrl, Timeouts,
    body::ResponseBody,
    connect::{Dialer, NoResolver, system_look_up},
    credentials::Authorization,
    link::Link,
    response::{Head, MAX_WORDS, incomplete},
    socket::connection_broke,
    tls,
    upload_body::UploadBody,
};
use crate::{
    Error, ErrorKind, Traffic, context::RunBudget, protocol::printable, scoped_workers::lock,
};

/// The `User-Agent`. GitHub and others recognise a git client by its prefix.
const USER_AGENT: &str = concat!("git/refsync-", env!("CARGO_PKG_VERSION"));

/// The most bytes of an answer's headers: smart HTTP answers have a handful.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// The longest wait for the text of an error answer, whose status has been received.
const WORDS_TIME: Duration = Duration::from_secs(2);

/// The options of [`HttpClient::new`].
#[derive(Debug, Clone)]
pub(crate) struct ClientOptions {
    /// The URL of the repository. Requests go to its origin only.
    pub(crate) url: RemoteUrl,
    /// Sent with every request, if there are any.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) redirects: Redirects,
    pub(crate) timeouts: Timeouts,
    /// Certificate authorities in addition to the public ones.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    /// The cryptography provider of TLS, if not the process-level one or that of a feature.
    pub(crate) crypto: Option<Arc<CryptoProvider>>,
    /// Whether a large request has shown that the server requires a Content-Length (HTTP 411).
    pub(crate) says_lengths: Arc<AtomicBool>,
}

impl ClientOptions {
    /// The default options for a repository.
    pub(crate) fn new(url: RemoteUrl) -> Self {
        ClientOptions {
            url,
            credentials: None,
            policy: NetworkPolicy::default(),
            redirects: Redirects::default(),
            timeouts: Timeouts::default(),
            extra_roots: Vec::new(),
            crypto: None,
            says_lengths: Arc::default(),
        }
    }
}

/// An HTTP client for one origin, through which all requests go.
///
/// The connection is kept for the next request if the body of the response was read to its end.
/// [`finish`](HttpClient::finish) reads it, before each request and after the last one of a run.
pub(crate) struct HttpClient {
    agent: ureq::Agent,
    origin: Origin,
    authorization: Option<Arc<Authorization>>,
    redirects: Redirects,
    moved: Mutex<Option<RemoteUrl>>,
    pub(super) link: Arc<Link>,
    /// The last answer, for [`HttpClient::finish`].
    last: Mutex<Option<ResponseBody>>,
    pub(super) says_lengths: Arc<AtomicBool>,
}

impl HttpClient {
    /// Makes a client, without a connection yet.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] if the policy forbids the URL's scheme, and [`ErrorKind::InvalidOptions`] if credentials or
    /// certificates are invalid.
    pub(crate) fn new(options: ClientOptions) -> Result<Self, Error> {
        let origin = options.url.origin().clone();
        options.policy.check_scheme(&origin)?;
        let authorization = options
            .credentials
            .map(|credentials| Authorization::new(&credentials).map(Arc::new))
            .transpose()?;
        let roots = tls::roots(options.extra_roots)?;
        let tls = origin
            .is_https()
            .then(|| tls::config(roots, options.crypto))
            .transpose()?;
        let link = Arc::new(Link::new(options.timeouts));
        let dialer = Dialer {
            link: link.clone(),
            policy: options.policy,
            tls: tls.map(Arc::new),
            authorization: authorization.clone(),
            look_up: system_look_up(),
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
        Ok(HttpClient {
            agent: ureq::Agent::with_parts(config, dialer, NoResolver),
            origin,
            authorization,
            redirects: options.redirects,
            moved: Mutex::new(None),
            link,
            last: Mutex::new(None),
            says_lengths: options.says_lengths,
        })
    }

    /// Makes later requests part of this run: they use its time and bytes, and end when it is cancelled.
    pub(crate) fn set_run(&self, run: Arc<RunBudget>) {
        self.link.set_run(run);
    }

    /// Takes the first error of the last request. It takes precedence over the errors of the answer's readers, which are
    /// consequences of it.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.link.failure.take()
    }

    /// The first error of the request that has failed with `err`.
    pub(super) fn first_failure(&self, err: Error) -> Error {
        self.link.failure.record(err);
        self.take_failure().unwrap_or_else(connection_broke)
    }

    /// The URL that the repository has moved to, if the last listing was answered with a redirect that
    /// may be followed.
    pub(crate) fn take_moved(&self) -> Option<RemoteUrl> {
        lock(&self.moved).take()
    }

    /// Reads the last answer to its end, so that the connection can be reused.
    ///
    /// A git answer ends with a flush packet, but a chunked HTTP body ends after that. This may wait as for any other
    /// byte. If other bytes come instead of the end, the connection is dropped, without an error.
    pub(crate) fn finish(&self) {
        let last = lock(&self.last).take();
        if let Some(mut body) = last
            && !matches!(body.read(&mut [0]), Ok(0))
        {
            body.abandon();
            self.take_failure();
        }
    }

    /// Drops the last answer, and with it the connection.
    pub(crate) fn abandon(&self) {
        if let Some(body) = lock(&self.last).take() {
            body.abandon();
        }
    }

    /// The body of an answer of this content type.
    pub(super) fn answer(
        &self,
        response: Response<Body>,
        content_type: &str,
    ) -> Result<ResponseBody, Error> {
        self.head(&response).check_content_type(content_type)?;
        let body = response.into_body().into_reader();
        let body = ResponseBody::new(self.link.clone(), body);
        *lock(&self.last) = Some(body.clone());
        Ok(body)
    }

    /// Sends a request with the credentials, and returns the answer with any status. If a kept connection turns out to be closed before a byte of
    /// the answer, for example by a load balancer, the request is sent again on a new connection.
    pub(super) fn exchange(
        &self,
        request: Request<()>,
        mut body: Option<&mut UploadBody<'_>>,
    ) -> Result<Response<Body>, Error> {
        let first = self.try_exchange(request.clone(), body.as_deref_mut());
        let is_repeatable = first.is_err()
            && self.link.was_forgotten()
            && body.as_deref_mut().is_none_or(UploadBody::rewind);
        if !is_repeatable {
            return first;
        }
        tracing::debug!("the kept connection was closed");
        self.take_failure();
        self.try_exchange(request, body)
    }

    fn try_exchange(
        &self,
        mut request: Request<()>,
        body: Option<&mut UploadBody<'_>>,
    ) -> Result<Response<Body>, Error> {
        let HttpClient { origin, link, .. } = self;
        if Origin::of(request.uri()).as_ref() != Some(origin) {
            return Err(Error::new(
                ErrorKind::Forbidden,
                format!("requests go to {origin} only"),
            ));
        }
        if let Some(authorization) = &self.authorization {
            let stand_in = authorization.stand_in.clone();
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, stand_in);
        }

        let span = tracing::debug_span!(
            "http",
            method = %request.method(),
            url = %format_args!("{origin}{}", request.uri().path()),
            status = tracing::field::Empty,
        );
        let _in_span = span.enter();
        link.run().check()?;
        link.begin_request();
        link.run().add_traffic(Traffic {
            requests: 1,
            ..Traffic::default()
        });
        let asked = (*request.method() == Method::GET).then(|| request.uri().clone());
        let response = match body {
            Some(body) => self
                .agent
                .run(request.map(|()| SendBody::from_reader(body))),
            None => self.agent.run(request),
        };
        let response = response.map_err(|err| incomplete(err, ErrorKind::NotAGitServer))?;
        span.record("status", response.status().as_u16());
        let head = self.head(&response);
        *lock(&self.moved) = asked.and_then(|asked| head.moved(self.redirects, &asked));
        Ok(response)
    }

    /// The answer, if its status is a success. On failure the response is dropped, and the connection with its unread
    /// body.
    pub(super) fn accept(&self, response: Response<Body>) -> Result<Response<Body>, Error> {
        let (parts, mut body) = response.into_parts();
        let response = Response::from_parts(parts, ());
        let head = self.head(&response);
        head.check_status(SystemTime::now(), || self.words(&head, &mut body))?;
        Ok(response.map(|()| body))
    }

    /// The start of the text of an error answer, safe to print; empty if it contains a credential.
    fn words(&self, head: &Head<'_>, body: &mut Body) -> String {
        if !head.is_plain_text() {
            return String::new();
        }
        let authorization = self.authorization.as_ref();
        // More bytes than are shown, so that a secret at the end is recognised.
        let most = MAX_WORDS + authorization.map_or(0, |authorization| authorization.len());
        let earlier = self.take_failure();
        self.link.wait_at_most(WORDS_TIME);
        let mut words = Vec::new();
        // After a failure the bytes so far suffice.
        let read = body.as_reader().take(most as u64).read_to_end(&mut words);
        tracing::trace!(?read, "the text of a refusal");
        self.take_failure();
        if let Some(earlier) = earlier {
            self.link.failure.record(earlier);
        }
        if self.repeats_secret(&words) {
            return String::new();
        }
        words.truncate(MAX_WORDS);
        printable(&words)
    }

    /// Whether a server's text contains the credentials.
    pub(crate) fn repeats_secret(&self, text: &[u8]) -> bool {
        let authorization = self.authorization.as_ref();
        authorization.is_some_and(|authorization| authorization.is_in(text))
    }

    pub(super) fn head<'a, B>(&self, response: &'a Response<B>) -> Head<'a> {
        Head {
            status: response.status(),
            headers: response.headers(),
            authorized: self.authorization.is_some(),
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("origin", &self.origin)
            .field("authorized", &self.authorization.is_some())
            .finish_non_exhaustive()
    }
}
