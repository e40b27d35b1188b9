//! Requests whose body is streamed.

use std::{
    io::{self, BufReader, Cursor},
    net::TcpListener,
    sync::atomic::AtomicBool,
    time::Instant,
};

use super::{cancellation::raised_by, *};
use crate::{
    Limits,
    context::RunBudget,
    transport::{Call, Unanswered},
};

const SERVICE: &str = "git-receive-pack";
pub(super) const MIB: u64 = 1024 * 1024;

pub(super) fn call(repository: &RemoteUrl) -> Call<'_> {
    Call {
        repository,
        service: SERVICE,
        version: None,
    }
}

pub(super) fn upload(
    client: &HttpClient,
    url: &str,
    body: impl io::BufRead,
) -> Result<String, Unanswered> {
    let mut body = body;
    let repository = RemoteUrl::parse(url).expect("a valid URL");
    let mut answer = client.upload(&call(&repository), &mut body)?;
    let mut text = String::new();
    answer
        .body
        .read_to_string(&mut text)
        .expect("the whole answer");
    Ok(text)
}

pub(super) fn done(body: &str) -> Vec<u8> {
    let content_type = format!("Content-Type: application/x-{SERVICE}-result");
    response("200 OK", &[&content_type], body)
}

/// So many bytes, which exist only while they are read, and then possibly an error.
pub(super) struct Generator {
    left: u64,
    then: Option<io::Error>,
}

impl io::Read for Generator {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0
            && let Some(err) = self.then.take()
        {
            return Err(err);
        }
        let length = buf
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buf[..length].fill(b'x');
        self.left -= length as u64;
        Ok(length)
    }
}

pub(super) fn bytes(count: u64) -> BufReader<Generator> {
    bytes_then(count, None)
}

pub(super) fn bytes_then(left: u64, then: Option<io::Error>) -> BufReader<Generator> {
    BufReader::new(Generator { left, then })
}

#[test]
fn a_small_body_goes_at_once_and_with_its_length() {
    for length in [0, 5, MIB - 1] {
        let server = Server::start([Step::Answer(done("thanks")), Step::Answer(ok("on"))]);
        let client = client(&server.url());
        let answer = upload(&client, &server.url(), bytes(length)).expect("an answer");
        assert_eq!(answer, "thanks");

        let requests = server.requests();
        let [post] = &requests[..] else {
            panic!("{} requests", requests.len());
        };
        assert!(post.starts_with("POST /repo.git/git-receive-pack HTTP/1.1\n"));
        assert!(!post.contains("transfer-encoding"));
        for line in [
            "content-type: application/x-git-receive-pack-request",
            "accept: application/x-git-receive-pack-result",
            concat!("user-agent: git/refsync-", env!("CARGO_PKG_VERSION")),
            &format!("content-length: {length}"),
        ] {
            let found = post.lines().filter(|l| *l == line).count();
            assert_eq!(found, 1, "{line}");
        }
        assert!(!post.contains("git-protocol"));
        assert_eq!(server.body_bytes(), length);
        get(&client, &server.url()).expect("an answer");
        assert_eq!(server.connections(), 1, "the connection is kept");
    }
}

#[test]
fn a_large_body_goes_in_chunks_after_a_probe() {
    const LENGTH: u64 = 300 * MIB;
    let server = Server::start([Step::Answer(done("")), Step::Answer(done("thanks"))]);
    let mut options = options(&server.url());
    options.credentials = Some(crate::Credentials::token("canary"));
    let client = HttpClient::new(options).expect("a client");
    let answer = upload(&client, &server.url(), bytes(LENGTH)).expect("an answer");
    assert_eq!(answer, "thanks");

    let requests = server.requests();
    let [probe, post] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    assert!(probe.ends_with("\n\n0000"), "{probe}");
    for request in [probe, post] {
        assert!(request.contains("\ntransfer-encoding: chunked\n"));
        assert!(!request.contains("content-length"));
        assert!(request.contains("\nauthorization: Basic "));
        assert!(request.contains("\ncontent-type: application/x-git-receive-pack-request\n"));
    }
    assert_eq!(server.body_bytes(), LENGTH + 4);
    assert_eq!(server.connections(), 1);
    let traffic = client.link.run().traffic();
    assert_eq!(traffic.requests, 2);
    assert!(traffic.bytes_sent > LENGTH);
}

#[test]
fn the_body_of_a_large_request_arrives_as_it_is() {
    let server = Server::start([Step::Answer(done("")), Step::Answer(done("thanks"))]);
    let body: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (head, tail) = body.split_at(70_000);
    let parts = Cursor::new(head).chain(BufReader::with_capacity(777, tail));
    upload(&client(&server.url()), &server.url(), parts).expect("an answer");
    assert!(server.last_body() == body);
}

#[test]
fn a_refusal_of_the_probe_costs_no_upload() {
    use ErrorKind::*;
    for (status, kind) in [
        ("401 Unauthorized", Authentication),
        ("403 Forbidden", PermissionDenied),
        ("404 Not Found", NotFound),
        ("413 Content Too Large", Remote),
        ("500 Internal Server Error", ServerError),
    ] {
        let server = Server::start([Step::Close(response(status, &[], "no"))]);
        // More than is ever read ahead: the test would fail on its error.
        let unread = bytes_then(2 * MIB, Some(io::Error::other("read on")));
        let err = upload(&client(&server.url()), &server.url(), unread).expect_err(status);
        assert_eq!(err.error.kind(), kind);
        assert!(!err.may_have_acted, "{status}");
        assert_eq!(server.body_bytes(), 4);
    }
}

#[test]
fn a_probe_may_be_answered_in_any_way_that_is_no_refusal() {
    let html = response("200 OK", &["Content-Type: text/html"], &"x".repeat(100_000));
    let server = Server::start([Step::Answer(html), Step::Answer(done("thanks"))]);
    let answer = upload(&client(&server.url()), &server.url(), bytes(2 * MIB));
    assert_eq!(answer.expect("an answer"), "thanks");
}

#[test]
fn whether_the_server_may_have_acted_follows_from_its_answer() {
    let cut_off = done("thanks")[..40].to_vec();
    let html = response("200 OK", &["Content-Type: text/html"], "");
    for (answer, may_have_acted) in [
        (response("302 Found", &[], ""), false),
        (response("401 Unauthorized", &[], ""), false),
        (response("403 Forbidden", &[], ""), false),
        (response("404 Not Found", &[], ""), false),
        (response("413 Content Too Large", &[], ""), false),
        (response("429 Too Many Requests", &[], ""), true),
        (response("500 Internal Server Error", &[], ""), true),
        (response("504 Gateway Timeout", &[], ""), true),
        (html, true),
        (cut_off, true),
        (Vec::new(), true),
    ] {
        for (length, probe) in [(5, None), (2 * MIB, Some(Step::Answer(done(""))))] {
            let steps = probe.into_iter().chain([Step::Close(answer.clone())]);
            let server = Server::start(steps.collect::<Vec<_>>());
            let err = upload(&client(&server.url()), &server.url(), bytes(length))
                .expect_err("no good answer");
            let text = String::from_utf8_lossy(&answer);
            assert_eq!(err.may_have_acted, may_have_acted, "{text} {:?}", err.error);
        }
    }
}

#[test]
fn nobody_there_has_acted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let url = format!("http://127.0.0.1:{port}/repo.git");
    let err = upload(&client(&url), &url, bytes(5)).expect_err("nobody there");
    assert_eq!(err.error.kind(), ErrorKind::Connect);
    assert!(!err.may_have_acted);
}

#[test]
fn a_body_that_fails_is_not_sent_as_if_it_were_whole() {
    let own = || io::Error::other(Error::new(ErrorKind::Corrupt, "an object is missing"));
    let other = || io::Error::other("disk on fire");
    for (err, kind) in [
        (own as fn() -> io::Error, ErrorKind::Corrupt),
        (other, ErrorKind::LocalIo),
    ] {
        for length in [5, 3 * MIB] {
            let server = Server::start([Step::Answer(done("")), Step::Answer(done("thanks"))]);
            let body = bytes_then(length, Some(err()));
            let err = upload(&client(&server.url()), &server.url(), body).expect_err("cut short");
            assert_eq!(err.error.kind(), kind);
            assert!(!err.may_have_acted);
            assert!(server.requests().len() <= 1, "none but the probe is whole");
        }
    }
}

#[test]
fn a_server_that_refuses_in_the_middle_is_heard() {
    let refusal = response("413 Content Too Large", &["Connection: close"], "no");
    let server = Server::start([Step::Answer(done("")), Step::Refuse(refusal)]);
    let mut read = 0;
    let body = Counted(bytes(20_000 * MIB), &mut read);
    let err =
        upload(&client(&server.url()), &server.url(), BufReader::new(body)).expect_err("refused");
    assert_eq!(err.error.kind(), ErrorKind::Remote);
    assert!(err.error.to_string().contains("too large"), "{}", err.error);
    assert!(!err.may_have_acted);
    assert!(read < 1000 * MIB, "{read} bytes were made for nobody");
}

#[test]
fn all_of_it_goes_through_tls() {
    let refusal = response("413 Content Too Large", &["Connection: close"], "no");
    let (server, certificate) = Server::start_tls([
        Step::Answer(done("")),
        Step::Answer(done("thanks")),
        Step::Answer(done("")),
        Step::Refuse(refusal),
    ]);
    let mut options = options(&server.url());
    options.extra_roots = vec![certificate];
    let client = HttpClient::new(options).expect("a client");
    let answer = upload(&client, &server.url(), bytes(3 * MIB)).expect("an answer");
    assert_eq!(answer, "thanks");
    assert_eq!(server.body_bytes(), 3 * MIB + 4);
    assert_eq!(server.connections(), 1);

    let err = upload(&client, &server.url(), bytes(20_000 * MIB)).expect_err("refused");
    assert_eq!(err.error.kind(), ErrorKind::Remote);
    assert!(!err.may_have_acted);
}

#[test]
fn a_server_that_goes_away_in_the_middle_has_not_acted() {
    for last_words in [Vec::new(), done("0000")] {
        // Where not all of what was read ahead is out by then, the request is made once more.
        let refusals = [last_words.clone(), last_words].map(Step::Refuse);
        let server = Server::start([Step::Answer(done(""))].into_iter().chain(refusals));
        let err =
            upload(&client(&server.url()), &server.url(), bytes(20_000 * MIB)).expect_err("gone");
        assert_eq!(err.error.kind(), ErrorKind::Network);
        assert!(!err.may_have_acted);
    }
}

#[test]
fn a_server_that_stops_reading_is_given_up() {
    let server = Server::start([Step::Answer(done("")), Step::Ignore(Box::new(|| {}))]);
    let mut options = options(&server.url());
    options.timeouts.idle = Duration::from_millis(150);
    let client = HttpClient::new(options).expect("a client");
    let err = upload(&client, &server.url(), bytes(20_000 * MIB)).expect_err("given up");
    assert_eq!(err.error.kind(), ErrorKind::Network);
    assert_eq!(
        err.error.to_string(),
        "timed out after 150ms: waiting for the server"
    );
    assert!(!err.may_have_acted);
}

#[test]
fn a_server_that_has_it_all_and_falls_silent_may_have_acted() {
    let server = Server::start([Step::Stall(Vec::new(), Box::new(|| {}))]);
    let mut options = options(&server.url());
    options.timeouts.idle = Duration::from_millis(150);
    let client = HttpClient::new(options).expect("a client");
    let err = upload(&client, &server.url(), bytes(5)).expect_err("silence");
    assert_eq!(err.error.kind(), ErrorKind::Network);
    assert!(err.may_have_acted);
}

#[test]
fn cancelled_while_the_server_does_not_read() {
    let (flag, raise) = raised_by();
    let server = Server::start([Step::Answer(done("")), Step::Ignore(raise)]);
    let err = cancelled(&server, flag, bytes(20_000 * MIB));
    assert!(!err.may_have_acted);
}

#[test]
fn cancelled_while_the_body_is_made() {
    for made_before in [0, 3 * MIB] {
        let (flag, raise) = raised_by();
        let server = Server::start([Step::Answer(done(""))]);
        // It would go on for ever, a byte at a time.
        let drip = BufReader::with_capacity(1, Drip(Some(raise)));
        let err = cancelled(&server, flag, bytes(made_before).chain(drip));
        assert!(!err.may_have_acted);
    }
}

#[test]
fn cancelled_while_waiting_for_the_answer() {
    let (flag, raise) = raised_by();
    let server = Server::start([Step::Stall(Vec::new(), raise)]);
    let err = cancelled(&server, flag, bytes(5));
    assert!(err.may_have_acted);
}

/// The budget of a run with so much time.
fn timed(server: &Server, milliseconds: u64) -> HttpClient {
    let client = client(&server.url());
    let limits = Limits {
        total_time: Some(Duration::from_millis(milliseconds)),
        ..Limits::default()
    };
    let run = RunBudget::new(Arc::default(), limits);
    client.set_run(Arc::new(run));
    client
}

#[test]
fn the_deadline_holds_while_the_server_does_not_read() {
    let server = Server::start([Step::Answer(done("")), Step::Ignore(Box::new(|| {}))]);
    let begun = Instant::now();
    let client = timed(&server, 400);
    let err = upload(&client, &server.url(), bytes(20_000 * MIB)).expect_err("too late");
    let text = "more than 400ms (limit `total_time`)";
    assert_eq!(err.error.to_string(), text);
    assert!(!err.may_have_acted);
    assert!(begun.elapsed() < Duration::from_millis(1400));
}

/// Refs may be moving by then, so it is worth waiting for what became of them.
#[test]
fn the_deadline_does_not_interrupt_a_push_that_is_out() {
    for length in [5, 2 * MIB] {
        let slow = || Step::Later(Duration::from_millis(600), done("thanks"));
        let probe = (length > MIB).then(|| Step::Answer(done("")));
        let server = Server::start(probe.into_iter().chain([slow()]));
        let answer = upload(&timed(&server, 400), &server.url(), bytes(length));
        assert_eq!(answer.expect("an answer"), "thanks");
    }
    // What moves no refs has no such privilege.
    let server = Server::start([Step::Later(Duration::from_secs(5), done("thanks"))]);
    let repository = RemoteUrl::parse(&server.url()).expect("a valid URL");
    let call = super::call(&repository);
    let answer = timed(&server, 400).upload(&call, &mut bytes(5));
    let err = answer.err().expect("too late").error;
    assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
}

fn cancelled(server: &Server, flag: Arc<AtomicBool>, body: impl io::BufRead) -> Unanswered {
    let client = client(&server.url());
    client.link.set_cancelled_by(flag);
    let err = upload(&client, &server.url(), body).expect_err("cancelled");
    assert_eq!(err.error.kind(), ErrorKind::Cancelled);
    err
}

/// A byte at a time, without end. Cancels when it is read first.
struct Drip(Option<Box<dyn FnOnce() + Send>>);

impl io::Read for Drip {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
        buf[0] = b'x';
        Ok(1)
    }
}

struct Counted<'a, T>(T, &'a mut u64);

impl<T: io::Read> io::Read for Counted<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buf)?;
        *self.1 += read as u64;
        Ok(read)
    }
}
