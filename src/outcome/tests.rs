use super::*;

fn id(digit: char) -> ObjectId {
    ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex")
}

#[test]
fn json_is_the_contract_plus_added_keys() {
    let reason = Reason::NameConflict {
        with: "refs/tags/a/b".into(),
    };
    let stats = SyncRunStats {
        refs: SyncRunRefs::from_iter([
            SyncRunRef {
                name: "refs/heads/main".into(),
                before: None,
                after: id('a'),
                source: id('a'),
                outcome: Outcome::Updated,
                reason: None,
                refusal: None,
            },
            SyncRunRef {
                name: "refs/tags/a".into(),
                before: Some(id('b')),
                after: id('b'),
                source: id('c'),
                outcome: Outcome::Rejected,
                reason: Some(&reason),
                refusal: None,
            },
        ]),
        default_branch: Some("refs/heads/main".into()),
        ..SyncRunStats::default()
    };
    let json = serde_json::to_value(&stats).expect("serializes");
    let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
    let expected = serde_json::json!({"refs": [
        {"name": "refs/heads/main", "before": null, "after": a, "source": a, "outcome": "updated"},
        {"name": "refs/tags/a", "before": b, "after": b, "source": c, "outcome": "rejected",
         "reason": "name conflict: refs/tags/a/b"},
    ], "default_branch": "refs/heads/main"});
    assert_eq!(json, expected);
    let back: SyncRunStats = serde_json::from_value(json).expect("reads back");
    assert_eq!(back, stats);
}

#[test]
fn unchanged_refs_are_told_from_others_wherever_they_are() {
    let reasons = [Reason::Excluded, Reason::Diverged];
    let [a, b] = ['a', 'b'].map(id);
    let found = |name, before, after, source, outcome, reason| SyncRunRef {
        name,
        before,
        after,
        source,
        outcome,
        reason,
        refusal: None,
    };
    use Outcome::*;
    let expected = [
        found("a".into(), Some(a), a, a, Unchanged, None),
        found("b".into(), None, a, a, Updated, None),
        found("c".into(), Some(a), a, a, Filtered, Some(&reasons[0])),
        found("d".into(), Some(b), b, a, Rejected, Some(&reasons[1])),
        found("e".into(), Some(b), b, b, Unchanged, None),
        found("f".into(), Some(b), a, b, Unchanged, None),
    ];
    let refs = SyncRunRefs::from_iter(expected);
    assert_eq!(refs.iter().collect::<Vec<_>>(), expected);
    assert_eq!(refs.iter().len(), 6);
    assert_eq!(refs, SyncRunRefs::from_iter(&refs));
    assert_ne!(refs, SyncRunRefs::from_iter(refs.iter().skip(1)));
    let stats = SyncRunStats {
        refs,
        ..SyncRunStats::default()
    };
    let outcomes = [Unchanged, Updated, Filtered, Rejected];
    assert_eq!(outcomes.map(|outcome| stats.count(outcome)), [3, 1, 1, 1]);
    for one in expected {
        assert_eq!(stats.find(one.name), Some(one));
    }
    let json = serde_json::to_string(&stats).expect("serializes");
    assert!(!json.contains("default_branch"));
    let back: SyncRunStats = serde_json::from_str(&json).expect("reads back");
    assert_eq!(back, stats);
}

#[test]
fn faulty_objects_are_in_the_json_where_there_are_any() {
    let stats = SyncRunStats {
        faulty_objects: 2,
        ..SyncRunStats::default()
    };
    let json = serde_json::to_value(&stats).expect("serializes");
    assert_eq!(json, serde_json::json!({"refs": [], "faulty_objects": 2}));
    let back: SyncRunStats = serde_json::from_value(json).expect("reads back");
    assert_eq!(back, stats);
}

#[test]
fn a_doubt_is_in_the_json_and_reads_back() {
    let stats = SyncRunStats {
        destination_in_doubt: true,
        ..SyncRunStats::default()
    };
    let json = serde_json::to_value(&stats).expect("serializes");
    let expected = serde_json::json!({"refs": [], "destination_in_doubt": true});
    assert_eq!(json, expected);
    let back: SyncRunStats = serde_json::from_value(json).expect("reads back");
    assert_eq!(back, stats);
}

#[test]
fn a_name_in_a_reason_cannot_play_tricks_on_a_terminal() {
    let with = "refs/heads/\u{9b}2J\u{202e}cod".into();
    let text = Reason::NameConflict { with }.to_string();
    assert_eq!(text, "name conflict: refs/heads/\\u{9b}2J\\u{202e}cod");
}

#[test]
fn every_reason_reads_back() {
    let detail = || "object x: y".to_owned();
    for reason in [
        Reason::DestinationAhead,
        Reason::Diverged,
        Reason::HistoryUnknown,
        Reason::DestinationUnknown,
        Reason::NotACommit,
        Reason::TagExists,
        Reason::NameConflict {
            with: "refs/heads/a".into(),
        },
        Reason::Raced,
        Reason::CheckedOut,
        Reason::Unavailable { detail: detail() },
        Reason::Incomplete { detail: detail() },
        Reason::Faulty { detail: detail() },
        Reason::NotWritten { detail: detail() },
        Reason::Remote { text: detail() },
        Reason::Unconfirmed { detail: detail() },
        Reason::InvalidName,
        Reason::SymbolicRef,
        Reason::NameTooLong,
        Reason::Excluded,
    ] {
        assert_eq!(Reason::parse(&reason.to_string()), Some(reason));
    }
    assert_eq!(Reason::parse("from a later version"), None);
}

#[test]
fn what_a_remote_said_reads_back() {
    let reason = Reason::Remote {
        text: "hook declined".to_owned(),
    };
    let refusal = Refusal {
        retry_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        alone: true,
    };
    let found = SyncRunRef {
        name: "refs/heads/a".into(),
        before: None,
        after: id('0'),
        source: id('a'),
        outcome: Outcome::Rejected,
        reason: Some(&reason),
        refusal: Some(&refusal),
    };
    let stats = SyncRunStats {
        refs: SyncRunRefs::from_iter([found]),
        remote_messages: vec!["no".to_owned()],
        retry_after: Some(Duration::from_secs(7)),
        ..SyncRunStats::default()
    };
    let json = serde_json::to_value(&stats).expect("serializes");
    let expected = serde_json::json!({"retry_at": 1_700_000_000, "alone": true});
    assert_eq!(json["refs"][0]["refusal"], expected);
    assert_eq!(json["messages"], serde_json::json!(["no"]));
    assert_eq!(json["retry_after"], 7);
    let back: SyncRunStats = serde_json::from_value(json).expect("reads back");
    assert_eq!(back, stats);
}
