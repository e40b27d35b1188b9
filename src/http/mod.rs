//! [`SmartHttp`]: a remote repository over git's smart HTTP protocol, as an end of a sync.

use std::sync::{Arc, Mutex};

use bstr::BString;
use rustls::{crypto::CryptoProvider, pki_types::CertificateDer};

pub use self::profile::ServerProfile;
use self::session::Session;
use crate::{
    Credentials, Error, NetworkPolicy, PackAnswer, PackReceiver, PackRequest, ReceivePack,
    Redirects, RefList, RefSource, RemoteUrl, Service, SyncContext, Timeouts, scoped_workers::lock,
    transport::ClientOptions,
};

mod fetch;
mod listing;
mod profile;
mod push;
pub(crate) mod services;
mod session;
#[cfg(test)]
mod tests;

const AGENT: &str = concat!("refsync/", env!("CARGO_PKG_VERSION"));

/// A remote repository over git's smart HTTP protocol (gitprotocol-http(5)), in protocol v2, or in v1 or v0 if the
/// server is too old for v2.
///
/// A `SmartHttp` keeps its connection and the profile of the server between runs: from the second run on it sends
/// `ls-refs` to a v2 server at once. A stored [`ServerProfile`] does the same for the first run. Each of the
/// `with_` functions closes the connection and drops the session's data.
///
/// ```
/// use refsync::{Credentials, SmartHttp};
///
/// let upstream = SmartHttp::new("https://git.example.com/acme/app.git")?
///     .with_credentials(Credentials::token("canary"));
/// # Ok::<_, refsync::Error>(())
/// ```
pub struct SmartHttp {
    options: ClientOptions,
    /// Taken out for the time of a request, so that concurrent runs do not share a session.
    session: Mutex<Option<Session>>,
    given_profile: Option<ServerProfile>,
    /// The given profile, replaced by that of the last listing.
    profile: Mutex<Option<ServerProfile>>,
}

impl SmartHttp {
    /// Makes the end for the repository at `url`, without a connection yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl) unless it is an `https` or `http` URL with a host
    /// and without credentials in it.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(SmartHttp {
            options: ClientOptions::new(RemoteUrl::parse(url)?),
            session: Mutex::default(),
            given_profile: None,
            profile: Mutex::default(),
        })
    }

    /// Drops the session: its connection was made and authenticated under other settings.
    fn start_anew(mut self) -> Self {
        self.session = Mutex::default();
        self.options.says_lengths = Arc::default();
        self.profile = Mutex::new(self.given_profile.clone());
        self
    }

    /// Sets the credentials, which are sent to the URL's origin only.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.options.credentials = Some(credentials);
        self.start_anew()
    }

    /// Sets the policy for connections. The default is https to public addresses.
    #[must_use]
    pub fn with_network_policy(mut self, policy: NetworkPolicy) -> Self {
        self.options.policy = policy;
        self.start_anew()
    }

    /// Sets the redirects that are followed. The default is none.
    #[must_use]
    pub fn with_redirects(mut self, redirects: Redirects) -> Self {
        self.options.redirects = redirects;
        self.start_anew()
    }

    /// Sets the longest waits for the network.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.options.timeouts = timeouts;
        self.start_anew()
    }

    /// Trusts a further certificate authority, given as DER, in addition to the public ones.
    #[must_use]
    pub fn with_root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.options
            .extra_roots
            .push(CertificateDer::from(der.into()));
        self.start_anew()
    }

    /// Sets the cryptography provider of TLS. The default is the process-level one
    /// ([`CryptoProvider::install_default`]), or else the one of the feature `ring` or `aws-lc-rs`.
    ///
    /// It is rustls's own type, so that an application can hand over any provider it uses elsewhere.
    #[must_use]
    pub fn with_crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.options.crypto = Some(provider);
        self.start_anew()
    }

    /// Starts with the profile that an earlier run returned. A profile of another URL is ignored.
    #[must_use]
    pub fn with_profile(mut self, profile: ServerProfile) -> Self {
        if profile.url() == self.url() {
            self.given_profile = Some(profile);
        }
        self.start_anew()
    }

    /// The profile of the server after a run, for later runs. `None` if a profile would save no request: the
    /// server does not speak v2, it redirects, it was not listed through upload-pack, or the last listing failed.
    pub fn profile(&self) -> Option<ServerProfile> {
        lock(&self.profile).clone()
    }

    fn remember(&self, profile: Option<ServerProfile>) {
        *lock(&self.profile) = profile;
    }

    /// The URL of the repository, as it was given.
    pub fn url(&self) -> &RemoteUrl {
        &self.options.url
    }
}

impl std::fmt::Debug for SmartHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartHttp")
            .field("url", &self.options.url)
            .field("credentials", &self.options.credentials)
            .field("policy", &self.options.policy)
            .field("redirects", &self.options.redirects)
            .field("timeouts", &self.options.timeouts)
            .field("profile", &self.profile())
            .finish_non_exhaustive()
    }
}

impl RefSource for SmartHttp {
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        let _span = tracing::debug_span!("list remote", url = %self.url(), ?service).entered();
        if service == Service::ReceivePack {
            return self.list_for_push(context);
        }
        // An empty list of prefixes stands for all refs, HEAD included.
        let head = ["HEAD".into()].into_iter().filter(|_| !prefixes.is_empty());
        let prefixes: Vec<_> = prefixes.iter().cloned().chain(head).collect();
        self.list_upload_pack(&prefixes, &["peel", "symrefs"], context)
    }

    fn list_for_fetch(
        &self,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<Option<RefList>, Error> {
        let _span = tracing::debug_span!("list remote for fetch", url = %self.url()).entered();
        self.list_before_push(prefixes, context)
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let _span = tracing::debug_span!(
            "fetch",
            wants = request.wants.len(),
            haves = request.haves.len()
        )
        .entered();
        self.in_session(context, |session| {
            let known = match session.upload_pack.clone() {
                Some(known) if known.suffices_for(request) => known,
                _ => session.discover_upload_pack(context)?.0,
            };
            session.fetch(&known, request, receive, context)
        })
    }

    fn receive_pack(&self, _context: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Ok(ReceivePack::Push(Box::new(self)))
    }
}
