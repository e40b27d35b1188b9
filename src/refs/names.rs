//! Full ref names: their namespace, and git's rules for valid names (git-check-ref-format(1)).

use std::borrow::Cow;

use bstr::{BStr, ByteSlice};

/// The two namespaces that are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `refs/heads/`
    Branch,
    /// `refs/tags/`
    Tag,
}

impl Namespace {
    /// Both of them, in the order of their prefixes.
    pub const ALL: [Namespace; 2] = [Namespace::Branch, Namespace::Tag];

    /// The prefix of every full name in this namespace.
    pub fn prefix(self) -> &'static str {
        match self {
            Namespace::Branch => "refs/heads/",
            Namespace::Tag => "refs/tags/",
        }
    }

    /// Splits a full ref name into its namespace and its short name; `None` for a name outside of both.
    pub fn split(full_name: &BStr) -> Option<(Namespace, &BStr)> {
        // Written out, so that each prefix is a constant: this is called for every ref.
        let within = |namespace: Namespace| {
            let short = full_name.strip_prefix(namespace.prefix().as_bytes());
            short.map(|short| (namespace, short.as_bstr()))
        };
        within(Namespace::Branch).or_else(|| within(Namespace::Tag))
    }
}

/// A form of a name that is equal for two names of the same ref. Folds the case if `folds_case`.
pub(crate) fn fold(name: &[u8], folds_case: bool) -> Cow<'_, [u8]> {
    if folds_case {
        Cow::Owned(name.to_str_lossy().to_lowercase().into_bytes())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether git would accept this full name (`git check-ref-format`).
pub(crate) fn is_valid_name(full_name: &BStr) -> bool {
    is_plain_name(full_name) || gix::validate::reference::name(full_name).is_ok()
}

/// Whether this is the full name of a branch that git would accept.
pub(crate) fn is_branch(full_name: &BStr) -> bool {
    let namespace = Namespace::split(full_name).map(|(namespace, _)| namespace);
    namespace == Some(Namespace::Branch) && is_valid_name(full_name)
}

/// A quick test that accepts most valid names and no invalid one: below `refs/`, with letters, digits, `-`, `_`,
/// single dots and single slashes.
fn is_plain_name(full_name: &[u8]) -> bool {
    let mut last = b'/';
    let mut is_harmless = |byte: &u8| {
        let before = std::mem::replace(&mut last, *byte);
        PLAIN[usize::from(*byte)]
            || match byte {
                b'/' | b'.' => !matches!(before, b'/' | b'.'),
                // `.l` may begin `.lock`.
                b'l' => before != b'.',
                _ => false,
            }
    };
    full_name.starts_with(b"refs/")
        && full_name.iter().all(&mut is_harmless)
        && !matches!(last, b'/' | b'.')
}

/// The bytes that are valid at any place of a name.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        let at = byte as u8;
        plain[byte] = matches!(at, b'-' | b'_') || at.is_ascii_alphanumeric() && at != b'l';
        byte += 1;
    }
    plain
};

/// The directories that a name needs below its namespace, outermost first, and the name itself.
pub(crate) fn paths_of(name: &BStr) -> impl Iterator<Item = &[u8]> {
    let bytes: &[u8] = name;
    let below = Namespace::split(name).map_or(0, |(namespace, _)| namespace.prefix().len());
    let directories = name
        .iter()
        .enumerate()
        .skip(below)
        .filter(|(_, byte)| **byte == b'/');
    directories
        .map(move |(at, _)| &bytes[..at])
        .chain(std::iter::once(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_git_check_ref_format_does() {
        for good in [
            "refs/heads/main",
            "refs/heads/a/b",
            "refs/tags/v1.0",
            "refs/heads/ümlaut",
            "refs/heads/-x",
        ] {
            assert!(is_valid_name(good.into()), "{good}");
        }
        for bad in [
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/a.lock",
            "refs/heads/a.lock/b",
            "refs/heads/.a",
            "refs/heads/a b",
            "refs/heads/a~1",
            "refs/heads/a^",
            "refs/heads/a:b",
            "refs/heads/a?",
            "refs/heads/a*",
            "refs/heads/[a",
            "refs/heads/a\\b",
            "refs/heads/a//b",
            "refs/heads/a/",
            "refs/heads/a.",
            "refs/heads/@{",
            "refs/heads/a\x7f",
            "refs/heads/a\x01",
            "refs/heads/../../config",
        ] {
            assert!(!is_valid_name(bad.into()), "{bad:?}");
        }
    }

    #[test]
    fn what_is_judged_at_a_glance_is_judged_alike() {
        let mut names = vec!["refs/heads/".to_owned()];
        for _ in 0..6 {
            let longer = names.iter().flat_map(|name| {
                let letters = ["/", ".", "l", "ock", "~"];
                letters.map(|letter| format!("{name}{letter}"))
            });
            let longer = longer.collect::<Vec<_>>();
            names.extend(longer);
            names.sort();
            names.dedup();
        }
        let plain = names.iter().filter(|name| is_plain_name(name.as_bytes()));
        for name in plain.clone() {
            let judged = gix::validate::reference::name(name.as_str().into());
            assert!(judged.is_ok(), "{name}");
        }
        assert!(plain.count() > 100);
        for (name, expected) in [
            ("refs/heads/a.b/c-1_Z", true),
            ("refs/heads/a.l", false),
            ("HEAD", false),
        ] {
            assert_eq!(is_plain_name(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn only_branches_and_tags_have_a_namespace() {
        assert_eq!(
            Namespace::split("refs/heads/a/b".into()),
            Some((Namespace::Branch, "a/b".into()))
        );
        assert_eq!(
            Namespace::split("refs/tags/v1".into()),
            Some((Namespace::Tag, "v1".into()))
        );
        for other in [
            "HEAD",
            "refs/notes/x",
            "refs/heads",
            "refs/pull/1/head",
            "heads/main",
        ] {
            assert_eq!(Namespace::split(other.into()), None, "{other}");
        }
    }
}
