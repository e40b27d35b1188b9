//! The meaning of single lines of a report.

use super::*;
use Verdict::*;

const RENAMED: &str = "option refname refs/heads/b";

/// Asserts the verdict on `refs/heads/a`, from [`ONE`] to [`TWO`], by each report of these lines.
fn assert_verdicts(table: &[(Vec<&str>, Verdict)]) {
    let updates = [update("refs/heads/a", Some(ONE), TWO)];
    for (said, verdict) in table {
        let report = read(lines(said).as_bytes(), &plain(), &updates);
        assert_eq!(report.verdicts, std::slice::from_ref(verdict), "{said:?}");
    }
}

#[test]
fn each_ref_has_a_line_of_its_own() {
    assert_verdicts(&[
        (vec!["unpack ok", "ok refs/heads/a"], Done),
        (
            vec!["unpack ok", "ng refs/heads/a no, never"],
            refused("no, never"),
        ),
        (vec!["unpack ok", "ng refs/heads/a"], refused("")),
        (
            vec!["unpack ok", "ng refs/heads/a \x1b[2Jgone"],
            refused(" [2Jgone"),
        ),
        (vec!["unpack ok"], Silent),
        (vec![], Silent),
        // Another ref, or a name that only begins with it.
        (vec!["unpack ok", "ok refs/heads/b"], Silent),
        (vec!["unpack ok", "ok refs/heads/ab"], Silent),
        (
            vec!["unpack ok", "ok refs/heads/b", "ok refs/heads/a"],
            Done,
        ),
        // Twice, whatever it says.
        (
            vec!["unpack ok", "ok refs/heads/a", "ok refs/heads/a"],
            Doubled,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", "ng refs/heads/a no"],
            Doubled,
        ),
        (
            vec!["unpack ok", "ng refs/heads/a no", "ok refs/heads/a"],
            Doubled,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", RENAMED, "ok refs/heads/a"],
            Doubled,
        ),
    ]);
}

#[test]
fn options_say_which_update_was_made() {
    let new_is_one = format!("option new-oid {ONE}");
    let new_is_two = format!("option new-oid {TWO}");
    let old_is_one = format!("option old-oid {ONE}");
    let old_is_two = format!("option old-oid {TWO}");
    assert_verdicts(&[
        (vec!["unpack ok", "ok refs/heads/a", RENAMED], Rewritten),
        (
            vec![
                "unpack ok",
                "ok refs/heads/a",
                "option refname refs/heads/a",
            ],
            Done,
        ),
        (vec!["unpack ok", "ok refs/heads/a", &new_is_two], Done),
        (vec!["unpack ok", "ok refs/heads/a", &new_is_one], Rewritten),
        (
            vec!["unpack ok", "ok refs/heads/a", "option new-oid x"],
            Rewritten,
        ),
        (vec!["unpack ok", "ok refs/heads/a", &old_is_one], Done),
        (vec!["unpack ok", "ok refs/heads/a", &old_is_two], Rewritten),
        (
            vec!["unpack ok", "ok refs/heads/a", "option old-oid x"],
            Rewritten,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", "option forced-update"],
            Done,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", "option shiny new"],
            Done,
        ),
        (
            vec!["unpack ok", "ok refs/heads/b", RENAMED, "ok refs/heads/a"],
            Done,
        ),
        (
            vec!["unpack ok", "ng refs/heads/a no", RENAMED],
            refused("no"),
        ),
    ]);
}

#[test]
fn nonsense_and_lines_behind_it_say_nothing() {
    assert_verdicts(&[
        // Without its objects no ref can have moved.
        (vec!["unpack no space", "ok refs/heads/a"], Silent),
        (vec!["unpack no space", "ng refs/heads/a no"], refused("no")),
        // Nonsense, and what is behind it.
        (vec!["ok refs/heads/a", "unpack ok"], Silent),
        (vec!["unpack ok", "hello", "ok refs/heads/a"], Silent),
        (vec!["unpack ok", "hello you", "ok refs/heads/a"], Silent),
        (vec!["unpack ok", "unpack ok", "ok refs/heads/a"], Silent),
        (vec!["unpack ok", "okrefs/heads/a"], Silent),
    ]);
}
