//! Pushes and their answers.

use super::*;

#[test]
fn refs_are_created_and_moved_over_one_connection() {
    for format in [git::ObjectFormat::Sha1, git::ObjectFormat::Sha256] {
        let ends = ends_of(format);
        let context = context();
        ends.remote.list_for_push(&context).expect("a list");
        let updates = [
            update(MAIN, Some(&ends.old), &ends.new),
            update(OTHER, None, &ends.new),
        ];
        let answers = ends.push_in(&context, &updates).expect("an answer");
        assert_eq!(answers, [PushAnswer::Done, PushAnswer::Done]);
        assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.new));
        assert_eq!(ends.tip(OTHER).as_ref(), Some(&ends.new));
        ends.destination.fsck();

        // The objects are there already.
        let again = [update("refs/tags/v1", None, &ends.new)];
        let answers = ends
            .push_pack(&again, &ends.no_objects(), &context)
            .expect("an answer");
        assert_eq!(answers, [PushAnswer::Done]);
        assert_eq!(ends.tip("refs/tags/v1").as_ref(), Some(&ends.new));

        assert_eq!(ends.requests(), [GET, POST, POST]);
        let (received, sent) = ends.server.wire_bytes();
        let traffic = context.traffic();
        assert_eq!(traffic.requests, 3);
        assert_eq!(
            (traffic.bytes_sent, traffic.bytes_received),
            (received, sent)
        );
        let connections = ends.server.requests().into_iter().map(|r| r.connection);
        assert!(connections.max() == Some(0), "one connection");
    }
}

#[test]
fn a_pack_of_many_megabytes_is_streamed_after_a_probe() {
    let ends = ends();
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 3_000_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.extend_from_slice(format!("{:016x}", state).as_bytes());
    }
    let noise = String::from_utf8(noise).expect("hex");
    let big = ends
        .source
        .commit("big", &[&ends.new], "big", &[("b", &noise)], 3);
    let pack = pack(&ends.source, &format!("{big}\n^{}", ends.old));
    assert!(pack.len() > 1_100_000, "{}", pack.len());
    let answers = ends
        .push_pack(&[update(MAIN, Some(&ends.old), &big)], &pack, &context())
        .expect("an answer");
    assert_eq!(answers, [PushAnswer::Done]);
    assert_eq!(ends.tip(MAIN), Some(big));
    ends.destination.fsck();
    assert_eq!(ends.requests(), [GET, POST, POST]);
    assert_eq!(ends.server.requests()[1].request_bytes, 4);
}

#[test]
fn one_ref_that_is_refused_stops_no_other() {
    let ends = ends();
    update_hook(&ends, "test \"$1\" != refs/heads/protected");
    let updates = [
        // It is elsewhere by now.
        update(MAIN, Some(&ends.new), &ends.new),
        update("refs/heads/protected", None, &ends.new),
        update(OTHER, None, &ends.new),
    ];
    let answers = ends.push(&updates).expect("an answer");
    let refused = |text: &str| PushAnswer::Refused {
        text: text.to_owned(),
    };
    assert_eq!(
        answers,
        [
            refused("failed to update ref"),
            refused("hook declined"),
            PushAnswer::Done
        ]
    );
    assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.old));
    assert_eq!(ends.tip("refs/heads/protected"), None);
    assert_eq!(ends.tip(OTHER).as_ref(), Some(&ends.new));
}

fn update_hook(ends: &Ends, script: &str) {
    let hooks = ends.destination.path.join("hooks");
    std::fs::create_dir_all(&hooks).expect("a folder");
    let hook = hooks.join("update");
    std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&hook, executable).expect("executable");
    }
}

#[test]
fn a_hook_that_prints_the_credentials_is_not_quoted() {
    let ends = ends();
    // In two parts: no file may have them whole.
    let (first, rest) = CANARY.split_at(CANARY.len() / 2);
    let prints = format!("printf '%s%s\\n' '{first}' '{rest}' >&2; echo why >&2; exit 1");
    update_hook(&ends, &prints);
    let context = context();
    ends.remote.list_for_push(&context).expect("a list");
    let updates = [update(MAIN, Some(&ends.old), &ends.new)];
    let pack = pack(&ends.source, &format!("{}\n^{}", ends.new, ends.old));
    let report = (&ends.remote).push(&updates, &mut &pack[..], &context);
    let report = report.expect("an answer");
    assert_eq!(report.messages[0], "why");
    assert!(!format!("{report:?}").contains(CANARY), "{report:?}");
}

#[test]
fn what_the_server_says_of_a_bad_pack_is_passed_on() {
    let ends = ends();
    let updates = [update(MAIN, Some(&ends.old), &ends.new)];
    let answers = ends.push_pack(&updates, b"nonsense", &context());
    let answers = answers.expect("an answer");
    let [PushAnswer::Refused { text }] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert!(text.starts_with("unpacker error ("), "{text}");
    assert_eq!(ends.tip(MAIN).as_ref(), Some(&ends.old));
}

#[test]
fn an_answer_that_is_lost_is_unclear_and_its_connection_is_not_used_again() {
    let answers: [fn() -> Answer; 5] = [
        || Answer::TruncateAfter(0),
        || Answer::TruncateAfter(30),
        || Answer::status(500),
        || Answer::status(429),
        || Answer::Garble(|body| *body = b"0009\x01whatever".to_vec()),
    ];
    for answer in answers {
        let ends = ends();
        ends.server
            .intercept(move |request| (request.method == "POST").then(answer));
        let answers = ends
            .push(&[update(MAIN, Some(&ends.old), &ends.new)])
            .expect("an answer that was lost is no error");
        assert!(
            matches!(&answers[..], [PushAnswer::Unclear { detail }] if !detail.is_empty()),
            "{answers:?}"
        );

        ends.server.intercept(|_| None);
        let found = ends.tip(MAIN);
        let answers = ends.push_pack(
            &[update(OTHER, None, &ends.old)],
            &ends.no_objects(),
            &context(),
        );
        assert_eq!(answers.expect("an answer"), [PushAnswer::Done]);
        assert_eq!(ends.requests(), [GET, POST, GET, POST], "{found:?}");
    }
}

#[test]
fn what_was_reported_before_the_cut_stays() {
    let ends = ends();
    ends.garble("POST", |answer| {
        let report = b"000eunpack ok\n0017ok refs/heads/main\n0018ok refs/heads/other\n";
        *answer = format!("{:04x}\x01", 5 + report.len()).into_bytes();
        answer.extend_from_slice(report);
    });
    let updates = [
        update(MAIN, Some(&ends.old), &ends.new),
        update(OTHER, None, &ends.new),
        update("refs/heads/third", None, &ends.new),
    ];
    let answers = ends.push(&updates).expect("an answer");
    let unclear = PushAnswer::Unclear {
        detail: "the server's report is cut off or makes no sense".to_owned(),
    };
    // Options may have followed the second line.
    assert_eq!(answers, [PushAnswer::Done, unclear.clone(), unclear]);
}

#[test]
fn cancelled_while_the_server_works_is_unclear() {
    let ends = ends();
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let options = SyncOptions {
        cancel: Some(flag.clone()),
        ..SyncOptions::default()
    };
    ends.server.intercept(move |request| {
        (request.method == "POST").then(|| {
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
            Answer::Stall
        })
    });
    let updates = [update(MAIN, Some(&ends.old), &ends.new)];
    let answers = ends.push_in(&SyncContext::new(&options), &updates);
    let detail = "the run was cancelled".to_owned();
    assert_eq!(
        answers.expect("it was sent"),
        [PushAnswer::Unclear { detail }]
    );
}

#[test]
fn a_request_that_is_refused_as_a_whole_is_an_error() {
    use ErrorKind::*;
    let cases: [(fn() -> Answer, ErrorKind); 4] = [
        (|| Answer::status(401), Authentication),
        (|| Answer::status(403), PermissionDenied),
        (|| Answer::status(413), Remote),
        (
            || Answer::Garble(|body| *body = b"0012ERR not today\n".to_vec()),
            Remote,
        ),
    ];
    for (answer, kind) in cases {
        let ends = ends();
        ends.server
            .intercept(move |request| (request.method == "POST").then(answer));
        let err = ends
            .push(&[update(MAIN, Some(&ends.old), &ends.new)])
            .expect_err("refused");
        assert_eq!(err.kind(), kind, "{err}");
        assert!(!format!("{err} {err:?} {:?}", ends.remote).contains("canary"));
    }
}

#[test]
fn nothing_to_push_is_no_request() {
    let ends = ends();
    let answers = ends
        .push_pack(&[], &ends.no_objects(), &context())
        .expect("no answers");
    assert_eq!(answers, []);
    assert_eq!(ends.requests(), [""; 0]);
}

#[test]
fn fetching_and_pushing_share_a_session() {
    use crate::RefSource as _;
    let ends = ends();
    let context = context();
    for _ in 0..2 {
        ends.remote
            .list(Service::UploadPack, &[], &context)
            .expect("a list");
        ends.remote.list_for_push(&context).expect("a list");
        let name = format!("refs/heads/{}", ends.requests().len());
        let answers = ends.push_pack(
            &[update(&name, None, &ends.old)],
            &ends.no_objects(),
            &context,
        );
        assert_eq!(answers.expect("an answer"), [PushAnswer::Done]);
    }
    let connections = ends.server.requests().into_iter().map(|r| r.connection);
    assert!(connections.max() == Some(0), "one connection");
}
