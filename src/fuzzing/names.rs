//! Names of refs, object ids in hex, and globs.

use bstr::{BStr, ByteSlice};

use super::bytes::Bytes;
use crate::{
    AdvertisedRef, Namespace, ObjectFormat, ObjectId, RefGlobs, RefList, object_id::parse_hex,
    refs::is_valid_name,
};

/// Names, a line each. What is judged at a glance is judged as by gix, and gix judges as git does.
pub fn ref_names(data: &[u8]) {
    for name in data.split_str("\n").chain([data]) {
        let judged = gix::validate::reference::name(name.as_bstr()).is_ok();
        assert_eq!(is_valid_name(name.as_bstr()), judged, "{}", name.as_bstr());
        if name.starts_with(b"refs/") {
            assert_eq!(judged, is_well_formed(name), "{}", name.as_bstr());
        }
        if let Some((namespace, short)) = Namespace::split(name.as_bstr()) {
            assert_eq!([namespace.prefix().as_bytes(), short].concat(), name);
        }
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let kind = format.hash_kind();
            let expected = gix::ObjectId::from_hex(name).ok();
            let expected = expected.filter(|id| id.kind() == kind).map(ObjectId);
            assert_eq!(parse_hex(name, format), expected, "{}", name.as_bstr());
        }
    }
    let names = data.split_str("\n").enumerate();
    let refs = names.map(|(at, name)| {
        AdvertisedRef::new(
            name.into(),
            ObjectId::from_hex(format!("{at:040x}").as_bytes()).expect("hex"),
        )
    });
    let refs: Vec<_> = refs.collect();
    let list = RefList::new(ObjectFormat::Sha1, refs.iter().copied());
    assert!(list.iter().is_sorted_by(|a, b| a.name < b.name));
    for listed in &refs {
        let first = refs.iter().find(|first| first.name == listed.name);
        assert_eq!(list.find(listed.name).as_ref(), first);
    }
}

/// `check_refname_format()` in git's `refs.c`, as its comment says it, for a name in a folder.
fn is_well_formed(name: &[u8]) -> bool {
    let is_bad = |byte: &u8| *byte < b' ' || b"\x7f ~^:?*[\\".contains(byte);
    let is_component =
        |part: &[u8]| !part.is_empty() && !part.starts_with(b".") && !part.ends_with(b".lock");
    !name.iter().any(is_bad)
        && name.split_str("/").all(is_component)
        && !name.contains_str("..")
        && !name.contains_str("@{")
        && !name.ends_with(b".")
}

/// A glob for branches and names of branches, a line each: the glob takes what a plain reading of it
/// takes, and all of that lies below the prefixes that a server is asked for.
pub fn globs(data: &[u8]) {
    // Compiling one takes time that grows with it.
    let Ok(text) = str::from_utf8(&data[..data.len().min(200)]) else {
        return;
    };
    let (glob, names) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(globs) = RefGlobs::new(Some(glob), None) else {
        return;
    };
    let prefixes = globs.prefixes();
    let with_parents = globs.prefixes_with_parents();
    let pattern = plain_glob(glob);
    for name in names.split('\n') {
        let full = format!("refs/heads/{name}");
        let full: &BStr = full.as_str().into();
        let matches = globs.matches(full);
        if matches {
            assert!(
                prefixes.iter().any(|prefix| full.starts_with(prefix)),
                "{glob} {name}"
            );
            let mut parents = full.iter().enumerate().skip("refs/heads/".len());
            assert!(parents.all(|(at, byte)| {
                *byte != b'/'
                    || with_parents
                        .iter()
                        .any(|prefix| full[..at].starts_with(prefix))
            }));
        }
        if let Some(pattern) = &pattern {
            assert_eq!(matches, takes(pattern, name.as_bytes()), "{glob} {name}");
        }
    }
    assert!(!globs.matches("refs/tags/x".into()));
    assert!(!globs.matches("refs/heads".into()));
}

#[derive(Debug, Clone)]
enum Part {
    Literal(u8),
    One,
    Any,
    Class(Vec<(u8, u8)>, bool),
    Choice(Vec<Vec<Part>>),
}

/// `None` for what the documentation of [`RefGlobs`] leaves open.
fn plain_glob(glob: &str) -> Option<Vec<Part>> {
    if !glob.is_ascii() || glob.contains("**") || glob.matches('{').count() > 3 {
        return None;
    }
    let mut rest = Bytes(glob.as_bytes());
    let parts = plain_parts(&mut rest, false)?;
    rest.is_empty().then_some(parts)
}

fn plain_parts(rest: &mut Bytes<'_>, in_choice: bool) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some(&next) = rest.0.first() {
        if in_choice && matches!(next, b',' | b'}') {
            break;
        }
        rest.byte();
        parts.push(match next {
            b'*' => Part::Any,
            b'?' => Part::One,
            b'\\' if rest.is_empty() => return None,
            b'\\' => Part::Literal(rest.byte()),
            b'[' => plain_class(rest)?,
            b'{' => {
                let mut choices = vec![plain_parts(rest, true)?];
                while rest.byte() == b',' {
                    choices.push(plain_parts(rest, true)?);
                }
                Part::Choice(choices)
            }
            other => Part::Literal(other),
        });
    }
    Some(parts)
}

fn plain_class(rest: &mut Bytes<'_>) -> Option<Part> {
    let end = rest.0.find_byte(b']')?;
    let mut inner = rest.take(end);
    rest.byte();
    let is_none_of = matches!(inner.first(), Some(b'!' | b'^'));
    inner = &inner[usize::from(is_none_of)..];
    let mut ranges = Vec::new();
    while let [first, tail @ ..] = inner {
        // What a bracket, a dash at an end or a backslash means in there is left open.
        if !first.is_ascii_alphanumeric() {
            return None;
        }
        match tail {
            [b'-', last, tail @ ..] if last.is_ascii_alphanumeric() && first <= last => {
                ranges.push((*first, *last));
                inner = tail;
            }
            [b'-', ..] => return None,
            _ => {
                ranges.push((*first, *first));
                inner = tail;
            }
        }
    }
    (!ranges.is_empty()).then_some(Part::Class(ranges, is_none_of))
}

fn takes(parts: &[Part], name: &[u8]) -> bool {
    let Some((part, parts)) = parts.split_first() else {
        return name.is_empty();
    };
    match part {
        Part::Any => (0..=name.len()).any(|at| takes(parts, &name[at..])),
        Part::Choice(choices) => choices
            .iter()
            .any(|choice| takes(&[choice, parts].concat(), name)),
        Part::Literal(byte) => name.first() == Some(byte) && takes(parts, &name[1..]),
        Part::One | Part::Class(..) => {
            let Some((first, name)) = name.split_first() else {
                return false;
            };
            let is_taken = match part {
                Part::Class(ranges, is_none_of) => {
                    ranges.iter().any(|(from, to)| (from..=to).contains(&first)) != *is_none_of
                }
                _ => true,
            };
            is_taken && takes(parts, name)
        }
    }
}
