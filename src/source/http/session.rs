//! A connection that is kept, and how a server introduces itself on it.

use std::sync::{Arc, MutexGuard, PoisonError};

use bstr::{BStr, BString};
use gix_transport::{
    Protocol, Service,
    client::{
        Capabilities,
        blocking_io::{ReadlineBufRead, SetServiceResponse, Transport as _, http::Transport},
    },
    packetline,
};

use super::{SmartHttp, fetch::UploadPack, push::ReceivePack};
use crate::{
    AdvertisedRef, Error, ErrorKind, Limits, ObjectFormat, RemoteUrl, Run, Traffic,
    protocol::{
        err_packet,
        fetch::shallow_source,
        printable,
        ref_line::{Length, V0Lines},
    },
    transport::{Allowance, ClientOptions, CurrentRun, HttpClient, Meter},
};

/// A connection, and what the server said about itself on it.
pub(super) struct Session {
    url: RemoteUrl,
    /// Where its requests go: the URL, unless that redirects.
    pub(super) base: RemoteUrl,
    pub(super) client: HttpClient,
    current: CurrentRun,
    meter: Arc<Meter>,
    pub(super) transport: Transport<HttpClient>,
    pub(super) upload_pack: Option<UploadPack>,
    pub(super) receive_pack: Option<ReceivePack>,
    /// Whether something failed although there is a result.
    pub(super) is_broken: bool,
}

impl SmartHttp {
    /// Runs `work` in the session of the run before, or in a new one, and counts what it sends and
    /// receives. A session in which something failed is not used again.
    pub(super) fn in_session<T>(
        &self,
        run: &Run,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        run.check()?;
        let kept = self.kept_session().take();
        let mut session = kept.map_or_else(|| self.open_session(), Ok)?;
        session.current.set(Some(run.vitals().clone()));
        let before = session.traffic();
        let done = work(&mut session);
        let is_sound = done.is_ok() && !session.is_broken;
        if is_sound {
            session.client.finish();
        }
        session.current.set(None);
        run.add_traffic(session.traffic_since(before));
        if is_sound {
            *self.kept_session() = Some(session);
        }
        done
    }

    pub(super) fn kept_session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_session(&self) -> Result<Session, Error> {
        let (current, meter) = (CurrentRun::default(), Arc::new(Meter::default()));
        let client = HttpClient::new(ClientOptions {
            url: self.url.clone(),
            credentials: self.credentials.clone(),
            policy: self.policy,
            redirects: self.redirects,
            timeouts: self.timeouts,
            extra_roots: self.extra_roots.clone(),
            run: current.clone(),
            meter: meter.clone(),
        })?;
        let transport = new_transport(&client, &self.url, Protocol::V2);
        Ok(Session {
            url: self.url.clone(),
            base: self.url.clone(),
            client,
            current,
            meter,
            transport,
            upload_pack: None,
            receive_pack: None,
            is_broken: false,
        })
    }
}

/// What a server says before it is asked for anything.
pub(crate) struct Greeting {
    pub(crate) protocol: Protocol,
    pub(crate) capabilities: Capabilities,
    pub(crate) format: ObjectFormat,
    /// All of its refs, if it is older than v2.
    pub(crate) listed: Option<V0Lines>,
}

impl Greeting {
    pub(crate) fn offers(&self, capability: &str) -> bool {
        // gix has capabilities of its own for a server that sent none.
        self.protocol != Protocol::V0 && self.capabilities.contains(capability)
    }
}

impl Session {
    /// Asks for the capabilities of upload-pack. Servers older than v2 list all of their refs with
    /// them.
    pub(super) fn shake_hands(
        &mut self,
        run: &Run,
    ) -> Result<(UploadPack, Option<Vec<AdvertisedRef>>), Error> {
        let greeting = self.greet(Service::UploadPack, run)?;
        let is_shallow = |listed: &V0Lines| !listed.shallow.is_empty();
        if greeting.listed.as_ref().is_some_and(is_shallow) {
            return Err(shallow_source());
        }
        let known = UploadPack::new(&greeting);
        self.upload_pack = Some(known);
        Ok((known, greeting.listed.map(|listed| listed.refs)))
    }

    /// Asks for the capabilities of receive-pack, and for all refs. There is no v2 of it.
    pub(super) fn greet_receive_pack(&mut self, run: &Run) -> Result<Greeting, Error> {
        self.greet(Service::ReceivePack, run)
    }

    /// Starts at the URL that was given, and goes on where a redirect leads.
    fn greet(&mut self, service: Service, run: &Run) -> Result<Greeting, Error> {
        let first = self.greet_at(self.url.clone(), service, run);
        match (first, self.client.take_moved()) {
            (Err(err), Some(moved)) if err.kind() == ErrorKind::Redirected => {
                tracing::debug!(to = %moved, "the repository has moved");
                self.greet_at(moved, service, run)
            }
            (first, _) => first,
        }
    }

    fn greet_at(
        &mut self,
        base: RemoteUrl,
        service: Service,
        run: &Run,
    ) -> Result<Greeting, Error> {
        let version = match service {
            Service::UploadPack => Protocol::V2,
            Service::ReceivePack => Protocol::V1,
        };
        // One that has shaken hands would go on with the answer to its last request.
        self.transport = new_transport(&self.client, &base, version);
        self.base = base;
        greet(&mut self.transport, &self.client, service, run)
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

/// One for [`Protocol::V1`] asks for no version, which is how to ask for v0.
fn new_transport(
    client: &HttpClient,
    url: &RemoteUrl,
    protocol: Protocol,
) -> Transport<HttpClient> {
    Transport::new_http(client.clone(), url.to_gix(), protocol, false)
}

fn greet(
    transport: &mut Transport<HttpClient>,
    client: &HttpClient,
    service: Service,
    run: &Run,
) -> Result<Greeting, Error> {
    let limits = run.limits();
    // gix reads them into memory.
    client.allow_answer(Allowance::of(limits.capabilities));
    let answer = transport.handshake(service, &[]);
    client.allow_answer(None);
    let answer = answer.map_err(|err| failed(client, "the handshake", err.into()))?;
    let unreadable = |err| failed(client, "listing refs", err);
    greeting(answer, limits, &unreadable)
}

/// What a handshake says. `unreadable` is about what can't be read of it.
pub(crate) fn greeting(
    answer: SetServiceResponse<'_>,
    limits: &Limits,
    unreadable: &dyn Fn(gix::Error) -> Error,
) -> Result<Greeting, Error> {
    let format = object_format(&answer.capabilities)?;
    let mut listed = None;
    if let Some(mut lines) = answer.refs {
        let parsed = listed.insert(V0Lines::default());
        let mut length = Length::up_to(limits);
        each_line(&mut *lines, unreadable, |line| {
            let refs = parsed.refs.len();
            parsed.push(line, format).ok_or_else(|| nonsense(line))?;
            match parsed.refs.get(refs) {
                Some(new) => length.add(new.name.len()),
                // Each ref has one at most.
                None if line.trim_ascii_end().ends_with(b"^{}") && refs > 0 => Ok(()),
                None => length.add(0),
            }
        })?;
    }
    Ok(Greeting {
        protocol: answer.actual_protocol,
        capabilities: answer.capabilities,
        format,
        listed,
    })
}

/// SHA-1 unless the server says otherwise (gitprotocol-capabilities, "object-format").
fn object_format(capabilities: &Capabilities) -> Result<ObjectFormat, Error> {
    let capability = capabilities.capability("object-format");
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

pub(super) fn nonsense(line: &BStr) -> Error {
    let text = format!(
        "the server listed a ref in a way that makes no sense: {}",
        printable(line)
    );
    Error::new(ErrorKind::Protocol, text)
}

/// Hands every line up to the flush packet to `take`.
pub(super) fn each_line(
    lines: &mut dyn ReadlineBufRead,
    unreadable: &dyn Fn(gix::Error) -> Error,
    mut take: impl FnMut(&BStr) -> Result<(), Error>,
) -> Result<(), Error> {
    while let Some(line) = lines.readline() {
        let line = line.map_err(|err| unreadable(gix::Error::from_error(err)))?;
        let line = line.map_err(unreadable)?;
        let line = line.as_bstr().ok_or_else(|| nonsense("".into()))?;
        if let Some(text) = line.strip_prefix(b"ERR ") {
            return Err(refused(text));
        }
        take(line)?;
    }
    Ok(())
}

/// What the transport recorded, what the server said, or what gix makes of it, in that order.
pub(super) fn failed(client: &HttpClient, what: &str, err: gix::Error) -> Error {
    if let Some(failure) = client.take_failure() {
        return failure;
    }
    match err_line(client, &err) {
        Some(line) => refused(&line),
        None => broken(what, err),
    }
}

pub(super) fn refused(line: &[u8]) -> Error {
    let text = format!("the server refused: {}", printable(line));
    Error::new(ErrorKind::Remote, text)
}

pub(super) fn broken(what: &str, err: gix::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("{what} failed")).with_source(err)
}

/// The text of an `ERR` packet. gix knows them in an advertisement only: in the answer to a fetch
/// it takes one for a headline (v2) or for the start of the pack (v0 and v1).
pub(super) fn err_line(client: &HttpClient, err: &gix::Error) -> Option<BString> {
    let known = err.downcast_any_ref::<packetline::read::Error>();
    known
        .map(|err| err.message.clone())
        .or_else(|| err_packet(&client.beginning()).map(BString::from))
}
