//! `fsck_tree()` of git's `fsck.c`, in one pass and without an allocation for a tree as git writes it.

use std::cmp::Ordering;

use super::{
    FsckMessage::{self, *},
    Special, SpecialFile,
    dot_names::{GITATTRIBUTES, GITIGNORE, GITMODULES, MAILMAP, is_dot_git, is_ntfs_dot_git},
    report::Report,
};

const DIRECTORY: u16 = 0o040000;
const SYMLINK: u16 = 0o120000;
/// The bits of a mode that tell the kind of file.
const KIND: u16 = 0o170000;

/// The faults of a tree, a bit for each message: each is reported once, however many of the tree's entries have it.
#[derive(Default)]
struct Faults(u64);

const _: () = assert!(
    (ExtraHeaderEntry as u32) < u64::BITS,
    "it is the last message"
);

/// One entry, as offsets into the tree.
#[derive(Clone, Copy)]
struct Entry {
    /// The mode, truncated to 16 bits as git does.
    mode: u16,
    name: usize,
    name_end: usize,
    /// The first bytes from the name on, to sort by.
    start: u64,
    /// Whether the name needs more than a glance.
    is_odd: bool,
}

pub(super) fn check(
    data: &[u8],
    id_len: usize,
    max_name: usize,
    special: &mut Special,
    report: &mut impl Report,
) {
    if data.is_empty() {
        return;
    }
    let mut faults = Faults::default();
    let mut stack = Vec::new();
    let mut previous = None;
    let mut at = 0;
    let mut next = decode(data, 0, id_len);
    if next.is_none() {
        let _ = report.report(BadTree, format_args!("cannot be parsed as a tree"));
        return;
    }
    while let Some(entry) = next {
        let name_len = entry.name_end - entry.name;
        let id = &data[entry.name_end + 1..][..id_len];
        faults.note(ZeroPaddedFilemode, data[at] == b'0');
        faults.note(LargePathname, name_len > max_name);
        let is_null = word(data, entry.name_end + 1) == [0; 8] && id.iter().all(|byte| *byte == 0);
        faults.note(NullSha1, is_null);
        if entry.is_odd {
            let name = &data[entry.name..entry.name_end];
            look_closer(name, entry.mode, id, &mut faults, special, report);
        }

        at = entry.name_end + 1 + id_len;
        next = decode(data, at, id_len);
        if next.is_none() && at < data.len() {
            let _ = report.report(BadTree, format_args!("cannot be parsed as a tree"));
            break;
        }
        let has_known_mode = matches!(
            entry.mode,
            0o100644 | 0o100755 | SYMLINK | DIRECTORY | 0o160000
        );
        faults.note(BadFilemode, !has_known_mode);
        if let Some(previous) = previous
            && !clearly_precedes(previous, entry)
        {
            let fault = order_fault(data, previous, entry, &mut stack);
            fault.into_iter().for_each(|fault| faults.note(fault, true));
        }
        previous = Some(entry);
    }
    faults.report(report);
}

/// Whether git can read each entry of a tree.
pub(super) fn can_be_parsed(data: &[u8], id_len: usize) -> bool {
    let mut at = 0;
    while at < data.len() {
        match decode(data, at, id_len) {
            Some(entry) => at = entry.name_end + 1 + id_len,
            None => return false,
        }
    }
    true
}

/// Whether no id is null, and no name is one of those that need more than a glance.
pub(super) fn are_ids_sound<'e>(
    mut entries: impl Iterator<Item = &'e [u8]>,
    id_len: usize,
) -> bool {
    entries.all(|raw| {
        let entry = decode(raw, 0, id_len).filter(|entry| !entry.is_odd);
        entry.is_some_and(|entry| raw[entry.name_end + 1..].iter().any(|byte| *byte != 0))
    })
}

impl Faults {
    fn note(&mut self, fault: FsckMessage, is_found: bool) {
        self.0 |= u64::from(is_found) << fault as u32;
    }

    fn report(&self, report: &mut impl Report) {
        for (fault, detail) in FAULTS {
            if self.0 >> fault as u32 & 1 == 1 {
                let _ = report.report(fault, format_args!("{detail}"));
            }
        }
    }
}

/// The messages of the [`Faults`], in git's order.
const FAULTS: [(FsckMessage, &str); 10] = [
    (NullSha1, "contains entries pointing to null sha1"),
    (FullPathname, "contains full pathnames"),
    (HasDot, "contains '.'"),
    (HasDotdot, "contains '..'"),
    (HasDotgit, "contains '.git'"),
    (ZeroPaddedFilemode, "contains zero-padded file modes"),
    (BadFilemode, "contains bad file modes"),
    (DuplicateEntries, "contains duplicate file entries"),
    (TreeNotSorted, "not properly sorted"),
    (LargePathname, "contains excessively large pathname"),
];

/// `decode_tree_entry()` of git's `tree-walk.c`. An entry has a name, so there is no `emptyName`.
#[inline]
fn decode(data: &[u8], at: usize, id_len: usize) -> Option<Entry> {
    let last_name_end = data.len().checked_sub(id_len + 1)?;
    // The shortest entry is `1 x`, NUL and an id. That every name ends is then certain, too.
    if at + 2 > last_name_end || data[last_name_end] != 0 {
        return None;
    }
    let (mode, name) = match word(data, at) {
        [b'1', b'0', b'0', b'6', b'4', b'4', b' ', _] => (0o100644, at + 7),
        [b'4', b'0', b'0', b'0', b'0', b' ', ..] => (DIRECTORY, at + 6),
        _ => decode_mode(data, at)?,
    };
    let (name_end, is_odd) = scan_name(data, name);
    (name_end > name).then_some(Entry {
        mode,
        name,
        name_end,
        start: u64::from_be_bytes(word(data, name)),
        is_odd,
    })
}

/// `parse_mode()` of git's `object.h`: the mode and where the name starts.
fn decode_mode(data: &[u8], at: usize) -> Option<(u16, usize)> {
    if data[at] == b' ' {
        return None;
    }
    let mut mode = 0u16;
    for (index, byte) in data[at..].iter().enumerate() {
        match byte {
            b' ' => return Some((mode, at + index + 1)),
            b'0'..=b'7' => mode = (mode << 3) | u16::from(byte - b'0'),
            _ => return None,
        }
    }
    None
}

/// Finds the end of a name, and whether it may be one of those that need a closer look: all names
/// that some file system takes for another start with a dot or with what HFS+ ignores, or have a
/// backslash or the tilde of a short name.
#[inline]
fn scan_name(data: &[u8], start: usize) -> (usize, bool) {
    let mut is_odd = matches!(data[start], b'.' | 0x80..);
    let mut at = start;
    loop {
        let bytes = u64::from_le_bytes(word(data, at));
        let odd = bytes_equal(bytes, b'/') | bytes_equal(bytes, b'\\') | bytes_equal(bytes, b'~');
        let end = bytes_equal(bytes, 0);
        if end != 0 {
            let before_end = (end & end.wrapping_neg()) - 1;
            is_odd |= odd & before_end != 0;
            return (at + end.trailing_zeros() as usize / 8, is_odd);
        }
        is_odd |= odd != 0;
        at += 8;
    }
}

/// The eight bytes from there on, which are there: an id follows each name.
#[inline]
fn word(data: &[u8], at: usize) -> [u8; 8] {
    data.get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or_default()
}

const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The highest bit of each byte that equals `byte`, and maybe of some that are more significant.
#[inline]
fn bytes_equal(bytes: u64, byte: u8) -> u64 {
    let zero_if_equal = bytes ^ (LOW_BITS * u64::from(byte));
    zero_if_equal.wrapping_sub(LOW_BITS) & !zero_if_equal & HIGH_BITS
}

fn look_closer(
    name: &[u8],
    mode: u16,
    id: &[u8],
    faults: &mut Faults,
    special: &mut Special,
    report: &mut impl Report,
) {
    faults.note(FullPathname, name.contains(&b'/'));
    faults.note(HasDot, name == b".");
    faults.note(HasDotdot, name == b"..");
    faults.note(HasDotgit, is_dot_git(name));

    let is_symlink = mode & KIND == SYMLINK;
    let modules = |special: &mut Special, report: &mut _| match is_symlink {
        false => special.insert(SpecialFile::Modules, id),
        true => link(report, GitmodulesSymlink, ".gitmodules is a symbolic link"),
    };
    if GITMODULES.matches(name) {
        modules(special, report);
    }
    if GITATTRIBUTES.matches(name) {
        match is_symlink {
            false => special.insert(SpecialFile::Attributes, id),
            true => link(report, GitattributesSymlink, ".gitattributes is a symlink"),
        }
    }
    if is_symlink && GITIGNORE.matches(name) {
        link(report, GitignoreSymlink, ".gitignore is a symlink");
    }
    if is_symlink && MAILMAP.matches(name) {
        link(report, MailmapSymlink, ".mailmap is a symlink");
    }
    // On NTFS the backslash separates, and what follows it up to the end may be more than a name.
    for (index, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'\\') {
        let rest = &name[index + 1..];
        faults.note(HasDotgit, is_ntfs_dot_git(rest));
        if GITMODULES.matches_on_ntfs(rest) {
            modules(special, report);
        }
    }
}

fn link(report: &mut impl Report, message: FsckMessage, detail: &str) {
    let _ = report.report(message, format_args!("{detail}"));
}

/// Whether the first eight bytes of both names tell that they are in order.
#[inline]
fn clearly_precedes(first: Entry, second: Entry) -> bool {
    let same = (first.start ^ second.start).leading_zeros() as usize / 8;
    let is_in_both = first.name + same < first.name_end && second.name + same < second.name_end;
    first.start < second.start && is_in_both
}

/// The fault in the order of two entries, if it has one (`verify_ordered()`): a directory is sorted as if its name ended in a slash.
///
/// So a file and a directory of the same name need not be neighbours. `candidates` are the files
/// whose directory may still come, as in `foo`, `foo.bar`, `foo.bar.baz`, `foo.bar/`, `foo/`.
fn order_fault<'a>(
    data: &'a [u8],
    first: Entry,
    second: Entry,
    candidates: &mut Vec<&'a [u8]>,
) -> Option<FsckMessage> {
    let (name1, name2) = (first.name_in(data), second.name_in(data));
    let common = name1.len().min(name2.len());
    match name1[..common].cmp(&name2[..common]) {
        Ordering::Less => return None,
        Ordering::Greater => return Some(TreeNotSorted),
        Ordering::Equal if name1.len() == name2.len() => return Some(DuplicateEntries),
        Ordering::Equal => {}
    }
    let (next1, next2) = (first.byte_at(name1, common), second.byte_at(name2, common));
    if next1 == 0 && sorts_before_slash(next2) {
        candidates.push(name1);
    } else if next2 == b'/' && sorts_before_slash(next1) {
        while let Some(candidate) = candidates.pop() {
            match name2.strip_prefix(candidate) {
                Some([]) => return Some(DuplicateEntries),
                Some([next, ..]) if sorts_before_slash(*next) => {
                    candidates.push(candidate);
                    break;
                }
                _ => {}
            }
        }
    }
    (next1 >= next2).then_some(TreeNotSorted)
}

fn sorts_before_slash(byte: u8) -> bool {
    (1..b'/').contains(&byte)
}

impl Entry {
    fn name_in(self, data: &[u8]) -> &[u8] {
        &data[self.name..self.name_end]
    }

    /// The byte that the sorting sees there.
    fn byte_at(self, name: &[u8], index: usize) -> u8 {
        match name.get(index) {
            Some(byte) => *byte,
            None if self.mode & KIND == DIRECTORY => b'/',
            None => 0,
        }
    }
}
