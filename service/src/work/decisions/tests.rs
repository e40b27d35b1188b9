//! Tables of decisions.

use refsync::{BString, ObjectId};

use super::{super::scrub::Scrub, *};

const SECOND: Duration = Duration::from_secs(1);

fn id(digit: char) -> ObjectId {
    let hex = digit.to_string().repeat(40);
    ObjectId::from_hex(hex.as_bytes()).expect("an id")
}

fn stats(json: serde_json::Value) -> SyncRunStats {
    serde_json::from_value(json).expect("stats")
}

fn fault(is_retryable: bool) -> Fault {
    Fault {
        is_retryable,
        ..Fault::lasting("network", "")
    }
}

#[test]
fn an_attempt_ends_by_its_fault_and_by_who_stopped_it() {
    let cancelled = Fault {
        code: "cancelled",
        ..fault(false)
    };
    let waits = Fault {
        retry_after: Some(60 * SECOND),
        ..fault(true)
    };
    let at = |millis| Ending::Retry(Time(millis));
    for (fault, stop, tries, expected) in [
        (fault(true), None, 1, at(10_000)),
        (waits.clone(), None, 1, at(60_000)),
        (fault(true), None, 5, Ending::Fail),
        (fault(false), None, 1, Ending::Fail),
        (cancelled.clone(), Some(Stop::Cancelled), 1, Ending::Fail),
        (fault(true), Some(Stop::Cancelled), 1, Ending::Fail),
        (cancelled.clone(), Some(Stop::Shutdown), 5, Ending::GiveBack),
        (fault(true), Some(Stop::Shutdown), 1, Ending::GiveBack),
        (fault(false), Some(Stop::Shutdown), 1, Ending::Fail),
        (cancelled.clone(), Some(Stop::LeaseLost), 1, at(10_000)),
        (cancelled.clone(), Some(Stop::LeaseLost), 5, Ending::Fail),
        (fault(false), Some(Stop::LeaseLost), 1, Ending::Fail),
    ] {
        let policy = RetryPolicy::default();
        let found = ending(&fault, stop, tries, &policy, Time(0), 0.5);
        assert_eq!(found, expected, "{fault:?} {stop:?} {tries}");
    }
    assert_eq!(waits.host_not_before(Time(1)), Some(Time(60_001)));
    assert_eq!(fault(true).host_not_before(Time(1)), None);
}

#[test]
fn a_fault_has_its_causes_and_no_path() {
    let cause = std::io::Error::other("/srv/r.git/objects: no space");
    let err = refsync::Error::new(ErrorKind::LocalIo, "writing /srv/r.git/x failed")
        .with_source(cause)
        .with_retry_after(Some(SECOND));
    let fault = Fault::of(&err, "/srv/r.git", &Scrub::default());
    let text = "writing the repository/x failed: the repository/objects: no space";
    assert_eq!((fault.code, fault.text.as_str()), ("local_io", text));
    assert_eq!(fault.retry_after, Some(SECOND));
    let long = refsync::Error::new(ErrorKind::Remote, "ä".repeat(5_000));
    assert_eq!(
        Fault::of(&long, "x", &Scrub::default())
            .text
            .chars()
            .count(),
        LONGEST_TEXT + 3
    );
}

#[test]
fn a_repository_has_moved_if_a_selected_ref_is_not_where_the_last_push_saw_it() {
    let last = stats(serde_json::json!({"refs": [
        {"name": "refs/heads/a", "before": null, "after": id('1').to_string(), "source": id('1').to_string(), "outcome": "updated"},
        {"name": "refs/heads/c", "before": id('3').to_string(), "after": id('3').to_string(), "source": id('2').to_string(),
         "outcome": "rejected", "reason": "diverged"},
    ]}));
    let all = RefGlobs::default();
    let only_a = RefGlobs::new(Some("a"), None).expect("globs");
    let both = [("refs/heads/a", '1'), ("refs/heads/c", '2')];
    let moved = [("refs/heads/a", '1'), ("refs/heads/c", '4')];
    let new = [
        ("refs/heads/a", '1'),
        ("refs/heads/b", '1'),
        ("refs/heads/c", '2'),
    ];
    for (local, globs, last, expected) in [
        (&both[..], &all, Some(&last), false),
        (&both[..1], &all, Some(&last), false),
        (&moved, &all, Some(&last), true),
        (&moved, &only_a, Some(&last), false),
        (&new, &all, Some(&last), true),
        (&new, &only_a, Some(&last), false),
        (&new, &all, None, false),
    ] {
        let refs = local.iter().map(|(name, tip)| (BStr::new(*name), id(*tip)));
        assert_eq!(has_moved(refs, globs, last), expected, "{local:?}");
    }
}

#[test]
fn a_pull_takes_the_default_branch_where_there_is_none_yet() {
    use Direction::{Pull, Push};
    let theirs = Some("refs/heads/trunk");
    for (direction, is_chosen, tip, theirs, expected) in [
        (Pull, false, None, theirs, Some("trunk")),
        (Pull, true, None, theirs, None),
        (Pull, false, Some("1"), theirs, None),
        (Push, false, None, theirs, None),
        (Pull, false, None, None, None),
        (Pull, false, None, Some("refs/heads/main"), None),
        (Pull, false, None, Some("refs/tags/x"), None),
        (Pull, false, None, Some("refs/heads/"), None),
    ] {
        let theirs = theirs.map(BStr::new);
        let found = new_default(direction, is_chosen, "main", tip, theirs);
        assert_eq!(found.as_deref(), expected, "{direction:?} {theirs:?}");
    }
}

#[test]
fn a_push_event_has_the_refs_that_moved() {
    let (one, two) = (id('1').to_string(), id('2').to_string());
    let stats = stats(serde_json::json!({"refs": [
        {"name": "refs/heads/new", "before": null, "after": one, "source": one, "outcome": "updated"},
        {"name": "refs/heads/same", "before": one, "after": one, "source": one, "outcome": "unchanged"},
        {"name": "refs/tags/v1", "before": one, "after": two, "source": two, "outcome": "updated"},
    ]}));
    let zeros = "0".repeat(40);
    let change = |name: &str, bookmark: &str, before: &str, after: &str, action| PushUpdate {
        name: name.into(),
        bookmark: bookmark.into(),
        before: before.into(),
        after: after.into(),
        action,
    };
    let expected = [
        change("refs/heads/new", "new", &zeros, &one, RefAction::Created),
        change("refs/tags/v1", "v1", &one, &two, RefAction::Updated),
    ];
    assert_eq!(moved(&stats), expected);
    let gone = BString::from("refs/heads/x");
    assert_eq!(
        update(gone.as_ref(), Some(id('2')), None),
        change("refs/heads/x", "x", &two, &zeros, RefAction::Deleted)
    );
}
