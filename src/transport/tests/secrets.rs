//! No credential is in anything that can be printed.

use std::{
    fmt::{Debug, Write as _},
    sync::Mutex,
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::*;
use crate::Credentials;

#[test]
fn debug_shows_none() {
    for credentials in [
        Credentials::token("canary").with_username("canary"),
        Credentials::username_password("canary", "canary"),
    ] {
        let mut options = options("https://example.com/repo.git");
        options.credentials = Some(credentials);
        let mut text = format!("{options:?}");
        let client = HttpClient::new(options).expect("a client");
        text += &format!("{client:?}");
        assert!(text.contains("Credentials::"), "{text}");
        assert_hides_canaries(&text);
    }
}

#[test]
fn spans_and_errors_show_none() {
    let server = Server::start([
        Step::Answer(ok("fine")),
        Step::Answer(response("401 Unauthorized", &["X-Echo: canary"], "canary")),
        Step::Answer(response("403 Forbidden", &["X-Echo: canary"], "canary")),
    ]);
    let mut options = options(&server.url());
    options.credentials = Some(Credentials::token("canary"));
    let client = HttpClient::new(options).expect("a client");
    let log = Log::default();
    let errors = tracing::subscriber::with_default(log.clone(), || {
        get(&client, &server.url()).expect("an answer");
        let listing = get(&client, &server.url()).expect_err("refused");
        let repository = RemoteUrl::parse(&server.url()).expect("a valid URL");
        let upload = client
            .upload(&uploads::call(&repository), &mut &b"body"[..])
            .err()
            .expect("refused");
        format!("{listing} {listing:?} {upload:?}")
    });
    for request in [0, 2] {
        assert!(server.requests()[request].contains("authorization: Basic"));
    }

    let text = log.0.lock().expect("no panic").clone();
    for expected in [
        "method=GET",
        "/repo.git/info/refs ",
        "status=200",
        "status=401",
        "method=POST",
        "/repo.git/git-receive-pack ",
        "status=403",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_hides_canaries(&text);
    assert_hides_canaries(&errors);
}

fn assert_hides_canaries(text: &str) {
    let encoded = ["eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5", "Y2FuYXJ5OmNhbmFyeQ=="];
    for secret in ["canary", "Basic"].iter().chain(&encoded) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// Keeps all fields of all spans and events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = self.0.lock().expect("no panic");
        write!(text, "{}={value:?} ", field.name()).expect("written to a string");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
