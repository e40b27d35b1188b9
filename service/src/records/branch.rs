//! Names of branches.

/// Whether git takes `name` as the name of a branch: the rules of `git check-ref-format --branch`, at most 200 bytes.
pub fn is_branch_name(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_allowed = |c: char| !c.is_ascii_control() && !" ~^:?*[\\".contains(c);
    name.len() <= 200
        && name.split('/').all(is_part)
        && name.chars().all(is_allowed)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name != "HEAD"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_takes() {
        for (name, is_good) in [
            ("main", true),
            ("feature/a.b", true),
            ("ä", true),
            ("a@b", true),
            ("@a", true),
            ("@", true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("a\u{7f}", false),
            ("-a", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            (".a", false),
            ("a/.b", false),
            ("a.lock", false),
            ("a.lock/b", false),
            ("a.", false),
            ("a..b", false),
            ("a~1", false),
            ("a^", false),
            ("a:b", false),
            ("a?", false),
            ("a*", false),
            ("a[b", false),
            ("a\\b", false),
            ("a@{b", false),
            ("HEAD", false),
        ] {
            assert_eq!(is_branch_name(name), is_good, "{name:?}");
        }
        assert!(!is_branch_name(&"a".repeat(201)));
    }
}
