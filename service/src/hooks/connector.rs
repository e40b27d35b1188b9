//! The connector: resolves a name, judges each address, connects to one that was judged, and speaks TLS with it.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use refsync::{NetworkPolicy, Origin};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

/// A function that resolves a host and a port to addresses.
pub type LookUp = Arc<
    dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>
        + Send
        + Sync,
>;

/// The system's resolver.
pub fn system_look_up() -> LookUp {
    Arc::new(|host, port| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, port)).await?;
            Ok(found.collect())
        })
    })
}

/// More addresses of a name are not tried.
const MOST_ADDRESSES: usize = 8;

/// The reason why there is no connection. No text shows the addresses of a name, which may be internal to the
/// service's network.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the network policy does not allow plain http")]
    PlainHttp,
    #[error("the network policy does not allow the address of this host")]
    Forbidden,
    #[error("the host has no address")]
    Resolve,
    #[error("the host could not be connected to")]
    Connect,
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

/// The maker of connections to targets. All steps are here, so that the policy judges exactly the addresses that
/// are connected to.
pub(super) struct Connector {
    policy: NetworkPolicy,
    look_up: LookUp,
    tls: TlsConnector,
}

impl Connector {
    /// The connector that trusts the public certificate authorities and `extra_roots`.
    pub(super) fn new(
        policy: NetworkPolicy,
        look_up: LookUp,
        extra_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            roots.add(root)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector {
            policy,
            look_up,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// A connection to `origin`, with TLS for `https`.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        if !origin.is_https() && !self.policy.allow_plain_http {
            return Err(ConnectError::PlainHttp);
        }
        let addresses = self.resolve(origin).await?;
        let tcp = connect_to_any(&addresses, deadline).await?;
        tcp.set_nodelay(true).ok();
        if !origin.is_https() {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(origin.host().to_owned())
            .map_err(|err| ConnectError::Tls(io::Error::other(err)))?;
        let tls = self.tls.connect(name, tcp).await;
        Ok(Box::new(tls.map_err(ConnectError::Tls)?))
    }

    /// The addresses of the host that the policy allows. Literal addresses pass through the same judgement.
    async fn resolve(&self, origin: &Origin) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = match origin.host().parse() {
            Ok(literal) => vec![SocketAddr::new(literal, origin.port())],
            Err(_) => (self.look_up)(origin.host().to_owned(), origin.port())
                .await
                .map_err(|_| ConnectError::Resolve)?,
        };
        if found.is_empty() {
            return Err(ConnectError::Resolve);
        }
        let allowed = found
            .into_iter()
            .filter(|address| self.policy.allows(address.ip()));
        let allowed: Vec<_> = allowed.take(MOST_ADDRESSES).collect();
        if allowed.is_empty() {
            return Err(ConnectError::Forbidden);
        }
        Ok(allowed)
    }
}

/// The first connection that succeeds. Each address gets an equal share of the remaining time.
async fn connect_to_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let untried = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = (left / untried).max(Duration::from_millis(1));
        if let Ok(Ok(tcp)) = timeout(share, TcpStream::connect(address)).await {
            return Ok(tcp);
        }
    }
    Err(ConnectError::Connect)
}

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
