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
    tls,
    upload_body::UploadBody,
};
use crate::{
    Error, ErrorKind, Traffic, context::RunBudget, protocol::printable, scoped_workers::lock,
};

/// GitHub and others decide by the prefix whether a Git client is talking to them.
const USER_AGENT: &str = concat!("git/refsync-", env!("CARGO_PKG_VERSION"));

/// Smart HTTP answers have a handful of headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// The wait for the text of a refusal. Its status has said what matters.
const WORDS_TIME: Duration = Duration::from_secs(2);

/// The options of [`HttpClient::new`].
#[derive(Debug, Clone)]
pub(crate) struct ClientOptions {
    /// The repository; requests go to its origin and nowhere else.
    pub(crate) url: RemoteUrl,
    /// Sent with every request, if there are any.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) policy: NetworkPolicy,
    pub(crate) redirects: Redirects,
    pub(crate) timeouts: Timeouts,
    /// Trusted beside the public certificate authorities.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    /// The cryptography for TLS, if it is not to be that of the process or of refsync.
    pub(crate) crypto: Option<Arc<CryptoProvider>>,
    /// Whether a large request has shown that the server requires a Content-Length (HTTP 411).
    pub(crate) says_lengths: Arc<AtomicBool>,
}

impl ClientOptions {
    /// Those by default, for this repository.
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

/// HTTP to one origin.
///
/// The connection is kept for the next request if the body of the response was read to its end.
/// [`finish`](HttpClient::finish) sees to that, before each request and after the last one of a run.
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
    /// Connects to nobody yet.
    ///
    /// Fails with [`ErrorKind::Forbidden`] if the policy rules out the URL's scheme, and with
    /// [`ErrorKind::InvalidOptions`] if credentials or certificates can't be used.
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

    /// From now on requests are those of this run: its time and bytes are used, and it can be cancelled.
    pub(crate) fn set_run(&self, run: Arc<RunBudget>) {
        self.link.set_run(run);
    }

    /// The first error of the last request. To be preferred over what the readers of its answer make
    /// of it.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.link.failure.take()
    }

    /// The URL that the repository has moved to, if the last listing was answered with a redirect that
    /// may be followed.
    pub(crate) fn take_moved(&self) -> Option<RemoteUrl> {
        lock(&self.moved).take()
    }

    /// Ends a run that went well, so that the next one finds its connection.
    ///
    /// What was asked for ends with a flush packet, but an answer in chunks ends after it. May wait
    /// for that as for any other byte. What comes instead of the end costs the connection and nothing
    /// else.
    pub(crate) fn finish(&self) {
        let last = lock(&self.last).take();
        if let Some(mut body) = last
            && !matches!(body.read(&mut [0]), Ok(0))
        {
            body.abandon();
            self.take_failure();
        }
    }

    /// Gives up on the last answer, and with that on its connection.
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

    /// Sends a request, with the credentials, and gives its answer unless the status says no.
    ///
    /// On failure the response is dropped, and with its unread body the connection.
    pub(super) fn ask(
        &self,
        request: Request<()>,
        body: Option<&mut UploadBody<'_>>,
    ) -> Result<Response<Body>, Error> {
        let response = self.exchange(request, body)?;
        self.accept(response)
    }

    /// Sends a request and gives its answer, whatever the status. A connection that was kept for it
    /// may be gone without anybody having noticed, such as one that a load balancer has forgotten:
    /// then the request is sent once more, on a new one.
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
        tracing::debug!("the connection that was kept is gone");
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
            let stand_in = authorization.stand_in().clone();
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

    /// The answer, unless its status says no.
    pub(super) fn accept(&self, response: Response<Body>) -> Result<Response<Body>, Error> {
        let (parts, mut body) = response.into_parts();
        let response = Response::from_parts(parts, ());
        let head = self.head(&response);
        head.check_status(SystemTime::now(), || self.words(&head, &mut body))?;
        Ok(response.map(|()| body))
    }

    /// The start of a text that comes with a refusal, safe to print.
    fn words(&self, head: &Head<'_>, body: &mut Body) -> String {
        if !head.is_plain_text() {
            return String::new();
        }
        let authorization = self.authorization.as_ref();
        // As much more as it takes to recognise a secret at the end.
        let most = MAX_WORDS + authorization.map_or(0, |authorization| authorization.len());
        let earlier = self.take_failure();
        self.link.wait_at_most(WORDS_TIME);
        let mut words = Vec::new();
        // What has come before it failed will do.
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

    /// Whether the credentials are in a server's text.
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
