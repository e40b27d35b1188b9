//! Long history with many lines and merges.

mod support;

use std::collections::HashSet;

use refsync::{LocalStore, ObjectId, RefSource, Relation, SyncContext, SyncOptions};
use support::{FastImport, Mark, ObjectFormat, Repo, Sandbox};

/// Lines side by side that are merged now and then.
fn woven(repo: &Repo, commits: usize) -> Vec<ObjectId> {
    const LINES: usize = 7;
    let mut import = FastImport::new();
    let mut history: Vec<Mark> = Vec::new();
    for number in 0..commits {
        let own = number.checked_sub(LINES);
        let other = number.checked_sub(LINES + 3).filter(|_| number % 50 == 0);
        let parents: Vec<_> = own.into_iter().chain(other).map(|at| history[at]).collect();
        let branch = format!("line-{}", number % LINES);
        // Dates that are no order at all, here and there.
        let date = 1_600_000_000 + (number / 20 * 20) as i64 - (number % 20) as i64;
        let message = format!("Commit {number}\n");
        history.push(import.commit(&branch, &parents, &message, &[], date));
    }
    let imported = repo.import(&import);
    let id = |mark: &Mark| ObjectId::from_hex(imported.id(*mark).as_bytes()).expect("an id");
    history.iter().map(id).collect()
}

#[test]
fn fast_forwards_in_long_history_are_those_that_git_finds() {
    let sandbox = Sandbox::new();
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let repo = sandbox.init_bare(&format!("{format:?}.git"), format);
        let history = woven(&repo, 3000);
        let ends: Vec<_> = history.iter().rev().step_by(230).copied().collect();
        let behind = |end: &ObjectId| -> HashSet<String> {
            let listed = repo.git(&["rev-list", &end.to_string()]);
            listed.lines().map(str::to_owned).collect()
        };
        let behind: Vec<_> = ends.iter().map(behind).collect();
        let pairs: Vec<_> = ends
            .iter()
            .flat_map(|old| ends.iter().map(|new| (*old, *new)))
            .collect();
        let reaches = |from: &ObjectId, to: &ObjectId| {
            let at = ends.iter().position(|end| end == from).expect("an end");
            behind[at].contains(&to.to_string())
        };
        let expected = pairs.iter().map(|(old, new)| match () {
            () if old == new => Relation::Same,
            () if reaches(new, old) => Relation::FastForward,
            () if reaches(old, new) => Relation::Behind,
            () => Relation::Diverged,
        });
        let expected: Vec<_> = expected.collect();
        for relation in [Relation::FastForward, Relation::Diverged] {
            assert!(expected.contains(&relation), "{relation:?}");
        }

        let store = LocalStore::open(&repo.path).expect("a repository");
        let context = SyncContext::new(&SyncOptions::default());
        let mut objects = store.objects(&context).expect("readable").expect("objects");
        let found = objects.relate(&pairs, &|| false);
        assert_eq!(found.expect("not cancelled"), expected);
    }
}
