//! Branches that a worktree of the remote has checked out: its settings decide.

use crate::support::git::ObjectFormat;
use crate::support::pull::{copy, grow, moved, rejected};
use crate::support::push::{PUSHED, Pair};
use refsync::Reason;

const MAIN: &str = "refs/heads/main";

/// A remote with a worktree, `main` checked out in it, and a new commit on it at the source.
fn with_worktree(deny: Option<&str>) -> (Pair, String) {
    let pair = Pair::with_remote(|sandbox, source| {
        let remote = sandbox.init_worktree("remote", ObjectFormat::Sha1);
        copy(source, &remote);
        remote.git(&["reset", "--quiet", "--hard"]);
        remote
    });
    if let Some(deny) = deny {
        pair.set("receive.denyCurrentBranch", deny);
    }
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    (pair, ahead)
}

#[test]
fn the_branch_of_a_worktree_is_refused() {
    for deny in [None, Some("refuse")] {
        let (pair, ahead) = with_worktree(deny);
        let pushed = pair.push();
        let text = "branch is currently checked out".to_owned();
        assert_eq!(
            pushed.fate_of(MAIN),
            rejected(&*pair.tip, &ahead, Reason::Remote { text })
        );
        assert_eq!(pushed.asked, PUSHED);
        assert_eq!(pair.remote.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn the_branch_of_a_worktree_moves_where_that_is_allowed() {
    let (pair, ahead) = with_worktree(Some("ignore"));
    assert_eq!(pair.push().fate_of(MAIN), moved(&pair.tip, &ahead));

    let (pair, ahead) = with_worktree(Some("updateInstead"));
    assert_eq!(pair.push().fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pair.remote.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_worktree_with_changes_is_not_updated_instead() {
    let (pair, ahead) = with_worktree(Some("updateInstead"));
    std::fs::write(pair.remote.path.join("file"), "changed\n").unwrap();
    let pushed = pair.push();
    let text = "Working directory has unstaged changes".to_owned();
    assert_eq!(
        pushed.fate_of(MAIN),
        rejected(&*pair.tip, &ahead, Reason::Remote { text })
    );
}

#[test]
fn the_head_of_a_bare_remote_is_not_checked_out() {
    let pair = Pair::in_step();
    assert_eq!(pair.remote.git(&["symbolic-ref", "HEAD"]), MAIN);
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    assert_eq!(pair.push().fate_of(MAIN), moved(&pair.tip, &ahead));
}
