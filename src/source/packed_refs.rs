//! Creating many refs at once, in the `packed-refs` file.
//!
//! The file is read, merged and replaced under its lock, which `git pack-refs` takes as well. A
//! loose ref that somebody makes meanwhile takes precedence over a packed one of the same name, so
//! nothing of theirs is lost; ours is reported as raced.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use bstr::{BStr, BString, ByteSlice};
use gix::{ObjectId, refs::Target};

use super::{
    RefUpdate,
    ref_lock::RefLocks,
    ref_update::{current, loose, not_written},
};
use crate::{
    Namespace, Reason,
    pack::{commits::StoreCommits, incoming::sync_directory},
    plan,
};

/// What git writes at the top; it says what a reader may rely on (`refs/packed-backend.c`).
const TRAITS: &[u8] = b" peeled fully-peeled sorted";
const HEADER: &[u8] = b"# pack-refs with:";

/// Creates refs that must not exist. One answer per update, in order.
pub(super) fn create(
    repo: &gix::Repository,
    commits: &mut StoreCommits<'_>,
    locks: &mut RefLocks,
    updates: &[&RefUpdate],
    wait: Duration,
) -> Vec<Result<(), Reason>> {
    // Not under the lock: a tag may be about a tag about a tag.
    let lines = updates.iter().map(|update| {
        let peeled = commits.peel(update.new);
        let peeled = Some(peeled).filter(|peeled| *peeled != update.new);
        Line::new(update.name.as_bstr(), update.new, peeled)
    });
    let mut answers = match add(repo, locks, lines.collect(), wait) {
        Ok(answers) => answers,
        Err(err) => return vec![Err(not_written(&err)); updates.len()],
    };
    if let Err(err) = sync_directory(repo.common_dir()) {
        tracing::warn!(%err, "the new refs may not outlive a power failure");
    }
    let files = LooseRefs::list(repo);
    for (update, answer) in updates.iter().zip(&mut answers) {
        let name = update.name.as_bstr();
        let shadowed = answer.is_ok() && files.has(name);
        if shadowed && !current(repo, name).is_ok_and(|tip| tip == Some(Target::Object(update.new)))
        {
            *answer = Err(Reason::Raced);
        }
    }
    answers
}

/// Adds the lines that may be added. An error means that nothing has changed.
fn add(
    repo: &gix::Repository,
    locks: &mut RefLocks,
    lines: Vec<Line<'_>>,
    wait: Duration,
) -> io::Result<Vec<Result<(), Reason>>> {
    let path = repo.common_dir().join("packed-refs");
    let mut lock = locks.lock(path.clone(), wait)?;
    let packed = read(&path)?;
    let packed = PackedRefs::parse(&packed);
    let files = LooseRefs::list(repo);
    let mut free = BStr::new("");
    let judged = lines.into_iter().map(|line| {
        let answer = may_create(&packed, &files, line.name, &mut free);
        (answer, line)
    });
    let (answers, lines): (Vec<_>, Vec<_>) = judged.unzip();
    let allowed = lines
        .into_iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.is_ok());
    let added: Vec<_> = allowed.map(|(line, _)| line).collect();
    if added.is_empty() {
        return Ok(answers);
    }
    lock.write(|file| {
        let mut out = io::BufWriter::new(file);
        packed.write_with(added, &mut out)?;
        out.flush()
    })?;
    lock.commit()?;
    Ok(answers)
}

/// Names have been compared before, but that was when the refs were listed. `free` is the directory of
/// the name before this one if nothing is in its way: names come in order.
fn may_create<'n>(
    packed: &PackedRefs<'_>,
    files: &LooseRefs<'_>,
    name: &'n BStr,
    free: &mut &'n BStr,
) -> Result<(), Reason> {
    let has = |name: &BStr| packed.find(name).is_some() || files.has(name);
    if has(name) {
        return Err(Reason::Raced);
    }
    let directory = name[..name.rfind_byte(b'/').unwrap_or_default()].as_bstr();
    let mut with = None;
    if directory != *free {
        let mut above = plan::paths_of(name).map(BStr::new);
        with = above.find(|path| has(path));
        if with.is_none() {
            *free = directory;
        }
    }
    let below = || packed.find_below(name).or_else(|| files.find_below(name));
    match with.or_else(below) {
        Some(with) => Err(Reason::NameConflict { with: with.into() }),
        None => Ok(()),
    }
}

/// The branches and tags that have a file of their own. Git leaves empty directories behind; they are
/// in nobody's way.
struct LooseRefs<'a> {
    repo: &'a gix::Repository,
    /// Sorted.
    names: Vec<BString>,
    /// Whether the file system may take two names for one.
    may_look_alike: bool,
}

impl<'a> LooseRefs<'a> {
    fn list(repo: &'a gix::Repository) -> Self {
        let mut names = Vec::new();
        for namespace in Namespace::ALL {
            let name = namespace.prefix().trim_end_matches('/');
            add_files_below(&loose(repo, name.into()), name.into(), &mut names);
        }
        names.sort_unstable();
        let folds_case = repo.config_snapshot().boolean("core.ignoreCase");
        LooseRefs {
            repo,
            names,
            may_look_alike: folds_case == Some(true) || cfg!(any(windows, target_os = "macos")),
        }
    }

    fn has(&self, name: &BStr) -> bool {
        let found = self
            .names
            .binary_search_by_key(&name, |loose| loose.as_bstr());
        found.is_ok() || self.may_look_alike && loose(self.repo, name).is_file()
    }

    fn find_below(&self, name: &BStr) -> Option<&BStr> {
        let directory = [name.as_bytes(), b"/"].concat();
        let at = self
            .names
            .partition_point(|loose| loose.as_slice() < &*directory);
        let next = self.names.get(at)?.as_bstr();
        next.starts_with(&directory).then_some(next)
    }
}

/// A link to a directory is taken for a file, and so is in the way of what would be below it: it may
/// lead anywhere, and in a circle.
fn add_files_below(directory: &Path, name: BString, names: &mut Vec<BString>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let Ok(last) = gix::path::os_string_into_bstring(entry.file_name()) else {
            continue;
        };
        let name: BString = [name.as_slice(), b"/", last.as_slice()].concat().into();
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => add_files_below(&entry.path(), name, names),
            false => names.push(name),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The lines of a `packed-refs` file, sorted by name.
struct PackedRefs<'a> {
    traits: &'a [u8],
    lines: Vec<Line<'a>>,
}

struct Line<'a> {
    name: &'a BStr,
    /// The line itself and the peeled one after it, as they are in the file.
    text: std::borrow::Cow<'a, BStr>,
}

impl<'a> Line<'a> {
    fn new(name: &'a BStr, tip: ObjectId, peeled: Option<ObjectId>) -> Self {
        let ids = 1 + usize::from(peeled.is_some());
        let length = name.len() + ids * (tip.kind().len_in_hex() + 2);
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

const MAX_HEX: usize = gix::hash::Kind::longest().len_in_hex();

/// Formatting an id takes several times as long.
fn push_hex(text: &mut Vec<u8>, id: ObjectId) {
    let mut hex = [0; MAX_HEX];
    let digits = id.hex_to_buf(&mut hex);
    text.extend_from_slice(digits.as_bytes());
}

impl<'a> PackedRefs<'a> {
    fn parse(file: &'a [u8]) -> Self {
        // A file without a header promises nothing.
        let mut traits: &[u8] = if file.is_empty() { TRAITS } else { b"" };
        let mut lines: Vec<Line<'a>> = Vec::new();
        let mut start = 0;
        let mut name = None;
        let mut end = 0;
        for line in file.lines_with_terminator() {
            let at = end;
            end += line.len();
            if let Some(found) = line.strip_prefix(HEADER) {
                traits = found.trim_end_with(|c| c == '\n');
                start = end;
            } else if !line.starts_with(b"^") {
                lines.extend(name.take().map(|name| Line {
                    name,
                    text: file[start..at].as_bstr().into(),
                }));
                start = at;
                let (_, rest) = line.split_once_str(" ").unwrap_or_default();
                name = Some(rest.trim_end_with(|c| c == '\n').as_bstr());
            }
        }
        lines.extend(name.map(|name| Line {
            name,
            text: file[start..end].as_bstr().into(),
        }));
        lines.sort_by_key(|line| line.name);
        PackedRefs { traits, lines }
    }

    fn find(&self, name: &BStr) -> Option<&Line<'a>> {
        let found = self.lines.binary_search_by_key(&name, |line| line.name);
        found.ok().map(|index| &self.lines[index])
    }

    /// A ref that needs `name` as a directory.
    fn find_below(&self, name: &BStr) -> Option<&'a BStr> {
        let directory = [name.as_bytes(), b"/"].concat();
        let at = self.lines.partition_point(|line| *line.name < *directory);
        let next = self.lines.get(at)?.name;
        next.starts_with(&directory).then_some(next)
    }

    fn write_with(self, added: Vec<Line<'a>>, out: &mut impl Write) -> io::Result<()> {
        let mut lines = self.lines;
        lines.extend(added);
        lines.sort_by_key(|line| line.name);
        out.write_all(HEADER)?;
        out.write_all(self.traits.trim_end())?;
        if !self.traits.fields().any(|word| word == b"sorted") {
            out.write_all(b" sorted")?;
        }
        out.write_all(b" \n")?;
        for line in lines {
            out.write_all(&line.text)?;
            if !line.text.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_b(file: &str) -> String {
        let id = ObjectId::from_hex("b".repeat(40).as_bytes()).expect("hex");
        let added = Line::new("refs/heads/b".into(), id, None);
        let mut out = Vec::new();
        let parsed = PackedRefs::parse(file.as_bytes());
        parsed.write_with(vec![added], &mut out).expect("memory");
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
    fn refs_out_of_order_and_a_last_line_without_its_end_are_put_right() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let file = format!("{c} refs/heads/c\n{a} refs/heads/a");
        let lines = format!("{a} refs/heads/a\n{b} refs/heads/b\n{c} refs/heads/c\n");
        assert_eq!(with_b(&file), format!("# pack-refs with: sorted \n{lines}"));
    }
}
