// What each of these applications does: TLS of its own, as the documentation of rustls sets it up,
// beside runs of refsync.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use refsync::{ErrorKind, NetworkPolicy, RefSource as _, SyncContext, Service, SmartHttp, SyncOptions};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::CryptoProvider, pki_types::PrivatePkcs8KeyDer,
};

/// `ours` is what the application has rustls do its cryptography with.
pub fn both_work(ours: CryptoProvider, settings: impl Fn(SmartHttp) -> SmartHttp) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::new(ours))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let url = serve(server);

    let lists = || {
        let remote = SmartHttp::new(&url)
            .unwrap()
            .with_network_policy(NetworkPolicy::any())
            .with_root_certificate(certificate.to_vec());
        let context = SyncContext::new(&SyncOptions::default());
        let err = settings(remote).list(Service::UploadPack, &[], &context);
        let err = err.expect_err("there are no repositories");
        // An answer to a request, so the handshake went well.
        assert_eq!(err.kind(), ErrorKind::NotFound, "{err:?}");
    };
    lists();
    // Panics where rustls can't tell which provider is meant. Makes one the default of the process.
    let roots = RootCertStore::empty();
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    lists();
    println!("both work");
}

/// Has no repositories.
fn serve(config: ServerConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}/app.git",
        listener.local_addr().unwrap().port()
    );
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, socket.unwrap());
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
            stream.flush().unwrap();
        }
    });
    url
}
