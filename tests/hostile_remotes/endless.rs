//! Answers that are too long, or that never end: each costs about its budget and no more.

use super::raw::{self, ID, Raw, Request, Talk, announced, capabilities, first_ref, packet};
use super::{Ask, fails, remote};
use refsync::{ErrorKind, SyncOptions};

/// Beside the budget: what is read ahead at the socket, by TLS or HTTP, and by Git's framing.
const SLACK: u64 = 512 * 1024;

struct Case {
    name: &'static str,
    ask: Ask,
    /// An older server than one of protocol v2.
    old: bool,
    /// The request whose answer goes on without end.
    when: fn(&Request) -> bool,
    head: &'static str,
    talk: Talk,
    kind: ErrorKind,
    text: &'static str,
    budget: u64,
}

fn options() -> SyncOptions {
    let mut options = SyncOptions::default();
    options.limits.capabilities = 10_000;
    options.limits.refs = 1_000;
    options.limits.ref_names = 200_000;
    options.limits.noise = 100_000;
    options.limits.received_bytes = 4 * 1024 * 1024;
    options
}

fn talk(start: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Talk {
    Talk {
        start: start.into(),
        again: again.into(),
    }
}

const LISTING: fn(&Request) -> bool = Request::is_listing;
const LS_REFS: fn(&Request) -> bool = Request::is_ls_refs;
const FETCH: fn(&Request) -> bool = |request| !request.is_listing() && !request.is_ls_refs();

fn run(case: Case) {
    let Case {
        name,
        ask,
        old,
        when,
        head,
        talk,
        kind,
        text,
        budget,
    } = case;
    let server = Raw::start(move |request, stream| {
        use std::io::Write as _;
        if when(request) {
            let head = match head.starts_with("HTTP/") {
                true => head.to_owned(),
                false => raw::head(request, head),
            };
            stream.write_all(head.as_bytes())?;
            return talk.write(stream);
        }
        let body = match old {
            true => [first_ref(), b"0000".to_vec()].concat(),
            false => capabilities(),
        };
        let framing = format!("Content-Length: {}\r\n", body.len());
        stream.write_all(raw::head(request, &framing).as_bytes())?;
        stream.write_all(&body)
    });
    let (err, received) = fails(&remote(&server.url()), ask, &options());
    assert_eq!(err.kind(), kind, "{name}: {err:?}");
    assert!(err.to_string().contains(text), "{name}: {err}");
    assert!(err.to_string().len() < 1000, "{name}: {err}");
    assert!(received <= budget + SLACK, "{name}: {received} bytes");
}

fn listing(name: &'static str, talk: Talk, kind: ErrorKind, text: &'static str) -> Case {
    Case {
        name,
        ask: Ask::Listing,
        old: true,
        when: LISTING,
        head: "",
        talk,
        kind,
        text,
        budget: 0,
    }
}

#[test]
fn listings() {
    use ErrorKind::{BudgetExceeded, Protocol};
    let long = "x".repeat(60_000);
    let word = packet("agent=hostile\n");
    let version = [announced(), packet("version 2\n")].concat();
    let caps = format!("{ID} refs/heads/main\0{long}\n");
    let none = format!("{} capabilities^{{}}", "0".repeat(40));
    let none = none.as_str();
    let lines = |line: String| talk(first_ref(), packet(line));
    let cases = [
        listing(
            "capabilities of v2",
            talk(version, word.clone()),
            BudgetExceeded,
            "`capabilities`",
        ),
        listing(
            "an announcement",
            talk(packet("# service=git-upload-pack\n"), word),
            BudgetExceeded,
            "`capabilities`",
        ),
        listing(
            "capabilities of v0",
            talk([announced(), packet(caps)].concat(), "0000"),
            BudgetExceeded,
            "`capabilities`",
        ),
        listing(
            "refs",
            lines(format!("{ID} refs/heads/x\n")),
            BudgetExceeded,
            "more than 1000 refs (limit `refs`)",
        ),
        listing(
            "long names",
            lines(format!("{ID} refs/heads/{long}\n")),
            BudgetExceeded,
            "`ref_names`",
        ),
        listing(
            "shallow lines",
            lines(format!("shallow {ID}\n")),
            BudgetExceeded,
            "`refs`",
        ),
        listing(
            "no refs",
            talk(
                [announced(), packet(format!("{none}\0x\n"))].concat(),
                packet(none),
            ),
            BudgetExceeded,
            "`refs`",
        ),
        listing(
            "peeled lines",
            lines(format!("{ID} refs/heads/main^{{}}\n")),
            Protocol,
            "malformed",
        ),
        listing("empty packets", talk(first_ref(), "0004"), Protocol, ""),
        listing("delimiters", talk(first_ref(), "0001"), Protocol, ""),
        listing(
            "packets that are too long",
            talk(first_ref(), "fff1"),
            Protocol,
            "",
        ),
    ];
    for case in cases {
        let budget = if case.name == "long names" {
            300_000
        } else {
            100_000
        };
        run(Case { budget, ..case });
    }
}

#[test]
fn listings_for_a_push() {
    let line = packet(format!("{ID} refs/heads/x\n"));
    let start = [
        packet("# service=git-receive-pack\n"),
        b"0000".to_vec(),
        packet(format!("{ID} refs/heads/main\0report-status\n")),
    ];
    run(Case {
        ask: Ask::ListingForPush,
        budget: 100_000,
        ..listing(
            "refs",
            talk(start.concat(), line),
            ErrorKind::BudgetExceeded,
            "`refs`",
        )
    });
}

#[test]
fn answers_to_ls_refs() {
    use ErrorKind::BudgetExceeded;
    let long = "x".repeat(60_000);
    for (name, line, text) in [
        (
            "refs",
            format!("{ID} refs/heads/x\n"),
            "more than 1000 refs (limit `refs`)",
        ),
        (
            "long names",
            format!("{ID} refs/heads/{long}\n"),
            "`ref_names`",
        ),
        (
            "long targets",
            format!("{ID} HEAD symref-target:{long}\n"),
            "`received_bytes`",
        ),
        (
            "unborn",
            "unborn HEAD symref-target:refs/heads/x\n".to_owned(),
            "`refs`",
        ),
    ] {
        run(Case {
            old: false,
            when: LS_REFS,
            budget: if name == "long targets" {
                4 * 1024 * 1024
            } else {
                300_000
            },
            ..listing(name, talk("", packet(line)), BudgetExceeded, text)
        });
    }
}

#[test]
fn answers_to_a_fetch() {
    use ErrorKind::{BudgetExceeded, Protocol, Unsupported};
    let ack = packet(format!("ACK {ID} common\n"));
    let shallow = packet(format!("shallow {ID}\n"));
    let section = |name: &str| packet(format!("{name}\n"));
    let pack = packet(b"\x01PACK\0\0\0\x02");
    let in_pack = |old: bool, again: &[u8]| match old {
        true => talk([packet("NAK\n"), pack.clone()].concat(), again),
        false => talk([section("packfile"), pack.clone()].concat(), again),
    };
    let mut cases = vec![
        (
            false,
            "acknowledgments",
            talk(section("acknowledgments"), ack.clone()),
            BudgetExceeded,
            "`noise`",
        ),
        (
            true,
            "acknowledgments",
            talk("", ack),
            BudgetExceeded,
            "`noise`",
        ),
        (
            true,
            "negative ones",
            talk("", packet("NAK\n")),
            BudgetExceeded,
            "`noise`",
        ),
        (
            false,
            "shallow lines",
            talk(section("shallow-info"), shallow.clone()),
            Unsupported,
            "shallow",
        ),
        (
            true,
            "shallow lines",
            talk("", shallow),
            Unsupported,
            "shallow",
        ),
        (
            false,
            "empty sections",
            talk("", [section("acknowledgments"), b"0001".to_vec()].concat()),
            BudgetExceeded,
            "`noise`",
        ),
        (true, "flush packets", talk("", "0000"), Protocol, ""),
        (true, "delimiters", talk("", "0001"), Protocol, ""),
    ];
    for old in [false, true] {
        cases.extend([
            (
                old,
                "progress",
                in_pack(old, &packet("\x02Counting objects")),
                BudgetExceeded,
                "`noise`",
            ),
            (
                old,
                "empty packets",
                in_pack(old, &packet("\x01")),
                BudgetExceeded,
                "`noise`",
            ),
            (
                old,
                "matter",
                in_pack(old, &packet([1; 60_000])),
                BudgetExceeded,
                "`received_bytes`",
            ),
            (
                old,
                "last words",
                in_pack(old, &packet("\x03sorry")),
                ErrorKind::Remote,
                "sorry",
            ),
            (
                old,
                "an unknown side-band",
                in_pack(old, &packet("\x04what")),
                Protocol,
                "",
            ),
        ]);
    }
    for (old, name, talk, kind, text) in cases {
        run(Case {
            ask: Ask::Pack,
            old,
            when: FETCH,
            budget: if name == "matter" {
                4 * 1024 * 1024
            } else {
                300_000
            },
            ..listing(name, talk, kind, text)
        });
    }
}

#[test]
fn what_http_puts_around_an_answer() {
    use ErrorKind::{BudgetExceeded, NotAGitServer, Protocol};
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    let cases = [
        (
            "one header",
            OK,
            talk("X: ", "x"),
            BudgetExceeded,
            "headers",
        ),
        ("headers", OK, talk("", "X: x\r\n"), NotAGitServer, ""),
        (
            "status line",
            "HTTP/1.1 200 ",
            talk("", "x"),
            BudgetExceeded,
            "headers",
        ),
        (
            "continue",
            "HTTP/1.1 100 Continue\r\n\r\n",
            talk("", "HTTP/1.1 100 Continue\r\n\r\n"),
            BudgetExceeded,
            "",
        ),
        (
            "early hints",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            talk("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
            BudgetExceeded,
            "",
        ),
        (
            "a chunk extension",
            CHUNKED,
            talk("5;", "x"),
            ErrorKind::Network,
            "",
        ),
        (
            "a chunk size",
            CHUNKED,
            talk("", "0"),
            ErrorKind::Network,
            "",
        ),
        (
            "a chunk of any size",
            CHUNKED,
            talk("fffffffffffffffff\r\n", "x"),
            Protocol,
            "",
        ),
        (
            "trailers",
            CHUNKED,
            talk("0\r\n", "X: x\r\n"),
            BudgetExceeded,
            "around the answer",
        ),
        (
            "one trailer",
            CHUNKED,
            talk("0\r\nX: ", "x"),
            ErrorKind::Network,
            "",
        ),
        (
            "compressed",
            "Content-Encoding: gzip\r\n",
            talk("", [31, 139, 8, 0]),
            NotAGitServer,
            "compressed",
        ),
        (
            "a length that is none",
            "Content-Length: -1\r\n",
            talk("", "x"),
            NotAGitServer,
            "",
        ),
        (
            "two lengths",
            "Content-Length: 1\r\nContent-Length: 99\r\n",
            talk("x", "x"),
            NotAGitServer,
            "",
        ),
        (
            "a huge length",
            "Content-Length: 9223372036854775807\r\n",
            talk("", "0000"),
            Protocol,
            "",
        ),
    ];
    for (name, head, talk, kind, text) in cases {
        run(Case {
            head,
            budget: 300_000,
            ..listing(name, talk, kind, text)
        });
    }
}

#[test]
fn a_body_that_is_shorter_than_its_length() {
    run(Case {
        head: "Content-Length: 9223372036854775807\r\n",
        ..listing("a lie", talk(first_ref(), ""), ErrorKind::Network, "")
    });
}
