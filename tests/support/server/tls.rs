//! The server's certificate and its side of the handshake.

use rcgen::{Certificate, CertifiedKey};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;

pub(super) struct Identity {
    pub(super) certificate: Certificate,
    pub(super) config: Arc<ServerConfig>,
}

impl Identity {
    pub(super) fn self_signed() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a private key");
        // The provider is named: a process default would be shared with the client under test.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider's protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a key that fits the certificate");
        Self {
            certificate: cert,
            config: Arc::new(config),
        }
    }
}
