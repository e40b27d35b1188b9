//! The rules that nobody has changed, beside a `git fetch` with the same levels.

use gix::{hash::Kind as Hash, object::Kind};

use super::{
    FsckLevel, FsckMessage, FsckRules, Git, Object, judge,
    objects::{self, commit, hex, tag},
};

const HASH: Hash = Hash::Sha1;

/// A history with one thing wrong, and git's name for that.
struct Case {
    mode: &'static str,
    name: &'static str,
    /// The text in the commit, and the one that replaces it.
    person: (&'static str, &'static str),
    tagger: &'static str,
    message: Option<FsckMessage>,
}

const GOOD: Case = Case {
    mode: "100644",
    name: "name",
    person: ("-0700", "-0700"),
    tagger: "tagger",
    message: None,
};

/// A message that git only hints at is none here.
fn cases() -> [Case; 7] {
    [
        GOOD,
        Case {
            mode: "100600",
            tagger: "x-tagger",
            ..GOOD
        },
        Case {
            name: ".GIT.",
            message: Some(FsckMessage::HasDotgit),
            ..GOOD
        },
        Case {
            person: (" <author", "<author"),
            message: Some(FsckMessage::MissingSpaceBeforeEmail),
            ..GOOD
        },
        Case {
            mode: "0100644",
            message: Some(FsckMessage::ZeroPaddedFilemode),
            ..GOOD
        },
        Case {
            person: ("-0700", "+51800"),
            message: Some(FsckMessage::BadTimezone),
            ..GOOD
        },
        Case {
            person: ("> 1112911993 -0700", ">1112911993 -0700"),
            message: Some(FsckMessage::MissingSpaceBeforeDate),
            ..GOOD
        },
    ]
}

const TOLERATED: [FsckMessage; 3] = [
    FsckMessage::BadTimezone,
    FsckMessage::MissingSpaceBeforeDate,
    FsckMessage::ZeroPaddedFilemode,
];

#[test]
fn strict_rules_are_those_of_fetch_fsck_objects() {
    for case in cases() {
        let expected = case.message;
        assert_as_fetched(&case, &FsckRules::strict(), &[], expected);
    }
}

#[test]
fn the_defaults_are_those_of_a_fetch_that_ignores_three_messages() {
    let ignored = TOLERATED.map(|message| format!("fetch.fsck.{message}=ignore"));
    for case in cases() {
        let expected = case.message.filter(|message| !TOLERATED.contains(message));
        assert_as_fetched(&case, &FsckRules::default(), &ignored, expected);
    }
}

#[test]
fn the_defaults_differ_from_gits_in_three_messages_alone() {
    let (strict, default) = (FsckRules::strict(), FsckRules::default());
    for message in FsckMessage::all() {
        let expected = if TOLERATED.contains(&message) {
            FsckLevel::Ignore
        } else {
            strict.level(message)
        };
        assert_eq!(default.level(message), expected, "{message}");
    }
}

/// That `rules` find just what is expected in the history of a case, and that a `git fetch` with these
/// settings says the same.
#[track_caller]
fn assert_as_fetched(
    case: &Case,
    rules: &FsckRules,
    settings: &[String],
    expected: Option<FsckMessage>,
) {
    let (history, tip) = history(case);
    let (source, destination) = (Git::new(HASH), Git::new(HASH));
    source.store(&history);
    let made = source.git(&["update-ref", "refs/tags/v1.0", &tip], b"");
    assert!(made.status.success(), "{made:?}");
    let url = format!("file://{}", source.path().display());
    let mut args = vec!["-c", "fetch.fsckObjects=true"];
    args.extend(settings.iter().flat_map(|setting| ["-c", setting]));
    args.extend(["fetch", "-q", &url, "v1.0"]);
    let fetched = destination.git(&args, b"");

    let ours = judge(&history, HASH, rules);
    let is_error = |(level, _): &&(FsckLevel, FsckMessage)| *level == FsckLevel::Error;
    let errors = ours.found.iter().filter(is_error);
    let errors: Vec<_> = errors.map(|(_, message)| *message).collect();
    assert_eq!(errors, expected.into_iter().collect::<Vec<_>>());
    assert_eq!(fetched.status.success(), expected.is_none(), "{fetched:?}");
    let stderr = String::from_utf8_lossy(&fetched.stderr);
    assert!(
        expected.is_none_or(|message| stderr.contains(message.name())),
        "{stderr}"
    );
}

/// A blob, a tree, a commit and a tag; and the id of the tag.
fn history(case: &Case) -> ([Object; 4], String) {
    let blob = (Kind::Blob, b"content".to_vec());
    let blob_id = objects::id(&blob, HASH);
    let entry = objects::entry(case.mode, case.name, blob_id.as_slice());
    let tree = (Kind::Tree, entry);
    let tree_line = format!("tree {}", objects::id(&tree, HASH));
    let parent_line = format!("parent {}\n", hex(0x33, HASH));
    let commit = commit(HASH)
        .replace(&parent_line, "")
        .replace(&format!("tree {}", hex(0x22, HASH)), &tree_line)
        .replacen(case.person.0, case.person.1, 1);
    let commit = (Kind::Commit, commit.into_bytes());
    let commit_id = objects::id(&commit, HASH).to_string();
    let tag = tag(HASH)
        .replace(&hex(0x33, HASH), &commit_id)
        .replace("tagger", case.tagger);
    let tag = (Kind::Tag, tag.into_bytes());
    let tip = objects::id(&tag, HASH).to_string();
    ([blob, tree, commit, tag], tip)
}
