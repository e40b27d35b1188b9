//! A remote over smart HTTP as an end of a sync.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

use bstr::BString;
use rustls::{crypto::CryptoProvider, pki_types::CertificateDer};

pub use self::profile::ServerProfile;
use self::session::Session;
use crate::{
    Credentials, Error, NetworkPolicy, PackAnswer, PackReceiver, PackRequest, ReceivePack,
    Redirects, RefList, RefSource, RemoteUrl, Service, SyncContext, Timeouts,
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

/// A repository behind a server that speaks Git's smart HTTP: protocol v2, or v1 and v0 where the
/// server is too old for it.
///
/// A `SmartHttp` keeps its connection between runs, and the profile of the server: from the second run
/// on, a server that speaks v2 is asked for its refs at once. A [`ServerProfile`] does the same for the
/// first run. Each of the `with_` functions closes the connection and forgets what was learnt on it.
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
    redirects: Redirects,
    timeouts: Timeouts,
    extra_roots: Vec<CertificateDer<'static>>,
    crypto: Option<Arc<CryptoProvider>>,
    /// Whether the server takes no pack without its length, once a push has shown that.
    says_lengths: Arc<AtomicBool>,
    /// Taken for the time of a request, so that two runs at once don't share one.
    session: Mutex<Option<Session>>,
    given_profile: Option<ServerProfile>,
    /// The given profile, until a run has learnt more.
    profile: Mutex<Option<ServerProfile>>,
}

impl SmartHttp {
    /// The repository at this URL. Nothing is connected to yet.
    ///
    /// Fails with [`ErrorKind::InvalidUrl`](crate::ErrorKind::InvalidUrl) unless it is an `https` or `http` URL with a host and
    /// without credentials in it.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(SmartHttp {
            url: RemoteUrl::parse(url)?,
            credentials: None,
            policy: NetworkPolicy::default(),
            redirects: Redirects::default(),
            timeouts: Timeouts::default(),
            extra_roots: Vec::new(),
            crypto: None,
            says_lengths: Arc::default(),
            session: Mutex::default(),
            given_profile: None,
            profile: Mutex::default(),
        })
    }

    /// Closes the connection, which was made and authenticated under other settings, and forgets what
    /// was learnt on it.
    fn start_anew(mut self) -> Self {
        self.session = Mutex::default();
        self.says_lengths = Arc::default();
        self.profile = Mutex::new(self.given_profile.clone());
        self
    }

    /// Authenticates with these. They are sent to the URL's origin only.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self.start_anew()
    }

    /// Sets the addresses that may be connected to. The default is https to public addresses.
    #[must_use]
    pub fn with_network_policy(mut self, policy: NetworkPolicy) -> Self {
        self.policy = policy;
        self.start_anew()
    }

    /// Sets which redirects are followed. The default is none.
    #[must_use]
    pub fn with_redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self.start_anew()
    }

    /// Sets how long to wait for the network.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self.start_anew()
    }

    /// Trusts this DER-encoded certificate authority beside the public ones.
    #[must_use]
    pub fn with_root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(CertificateDer::from(der.into()));
        self.start_anew()
    }

    /// Makes TLS of this cryptography. The default is that which the process has made rustls' default
    /// ([`CryptoProvider::install_default`]), or else that of the feature `ring` or `aws-lc-rs`.
    #[must_use]
    pub fn with_crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.crypto = Some(provider);
        self.start_anew()
    }

    /// Starts with what an earlier run has learnt about the server. A profile of another URL is
    /// ignored.
    #[must_use]
    pub fn with_profile(mut self, profile: ServerProfile) -> Self {
        if *profile.url() == self.url {
            self.given_profile = Some(profile);
        }
        self.start_anew()
    }

    /// The profile of the server after a run, for later runs; `None` if it would spare them nothing: the
    /// server is older than v2, it redirects, it hasn't been listed for a fetch, or the last listing
    /// failed.
    pub fn profile(&self) -> Option<ServerProfile> {
        let profile = self.profile.lock();
        profile.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, profile: Option<ServerProfile>) {
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner) = profile;
    }

    /// The URL of the repository, as it was given.
    pub fn url(&self) -> &RemoteUrl {
        &self.url
    }
}

impl std::fmt::Debug for SmartHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartHttp")
            .field("url", &self.url)
            .field("credentials", &self.credentials)
            .field("policy", &self.policy)
            .field("redirects", &self.redirects)
            .field("timeouts", &self.timeouts)
            .field("profile", &self.profile())
            .finish_non_exhaustive()
    }
}

impl RefSource for SmartHttp {
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        run: &SyncContext,
    ) -> Result<RefList, Error> {
        let _span = tracing::debug_span!("list remote", url = %self.url, ?service).entered();
        if service == Service::ReceivePack {
            return self.list_for_push(run);
        }
        // No prefix is all of it, HEAD with the rest.
        let head = ["HEAD".into()].into_iter().filter(|_| !prefixes.is_empty());
        let prefixes: Vec<_> = prefixes.iter().cloned().chain(head).collect();
        let listed = self.list_upload_pack(&prefixes, &["peel", "symrefs"], run)?;
        let mut list = RefList::of(listed.format, listed.refs);
        list.default_branch = listed.head;
        Ok(list)
    }

    fn list_for_fetch(
        &self,
        prefixes: &[BString],
        run: &SyncContext,
    ) -> Result<Option<RefList>, Error> {
        let _span = tracing::debug_span!("list remote for fetch", url = %self.url).entered();
        self.list_before_push(prefixes, run)
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let _span = tracing::debug_span!(
            "fetch",
            wants = request.wants.len(),
            haves = request.haves.len()
        )
        .entered();
        self.in_session(run, |session| {
            let known = match session.upload_pack {
                Some(known) if known.suffices_for(request) => known,
                _ => session.discover_upload_pack(run)?.0,
            };
            session.fetch(known, request, receive, run)
        })
    }

    fn receive_pack(&self, _run: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Ok(ReceivePack::Push(Box::new(self)))
    }
}
