//! The names that some file system takes for `.git`, `.gitmodules` and the like.
//!
//! This follows git's `utf8.c` (HFS+ drops some code points and folds case) and `path.c` (NTFS folds
//! case, drops dots and spaces at the end, has streams behind a colon and short names). What
//! `gix-validate` knows of this it only applies to symbolic links, and to names that are UTF-8.

/// A name that git gives a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DotName {
    /// The name without its dot, lowercase.
    name: &'static [u8],
    /// The start of the short name that NTFS falls back to, which holds a hash.
    short: [u8; 6],
}

pub(super) const GITMODULES: DotName = DotName::new(b"gitmodules", *b"gi7eba");
pub(super) const GITATTRIBUTES: DotName = DotName::new(b"gitattributes", *b"gi7d29");
pub(super) const GITIGNORE: DotName = DotName::new(b"gitignore", *b"gi250a");
pub(super) const MAILMAP: DotName = DotName::new(b"mailmap", *b"maba30");

/// Whether checking the name out could write into a repository.
pub(super) fn is_dot_git(name: &[u8]) -> bool {
    is_hfs(name, b"git") || is_ntfs_dot_git(name)
}

impl DotName {
    const fn new(name: &'static [u8], short: [u8; 6]) -> Self {
        DotName { name, short }
    }

    pub(super) fn matches(self, name: &[u8]) -> bool {
        is_hfs(name, self.name) || self.matches_on_ntfs(name)
    }

    pub(super) fn matches_on_ntfs(self, name: &[u8]) -> bool {
        let without_dot = name.strip_prefix(b".");
        if let Some(rest) = without_dot.and_then(|rest| strip_prefix_folded(rest, self.name)) {
            return is_dropped_by_ntfs(rest);
        }
        if let Some([b'~', b'1'..=b'4', rest @ ..]) = strip_prefix_folded(name, &self.name[..6]) {
            return is_dropped_by_ntfs(rest);
        }
        self.fallback_short_name(name)
            .is_some_and(is_dropped_by_ntfs)
    }

    /// Eight characters: some of the hash, a tilde and a number.
    fn fallback_short_name(self, name: &[u8]) -> Option<&[u8]> {
        let (short, rest) = name.split_at_checked(8)?;
        let tilde = short.iter().position(|byte| *byte == b'~')?;
        let (start, number) = (short.get(..tilde)?, short.get(tilde + 1..)?);
        let start_matches = self.short.get(..tilde)?.eq_ignore_ascii_case(start);
        let number_matches =
            matches!(number, [b'1'..=b'9', digits @ ..] if digits.iter().all(u8::is_ascii_digit));
        (start_matches && number_matches).then_some(rest)
    }
}

/// `is_ntfs_dotgit()`, where the backslash separates.
pub(super) fn is_ntfs_dot_git(name: &[u8]) -> bool {
    let rest = strip_prefix_folded(name, b".git").or_else(|| strip_prefix_folded(name, b"git~1"));
    let Some(rest) = rest else {
        return false;
    };
    let end = rest.iter().find(|byte| !matches!(byte, b'.' | b' '));
    matches!(end, None | Some(b'/' | b'\\' | b':'))
}

/// Whether NTFS drops these bytes behind a name.
fn is_dropped_by_ntfs(rest: &[u8]) -> bool {
    let end = rest.iter().find(|byte| !matches!(byte, b'.' | b' '));
    matches!(end, None | Some(b':'))
}

fn strip_prefix_folded<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// `is_hfs_dot_generic()`: a dot and `needle` as HFS+ sees it, up to a slash.
fn is_hfs(name: &[u8], needle: &[u8]) -> bool {
    let mut seen = HfsChars(name);
    if seen.next() != Some('.') {
        return false;
    }
    for wanted in needle {
        match seen.next() {
            Some(c) if c.to_ascii_lowercase() == char::from(*wanted) => {}
            _ => return false,
        }
    }
    matches!(seen.next(), None | Some('/'))
}

/// The code points of a name that HFS+ doesn't ignore, up to the first malformed one.
struct HfsChars<'a>(&'a [u8]);

impl Iterator for HfsChars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            let (c, size) = bstr::decode_utf8(self.0);
            // Git takes these two for malformed.
            let c = c.filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))?;
            self.0 = &self.0[size..];
            if !is_ignored_by_hfs(c) {
                return Some(c);
            }
        }
    }
}

fn is_ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}
