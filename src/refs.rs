//! Refs as an end lists them, and what git allows a ref to be called.

use std::borrow::Cow;

use bstr::{BStr, BString, ByteSlice};

use crate::{Error, ErrorKind, ObjectId, ref_table::RefTable};

/// The hash that a repository makes its object ids with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectFormat {
    /// SHA-1, with collision detection.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ObjectFormat {
    pub(crate) fn from_hash_kind(kind: gix::hash::Kind) -> Result<Self, Error> {
        match kind {
            gix::hash::Kind::Sha1 => Ok(ObjectFormat::Sha1),
            gix::hash::Kind::Sha256 => Ok(ObjectFormat::Sha256),
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!("object format {other} is not supported"),
            )),
        }
    }

    pub(crate) fn hash_kind(self) -> gix::hash::Kind {
        match self {
            ObjectFormat::Sha1 => gix::hash::Kind::Sha1,
            ObjectFormat::Sha256 => gix::hash::Kind::Sha256,
        }
    }
}

/// Git's name for it, as in `extensions.objectFormat`.
impl std::fmt::Display for ObjectFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ObjectFormat::Sha1 => "sha1",
            ObjectFormat::Sha256 => "sha256",
        })
    }
}

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

    /// What every full name in this namespace starts with.
    pub fn prefix(self) -> &'static str {
        match self {
            Namespace::Branch => "refs/heads/",
            Namespace::Tag => "refs/tags/",
        }
    }

    /// Splits a full ref name into its namespace and its short name; `None` outside of both.
    pub fn split(full_name: &BStr) -> Option<(Namespace, &BStr)> {
        // One by one, so that each prefix is known when this is compiled: it is asked of every ref.
        let within = |namespace: Namespace| {
            let short = full_name.strip_prefix(namespace.prefix().as_bytes());
            short.map(|short| (namespace, short.as_bstr()))
        };
        within(Namespace::Branch).or_else(|| within(Namespace::Tag))
    }
}

/// One ref as an end lists it: an *advertised ref*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvertisedRef<'a> {
    /// The full name, such as `refs/heads/main`. It comes from the other side and may be anything.
    pub name: &'a BStr,
    /// The tip: what the ref points to. The null id if the ref exists but leads nowhere: it is
    /// damaged, or a symbolic ref to one that isn't born yet.
    pub target: ObjectId,
    /// Whether the tip is an annotated tag, with another object behind it, as far as the end says.
    pub annotated: bool,
    /// Whether this is a symbolic ref, as far as the end says.
    pub symbolic: bool,
}

/// What an end lists, and the rules it has for its refs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RefList {
    /// The hash that the end's object ids are made with.
    pub object_format: ObjectFormat,
    /// Sorted by name, no name twice.
    pub(crate) refs: RefTable,
    /// What the end says to have beside that, with everything behind it (`.have` lines, refs of
    /// other namespaces).
    pub haves: Vec<ObjectId>,
    /// Commits that the end has without their parents, as far as it says.
    pub shallow: Vec<ObjectId>,
    /// The branch (its full name) that HEAD names, born or not, as far as the end says: its default
    /// branch.
    pub default_branch: Option<BString>,
    /// Branches (full names) that a worktree of this end has checked out. They don't move.
    pub checked_out: Vec<BString>,
    /// Whether names that differ in case only can't exist side by side (`core.ignoreCase`).
    pub folds_case: bool,
    /// The longest path component that a name may have here, in bytes.
    pub longest_component: usize,
    /// The longest name that a ref may have here, in bytes.
    pub longest_name: usize,
}

impl RefList {
    /// A list of `refs` in any order, from an end without rules of its own.
    ///
    /// Where a name occurs twice the first one counts.
    pub fn new<'a>(
        object_format: ObjectFormat,
        refs: impl IntoIterator<Item = AdvertisedRef<'a>>,
    ) -> Self {
        RefList::of(object_format, refs.into_iter().collect())
    }

    pub(crate) fn of(object_format: ObjectFormat, mut refs: RefTable) -> Self {
        refs.sort();
        RefList {
            object_format,
            refs,
            haves: Vec::new(),
            shallow: Vec::new(),
            default_branch: None,
            checked_out: Vec::new(),
            folds_case: false,
            longest_component: usize::MAX,
            longest_name: usize::MAX,
        }
    }

    /// What two names have in common that are one and the same here.
    pub(crate) fn fold<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        fold(name, self.folds_case)
    }

    /// The refs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AdvertisedRef<'_>> + Clone {
        self.refs.iter()
    }

    /// How many refs there are.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether there are no refs.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The ref of that full name.
    pub fn find(&self, name: &BStr) -> Option<AdvertisedRef<'_>> {
        self.refs.find(name)
    }
}

/// What two names have in common that are one and the same where case is folded.
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

/// A name as most are: below `refs/`, of letters, digits, `-`, `_`, and of dots and slashes where
/// they can do no harm.
fn is_plain_name(full_name: &[u8]) -> bool {
    let mut last = b'/';
    let mut is_harmless = |byte: &u8| {
        let before = std::mem::replace(&mut last, *byte);
        PLAIN[usize::from(*byte)]
            || match byte {
                b'/' | b'.' => !matches!(before, b'/' | b'.'),
                // It may be `.lock`.
                b'l' => before != b'.',
                _ => false,
            }
    };
    full_name.starts_with(b"refs/")
        && full_name.iter().all(&mut is_harmless)
        && !matches!(last, b'/' | b'.')
}

/// The bytes that do no harm anywhere.
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

/// The id that these digits stand for, if there are as many of them as the format has.
pub(crate) fn object_id(hex: &[u8], format: ObjectFormat) -> Option<ObjectId> {
    match format {
        ObjectFormat::Sha1 => Some(ObjectId::Sha1(bytes_of::<40, 20>(hex.try_into().ok()?)?)),
        ObjectFormat::Sha256 => Some(ObjectId::Sha256(bytes_of::<64, 32>(hex.try_into().ok()?)?)),
    }
}

/// All digits in the same way, whatever they are, so that many are taken at a time.
fn bytes_of<const DIGITS: usize, const BYTES: usize>(hex: &[u8; DIGITS]) -> Option<[u8; BYTES]> {
    let mut values = [0; DIGITS];
    let mut all = true;
    for (value, digit) in values.iter_mut().zip(hex) {
        let number = digit.wrapping_sub(b'0');
        let letter = (digit | 0x20).wrapping_sub(b'a');
        all &= (number < 10) | (letter < 6);
        *value = if number < 10 {
            number
        } else {
            letter.wrapping_add(10)
        };
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(values.as_chunks().0) {
        *byte = high << 4 | low;
    }
    all.then_some(bytes)
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
    fn ids_are_of_as_many_digits_as_the_format_has() {
        for byte in 0..=u8::MAX {
            for (format, digits) in [(ObjectFormat::Sha1, 40), (ObjectFormat::Sha256, 64)] {
                for at in [0, 1, 17, digits - 1] {
                    let mut hex = b"0123456789abcdefABCDEF".repeat(3)[..digits].to_vec();
                    hex[at] = byte;
                    let expected = ObjectId::from_hex(&hex.to_ascii_lowercase()).ok();
                    assert_eq!(object_id(&hex, format), expected, "{}", hex.as_bstr());
                    let others = [&hex[..digits - 1], &hex[..digits - 2], b""];
                    assert!(others.iter().all(|hex| object_id(hex, format).is_none()));
                    hex.push(b'0');
                    assert_eq!(object_id(&hex, format), None);
                }
            }
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
