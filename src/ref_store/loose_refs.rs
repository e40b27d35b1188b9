//! Loose refs, read as git reads them (`refs/files-backend.c`, `read_ref_internal` and `loose_fill_ref_dir`).

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use bstr::{BStr, BString, ByteSlice};

use super::ref_lock::LOCK_SUFFIX;
use crate::{ObjectFormat, ObjectId, object_id::parse_hex, refs};

/// The most bytes that are read of a loose ref: more than any symbolic ref has.
const MAX_CONTENT: u64 = 8192;
/// The longest chain of symbolic refs: git's `SYMREF_MAXDEPTH`.
pub(crate) const MAX_SYMBOLIC: usize = 5;

/// The target of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Object(ObjectId),
    /// Another ref, by its full name.
    Symbolic(BString),
    /// The ref exists, and its content is no target.
    Broken,
}

/// Reads the ref whose file is at `path`; `None` if there is no such file.
pub(crate) fn read(path: &Path, format: ObjectFormat) -> io::Result<Option<Target>> {
    let Some(found) = if_there(path.symlink_metadata())? else {
        return Ok(None);
    };
    let kind = found.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    if kind.is_symlink()
        && let Some(name) = linked_name(path)
    {
        return Ok(Some(Target::Symbolic(name)));
    }
    // A file of another kind, such as a pipe, may never end.
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Err(err) if is_missing(&err) && !kind.is_symlink() => return Ok(None),
        _ => return Ok(Some(Target::Broken)),
    }
    let Some(file) = if_there(File::open(path))? else {
        return Ok(None);
    };
    let mut content = Vec::new();
    file.take(MAX_CONTENT).read_to_end(&mut content)?;
    Ok(Some(parse(&content, format)))
}

/// The result for a file or folder that may not exist, or whose parent may be a file.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(err) if is_missing(&err) => Ok(None),
        other => other.map(Some),
    }
}

fn is_missing(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The target of a symbolic ref in git's older form: a symbolic link whose text is the full name of a ref, wherever the
/// link leads in the file system.
fn linked_name(path: &Path) -> Option<BString> {
    let text = fs::read_link(path).ok()?;
    let text = gix::path::into_bstr(text).ok()?.into_owned();
    let is_name = text.starts_with(b"refs/") && refs::is_valid_name(text.as_bstr());
    is_name.then_some(text)
}

fn parse(content: &[u8], format: ObjectFormat) -> Target {
    let content = content.trim_ascii_end();
    if let Some(name) = content.strip_prefix(b"ref:") {
        return match name.trim_ascii_start() {
            b"" => Target::Broken,
            name => Target::Symbolic(name.into()),
        };
    }
    let digits = format.hash_kind().len_in_hex();
    let id = content.split_at_checked(digits).filter(|(_, rest)| {
        let next = rest.first();
        next.is_none_or(u8::is_ascii_whitespace)
    });
    let id = id.and_then(|(id, _)| parse_hex(id, format));
    id.map_or(Target::Broken, Target::Object)
}

/// Whether git takes a file of this full name for a ref: neither a lock nor a hidden file.
pub(crate) fn is_ref_file(name: &BStr) -> bool {
    let mut components = name.split_str("/");
    components.all(|part| !part.starts_with(b".") && !part.ends_with(LOCK_SUFFIX.as_bytes()))
}

/// Visits the files whose full names start with `prefix`, in any order, locks included.
pub(crate) fn walk(
    git_dir: &Path,
    prefix: &BStr,
    visit: &mut dyn FnMut(BString) -> io::Result<()>,
) -> io::Result<()> {
    let directory = prefix[..prefix.rfind_byte(b'/').unwrap_or(0)].as_bstr();
    let mut walk = Walk {
        prefix,
        linked: Vec::new(),
        visit,
    };
    let path = git_dir.join(gix::path::from_bstr(directory).unwrap_or_default());
    walk.directory(&path, directory)
}

struct Walk<'a> {
    prefix: &'a BStr,
    /// The directories that links have led to, to detect loops, and the directory of the first link.
    linked: Vec<PathBuf>,
    visit: &'a mut dyn FnMut(BString) -> io::Result<()>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, name: &BStr) -> io::Result<()> {
        for entry in if_there(path.read_dir())?.into_iter().flatten() {
            let entry = entry?;
            let Ok(last) = gix::path::os_string_into_bstring(entry.file_name()) else {
                continue;
            };
            let name: BString = [name.as_bytes(), b"/", last.as_bytes()].concat().into();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.below(&entry.path(), name.as_bstr())?;
            } else if kind.is_symlink() && entry.path().is_dir() {
                self.link(path, &entry.path(), name)?;
            } else if name.starts_with(self.prefix) {
                (self.visit)(name)?;
            }
        }
        Ok(())
    }

    fn below(&mut self, path: &Path, name: &BStr) -> io::Result<()> {
        let start = [name.as_bytes(), b"/"].concat();
        if start.starts_with(self.prefix) || self.prefix.starts_with(&start) {
            self.directory(path, name)?;
        }
        Ok(())
    }

    /// A link to a directory is followed, as git does, unless it leads back to where it comes from:
    /// then it is one more file.
    fn link(&mut self, from: &Path, link: &Path, name: BString) -> io::Result<()> {
        let ends = from
            .canonicalize()
            .and_then(|from| Ok((from, link.canonicalize()?)));
        let ahead = ends.ok().filter(|(from, to)| {
            let mut linked = self.linked.iter().chain([from]);
            !linked.any(|linked| linked.starts_with(to))
        });
        if let Some((from, to)) = ahead {
            let before = self.linked.len();
            self.linked.extend([from, to]);
            self.below(link, name.as_bstr())?;
            self.linked.truncate(before);
        } else if name.starts_with(self.prefix) {
            (self.visit)(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_git_reads_it() {
        let id = "a".repeat(40);
        let object = || Target::Object(ObjectId::from_hex(id.as_bytes()).expect("hex"));
        let symbolic = |name: &str| Target::Symbolic(name.into());
        for (content, expected) in [
            (id.clone(), object()),
            (format!("{id}\n"), object()),
            (format!("{id} \t\n\n"), object()),
            (format!("{id}\tbranch 'a' of b\n"), object()),
            (format!("{id}a\n"), Target::Broken),
            (id[1..].to_owned(), Target::Broken),
            (format!(" {id}\n"), Target::Broken),
            ("ref: refs/heads/a\n".to_owned(), symbolic("refs/heads/a")),
            ("ref:refs/heads/a".to_owned(), symbolic("refs/heads/a")),
            ("ref: \n".to_owned(), Target::Broken),
            (String::new(), Target::Broken),
        ] {
            let found = parse(content.as_bytes(), ObjectFormat::Sha1);
            assert_eq!(found, expected, "{content:?}");
        }
    }

    #[test]
    fn locks_and_hidden_files_are_no_refs() {
        for (name, expected) in [
            ("refs/heads/a", true),
            ("refs/heads/a..b", true),
            ("refs/heads/a.lock", false),
            ("refs/heads/a.lock/b", false),
            ("refs/heads/.a", false),
        ] {
            assert_eq!(is_ref_file(name.into()), expected, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_directories_are_followed_and_never_in_a_circle() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let heads = folder.path().join("refs/heads");
        for directory in ["a", "b"] {
            fs::create_dir_all(heads.join(directory)).expect("a directory");
            fs::write(heads.join(directory).join("x"), "").expect("a file");
        }
        symlink("a", heads.join("link")).expect("a link");
        symlink("../b", heads.join("a/to-b")).expect("a link");
        symlink("../a", heads.join("b/to-a")).expect("a link");
        symlink(".", heads.join("loop")).expect("a link");
        symlink("nowhere", heads.join("dangling")).expect("a link");
        let names = |prefix: &str| {
            let mut names = Vec::new();
            let mut visit = |name: BString| {
                names.push(name.to_string());
                Ok::<_, io::Error>(())
            };
            walk(folder.path(), prefix.into(), &mut visit).expect("a walk");
            names.sort();
            names
        };
        assert_eq!(
            names("refs/heads/a"),
            [
                "refs/heads/a/to-b/to-a",
                "refs/heads/a/to-b/x",
                "refs/heads/a/x"
            ]
        );
        assert_eq!(names("refs/heads/lo"), ["refs/heads/loop"]);
        let linked = names("refs/heads/link/");
        assert_eq!(linked.last().map(String::as_str), Some("refs/heads/link/x"));
        assert!(names("refs/heads/").contains(&"refs/heads/dangling".to_owned()));
        assert_eq!(names("refs/heads/none/"), [""; 0]);
        assert_eq!(names("refs/heads/a/x/"), [""; 0]);
    }
}
