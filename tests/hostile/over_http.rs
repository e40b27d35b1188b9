//! The same over HTTP: between the wire and what takes in a pack nothing of it gets lost.
#![cfg(feature = "http")]

use crate::support::pull::{Pair, created, grow};
use crate::support::wire;
use crate::world::{Case, Expected, Given, World, chain};

/// The pack of each case instead of what was asked for.
#[track_caller]
fn all_fail(cases: &[Case]) {
    let (pair, world) = (Pair::in_step(), World::new());
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let files = pair.destination.files();
    let mut wrong = Vec::new();
    for case in cases {
        let Expected::Fails(kind, words) = case.expected else {
            continue;
        };
        let Given::Bytes(pack) = (case.build)(&world).pack else {
            continue;
        };
        pair.on_fetch(move |_| Some(wire::pack(&pack)));
        match pair.try_pull(&case.options()) {
            Err(err) if err.kind() == kind && chain(&err).contains(words) => {}
            Err(err) => wrong.push(format!("{}: {}", case.name, chain(&err))),
            Ok(stats) => wrong.push(format!("{}: {stats:?}", case.name)),
        }
        assert!(pair.destination.files() == files, "{}", case.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    pair.server.intercept(|_| None);
    assert_eq!(pair.pull().fate_of("refs/heads/topic"), created(&topic));
}

#[test]
fn what_is_around_the_objects() {
    all_fail(&crate::framing::header_cases());
    all_fail(&crate::framing::trailer_cases());
    all_fail(&crate::framing::entry_header_cases());
}

#[test]
fn deltas() {
    all_fail(&crate::deltas::by_distance_cases());
    all_fail(&crate::deltas::instruction_cases());
}
