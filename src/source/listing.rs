//! The refs of a local repository: loose ones, and packed ones that no loose one is in front of.

use bstr::ByteSlice;
use gix::{path::RelativePath, refs::file::find::ReferenceDecode};

use crate::{
    AdvertisedRef, Error, ErrorKind, ObjectFormat, ObjectId, RefList, Run, ref_table::RefTable,
    refs,
};

/// To look at the clock takes as long as to read a packed ref.
const REFS_PER_CHECK: usize = 1024;

/// Lists the refs below `prefixes`.
///
/// Most refs of a large repository are packed, and gix takes several looks and allocations for each,
/// so those are read here. Anything that isn't as git writes it is left to gix.
pub(super) fn list(
    repo: &gix::Repository,
    format: ObjectFormat,
    prefixes: &[&RelativePath],
    run: &Run,
) -> Result<RefList, Error> {
    let mut refs = RefTable::default();
    // Loose ones first, as git does: what is being packed is then found twice, and never missed.
    for prefix in prefixes {
        for found in repo.refs.loose_iter_prefixed(prefix).map_err(unlisted)? {
            run.check()?;
            match found {
                Ok(found) => advertise(repo, found, &mut refs),
                // It was deleted, or packed; then it is found there.
                Err(err) if is_gone(&err) => {}
                Err(_) => return list_with_gix(repo, format, prefixes, run),
            }
        }
    }
    let packed = repo.refs.cached_packed_buffer();
    if let Some(packed) = packed.map_err(|err| unreadable(repo, err))? {
        let lines: &[u8] = (**packed).as_ref();
        for prefix in prefixes {
            let Some(start) = first_with(prefix.as_ref(), lines, format) else {
                return list_with_gix(repo, format, prefixes, run);
            };
            let mut lines = Lines {
                rest: &lines[start..],
                format,
            };
            while lines.rest_is_below(prefix.as_ref()) {
                if refs.len() % REFS_PER_CHECK == 0 {
                    run.check()?;
                }
                match lines.next_ref() {
                    Some(found) => refs.push(found),
                    None => return list_with_gix(repo, format, prefixes, run),
                }
            }
        }
    }
    Ok(RefList::of(format, refs))
}

/// Lines of a `packed-refs` file: `<oid> <name>`, then `^<oid>` for what an annotated tag is about.
struct Lines<'a> {
    rest: &'a [u8],
    format: ObjectFormat,
}

impl<'a> Lines<'a> {
    fn rest_is_below(&self, prefix: &[u8]) -> bool {
        let name = self.rest.get(self.digits() + 1..);
        // One that can't be read is found out when it is.
        !self.rest.is_empty() && name.is_none_or(|name| name.starts_with(prefix))
    }

    /// The next ref; `None` if it is not as git writes it.
    fn next_ref(&mut self) -> Option<AdvertisedRef<'a>> {
        let (id, rest) = self.rest.split_at_checked(self.digits())?;
        let rest = rest.strip_prefix(b" ")?;
        let (name, rest) = rest.split_at(rest.find_byte(b'\n')?);
        if !refs::is_valid_name(name.as_bstr()) {
            return None;
        }
        self.rest = &rest[1..];
        let target = refs::object_id(id, self.format)?;
        let mut annotated = false;
        if let Some(rest) = self.rest.strip_prefix(b"^") {
            let (id, rest) = rest.split_at_checked(self.digits())?;
            annotated = refs::object_id(id, self.format)? != target;
            self.rest = rest.strip_prefix(b"\n")?;
        }
        Some(AdvertisedRef {
            name: name.as_bstr(),
            target,
            annotated,
            symbolic: false,
        })
    }

    fn digits(&self) -> usize {
        self.format.hash_kind().len_in_hex()
    }
}

/// Where in these lines the first one is whose name starts with `prefix` or comes after it. They are
/// sorted: gix has seen to that. `None` if one on the way is not as git writes it.
fn first_with(prefix: &[u8], lines: &[u8], format: ObjectFormat) -> Option<usize> {
    let line_at = |at: usize| lines[..at].rfind_byte(b'\n').map_or(0, |end| end + 1);
    let line_after = |at: usize| {
        lines[at..]
            .find_byte(b'\n')
            .map_or(lines.len(), |end| at + end + 1)
    };
    // Both at the line of a ref, or at the end.
    let (mut start, mut end) = (0, lines.len());
    while start < end {
        let mut line = line_at(start + (end - start) / 2);
        if lines[line] == b'^' && line > start {
            line = line_at(line - 1);
        }
        let (_, name) = lines[line..].split_at_checked(format.hash_kind().len_in_hex())?;
        if name.strip_prefix(b" ")? >= prefix {
            end = line;
        } else {
            start = line_after(line);
            if lines[start..end].starts_with(b"^") {
                start = line_after(start);
            }
        }
    }
    Some(start)
}

fn is_gone(err: &gix::Error) -> bool {
    let err = err.downcast_any_ref::<std::io::Error>();
    err.is_some_and(|err| err.kind() == std::io::ErrorKind::NotFound)
}

/// Goes on where something is damaged.
fn list_with_gix(
    repo: &gix::Repository,
    format: ObjectFormat,
    prefixes: &[&RelativePath],
    run: &Run,
) -> Result<RefList, Error> {
    let mut refs = RefTable::default();
    let platform = repo.refs.iter().map_err(|err| unreadable(repo, err))?;
    for prefix in prefixes {
        for found in platform.prefixed(prefix).map_err(unlisted)? {
            run.check()?;
            match found {
                Ok(found) => advertise(repo, found, &mut refs),
                Err(err) => advertise_damaged(format, &err, &mut refs),
            }
        }
    }
    Ok(RefList::of(format, refs))
}

fn advertise(repo: &gix::Repository, found: gix::refs::Reference, refs: &mut RefTable) {
    let (target, symbolic) = match &found.target {
        gix::refs::Target::Object(id) => (*id, false),
        gix::refs::Target::Symbolic(_) => {
            let nowhere = || ObjectId::null(repo.object_hash());
            (follow(repo, &found.name).unwrap_or_else(nowhere), true)
        }
    };
    refs.push(AdvertisedRef {
        name: found.name.as_bstr(),
        target,
        annotated: found.peeled.is_some_and(|peeled| peeled != target),
        symbolic,
    });
}

/// A ref that is there but says nothing. To leave it out would be to create it, and gix writes over
/// a file that it can't make sense of.
fn advertise_damaged(format: ObjectFormat, err: &gix::Error, refs: &mut RefTable) {
    tracing::warn!(%err, "a ref can't be read");
    let path = err.downcast_any_ref::<ReferenceDecode>();
    let Some(Ok(name)) = path.map(|err| gix::path::into_bstr(err.relative_path.as_path())) else {
        return;
    };
    refs.push(AdvertisedRef {
        name: &gix::path::to_unix_separators_on_windows(name),
        target: ObjectId::null(format.hash_kind()),
        annotated: false,
        symbolic: false,
    });
}

fn follow(repo: &gix::Repository, name: &gix::refs::FullName) -> Option<ObjectId> {
    let mut reference = repo.find_reference(name.as_ref()).ok()?;
    reference.follow_to_object().ok().map(|id| id.detach())
}

fn unlisted(err: std::io::Error) -> Error {
    Error::io("listing refs", err)
}

fn unreadable(repo: &gix::Repository, err: gix::Error) -> Error {
    let text = format!("the refs of {} can't be read", repo.path().display());
    Error::new(ErrorKind::Corrupt, text).with_source(err)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bstr::BString;

    use super::*;

    const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    /// What each of the two ways to list finds in a repository with these files.
    fn listed(files: &[(&str, String)], prefixes: &[&str]) -> [Vec<String>; 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let repo = gix::init_bare(folder.path()).expect("a repository");
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        let prefixes: Vec<BString> = prefixes.iter().map(|prefix| (*prefix).into()).collect();
        let prefixes: Vec<&RelativePath> = prefixes
            .iter()
            .map(|prefix| prefix.as_bstr().try_into().expect("a path"))
            .collect();
        let run = Run::new(&Default::default());
        [list, list_with_gix].map(|list| {
            let listed = list(&repo, ObjectFormat::Sha1, &prefixes, &run).expect("a listing");
            let text = |listed: AdvertisedRef<'_>| {
                let digit = |id: ObjectId| id.to_string().remove(0);
                let peeled = if listed.annotated { "^" } else { "" };
                let sign = if listed.symbolic { '@' } else { '=' };
                let (name, tip) = (listed.name, digit(listed.target));
                format!("{name}{sign}{tip}{peeled}")
            };
            listed.iter().map(text).collect()
        })
    }

    #[test]
    fn loose_refs_stand_in_front_of_packed_ones() {
        let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(id);
        let packed = format!(
            "{HEADER}{a} refs/heads/a\n{a} refs/heads/b\n{a} refs/notes/x\n^{b}\n{c} refs/tags/v1\n\
             ^{b}\n{c} refs/tags/v2\n{c} refs/tags/v3\n^{c}\n"
        );
        let files = [
            ("packed-refs", packed),
            ("refs/heads/b", format!("{d}\n")),
            ("refs/heads/a/b", format!("{d}\n")),
            ("refs/heads/link", "ref: refs/heads/b\n".to_owned()),
            ("refs/heads/unborn", "ref: refs/heads/none\n".to_owned()),
            ("refs/tags/v1.lock", format!("{d}\n")),
            ("refs/tags/v1", format!("{d}\n")),
        ];
        let all = [
            "refs/heads/a=a",
            "refs/heads/a/b=d",
            "refs/heads/b=d",
            "refs/heads/link@d",
            "refs/heads/unborn@0",
            "refs/tags/v1=d",
            "refs/tags/v2=c",
            "refs/tags/v3=c",
        ];
        for (prefixes, expected) in [
            (&["refs/heads/", "refs/tags/"][..], &all[..]),
            (&["refs/heads/a", "refs/tags/v2"], &[all[0], all[1], all[6]]),
            (&["refs/heads/link/"], &[]),
        ] {
            let [found, with_gix] = listed(&files, prefixes);
            assert_eq!(found, expected, "{prefixes:?}");
            assert_eq!(found, with_gix, "{prefixes:?}");
        }
        let tag = format!("{HEADER}{c} refs/tags/v1\n^{b}\n");
        let [found, _] = listed(&[("packed-refs", tag)], &["refs/tags/"]);
        assert_eq!(found, ["refs/tags/v1=c^"]);
    }

    #[test]
    fn what_git_does_not_write_is_listed_as_gix_does() {
        let [a, b] = ['a', 'b'].map(id);
        let good = format!("{a} refs/heads/a\n");
        for (packed, loose, expected) in [
            (format!("{b} refs/heads/b\n{good}"), "", &["a=a", "b=b"][..]),
            (format!("{HEADER}{good}{b} refs/heads/b"), "", &["a=a"]),
            (
                format!("{HEADER}{good}{b} refs/heads/b\r\n"),
                "",
                &["a=a", "b=b"],
            ),
            (format!("{HEADER}{good}{b} refs/heads/b..c\n"), "", &["a=a"]),
            (format!("{HEADER}{good}nonsense\n"), "", &["a=a"]),
            (
                format!("{HEADER}{good}{b}{} refs/heads/b\n", &a[..24]),
                "",
                &["a=a"],
            ),
            (format!("{HEADER}{good}"), "nonsense", &["a=a", "loose=0"]),
            (
                format!("{HEADER}{good}{b} refs/heads/loose\n"),
                "",
                &["a=a", "loose=b"],
            ),
            (
                format!("{HEADER}{good}{b} refs/heads/loose\n"),
                "?",
                &["a=a", "loose=0"],
            ),
            (String::new(), "", &[]),
        ] {
            let mut files = vec![("packed-refs", packed)];
            if !loose.is_empty() {
                files.push(("refs/heads/loose", loose.to_owned()));
            }
            let [found, with_gix] = listed(&files, &["refs/heads/"]);
            let expected = expected.iter().map(|name| format!("refs/heads/{name}"));
            assert_eq!(found, expected.collect::<Vec<_>>(), "{files:?}");
            assert_eq!(found, with_gix, "{files:?}");
        }
    }

    #[test]
    fn what_git_writes_is_not_left_to_gix() {
        let (a, b) = (id('a'), id('b'));
        let line = format!("{a} refs/heads/a\n");
        let known = |text: &str| {
            let mut lines = Lines {
                rest: text.as_bytes(),
                format: ObjectFormat::Sha1,
            };
            let found = lines.next_ref();
            found.map(|_| lines.rest.len())
        };
        for (text, expected) in [
            (line.clone(), Some(0)),
            (format!("{line}{line}"), Some(line.len())),
            (format!("{line}^{b}\n{line}"), Some(line.len())),
            (format!("{line}^{b}"), None),
            (format!("{line}^b\n"), None),
            (format!("^{b}\n{line}"), None),
            (format!("{a}-refs/heads/a\n"), None),
            (format!("{a} refs/heads/a b\n"), None),
            (format!("{a} refs/heads/a"), None),
            (format!("{a}\n"), None),
        ] {
            assert_eq!(known(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_first_line_of_a_prefix_is_found_wherever_it_is() {
        let id = id('a');
        let names = ["a", "a/b", "b", "bb", "c"].map(|name| format!("refs/heads/{name}"));
        let peeled = format!("^{id}\n");
        for tags in 0..1 << names.len() {
            let mut lines = String::new();
            let mut starts = Vec::new();
            for (at, name) in names.iter().enumerate() {
                starts.push(lines.len());
                lines += &format!("{id} {name}\n");
                lines += if tags & 1 << at == 0 { "" } else { &peeled };
            }
            starts.push(lines.len());
            let prefixes = ["A", "a", "a/", "a/c", "b", "bb", "bc", "c", "c/"];
            for (prefix, expected) in prefixes.iter().zip([0, 0, 1, 2, 2, 3, 4, 4, 5]) {
                let prefix = format!("refs/heads/{prefix}");
                let found = first_with(prefix.as_bytes(), lines.as_bytes(), ObjectFormat::Sha1);
                assert_eq!(found, Some(starts[expected]), "{prefix} in {lines}");
            }
        }
    }
}
