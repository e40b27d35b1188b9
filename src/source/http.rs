//! A remote over smart HTTP as an end of a sync.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bstr::{BString, ByteSlice};
use gix_protocol::{
    Handshake,
    fetch::{Context, Options, Shallow, Tags},
};
use gix_transport::{
    Protocol, Service,
    client::blocking_io::{ReadlineBufRead, Transport as _, TransportV2Ext as _, http::Transport},
    packetline,
};
use rustls::pki_types::CertificateDer;

use super::{PackAnswer, PackReceiver, PackRequest, RefSource, Service as EndService};
use crate::{
    AdvertisedRef, Credentials, Error, ErrorKind, NetworkPolicy, ObjectFormat, RefList, RemoteUrl,
    Run, Timeouts, Traffic,
    protocol::{
        err_packet,
        fetch::{OneRound, refused_want},
        last_words::LastWords,
        printable,
        ref_line::{self, V0Lines},
    },
    transport::{CancelFlag, ClientOptions, HttpClient, Meter},
};

const AGENT: &str = concat!("refsync/", env!("CARGO_PKG_VERSION"));

/// A repository behind a server that speaks Git's smart HTTP: protocol v2, or v1 and v0 where the
/// server is too old for it.
///
/// It keeps its connection between runs.
///
/// ```
/// use refsync::{Credentials, SmartHttp};
///
/// let upstream = SmartHttp::new("https://git.example.com/acme/app.git")?
///     .with_credentials(Credentials::token("canary"));
/// # Ok::<_, refsync::Error>(())
/// ```
pub struct SmartHttp {
    url: RemoteUrl,
    credentials: Option<Credentials>,
    policy: NetworkPolicy,
    timeouts: Timeouts,
    extra_roots: Vec<CertificateDer<'static>>,
    /// Taken for the time of a request, so that two runs at once don't share one.
    session: Mutex<Option<Session>>,
}

struct Session {
    url: RemoteUrl,
    client: HttpClient,
    cancel: CancelFlag,
    meter: Arc<Meter>,
    transport: Transport<HttpClient>,
    handshake: Option<Handshake>,
}

impl SmartHttp {
    /// The repository at this URL. Nothing is connected to yet.
    ///
    /// Fails with [`ErrorKind::InvalidUrl`] unless it is an `https` or `http` URL with a host and
    /// without credentials in it.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(SmartHttp {
            url: RemoteUrl::parse(url)?,
            credentials: None,
            policy: NetworkPolicy::default(),
            timeouts: Timeouts::default(),
            extra_roots: Vec::new(),
            session: Mutex::new(None),
        })
    }

    /// Authenticates with these. They are sent to the URL's origin only.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// What may be connected to. The default is https to public addresses.
    #[must_use]
    pub fn with_network_policy(mut self, policy: NetworkPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to wait for the network.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Trusts this DER-encoded certificate authority beside the public ones.
    #[must_use]
    pub fn with_root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(CertificateDer::from(der.into()));
        self
    }

    /// The URL that it was made with.
    pub fn url(&self) -> &RemoteUrl {
        &self.url
    }

    /// Runs `work` in the session of the run before, or in a new one, and counts what it sends and
    /// receives. A session in which something failed is not used again.
    fn in_session<T>(
        &self,
        run: &Run,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        run.check()?;
        let kept = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut session = kept.map_or_else(|| self.open_session(), Ok)?;
        session.cancel.set(Some(run.cancel_flag().clone()));
        let before = session.traffic();
        let done = work(&mut session);
        if done.is_ok() {
            session.client.finish();
        }
        session.cancel.set(None);
        run.add_traffic(session.traffic_since(before));
        if done.is_ok() {
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        }
        done
    }

    fn open_session(&self) -> Result<Session, Error> {
        let (cancel, meter) = (CancelFlag::default(), Arc::new(Meter::default()));
        let client = HttpClient::new(ClientOptions {
            url: self.url.clone(),
            credentials: self.credentials.clone(),
            policy: self.policy,
            timeouts: self.timeouts,
            extra_roots: self.extra_roots.clone(),
            cancel: cancel.clone(),
            meter: meter.clone(),
        })?;
        let transport = new_transport(&client, &self.url);
        Ok(Session {
            url: self.url.clone(),
            client,
            cancel,
            meter,
            transport,
            handshake: None,
        })
    }
}

impl std::fmt::Debug for SmartHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartHttp")
            .field("url", &self.url)
            .field("credentials", &self.credentials)
            .field("policy", &self.policy)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl RefSource for SmartHttp {
    fn list(
        &self,
        _service: EndService,
        prefixes: &[BString],
        run: &Run,
    ) -> Result<RefList, Error> {
        let _span = tracing::debug_span!("list remote", url = %self.url).entered();
        self.in_session(run, |session| {
            let advertised = session.shake_hands()?;
            let format = session.object_format()?;
            let refs = match advertised {
                Some(refs) => refs,
                None => session.ls_refs(prefixes, format, run)?,
            };
            Ok(RefList::new(format, refs))
        })
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &Run,
    ) -> Result<PackAnswer, Error> {
        let _span = tracing::debug_span!(
            "fetch",
            wants = request.wants.len(),
            haves = request.haves.len()
        )
        .entered();
        self.in_session(run, |session| {
            if session.handshake.is_none() {
                session.shake_hands()?;
            }
            session.fetch(request, receive, run)
        })
    }
}

impl Session {
    /// Asks for the server's capabilities. Servers older than v2 list all of their refs with them.
    fn shake_hands(&mut self) -> Result<Option<Vec<AdvertisedRef>>, Error> {
        // One that has shaken hands would go on with the answer to its last request.
        self.transport = new_transport(&self.client, &self.url);
        let shaken = self.transport.handshake(Service::UploadPack, &[]);
        let answer = match shaken {
            Ok(answer) => answer,
            Err(err) => return Err(failed(&self.client, "the handshake", err.into())),
        };
        let handshake = Handshake {
            server_protocol_version: answer.actual_protocol,
            capabilities: answer.capabilities,
            refs: None,
            v1_shallow_updates: None,
        };
        let format = object_format(&handshake)?;
        let mut advertised = None;
        if let Some(mut lines) = answer.refs {
            let mut parsed = V0Lines::default();
            each_line(&mut *lines, &self.client, |line| parsed.push(line, format))?;
            if parsed.is_shallow {
                return Err(shallow_source());
            }
            advertised = Some(parsed.refs);
        }
        self.handshake = Some(handshake);
        Ok(advertised)
    }

    fn ls_refs(
        &mut self,
        prefixes: &[BString],
        format: ObjectFormat,
        run: &Run,
    ) -> Result<Vec<AdvertisedRef>, Error> {
        let capabilities = [
            ("agent", Some(AGENT.to_owned())),
            ("object-format", Some(format.to_string())),
        ];
        // A server from before SHA-256 doesn't know the word.
        let known = self
            .handshake
            .as_ref()
            .is_some_and(|h| h.capabilities.contains("object-format"));
        let capabilities = capabilities
            .into_iter()
            .filter(|(name, _)| known || *name != "object-format");
        let prefixes = prefixes
            .iter()
            .map(|prefix| format!("ref-prefix {prefix}").into());
        let arguments = ["peel", "symrefs"]
            .into_iter()
            .map(BString::from)
            .chain(prefixes);
        let answer = self
            .transport
            .invoke("ls-refs", capabilities, Some(arguments), false);
        let mut lines = match answer {
            Ok(lines) => lines,
            Err(err) => return Err(failed(&self.client, "listing refs", err.into())),
        };
        let mut refs = Vec::new();
        each_line(&mut *lines, &self.client, |line| {
            refs.extend(ref_line::parse_v2(line, format)?);
            Some(())
        })?;
        run.check()?;
        Ok(refs)
    }

    fn fetch(
        &mut self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &Run,
    ) -> Result<PackAnswer, Error> {
        let Some(handshake) = &mut self.handshake else {
            return Err(Error::new(
                ErrorKind::Protocol,
                "a pack was asked for before the handshake",
            ));
        };
        let is_v2 = handshake.server_protocol_version == Protocol::V2;
        let no_progress = is_v2 || handshake.capabilities.contains("no-progress");
        let mut refused_pack = None;
        let words = LastWords::default();
        let outcome = gix_protocol::fetch(
            &mut OneRound {
                request,
                no_progress,
            },
            |pack, _, _| match receive(pack) {
                Ok(()) => Ok(true),
                Err(err) => {
                    refused_pack = Some(err);
                    Err(gix::error::message("the pack was not taken in").into())
                }
            },
            words.clone(),
            run.cancel_flag(),
            Context {
                handshake,
                transport: &mut self.transport,
                user_agent: ("agent", Some(AGENT.into())),
                trace_packetlines: false,
            },
            Options {
                // There is none: the boundary is part of the request, and the answer can't move it.
                shallow_file: PathBuf::new(),
                shallow: &Shallow::NoChange,
                tags: Tags::None,
                reject_shallow_remote: true,
            },
        );
        match outcome {
            Ok(Some(_)) => Ok(PackAnswer::Sent),
            Ok(None) => Err(Error::new(ErrorKind::Protocol, "the server sent no pack")),
            Err(err) => no_pack(&self.client, request, words.take(), refused_pack, err),
        }
    }

    fn object_format(&self) -> Result<ObjectFormat, Error> {
        self.handshake
            .as_ref()
            .map_or(Ok(ObjectFormat::Sha1), object_format)
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.meter.requests(),
            bytes_sent: self.meter.bytes_sent(),
            bytes_received: self.meter.bytes_received(),
            objects: 0,
        }
    }

    fn traffic_since(&self, before: Traffic) -> Traffic {
        let now = self.traffic();
        Traffic {
            requests: now.requests - before.requests,
            bytes_sent: now.bytes_sent - before.bytes_sent,
            bytes_received: now.bytes_received - before.bytes_received,
            objects: 0,
        }
    }
}

fn new_transport(client: &HttpClient, url: &RemoteUrl) -> Transport<HttpClient> {
    Transport::new_http(client.clone(), url.to_gix(), Protocol::V2, false)
}

/// SHA-1 unless the server says otherwise (gitprotocol-capabilities, "object-format").
fn object_format(handshake: &Handshake) -> Result<ObjectFormat, Error> {
    let capability = handshake.capabilities.capability("object-format");
    match capability
        .as_ref()
        .and_then(|capability| capability.value())
    {
        None => Ok(ObjectFormat::Sha1),
        Some(name) if name == "sha1" => Ok(ObjectFormat::Sha1),
        Some(name) if name == "sha256" => Ok(ObjectFormat::Sha256),
        Some(other) => {
            let text = format!(
                "the server uses an unknown object format: {}",
                printable(other)
            );
            Err(Error::new(ErrorKind::Unsupported, text))
        }
    }
}

/// Hands every line up to the flush packet to `take`, which says `None` to one that it can't read.
fn each_line(
    lines: &mut dyn ReadlineBufRead,
    client: &HttpClient,
    mut take: impl FnMut(&bstr::BStr) -> Option<()>,
) -> Result<(), Error> {
    while let Some(line) = lines.readline() {
        let line =
            line.map_err(|err| failed(client, "listing refs", gix::Error::from_error(err)))?;
        let line = line.map_err(|err| failed(client, "listing refs", err))?;
        let Some(line) = line.as_bstr() else { break };
        if let Some(text) = line.strip_prefix(b"ERR ") {
            return Err(refused(text));
        }
        take(line).ok_or_else(|| {
            let text = format!(
                "the server listed a ref in a way that makes no sense: {}",
                printable(line)
            );
            Error::new(ErrorKind::Protocol, text)
        })?;
    }
    Ok(())
}

/// What the transport recorded, what the server said, or what gix makes of it, in that order.
fn failed(client: &HttpClient, what: &str, err: gix::Error) -> Error {
    if let Some(failure) = client.take_failure() {
        return failure;
    }
    match err_line(client, &err) {
        Some(line) => refused(&line),
        None => broken(what, err),
    }
}

fn is_headed(answer: &[u8], section: &[u8]) -> bool {
    answer
        .get(4..)
        .is_some_and(|headline| headline.starts_with(section))
}

/// Why there is no pack: what the transport recorded, what the server said, what was wrong with the
/// pack, or what gix makes of it, in that order. A pack that breaks off is the network's fault
/// before it is the pack's.
fn no_pack(
    client: &HttpClient,
    request: &PackRequest,
    last_words: Option<String>,
    refused_pack: Option<Error>,
    err: gix::Error,
) -> Result<PackAnswer, Error> {
    if let Some(network) = client.take_failure() {
        return Err(network);
    }
    // In v2 it shows here only; gix puts it down to a setting that there is none of.
    if request.shallow.is_empty() && is_headed(&client.beginning(), b"shallow-info") {
        return Err(shallow_source());
    }
    let Some(line) = err_line(client, &err) else {
        let gave_up = |words| {
            let text = format!("the server gave up on the pack: {words}");
            Error::new(ErrorKind::Remote, text)
        };
        let known = last_words.map(gave_up).or(refused_pack);
        return Err(known.unwrap_or_else(|| broken("receiving a pack", err)));
    };
    match refused_want(line.as_bstr(), &request.wants) {
        Some(tip) => Ok(PackAnswer::Unavailable {
            tip,
            detail: printable(&line),
        }),
        None => Err(refused(&line)),
    }
}

fn shallow_source() -> Error {
    let text = "the source is a shallow clone: its history has holes";
    Error::new(ErrorKind::Unsupported, text)
}

fn refused(line: &[u8]) -> Error {
    let text = format!("the server refused: {}", printable(line));
    Error::new(ErrorKind::Remote, text)
}

fn broken(what: &str, err: gix::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("{what} failed")).with_source(err)
}

/// The text of an `ERR` packet. gix knows them in an advertisement only: in the answer to a fetch
/// it takes one for a headline (v2) or for the start of the pack (v0 and v1).
fn err_line(client: &HttpClient, err: &gix::Error) -> Option<BString> {
    let known = err.downcast_any_ref::<packetline::read::Error>();
    known
        .map(|err| err.message.clone())
        .or_else(|| err_packet(&client.beginning()).map(BString::from))
}
