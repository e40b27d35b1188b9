//! Packs that break off, or are not what they should be. The upstream itself is fine.

use crate::fails;
use crate::support::pull::{Pair, created, grow, leftovers};
use crate::support::server::{Answer, GitServer};
use crate::support::wire;
use refsync::ErrorKind;

/// Two branches to fetch, and their objects.
fn with_news() -> (Pair, Vec<String>) {
    let pair = Pair::in_step();
    grow(&pair.upstream, "topic", &[&pair.tip]);
    grow(&pair.upstream, "other", &[&pair.tip]);
    let range = format!("^{}", pair.tip);
    let objects = pair
        .upstream
        .git(&["rev-list", "--objects", "--all", &range]);
    let ids = objects.lines().map(|line| line[..40].to_owned()).collect();
    (pair, ids)
}

fn good_pack(pair: &Pair, ids: &[String]) -> Vec<u8> {
    pair.upstream
        .pack_of(&ids.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
fn works_again(pair: &Pair) {
    pair.server.intercept(|_| None);
    let topic = pair.upstream.git(&["rev-parse", "topic"]);
    assert_eq!(pair.pull().fate_of("refs/heads/topic"), created(&topic));
}

#[test]
fn a_pack_that_breaks_off() {
    let (pair, _) = with_news();
    for length in [0, 1, 8, 13, 20, 40, 100, 300] {
        pair.on_fetch(move |_| Some(Answer::TruncateAfter(length)));
        fails(&pair, ErrorKind::Network);
    }
    works_again(&pair);
}

/// The HTTP body ends as it should, the pack inside it does not.
#[test]
fn a_pack_that_is_too_short() {
    let (pair, ids) = with_news();
    let pack = good_pack(&pair, &ids);
    for length in [
        0,
        4,
        11,
        12,
        13,
        pack.len() / 2,
        pack.len() - 20,
        pack.len() - 1,
    ] {
        let cut = pack[..length].to_vec();
        pair.on_fetch(move |_| Some(wire::pack(&cut)));
        fails(&pair, ErrorKind::Protocol);
    }
    works_again(&pair);
}

#[test]
fn a_pack_with_a_byte_changed() {
    let (pair, ids) = with_news();
    let pack = good_pack(&pair, &ids);
    // The magic, the version, the count, the first entry's head and content, the checksum.
    for at in [
        0,
        7,
        11,
        12,
        16,
        pack.len() / 2,
        pack.len() - 21,
        pack.len() - 1,
    ] {
        let mut changed = pack.clone();
        changed[at] ^= 1;
        pair.on_fetch(move |_| Some(wire::pack(&changed)));
        fails(&pair, ErrorKind::Protocol);
    }
    works_again(&pair);
}

#[test]
fn a_pack_without_objects() {
    let (pair, _) = with_news();
    let empty = pair.upstream.pack_of(&[]);
    pair.on_fetch(move |_| Some(wire::pack(&empty)));
    let stats = pair.pull().stats;
    for name in ["refs/heads/topic", "refs/heads/other"] {
        let reason = stats.find(name).unwrap().outcome.rejection().unwrap();
        assert!(
            matches!(reason, refsync::Reason::Incomplete { .. }),
            "{reason}"
        );
    }
    works_again(&pair);
}

#[test]
fn an_answer_that_is_no_pack() {
    let (pair, _) = with_news();
    let packfile = || wire::packet(b"packfile\n");
    let bodies = [
        b"0000".to_vec(),
        b"<html>sorry</html>".to_vec(),
        wire::packet(b"nonsense\n"),
        [packfile(), b"0000".to_vec()].concat(),
        [packfile(), b"zzzz".to_vec()].concat(),
        [packfile(), wire::packet(b"\x07band 7")].concat(),
        [packfile(), wire::packet(b"\x01PACK"), b"0000".to_vec()].concat(),
        [
            wire::packet(b"acknowledgments\n"),
            wire::packet(b"NAK\n"),
            b"0000".to_vec(),
        ]
        .concat(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).into_owned();
        pair.on_fetch(move |_| Some(wire::result(body.clone())));
        let err = fails(&pair, ErrorKind::Protocol);
        assert!(!err.to_string().is_empty(), "{shown}");
    }
    works_again(&pair);
}

/// HTTP sees nothing wrong with it: `git upload-pack` was killed, and the server passed on what there
/// was.
#[test]
fn an_answer_that_ends_early() {
    let packfile = wire::packet(b"packfile\n");
    for (version, before) in [(2, packfile), (0, wire::packet(b"NAK\n"))] {
        let (mut pair, ids) = with_news();
        let server = GitServer::builder(pair.sandbox.path());
        pair.server = server.max_protocol(version).start();
        let pack = wire::packet(&[b"\x01", &good_pack(&pair, &ids)[..]].concat());
        let whole = [&before[..], &pack].concat();
        let lengths = [
            0,
            2,
            before.len(),
            before.len() + 4,
            before.len() + 5,
            whole.len() - 30,
            whole.len(),
        ];
        for length in lengths {
            let cut = whole[..length].to_vec();
            pair.on_fetch(move |_| Some(wire::result(cut.clone())));
            let err = fails(&pair, ErrorKind::Network);
            let text = "the answer ended early";
            assert_eq!(err.to_string(), text, "v{version}, {length}");
        }
        works_again(&pair);
    }
}

#[test]
fn an_error_on_the_side_band() {
    let (pair, _) = with_news();
    let fatal = wire::packet(b"\x03out of \x1b[31mmemory\n");
    let body = [wire::packet(b"packfile\n"), fatal, b"0000".to_vec()].concat();
    pair.on_fetch(move |_| Some(wire::result(body.clone())));
    let err = fails(&pair, ErrorKind::Remote);
    assert_eq!(
        err.to_string(),
        "the server gave up on the pack: out of  [31mmemory"
    );
    works_again(&pair);
}

#[test]
fn a_shallow_line_that_nobody_asked_for() {
    let (pair, ids) = with_news();
    let pack = good_pack(&pair, &ids);
    let shallow = format!("shallow {}", pair.upstream.git(&["rev-parse", "topic"]));
    let body = [
        wire::packet(b"shallow-info\n"),
        wire::packet(shallow.as_bytes()),
        b"0001".to_vec(),
        wire::packet(b"packfile\n"),
        wire::packet(&[b"\x01", &pack[..]].concat()),
        b"0000".to_vec(),
    ]
    .concat();
    pair.on_fetch(move |_| Some(wire::result(body.clone())));
    let err = fails(&pair, ErrorKind::Unsupported);
    assert!(err.to_string().contains("shallow"), "{err}");
    works_again(&pair);
}

#[test]
fn objects_that_nobody_asked_for_do_no_harm() {
    let (pair, mut ids) = with_news();
    ids.push(pair.upstream.write_object("blob", b"unasked\n"));
    ids.extend([pair.tip.clone(), pair.root.clone()]);
    let pack = good_pack(&pair, &ids);
    pair.on_fetch(move |_| Some(wire::pack(&pack)));
    let topic = pair.upstream.git(&["rev-parse", "topic"]);
    assert_eq!(pair.pull().fate_of("refs/heads/topic"), created(&topic));
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}
