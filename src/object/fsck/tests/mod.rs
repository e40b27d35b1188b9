//! Each object is judged by us and by the git that is installed.

mod defaults;
mod git;
mod gitmodules;
mod headers;
mod mirrors;
mod names;
mod objects;
mod random;
mod rules;
mod speed;
mod trees;

use std::{collections::BTreeSet, fmt, ops::ControlFlow};

use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Fsck, FsckLevel, FsckMessage, FsckRules, Report, Special, SpecialContent, check_special,
};
use git::Git;

type Object = (Kind, Vec<u8>);
type Found = (FsckLevel, FsckMessage);

/// The verdict on a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    refused: bool,
    found: BTreeSet<Found>,
}

/// Keeps all that is found, at the level that the rules give it.
struct All<'a> {
    rules: &'a FsckRules,
    found: BTreeSet<Found>,
}

impl Report for All<'_> {
    fn report(&mut self, message: FsckMessage, _: fmt::Arguments<'_>) -> ControlFlow<()> {
        let level = self.rules.level(message);
        if level != FsckLevel::Ignore {
            self.found.insert((level, message));
        }
        match level {
            FsckLevel::Error => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Our verdict on a pack with these objects.
#[track_caller]
fn judge(objects: &[Object], hash: Hash, rules: &FsckRules) -> Verdict {
    let fsck = Fsck::new(rules, hash);
    let mut all = All {
        rules,
        found: BTreeSet::new(),
    };
    let (mut special, mut noted) = (Special::default(), Special::default());
    let mut refused = false;
    for object @ (kind, data) in objects {
        let id = objects::id(object, hash);
        fsck.check(*kind, data, &mut special, &mut all);
        refused |= fsck.object(*kind, &id, data, &mut noted).is_err();
    }
    assert_eq!(special, noted);
    for (id, file) in special.into_files() {
        let found = objects
            .iter()
            .find(|object| objects::id(object, hash) == id);
        let content = match found {
            Some((Kind::Blob, data)) => SpecialContent::Blob(data),
            Some(_) => SpecialContent::OtherKind,
            None => SpecialContent::Missing,
        };
        check_special(file, content, &mut all);
        refused |= fsck.special_blob(&id, file, content).is_err();
    }
    let found = all.found;
    assert_eq!(
        refused,
        found.iter().any(|(level, _)| *level == FsckLevel::Error),
        "the first error is found, and nothing else: {found:?}"
    );
    Verdict { refused, found }
}

/// That we say of each pack what is `expected` of it, and that git says the same.
///
/// What is expected are the names of messages in any order, at their default levels.
#[track_caller]
fn assert_as_git(hash: Hash, rows: impl IntoIterator<Item = (String, Vec<Object>, &'static str)>) {
    let git = Git::new(hash);
    let rules = FsckRules::strict();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (row, objects, expected) in rows {
        count += 1;
        let messages = expected.split_whitespace().map(|name| {
            let message: FsckMessage = name.parse().expect("a message");
            (rules.level(message), message)
        });
        let expected: BTreeSet<Found> = messages.collect();
        let ours = judge(&objects, hash, &rules);
        let gits = git.index_pack(&objects, "");
        if ours.found != expected || gits != ours {
            wrong.push(format!(
                "{row}: expected {expected:?}\n  ours {ours:?}\n  gits {gits:?}"
            ));
        }
    }
    assert!(count > 0);
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
