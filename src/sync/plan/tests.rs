use super::*;
use crate::{ObjectFormat, ObjectId, Outcome, RefGlobs, SyncRunStats, sync::planned_ref};

const CREATE: Option<Step> = Some(Step::Create);
const COMPARE: Option<Step> = Some(Step::Compare);

fn filtered(reason: FilterReason) -> Option<Step> {
    Some(planned_ref::filtered(reason))
}

fn rejected(reason: Reason) -> Option<Step> {
    Some(planned_ref::rejected(reason))
}

fn id(digit: char) -> ObjectId {
    ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex")
}

/// `name=1` is a ref with tip 111..., `name=1^2` an annotated tag, `name@1` a symbolic ref.
fn list(refs: &[&str]) -> RefList {
    let refs = refs.iter().map(|text| {
        let symbolic = text.contains('@');
        let (name, tip) = text.split_once(['=', '@']).expect("name and tip");
        let mut digits = tip.chars().filter(|c| *c != '^').map(id);
        AdvertisedRef {
            name: name.into(),
            target: digits.next().expect("a tip"),
            annotated: digits.next().is_some(),
            symbolic,
        }
    });
    RefList::new(ObjectFormat::Sha1, refs)
}

/// The step of each ref; `None` for one that is the same at both ends.
fn steps(
    source: &RefList,
    destination: &RefList,
    options: &SyncOptions,
) -> Vec<(String, Option<Step>)> {
    let mut source = source.clone();
    select(&mut source, options);
    let mut steps: Vec<_> = source.iter().map(|r| (r.name.to_string(), None)).collect();
    let planned = plan(&source, destination, options, || Ok(()));
    for planned in planned.expect("nothing stops it") {
        let (name, step) = &mut steps[planned.at()];
        assert_eq!(*name, planned.name().to_string());
        *step = Some(planned.step);
    }
    steps
}

fn step(source: &str, destination: &[&str]) -> Option<Step> {
    let mut steps = steps(
        &list(&[source]),
        &list(destination),
        &SyncOptions::default(),
    );
    assert_eq!(steps.len(), 1, "{source}");
    steps.remove(0).1
}

fn conflict(with: &str) -> Option<Step> {
    rejected(Reason::NameConflict { with: with.into() })
}

#[test]
fn the_listings_alone_decide_what_they_can() {
    let detail = "the source lists no tip for it".to_owned();
    let nowhere = rejected(Reason::Unavailable { detail });
    let table: &[(&str, &[&str], Option<Step>)] = &[
        ("refs/heads/a=1", &[], CREATE),
        ("refs/heads/a=1", &["refs/heads/a=1"], None),
        ("refs/heads/a=1", &["refs/heads/a=2"], COMPARE),
        ("refs/heads/a=0", &[], nowhere.clone()),
        ("refs/heads/a=0", &["refs/heads/a=2"], nowhere),
        ("refs/tags/a=1", &["refs/tags/a=2"], COMPARE),
        ("refs/tags/a=1^3", &["refs/tags/a=1^3"], None),
        (
            "refs/tags/a=1^3",
            &["refs/tags/a=2"],
            rejected(Reason::TagExists),
        ),
        (
            "refs/tags/a=1",
            &["refs/tags/a=2^3"],
            rejected(Reason::TagExists),
        ),
        ("refs/heads/a@1", &[], filtered(FilterReason::SymbolicRef)),
        (
            "refs/heads/a=1",
            &["refs/heads/a@2"],
            filtered(FilterReason::SymbolicRef),
        ),
        (
            "refs/heads/a=1",
            &["refs/heads/a@1"],
            filtered(FilterReason::SymbolicRef),
        ),
        (
            "refs/heads/a=1",
            &["refs/heads/a@0"],
            filtered(FilterReason::SymbolicRef),
        ),
        (
            "refs/heads/a=1",
            &["refs/heads/a=0"],
            rejected(Reason::HistoryUnknown),
        ),
        (
            "refs/heads/a..b=1",
            &[],
            filtered(FilterReason::InvalidName),
        ),
        (
            "refs/heads/../../config=1",
            &[],
            filtered(FilterReason::InvalidName),
        ),
    ];
    for (source, destination, expected) in table {
        assert_eq!(
            step(source, destination),
            *expected,
            "{source} to {destination:?}"
        );
    }
}

#[test]
fn names_that_cannot_coexist_conflict() {
    let table: &[(&str, &[&str], Option<Step>)] = &[
        (
            "refs/heads/a/b=1",
            &["refs/heads/a=2"],
            conflict("refs/heads/a"),
        ),
        (
            "refs/heads/a/b/c=1",
            &["refs/heads/a=2"],
            conflict("refs/heads/a"),
        ),
        (
            "refs/heads/a=1",
            &["refs/heads/a/b=2"],
            conflict("refs/heads/a/b"),
        ),
        ("refs/heads/a/b=1", &["refs/heads/a/c=2"], CREATE),
        ("refs/heads/ab=1", &["refs/heads/a=2"], CREATE),
        ("refs/heads/a/b=1", &["refs/tags/a=2"], CREATE),
        ("refs/heads/A=1", &["refs/heads/a=2"], CREATE),
    ];
    for (source, destination, expected) in table {
        assert_eq!(
            step(source, destination),
            *expected,
            "{source} to {destination:?}"
        );
    }
}

#[test]
fn of_two_new_names_that_conflict_the_first_one_wins() {
    let source = list(&["refs/heads/a=1", "refs/heads/a/b=1", "refs/heads/c=1"]);
    let steps = steps(&source, &list(&[]), &SyncOptions::default());
    let expected = [CREATE, conflict("refs/heads/a"), CREATE];
    assert_eq!(
        steps.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn case_matters_unless_the_destination_folds_it() {
    let source = list(&[
        "refs/heads/DIR/x=1",
        "refs/heads/Main=1",
        "refs/heads/dir/y=1",
        "refs/heads/main=1",
    ]);
    let mut destination = list(&["refs/heads/main=1"]);
    let create = [CREATE, CREATE, CREATE, None];
    let found = steps(&source, &destination, &SyncOptions::default());
    assert_eq!(
        found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
        create
    );

    destination.folds_case = true;
    let found = steps(&source, &destination, &SyncOptions::default());
    let expected = [
        CREATE,
        conflict("refs/heads/main"),
        conflict("refs/heads/DIR/x"),
        None,
    ];
    assert_eq!(
        found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn a_destination_s_own_rules_hold() {
    let source = list(&[
        "refs/heads/long-name=1",
        "refs/heads/main=1",
        "refs/heads/new=1",
    ]);
    let mut destination = list(&["refs/heads/main=2"]);
    destination.checked_out = vec!["refs/heads/main".into(), "refs/heads/new".into()];
    destination.longest_component = 8;
    let expected = [
        filtered(FilterReason::NameTooLong),
        rejected(Reason::CheckedOut),
        rejected(Reason::CheckedOut),
    ];
    let found = steps(&source, &destination, &SyncOptions::default());
    assert_eq!(
        found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn excluded_refs_are_left_out_or_listed() {
    let source = list(&[
        "HEAD=1",
        "refs/heads/dev=1",
        "refs/heads/main=1",
        "refs/notes/x=1",
        "refs/tags/v1=1",
    ]);
    let globs = RefGlobs::new(Some("main"), None).expect("a glob");
    let mut options = SyncOptions {
        globs,
        ..SyncOptions::default()
    };
    assert_eq!(
        steps(&source, &list(&[]), &options),
        [("refs/heads/main".into(), CREATE)]
    );
    options.list_excluded = true;
    let excluded = filtered(FilterReason::Excluded);
    let expected = [
        ("refs/heads/dev".into(), excluded.clone()),
        ("refs/heads/main".into(), CREATE),
        ("refs/tags/v1".into(), excluded),
    ];
    assert_eq!(steps(&source, &list(&[]), &options), expected);
}

#[test]
fn a_known_rejection_stays_while_both_tips_do() {
    let outcomes = [Reason::Diverged, Reason::Raced, Reason::Diverged].map(Outcome::Rejected);
    let known = |name: &'static str, before, outcome| SyncRunRef {
        name: name.into(),
        before: Some(id(before)),
        after: id(before),
        source: id('1'),
        outcome,
        refusal: None,
    };
    let refs = [
        known("refs/heads/a", '2', &outcomes[0]),
        known("refs/heads/b", '2', &outcomes[1]),
        known("refs/heads/c", '3', &outcomes[2]),
    ];
    let previous = SyncRunStats {
        refs: refs.into_iter().collect(),
        ..SyncRunStats::default()
    };
    let options = SyncOptions {
        previous: Some(previous),
        ..SyncOptions::default()
    };
    let source = list(&["refs/heads/a=1", "refs/heads/b=1", "refs/heads/c=1"]);
    let destination = list(&["refs/heads/a=2", "refs/heads/b=2", "refs/heads/c=2"]);
    let found = steps(&source, &destination, &options);
    let expected = [rejected(Reason::Diverged), COMPARE, COMPARE];
    assert_eq!(
        found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
        expected
    );
}

/// A ref that the tag policy or the fsck rules turned away may go through with others.
#[test]
fn a_rejection_by_the_rules_holds_as_long_as_these_are_the_same() {
    let detail = "object x".to_owned();
    let reasons = [Reason::Faulty { detail }, Reason::TagExists];
    let outcomes = reasons.clone().map(Outcome::Rejected);
    let known = |name: &'static str, outcome| SyncRunRef {
        name: name.into(),
        before: Some(id('2')),
        after: id('2'),
        source: id('1'),
        outcome,
        refusal: None,
    };
    let refs = [
        known("refs/heads/a", &outcomes[0]),
        known("refs/tags/b", &outcomes[1]),
    ];
    let source = list(&["refs/heads/a=1", "refs/tags/b=1"]);
    let destination = list(&["refs/heads/a=2", "refs/tags/b=2"]);
    let today = SyncOptions::default().rules().expect("a digest");
    let cases = [
        (today.as_str(), true),
        ("0123456789abcdef", false),
        ("", false),
    ];
    for (rules, holds) in cases {
        let previous = SyncRunStats {
            refs: refs.into_iter().collect(),
            rules: rules.to_owned(),
            ..SyncRunStats::default()
        };
        let options = SyncOptions {
            previous: Some(previous),
            ..SyncOptions::default()
        };
        let found = steps(&source, &destination, &options).into_iter();
        let found: Vec<_> = found.map(|(_, step)| step).collect();
        let expected = reasons
            .clone()
            .map(|reason| if holds { rejected(reason) } else { COMPARE });
        assert_eq!(found, expected, "{rules:?}");
    }
}

#[test]
fn immutable_tags_never_get_compared() {
    let options = SyncOptions {
        tags: TagPolicy::Immutable,
        ..SyncOptions::default()
    };
    let found = steps(
        &list(&["refs/tags/a=1"]),
        &list(&["refs/tags/a=2"]),
        &options,
    );
    assert_eq!(found, [("refs/tags/a".into(), rejected(Reason::TagExists))]);
}
