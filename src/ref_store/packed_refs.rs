//! The `packed-refs` file of a repository: reading, lookups, and writing it with new lines.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bstr::{BStr, BString, ByteSlice};

use super::{
    config::object_format,
    packed_lines::{BadLine, Records, first_with, split_header},
};
use crate::{Error, ErrorKind, ObjectFormat, ObjectId, files, object_id::MAX_HEX};

/// The traits that git writes into the header, for readers to rely on (`refs/packed-backend.c`).
const TRAITS: &[u8] = b" peeled fully-peeled sorted";
const HEADER: &[u8] = b"# pack-refs with:";

/// The path of the file. If it is a symbolic link, git locks and writes the link's target.
pub(crate) fn path(git_dir: &Path) -> PathBuf {
    files::behind_links(git_dir.join("packed-refs"))
}

/// The content of the file; empty if it does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    Ok(files::if_exists(fs::read(path))?.unwrap_or_default())
}

/// The error for a repository with a line that git refuses.
pub(crate) fn refused(git_dir: &Path, bad: &BadLine<'_>) -> Error {
    let text = format!(
        "{}: git refuses {bad}",
        git_dir.join("packed-refs").display()
    );
    Error::new(ErrorKind::MalformedPackedRefs, text)
}

/// The same as an I/O error, for the update of a single ref.
pub(crate) fn refused_line(bad: &BadLine<'_>) -> io::Error {
    io::Error::other(format!("git refuses packed-refs, {bad}"))
}

/// The file at one moment, read without a cache, for lookups of a few refs.
pub(crate) struct Snapshot {
    lines: SortedLines,
    format: ObjectFormat,
}

enum SortedLines {
    Mapped(Option<gix::refs::packed::Buffer>),
    Owned(Vec<u8>),
}

impl Snapshot {
    pub(crate) fn open(repo: &gix::Repository) -> io::Result<Self> {
        let format = object_format(repo);
        let lines = match repo.refs.open_packed_buffer() {
            Ok(buffer) => SortedLines::Mapped(buffer),
            // gix refuses some names that git accepts if it has to sort the lines.
            Err(_) => {
                let file = read(&repo.common_dir().join("packed-refs"))?;
                let packed = PackedRefs::parse(&file, format);
                let packed = packed.map_err(|bad| refused_line(&bad))?;
                let texts = packed.lines.iter().map(|line| line.text.as_bytes());
                SortedLines::Owned(texts.collect::<Vec<_>>().concat())
            }
        };
        Ok(Snapshot { lines, format })
    }

    pub(crate) fn find(&self, name: &BStr) -> io::Result<Option<ObjectId>> {
        let first = self.first_from(name)?;
        Ok(first.filter(|(found, _)| found == name).map(|(_, id)| id))
    }

    /// A ref below the directory `name`, which conflicts with a ref of that name.
    pub(crate) fn find_below(&self, name: &BStr) -> io::Result<Option<BString>> {
        let directory = [name.as_bytes(), b"/"].concat();
        let first = self.first_from(directory.as_bstr())?;
        let name = first.map(|(found, _)| found);
        Ok(name.filter(|found| found.starts_with(&directory)))
    }

    /// The first ref whose name is `name` or sorts after it.
    fn first_from(&self, name: &BStr) -> io::Result<Option<(BString, ObjectId)>> {
        let lines = match &self.lines {
            SortedLines::Mapped(Some(buffer)) => buffer.as_ref(),
            SortedLines::Mapped(None) => return Ok(None),
            SortedLines::Owned(lines) => lines.as_slice(),
        };
        let damaged = || io::Error::other("packed-refs has a line that git refuses");
        let start = first_with(name, lines, self.format).ok_or_else(damaged)?;
        match Records::of_lines(&lines[start..], self.format).next() {
            Some(Ok(found)) => Ok(Some((found.name.to_owned(), found.target))),
            Some(Err(_)) => Err(damaged()),
            None => Ok(None),
        }
    }
}

/// The latest state of the file, for lookups of many refs. The file is read again only once it has changed, because lines
/// without the trait `sorted` are sorted at each reading.
pub(crate) struct LatestSnapshot<'r> {
    pub(super) repo: &'r gix::Repository,
    last: Option<Last>,
    #[cfg(test)]
    pub(super) reads: usize,
}

struct Last {
    snapshot: Snapshot,
    stamp: Option<Stamp>,
    /// Open, so that its inode is not given to the file that replaces it.
    _file: Option<File>,
}

/// Device, inode and size; times of modification and change.
type Stamp = ([u64; 3], (i64, i64), (i64, i64));

impl<'r> LatestSnapshot<'r> {
    pub(crate) fn of(repo: &'r gix::Repository) -> Self {
        LatestSnapshot {
            repo,
            last: None,
            #[cfg(test)]
            reads: 0,
        }
    }

    /// Git compares the same facts (`statinfo.c:match_stat_data()`), and writers replace the file.
    pub(crate) fn get(&mut self) -> io::Result<&Snapshot> {
        // On NFS, the metadata of a path may be old, those of a file that was just opened are not.
        let file = files::if_exists(File::open(self.repo.common_dir().join("packed-refs")))?;
        let found = file.as_ref().map(File::metadata).transpose()?;
        let stamp = found.and_then(|found| stamp(&found));
        let last = match self.last.take() {
            Some(last) if stamp.is_some() && last.stamp == stamp => last,
            _ => {
                #[cfg(test)]
                {
                    self.reads += 1;
                }
                Last {
                    snapshot: Snapshot::open(self.repo)?,
                    stamp,
                    _file: file,
                }
            }
        };
        Ok(&self.last.insert(last).snapshot)
    }
}

#[cfg(unix)]
fn stamp(found: &fs::Metadata) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let modified = (found.mtime(), found.mtime_nsec());
    let changed = (found.ctime(), found.ctime_nsec());
    Some(([found.dev(), found.ino(), found.size()], modified, changed))
}

/// `None`: the standard library cannot compare files on this platform.
#[cfg(not(unix))]
fn stamp(_: &fs::Metadata) -> Option<Stamp> {
    None
}

/// The lines of the file, sorted by name, to be merged with new ones.
#[derive(Default)]
pub(crate) struct PackedRefs<'a> {
    traits: &'a [u8],
    lines: Vec<Line<'a>>,
}

pub(crate) struct Line<'a> {
    pub(crate) name: &'a BStr,
    /// The ref's line and its peeled line, as they are in the file.
    text: Cow<'a, BStr>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(name: &'a BStr, tip: ObjectId, peeled: Option<ObjectId>) -> Self {
        let ids = 1 + usize::from(peeled.is_some());
        let length = name.len() + ids * (2 * tip.as_bytes().len() + 2);
        let mut text = BString::from(Vec::with_capacity(length));
        push_hex(&mut text, tip);
        text.push(b' ');
        text.extend_from_slice(name);
        text.push(b'\n');
        if let Some(peeled) = peeled {
            text.push(b'^');
            push_hex(&mut text, peeled);
            text.push(b'\n');
        }
        Line {
            name,
            text: text.into(),
        }
    }
}

/// Appends an id in hex: several times as fast as formatting it.
fn push_hex(text: &mut Vec<u8>, id: ObjectId) {
    let mut hex = [0; MAX_HEX];
    let digits = id.0.hex_to_buf(&mut hex);
    text.extend_from_slice(digits.as_bytes());
}

impl<'a> PackedRefs<'a> {
    pub(crate) fn parse(file: &'a [u8], format: ObjectFormat) -> Result<Self, BadLine<'a>> {
        let (traits, _) = split_header(file)?;
        let records = Records::of_file(file, format)?;
        let lines = records.map(|found| {
            let found = found?;
            let (name, text) = (found.name, Cow::Borrowed(found.text));
            Ok(Line { name, text })
        });
        let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
        lines.sort_by_key(|line| line.name);
        let traits = if file.is_empty() { TRAITS } else { traits };
        Ok(PackedRefs { traits, lines })
    }

    pub(crate) fn has(&self, name: &BStr) -> bool {
        let found = self.lines.binary_search_by_key(&name, |line| line.name);
        found.is_ok()
    }

    /// A ref below the directory `name`, which conflicts with a ref of that name.
    pub(crate) fn find_below(&self, name: &BStr) -> Option<&'a BStr> {
        let directory = [name.as_bytes(), b"/"].concat();
        let at = self.lines.partition_point(|line| *line.name < *directory);
        let next = self.lines.get(at)?.name;
        next.starts_with(&directory).then_some(next)
    }

    /// Removes the given lines, sorted by name, where they are still unchanged.
    pub(crate) fn remove(&mut self, lines: &[Line<'_>]) {
        self.lines.retain(|line| {
            let found = lines.binary_search_by_key(&line.name, |one| one.name);
            found.is_err() || found.is_ok_and(|at| lines[at].text != line.text)
        });
    }

    /// Writes the file, merged with new lines that are sorted by name.
    pub(crate) fn write_with<'l>(
        &self,
        added: impl IntoIterator<Item = Line<'l>>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        out.write_all(HEADER)?;
        out.write_all(self.traits.trim_end())?;
        if !self.traits.fields().any(|word| word == b"sorted") {
            out.write_all(b" sorted")?;
        }
        out.write_all(b" \n")?;
        let mut lines = self.lines.iter().peekable();
        for new in added {
            while let Some(line) = lines.next_if(|line| line.name < new.name) {
                out.write_all(&line.text)?;
            }
            out.write_all(&new.text)?;
        }
        lines.try_for_each(|line| out.write_all(&line.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_b(file: &str) -> String {
        let id = ObjectId::from_hex("b".repeat(40).as_bytes()).expect("hex");
        let added = Line::new("refs/heads/b".into(), id, None);
        let mut out = Vec::new();
        let parsed = PackedRefs::parse(file.as_bytes(), ObjectFormat::Sha1).expect("a file");
        parsed.write_with([added], &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_ref_is_added_in_its_place_and_nothing_else_is_promised() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let a = format!("{a} refs/heads/a\n");
        let b = format!("{b} refs/heads/b\n");
        let c = format!("{c} refs/tags/c\n^{c}\n");
        let all = " peeled fully-peeled sorted \n";
        let table = [
            ("", all, ""),
            (all, all, "\n"),
            ("", " sorted \n", "\n"),
            (" peeled\n", " peeled sorted \n", "\n"),
            (" peeled \n", " peeled sorted \n", "\n"),
        ];
        for (traits, expected, refs) in table {
            let header = |traits: &str| match traits {
                "" => String::new(),
                traits => format!("# pack-refs with:{traits}"),
            };
            let (before, after) = if refs.is_empty() {
                ("", "")
            } else {
                (&*a, &*c)
            };
            let file = format!("{}{before}{after}", header(traits));
            assert_eq!(
                with_b(&file),
                format!("{}{before}{b}{after}", header(expected))
            );
        }
    }

    #[test]
    fn refs_out_of_order_are_put_right() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let file = format!("{c} refs/heads/c\n{a} refs/heads/a\n");
        let lines = format!("{a} refs/heads/a\n{b} refs/heads/b\n{c} refs/heads/c\n");
        assert_eq!(with_b(&file), format!("# pack-refs with: sorted \n{lines}"));
    }

    #[test]
    fn a_line_is_removed_only_as_it_was_added() {
        let [ours, theirs] = ['a', 'b']
            .map(|digit| ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex"));
        let added = [
            Line::new("refs/heads/a".into(), ours, None),
            Line::new("refs/heads/b".into(), ours, None),
        ];
        let file = format!("{theirs} refs/heads/a\n{ours} refs/heads/b\n{ours} refs/heads/c\n");
        let mut parsed = PackedRefs::parse(file.as_bytes(), ObjectFormat::Sha1).expect("a file");
        parsed.remove(&added);
        let names: Vec<_> = parsed.lines.iter().map(|line| line.name).collect();
        assert_eq!(names, ["refs/heads/a", "refs/heads/c"]);
    }
}
