//! Commits as git parses them.

use gix::ObjectId;

use super::header_line::id_line;

/// The tree of a commit; appends the commit's parents to `parents`, which is empty at the call.
///
/// `None` if git can't read the commit (`commit.c:parse_commit_buffer()`). gix' parser silently stops at a
/// malformed parent line, and the parents behind that line would stay unverified.
pub(crate) fn tree_and_parents(
    commit: &[u8],
    format: gix::hash::Kind,
    parents: &mut Vec<ObjectId>,
) -> Option<ObjectId> {
    let (tree, mut rest) = id_line("tree ", commit, format)?;
    // Git takes a line that is too short for a parent line for the end of the parents.
    while rest.starts_with(PARENT) && rest.len() > PARENT.len() + format.len_in_hex() {
        let (parent, after) = id_line("parent ", rest, format)?;
        parents.push(parent);
        rest = after;
    }
    Some(tree)
}

const PARENT: &[u8] = b"parent ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_with_a_parent_that_git_cannot_read_is_unreadable() {
        let (tree, one, two) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let rest = "author A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nparent of all\n";
        let table = [
            (String::new(), Some(0)),
            (format!("parent {one}\n"), Some(1)),
            (format!("parent {one}\nparent {two}\n"), Some(2)),
            (format!("parent {one}\nparent zz\n"), None),
            (format!("parent zz\nparent {one}\n"), None),
            (format!("parent {one}0\n"), None),
            (format!("parent {}\n", &one[1..]), None),
            ("parent \n".to_owned(), None),
        ];
        for (named, expected) in table {
            let commit = format!("tree {tree}\n{named}{rest}");
            let mut parents = Vec::new();
            let found = tree_and_parents(commit.as_bytes(), gix::hash::Kind::Sha1, &mut parents);
            assert_eq!(found.map(|_| parents.len()), expected, "{named:?}");
        }
    }

    /// The verdicts of `git cat-file` and `git rev-list`, see `tests/encodings`.
    #[test]
    fn a_commit_that_ends_too_soon_for_git() {
        let (tree, parent) = ("a".repeat(40), "b".repeat(40));
        let table = [
            (format!("tree {tree}"), None),
            (format!("tree {tree}\n"), None),
            (format!("tree {tree}\n\n"), Some(0)),
            (format!("tree {tree} \n"), None),
            (format!("tree {tree}\nparent {parent}"), Some(0)),
            (format!("tree {tree}\nparent {parent}\n"), None),
            (format!("tree {tree}\nparent {parent}\n\n"), Some(1)),
            (format!("tree {tree}\nparent {}\n", &parent[1..]), Some(0)),
            (
                format!("tree {tree}\nparent {parent}\nparent {parent}\n"),
                None,
            ),
            (format!("tree {}\n\n", tree.to_uppercase()), Some(0)),
        ];
        for (commit, expected) in table {
            let mut parents = Vec::new();
            let found = tree_and_parents(commit.as_bytes(), gix::hash::Kind::Sha1, &mut parents);
            assert_eq!(found.map(|_| parents.len()), expected, "{commit:?}");
        }
    }
}
