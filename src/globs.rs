//! [`RefGlobs`]: the globs that select branches and tags.

use bstr::{BStr, BString, ByteSlice};
use globset::{Candidate, GlobBuilder, GlobMatcher};

use crate::{
    Error, ErrorKind,
    refs::{Namespace, paths_of},
};

/// A glob for branch names and one for tag names.
///
/// Globs match the short name (`main`, not `refs/heads/main`), byte by byte and case-sensitively:
///
/// | pattern | matches |
/// |---|---|
/// | `*` | any run of bytes, `/` included: `release/*` takes `release/1/2`, `*` takes everything |
/// | `?` | any one byte |
/// | `[a-z]`, `[!a-z]` | one byte of a class, or one that isn't |
/// | `{main,release/*}` | any of the alternatives |
/// | `\*` | a literal `*`; the backslash escapes on every platform |
///
/// ```
/// let globs = refsync::RefGlobs::new(Some("{main,release/*}"), Some("v1.*"))?;
/// assert!(globs.matches("refs/heads/release/1/2".into()));
/// assert!(!globs.matches("refs/tags/v2.0".into()));
/// # Ok::<_, refsync::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RefGlobs {
    branches: Option<RefGlob>,
    tags: Option<RefGlob>,
}

#[derive(Debug, Clone)]
struct RefGlob {
    literal_heads: Vec<BString>,
    /// `None` where the literal head decides alone, as in `*` and `release/*`: those are the globs of most runs, which
    /// need not compile a matcher.
    matcher: Option<GlobMatcher>,
}

impl Default for RefGlobs {
    /// All branches and all tags.
    fn default() -> Self {
        RefGlobs::new(Some("*"), Some("*")).expect("a lone star is a glob")
    }
}

impl RefGlobs {
    /// Makes the globs for branches and tags. A namespace with `None` or an empty glob matches nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidGlob`] if both are `None` or empty, if a glob cannot be parsed, or if one starts with
    /// `refs/`.
    pub fn new(branches: Option<&str>, tags: Option<&str>) -> Result<Self, Error> {
        let globs = RefGlobs {
            branches: RefGlob::parse(branches, Namespace::Branch)?,
            tags: RefGlob::parse(tags, Namespace::Tag)?,
        };
        if globs.branches.is_none() && globs.tags.is_none() {
            let text = "ref globs need at least one of branches and tags";
            return Err(Error::new(ErrorKind::InvalidGlob, text));
        }
        Ok(globs)
    }

    /// Whether the globs select the ref `full_name`. False for names outside of `refs/heads/` and `refs/tags/`.
    pub fn matches(&self, full_name: &BStr) -> bool {
        Namespace::split(full_name).is_some_and(|(namespace, short)| {
            let glob = self.of(namespace);
            glob.is_some_and(|glob| glob.matches(short))
        })
    }

    /// The literal heads of the globs as prefixes of full names, for a listing: every selected ref starts
    /// with one of them.
    pub fn prefixes(&self) -> Vec<BString> {
        let prefixes = Namespace::ALL.into_iter().flat_map(|namespace| {
            let heads = self.of(namespace).map(|glob| &glob.literal_heads);
            let prefix = namespace.prefix().as_bytes();
            let heads = heads.into_iter().flatten();
            heads.map(move |head| [prefix, head].concat().into())
        });
        without_covered(prefixes.collect())
    }

    /// The [`prefixes`](Self::prefixes) and each of their parent directories, which a destination has to list
    /// so that name conflicts show: `refs/heads/release` conflicts with `refs/heads/release/1`.
    pub(crate) fn prefixes_with_parents(&self) -> Vec<BString> {
        let prefixes = self.prefixes();
        let paths = prefixes
            .iter()
            .flat_map(|prefix| paths_of(prefix.as_bstr()));
        without_covered(paths.map(BString::from).collect())
    }

    fn of(&self, namespace: Namespace) -> Option<&RefGlob> {
        match namespace {
            Namespace::Branch => self.branches.as_ref(),
            Namespace::Tag => self.tags.as_ref(),
        }
    }
}

impl RefGlob {
    fn parse(glob: Option<&str>, namespace: Namespace) -> Result<Option<Self>, Error> {
        let Some(glob) = glob.filter(|glob| !glob.is_empty()) else {
            return Ok(None);
        };
        if glob.starts_with("refs/") {
            let text = format!(
                "glob {glob:?} must be a short name: leave {:?} out",
                namespace.prefix()
            );
            return Err(Error::new(ErrorKind::InvalidGlob, text));
        }
        let parsed = GlobBuilder::new(glob)
            .literal_separator(false)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map_err(|err| {
                Error::new(
                    ErrorKind::InvalidGlob,
                    format!("glob {glob:?}: {}", err.kind()),
                )
            })?;
        let is_prefix = literal_head(glob.as_bytes()).1 == b"*";
        Ok(Some(RefGlob {
            literal_heads: literal_heads(glob.as_bytes()),
            matcher: (!is_prefix).then(|| parsed.compile_matcher()),
        }))
    }

    fn matches(&self, short_name: &BStr) -> bool {
        let mut heads = self.literal_heads.iter();
        let matches =
            |matcher: &GlobMatcher| matcher.is_match_candidate(&Candidate::from_bytes(short_name));
        heads.any(|head| head.is_empty() || short_name.starts_with(head))
            && self.matcher.as_ref().is_none_or(matches)
    }
}

/// The literal bytes before the first wildcard; one head for each alternative of a first `{}`.
fn literal_heads(glob: &[u8]) -> Vec<BString> {
    let (head, rest) = literal_head(glob);
    let Some(inner) = rest
        .strip_prefix(b"{")
        .and_then(|rest| Some(&rest[..rest.find_byte(b'}')?]))
    else {
        return vec![head];
    };
    if inner.contains(&b'{') || inner.contains(&b'\\') || inner.contains(&b'[') {
        return vec![head];
    }
    let with_head = |alternative: &[u8]| {
        [head.as_slice(), &literal_head(alternative).0]
            .concat()
            .into()
    };
    inner.split_str(",").map(with_head).collect()
}

fn literal_head(glob: &[u8]) -> (BString, &[u8]) {
    let mut head = BString::default();
    let mut rest = glob;
    loop {
        match rest {
            [b'\\', escaped, tail @ ..] => {
                head.push(*escaped);
                rest = tail;
            }
            [] | [b'*' | b'?' | b'[' | b'{' | b'\\', ..] => return (head, rest),
            [literal, tail @ ..] => {
                head.push(*literal);
                rest = tail;
            }
        }
    }
}

/// The prefixes sorted, without those that start with another one.
fn without_covered(mut prefixes: Vec<BString>) -> Vec<BString> {
    prefixes.sort();
    prefixes.dedup_by(|longer, shorter| longer.starts_with(shorter));
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branches(glob: &str) -> RefGlobs {
        RefGlobs::new(Some(glob), None).expect("a valid glob")
    }

    #[test]
    fn globs_match_short_names() {
        let table: &[(&str, &str, bool)] = &[
            ("main", "main", true),
            ("main", "Main", false),
            ("main", "main2", false),
            ("*", "a/b/c", true),
            ("*", ".hidden", true),
            ("release/*", "release/1/2", true),
            ("release/*", "release/", true),
            ("release/*", "release", false),
            ("v?", "v1", true),
            ("v?", "v12", false),
            ("v[0-9]", "v7", true),
            ("v[!0-9]", "v7", false),
            ("{main,release/*}", "main", true),
            ("{main,release/*}", "release/x/y", true),
            ("{main,release/*}", "dev", false),
            ("v{,1}", "v", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\**", "a*b", true),
            (r"a\**", "ab", false),
            ("a*b*", "ab", true),
            ("a*b*", "a", false),
            (r"a\{b", "a{b", true),
            ("**/x", "a/b/x", true),
            ("a?b", "a\u{106}b", false),
            ("a[!a-z]?b", "a\u{106}b", true),
        ];
        for (glob, short, expected) in table {
            let name = BString::from(format!("refs/heads/{short}"));
            assert_eq!(
                branches(glob).matches(name.as_bstr()),
                *expected,
                "{glob} on {short}"
            );
        }
    }

    #[test]
    fn names_need_not_be_text() {
        assert!(branches("*").matches(b"refs/heads/\xff\xfe".as_bstr()));
        assert!(branches("a?b").matches(b"refs/heads/a\xffb".as_bstr()));
    }

    #[test]
    fn an_omitted_or_empty_namespace_matches_nothing() {
        for tags in [None, Some("")] {
            let globs = RefGlobs::new(Some("*"), tags).expect("branches are given");
            assert!(globs.matches("refs/heads/main".into()));
            assert!(!globs.matches("refs/tags/v1".into()));
            assert!(!globs.matches("refs/notes/commits".into()));
        }
        for nothing in [None, Some("")] {
            let err = RefGlobs::new(nothing, nothing).expect_err("nothing would ever match");
            assert_eq!(err.kind(), ErrorKind::InvalidGlob);
        }
    }

    #[test]
    fn a_bad_glob_is_named_in_the_error() {
        for bad in ["a[", "{a", "a}", "[z-a]", "refs/heads/main", r"a\"] {
            let err = RefGlobs::new(Some("*"), Some(bad)).expect_err(bad);
            assert_eq!(err.kind(), ErrorKind::InvalidGlob, "{bad}");
            assert!(err.to_string().contains(&format!("{bad:?}")), "{err}");
        }
        let err = RefGlobs::new(Some("refs/heads/main"), None).expect_err("a full name");
        assert!(
            err.to_string().contains("leave \"refs/heads/\" out"),
            "{err}"
        );
    }

    #[test]
    fn prefixes_are_the_literal_heads() {
        let table: &[(&str, &[&str])] = &[
            ("*", &["refs/heads/"]),
            ("main", &["refs/heads/main"]),
            ("release/*", &["refs/heads/release/"]),
            (r"a\*b*", &["refs/heads/a*b"]),
            (
                "{main,release/*}",
                &["refs/heads/main", "refs/heads/release/"],
            ),
            ("x/{a,b?}/c", &["refs/heads/x/a", "refs/heads/x/b"]),
            ("x{a,b{c,d}}", &["refs/heads/x"]),
            ("{a,ab}", &["refs/heads/a"]),
            ("v[12]", &["refs/heads/v"]),
        ];
        for (glob, expected) in table {
            assert_eq!(branches(glob).prefixes(), *expected, "{glob}");
        }
        assert_eq!(
            RefGlobs::default().prefixes(),
            ["refs/heads/", "refs/tags/"]
        );
    }

    #[test]
    fn a_destination_lists_what_could_be_in_the_way() {
        assert_eq!(branches("a/b/c*").prefixes_with_parents(), ["refs/heads/a"]);
        assert_eq!(
            branches("release/*").prefixes_with_parents(),
            ["refs/heads/release"]
        );
        assert_eq!(
            branches("main").prefixes_with_parents(),
            ["refs/heads/main"]
        );
    }
}
