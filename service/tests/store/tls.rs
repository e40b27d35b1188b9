//! TLS to PostgreSQL, with certificates as an operator makes them.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use refsync_service::{
    Error, ErrorKind,
    store::{DatabaseAddress, Store},
};

use crate::postgres::Server;

/// An address of the machine itself, on which no port is taken.
const HOST: &str = "127.83.18.7";

/// An authority with two certificates, that of the server for its address and one for another, and another authority.
const CERTIFICATES: &str = r#"
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
for name in ca other; do
    openssl req -x509 $new -keyout $name.key -out $name.crt -days 3650 -subj "/CN=$name"
done
for name in server:IP:127.83.18.7 wrong:DNS:db.example; do
    file=${name%%:*}
    echo "subjectAltName=${name#*:}" >$file.ext
    openssl req $new -keyout $file.key -out $file.csr -subj "/CN=$file"
    openssl x509 -req -in $file.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out $file.crt -days 3650 -extfile $file.ext
done
openssl req -x509 $new -keyout self.key -out self.crt -days 3650 -subj /CN=self \
    -addext subjectAltName=IP:127.83.18.7 -addext basicConstraints=critical,CA:FALSE
"#;

/// Lets the server listen with TLS alone, with the certificate `chosen`.
const SETTINGS: &str = r#"
echo "hostssl all all 127.0.0.0/8 trust" >data/pg_hba.conf
echo "local all all trust" >>data/pg_hba.conf
cat >>data/postgresql.conf <<'END'
listen_addresses = '127.83.18.7'
ssl = on
ssl_cert_file = '../chosen.crt'
ssl_key_file = '../chosen.key'
END
"#;

async fn open(server: &Server, parameters: &str) -> Result<(), Error> {
    let folder = server.folder().display().to_string();
    let parameters = parameters.replace("FOLDER", &folder);
    let url = format!("postgres://postgres@{HOST}/postgres?{parameters}");
    let address: DatabaseAddress = url.parse().expect("an address");
    let store = Store::open(address).await?;
    store.close().await;
    Ok(())
}

#[test]
fn a_server_is_as_trusted_as_the_address_says() {
    let Some(mut server) = Server::start() else {
        return;
    };
    if !server.shell("openssl version") {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    assert!(server.shell(CERTIFICATES), "openssl");
    assert!(server.shell(SETTINGS));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let full = "sslmode=verify-full&sslrootcert=FOLDER/";
    for (chosen, parameters, is_trusted) in [
        ("server", "sslmode=disable".to_owned(), false),
        ("server", "sslmode=require".to_owned(), true),
        ("server", format!("{full}ca.crt"), true),
        ("server", format!("{full}other.crt"), false),
        ("server", format!("{full}none.crt"), false),
        ("server", "sslmode=verify-full".to_owned(), false),
        ("wrong", format!("{full}ca.crt"), false),
        (
            "wrong",
            "sslmode=verify-ca&sslrootcert=FOLDER/ca.crt".to_owned(),
            true,
        ),
        ("self", format!("{full}self.crt"), true),
    ] {
        assert!(server.shell(&format!(
            "cp {chosen}.crt chosen.crt; cp {chosen}.key chosen.key"
        )));
        server.restart("INT");
        let opened = runtime.block_on(open(&server, &parameters));
        let what = format!("{chosen} {parameters}: {opened:?}");
        assert_eq!(opened.is_ok(), is_trusted, "{what}");
        if let Err(err) = opened {
            let is_known = matches!(err.kind(), ErrorKind::DatabaseAway | ErrorKind::Database);
            assert!(is_known, "{what}");
        }
    }
}
