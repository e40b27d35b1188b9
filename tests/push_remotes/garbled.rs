//! Reports that make no sense.

use crate::support::Answer;
use crate::support::pull::{assert_matches_git, created, grow};
use crate::support::push::{LOOKED_AGAIN, PUSHED, Pair, report};
use crate::support::wire;
use refsync::{ErrorKind, Outcome, Reason, SyncOptions};

const BYSTANDER: &str = "refs/heads/bystander";
const TOPIC: &str = "refs/heads/topic";
const RESULT: &str = "application/x-git-receive-pack-result";

type Garble = fn(&mut Vec<u8>);

/// None of these says, once and in so many words, what became of `topic`.
const NONSENSE: &[(&str, Garble)] = &[
    ("doubled", |body| {
        *body = report(&[
            "unpack ok",
            "ok refs/heads/bystander",
            "ok refs/heads/topic",
            "ok refs/heads/topic",
        ]);
    }),
    ("both yes and no", |body| {
        *body = report(&[
            "unpack ok",
            "ok refs/heads/topic",
            "ok refs/heads/bystander",
            "ng refs/heads/topic no",
        ]);
    }),
    ("both no and yes", |body| {
        *body = report(&[
            "unpack ok",
            "ng refs/heads/topic no",
            "ok refs/heads/bystander",
            "ok refs/heads/topic",
        ]);
    }),
    ("missing", |body| {
        *body = report(&["unpack ok", "ok refs/heads/bystander"]);
    }),
    ("about another one", |body| {
        *body = report(&[
            "unpack ok",
            "ok refs/heads/bystander",
            "ok refs/heads/topics",
        ]);
    }),
    ("in an unknown word", |body| {
        *body = report(&[
            "unpack ok",
            "ok refs/heads/bystander",
            "fine refs/heads/topic",
        ]);
    }),
    ("without a word", |body| {
        *body = report(&["unpack ok", "refs/heads/topic"]);
    }),
    ("nothing about any ref", |body| {
        *body = report(&["unpack ok"])
    }),
    ("nothing about the pack", |body| {
        *body = report(&["ok refs/heads/bystander", "ok refs/heads/topic"]);
    }),
    ("yes about a pack that was not taken in", |body| {
        *body = report(&[
            "unpack disk full",
            "ok refs/heads/bystander",
            "ok refs/heads/topic",
        ]);
    }),
    ("an empty report", |body| *body = report(&[])),
    ("nothing at all", |body| body.clear()),
    ("a flush", |body| *body = b"0000".to_vec()),
    ("no packet lines", |body| *body = b"<html>".to_vec()),
    ("an unknown band", |body| body[4] = b'\x07'),
];

fn new_topic() -> (Pair, String) {
    let pair = Pair::in_step();
    let topic = grow(&pair.source, TOPIC, &[&pair.tip]);
    (pair, topic)
}

#[test]
fn what_took_effect_is_found_in_spite_of_the_report() {
    for (what, garble) in NONSENSE {
        let (pair, topic) = new_topic();
        pair.on_push(|_| Some(Answer::Garble(*garble)));
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(TOPIC), created(&topic), "{what}");
        assert_eq!(pushed.asked, LOOKED_AGAIN, "{what}");
    }
}

#[test]
fn what_took_no_effect_is_found_in_spite_of_the_report() {
    let (pair, _) = new_topic();
    for (what, garble) in NONSENSE {
        pair.on_push(|_| {
            let mut body = report(&["unpack ok"]);
            garble(&mut body);
            Some(wire::ok(RESULT, body))
        });
        let pushed = pair.push_to_any(&SyncOptions::default());
        let reason = pushed.reason_of(TOPIC);
        assert!(
            matches!(reason, Reason::Unconfirmed { .. }),
            "{what}: {reason}"
        );
        let topic = pushed.stats.find(TOPIC).unwrap();
        assert!(topic.after.is_null(), "{what}");
        // If nothing seems to have moved, each ref is tried by itself.
        let says_that_one_moved = pushed.stats.count(Outcome::is_updated) > 0;
        let pushes = if says_that_one_moved { 1 } else { 3 };
        assert_eq!(pushed.asked[..3], *LOOKED_AGAIN, "{what}");
        assert_eq!(pushed.sent.len(), pushes, "{what}");
        assert_eq!(pushed.asked.last().unwrap(), "info/refs", "{what}");
    }
    assert_eq!(pair.remote.for_each_ref().len(), 1, "main");
}

#[test]
fn a_line_about_something_else_does_no_harm() {
    let (pair, topic) = new_topic();
    pair.on_push(|_| {
        Some(Answer::Garble(|body| {
            *body = report(&[
                "unpack ok",
                "ng refs/heads/unheard-of no",
                "ok refs/heads/topic",
                "ok refs/heads/bystander",
            ]);
        }))
    });
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(TOPIC), created(&topic));
    assert_eq!(pushed.asked, PUSHED);
}

#[test]
fn a_refusal_in_the_remote_s_words_is_safe_to_print() {
    let (pair, _) = new_topic();
    let lines = [
        "unpack ok",
        "ng refs/heads/topic \x1b[31mno\x07\u{202e} entry: 1",
        "ng refs/heads/bystander",
    ];
    pair.on_push(move |_| Some(wire::ok(RESULT, report(&lines))));
    let pushed = pair.push_to_any(&SyncOptions::default());
    let text = " [31mno   entry: 1".to_owned();
    assert_eq!(pushed.reason_of(TOPIC), Reason::Remote { text });
    let without = pushed.reason_of(BYSTANDER);
    assert!(
        matches!(&without, Reason::Remote { text } if !text.is_empty()),
        "{without}"
    );
    assert_eq!(pushed.asked, ["info/refs", "push", "push", "push"]);
}

#[test]
fn a_remote_that_reports_more_than_anybody_asked_for_is_not_listened_to() {
    let (pair, topic) = new_topic();
    let strays: Vec<_> = (0..10_000)
        .map(|n| format!("ok refs/heads/stray/{n:06}"))
        .collect();
    pair.on_push(move |_| {
        let mut body = Vec::new();
        for lines in strays.chunks(1000) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            body.extend(report(&[&["unpack ok"][..], &lines].concat()));
        }
        Some(wire::ok(RESULT, body))
    });
    let pushed = pair.push_to_any(&SyncOptions::default());
    let found = pushed.stats.find(TOPIC).unwrap();
    assert!(found.outcome.is_rejected());
    assert_eq!(found.source.to_string(), topic);
    assert_matches_git(&pushed.stats, &pair.remote);
}

/// The remote says no before it has looked at a single ref.
#[test]
fn an_error_packet_in_place_of_a_report_is_an_error() {
    let (pair, _) = new_topic();
    let files = pair.remote.files();
    pair.on_push(|_| Some(wire::ok(RESULT, wire::err_line("no \x1b[1mroom"))));
    let err = pair.try_push(&SyncOptions::default()).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::Remote, "{err:?}");
    let text = err.to_string();
    assert!(text.contains("room") && !text.contains('\x1b'), "{text}");
    assert!(err.stats().is_none());
    assert_eq!(pair.remote.files(), files);
    assert_eq!(pair.server.requests().len(), 2);
}

/// On the side-band it may come at any time, so what became of the refs is looked up.
#[test]
fn a_fatal_message_on_the_side_band() {
    let (pair, topic) = new_topic();
    pair.on_push(|_| {
        Some(Answer::Garble(|body| {
            *body = wire::packet(b"\x03disk full\n")
        }))
    });
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(TOPIC), created(&topic));
    assert_eq!(pushed.asked, LOOKED_AGAIN);

    let (pair, _) = new_topic();
    pair.on_push(|_| Some(wire::ok(RESULT, wire::packet(b"\x03disk full\n"))));
    let pushed = pair.push_to_any(&SyncOptions::default());
    let reason = pushed.reason_of(TOPIC);
    assert!(reason.to_string().contains("disk full"), "{reason}");
    assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
}

#[test]
fn an_answer_that_is_no_answer_to_a_push() {
    let (pair, topic) = new_topic();
    // It took effect, and a proxy put its own page in place of the report.
    let remote = pair.remote.clone();
    let (root, new) = (pair.root.clone(), pair.tip.clone());
    pair.on_push(move |_| {
        remote.set_ref(BYSTANDER, &root);
        remote.set_ref(TOPIC, &new);
        Some(wire::ok("text/html", b"<html>".to_vec()))
    });
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(BYSTANDER), created(&pair.root));
    let found = pushed.stats.find(TOPIC).unwrap();
    assert_eq!(
        found.outcome.rejection(),
        Some(&Reason::Raced),
        "it is at the tip of main"
    );
    assert_eq!(found.source.to_string(), topic);
    assert_eq!(pushed.asked, LOOKED_AGAIN);
}
