use std::time::{Duration, SystemTime};

use super::{
    Outcome::{Filtered, Rejected, Unchanged, Updated},
    *,
};
use crate::ObjectId;

fn id(digit: char) -> ObjectId {
    ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex")
}

#[test]
fn json_is_the_contract_plus_added_keys() {
    let conflict = Rejected(Reason::NameConflict {
        with: "refs/tags/a/b".into(),
    });
    let stats = SyncRunStats {
        refs: SyncRunRefs::from_iter([
            SyncRunRef {
                name: "refs/heads/main".into(),
                before: None,
                after: id('a'),
                source: id('a'),
                outcome: &Updated,
                refusal: None,
            },
            SyncRunRef {
                name: "refs/tags/a".into(),
                before: Some(id('b')),
                after: id('b'),
                source: id('c'),
                outcome: &conflict,
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
    let [a, b] = ['a', 'b'].map(id);
    let found = |name, before, after, source, outcome| SyncRunRef {
        name,
        before,
        after,
        source,
        outcome,
        refusal: None,
    };
    let excluded = Filtered(FilterReason::Excluded);
    let diverged = Rejected(Reason::Diverged);
    let expected = [
        found("a".into(), Some(a), a, a, &Unchanged),
        found("b".into(), None, a, a, &Updated),
        found("c".into(), Some(a), a, a, &excluded),
        found("d".into(), Some(b), b, a, &diverged),
        found("e".into(), Some(b), b, b, &Unchanged),
        found("f".into(), Some(b), a, b, &Unchanged),
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
    assert_eq!(stats.count(Outcome::is_unchanged), 3);
    assert_eq!(stats.count(Outcome::is_updated), 1);
    assert_eq!(stats.count(Outcome::is_filtered), 1);
    let rejected: Vec<_> = stats.rejected().collect();
    assert_eq!(rejected, [(expected[3], &Reason::Diverged)]);
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
    for code in Reason::CODES {
        for text in [(*code).to_owned(), format!("{code}: object x: y")] {
            let reason = Reason::parse(&text);
            assert_eq!(reason.code(), *code);
            assert!(!matches!(reason, Reason::Other { .. }));
            assert_eq!(Reason::parse(&reason.to_string()), reason);
        }
    }
    for code in FilterReason::CODES {
        let reason = FilterReason::parse(code);
        assert_eq!(reason.to_string(), *code);
        assert!(!matches!(reason, FilterReason::Other { .. }));
    }
    let detail = "object x: y".to_owned();
    assert_eq!(
        Reason::parse("incomplete: object x: y"),
        Reason::Incomplete { detail }
    );
}

/// A service that is a version behind hands on the stats as they are.
#[test]
fn a_reason_of_a_later_version_is_kept() {
    let json = serde_json::json!({"refs": [
        {"name": "refs/heads/a", "before": null, "after": id('0').to_string(),
         "source": id('a').to_string(), "outcome": "rejected", "reason": "too late: by 3 days"},
        {"name": "refs/heads/b", "before": null, "after": id('0').to_string(),
         "source": id('a').to_string(), "outcome": "rejected"},
    ]});
    let stats: SyncRunStats = serde_json::from_value(json.clone()).expect("reads");
    let (_, later) = stats.rejected().next().expect("a rejected ref");
    assert_eq!(later.code(), "too late");
    assert_eq!(later.to_string(), "too late: by 3 days");
    assert!(stats.settled_rejections("").is_empty());
    assert_eq!(serde_json::to_value(&stats).expect("serializes"), json);
}

#[test]
fn what_a_remote_said_reads_back() {
    let declined = Rejected(Reason::Remote {
        text: "hook declined".to_owned(),
    });
    let refusal = Refusal {
        retry_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        alone: true,
    };
    let found = SyncRunRef {
        name: "refs/heads/a".into(),
        before: None,
        after: id('0'),
        source: id('a'),
        outcome: &declined,
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
