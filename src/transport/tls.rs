//! The configuration of TLS: trusted certificate authorities and the cryptography provider.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer};

use crate::{Error, ErrorKind};

/// The public certificate authorities and `extra`.
pub(super) fn roots(extra: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in extra {
        roots.add(root).map_err(|err| {
            let text = "an extra root certificate can't be used";
            Error::new(ErrorKind::InvalidOptions, text).with_source(err)
        })?;
    }
    Ok(roots)
}

/// The configuration of a client. `given` is the caller's provider, if any.
pub(super) fn config(
    roots: RootCertStore,
    given: Option<Arc<CryptoProvider>>,
) -> Result<ClientConfig, Error> {
    let of_process = CryptoProvider::get_default().cloned();
    let provider = provider([given, of_process, built_in()])?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|err| Error::new(ErrorKind::Tls, "TLS is not available").with_source(err))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The first provider that exists. It is not installed as the process-level default, which belongs to the embedding
/// application.
fn provider(candidates: [Option<Arc<CryptoProvider>>; 3]) -> Result<Arc<CryptoProvider>, Error> {
    candidates.into_iter().flatten().next().ok_or_else(|| {
        let text = "there is no cryptography for TLS: give one to `SmartHttp::with_crypto_provider`, \
                    make one the default of the process, or turn on one of refsync's features `ring` \
                    and `aws-lc-rs`";
        Error::new(ErrorKind::InvalidOptions, text)
    })
}

#[cfg(feature = "ring")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_wish_comes_first_and_the_features_last() {
        let new = || Arc::new(rustls::crypto::ring::default_provider());
        let [a, b, c] = [new(), new(), new()];
        for (candidates, expected) in [
            ([Some(&a), Some(&b), Some(&c)], Some(&a)),
            ([None, Some(&b), Some(&c)], Some(&b)),
            ([None, None, Some(&c)], Some(&c)),
            ([Some(&a), None, None], Some(&a)),
            ([None, None, None], None),
        ] {
            let found = provider(candidates.map(Option::<&Arc<_>>::cloned));
            let found = found.map_err(|err| err.kind());
            match expected {
                Some(expected) => assert!(Arc::ptr_eq(&found.expect("one"), expected)),
                None => assert_eq!(found.err(), Some(ErrorKind::InvalidOptions)),
            }
        }
        assert_eq!(
            built_in().is_some(),
            cfg!(any(feature = "ring", feature = "aws-lc-rs"))
        );
    }
}
