//! The lines of a `packed-refs` file, judged as git judges them (`refs/packed-backend.c`).
//!
//! `<id> <name>` for each ref, and `^<id>` after it for the object behind an annotated tag. Git refuses
//! a repository whose file has any other line.

use std::fmt;

use bstr::{BStr, ByteSlice};

use crate::{ObjectFormat, ObjectId, object_id::parse_hex, refs};

const HEADER: &[u8] = b"# pack-refs with:";
/// The most bytes that are quoted from a line.
const QUOTED: usize = 75;

/// A ref in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The name, which may be invalid: git accepts an invalid name that is safe.
    pub(crate) name: &'a BStr,
    pub(crate) target: ObjectId,
    pub(crate) peeled: Option<ObjectId>,
    /// The ref's line and its peeled line, as they are in the file.
    pub(crate) text: &'a BStr,
}

/// A line that git refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine<'a> {
    number: usize,
    text: &'a BStr,
}

impl fmt::Display for BadLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadLine { number, text } = self;
        match text.get(..QUOTED) {
            Some(start) => write!(f, "line {number}: {:?}...", start.as_bstr()),
            None => write!(f, "line {number}: {text:?}"),
        }
    }
}

/// Splits a file into the traits in its header and the other lines. A file without a header has no traits.
pub(crate) fn split_header(file: &[u8]) -> Result<(&[u8], &[u8]), BadLine<'_>> {
    if !file.starts_with(b"#") {
        return Ok((b"", file));
    }
    let (line, rest) = file.split_once_str("\n").unwrap_or((file, b""));
    match line.strip_prefix(HEADER) {
        Some(traits) if line.len() < file.len() => Ok((traits, rest)),
        _ => Err(BadLine {
            number: 1,
            text: line.as_bstr(),
        }),
    }
}

/// An iterator over the refs of a file. After a bad line it goes on with the next one.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    /// The number of the line that was read last.
    number: usize,
    format: ObjectFormat,
    /// Whether a line may end with CR LF, which git refuses.
    allows_cr: bool,
}

impl<'a> Records<'a> {
    /// The records of a whole file.
    pub(crate) fn of_file(file: &'a [u8], format: ObjectFormat) -> Result<Self, BadLine<'a>> {
        let (_, rest) = split_header(file)?;
        Ok(Records {
            number: usize::from(rest.len() < file.len()),
            ..Records::of_lines(rest, format)
        })
    }

    /// The records of lines without a header.
    pub(crate) fn of_lines(lines: &'a [u8], format: ObjectFormat) -> Self {
        Records {
            rest: lines,
            number: 0,
            format,
            allows_cr: false,
        }
    }

    /// The valid records of a file that git may refuse.
    pub(crate) fn sound(file: &'a [u8], format: ObjectFormat) -> impl Iterator<Item = Record<'a>> {
        let records = Records {
            allows_cr: true,
            ..Records::of_lines(file, format)
        };
        records.filter_map(Result::ok)
    }

    /// The next line, without its line feed.
    fn line(&mut self) -> Result<&'a [u8], BadLine<'a>> {
        self.number += 1;
        let end = self.rest.find_byte(b'\n').ok_or(BadLine {
            number: self.number,
            text: self.rest.as_bstr(),
        })?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(match line.strip_suffix(b"\r") {
            Some(line) if self.allows_cr => line,
            _ => line,
        })
    }

    fn record(&mut self) -> Result<Record<'a>, BadLine<'a>> {
        let start = self.rest;
        let line = self.line().inspect_err(|_| self.rest = b"")?;
        let (target, name) = self.target_and_name(line).ok_or(BadLine {
            number: self.number,
            text: line.as_bstr(),
        })?;
        let peeled = if self.rest.starts_with(b"^") {
            Some(self.peeled()?)
        } else {
            None
        };
        Ok(Record {
            name,
            target,
            peeled,
            text: start[..start.len() - self.rest.len()].as_bstr(),
        })
    }

    fn target_and_name(&self, line: &'a [u8]) -> Option<(ObjectId, &'a BStr)> {
        let (id, rest) = line.split_at_checked(self.format.hash_kind().len_in_hex())?;
        let name = rest.strip_prefix(b" ").or(rest.strip_prefix(b"\t"))?;
        let name = name.as_bstr();
        let is_accepted = refs::is_valid_name(name)
            || gix::validate::reference::name_partial(name).is_ok()
            || is_safe_name(name);
        Some((parse_hex(id, self.format)?, name)).filter(|_| is_accepted)
    }

    fn peeled(&mut self) -> Result<ObjectId, BadLine<'a>> {
        let line = self.line().inspect_err(|_| self.rest = b"")?;
        parse_hex(&line[1..], self.format).ok_or(BadLine {
            number: self.number,
            text: line.as_bstr(),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BadLine<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.record())
    }
}

/// Whether an invalid name is safe: as a path it does not lead out of the git directory (`refs.c`, `refname_is_safe`).
fn is_safe_name(name: &BStr) -> bool {
    match name.strip_prefix(b"refs/") {
        Some(path) => path
            .split_str("/")
            .all(|part| !matches!(part, b"" | b"." | b"..")),
        None => {
            let mut bytes = name.iter();
            !name.is_empty() && bytes.all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
        }
    }
}

/// Finds the first line, by its offset, whose name starts with `prefix` or comes after it, in sorted
/// lines. `None` if a line on the way is not as git writes it.
pub(crate) fn first_with(prefix: &[u8], lines: &[u8], format: ObjectFormat) -> Option<usize> {
    let line_at = |at: usize| lines[..at].rfind_byte(b'\n').map_or(0, |end| end + 1);
    let line_after = |at: usize| {
        lines[at..]
            .find_byte(b'\n')
            .map_or(lines.len(), |end| at + end + 1)
    };
    // Invariant: both are at the start of a ref's line, or at the end.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    /// The names in a file, or the bad line.
    fn judged(file: &str) -> Result<Vec<String>, String> {
        let text = |bad: BadLine<'_>| bad.to_string();
        let records = Records::of_file(file.as_bytes(), ObjectFormat::Sha1).map_err(text)?;
        let names = records.map(|found| found.map(|found| found.name.to_string()));
        names.collect::<Result<_, _>>().map_err(text)
    }

    #[test]
    fn what_git_reads_is_read() {
        let (a, b) = (id('a'), id('b'));
        let header = "# pack-refs with: peeled fully-peeled sorted \n";
        let upper = a.to_ascii_uppercase();
        for (file, expected) in [
            (String::new(), &[][..]),
            (header.to_owned(), &[]),
            (format!("{header}{a} refs/heads/a\n"), &["refs/heads/a"]),
            (
                format!("{a} refs/x\n^{b}\n{b} refs/y\n"),
                &["refs/x", "refs/y"],
            ),
            (format!("{a} refs/b\n{a} refs/a\n"), &["refs/b", "refs/a"]),
            (format!("{upper} refs/heads/a\n"), &["refs/heads/a"]),
            (format!("{a}\trefs/heads/a\n"), &["refs/heads/a"]),
            (format!("{a} refs/heads/a..b\n"), &["refs/heads/a..b"]),
            (format!("{a} refs/heads/a \n"), &["refs/heads/a "]),
            (format!("{a} refs/heads/a\r\n"), &["refs/heads/a\r"]),
            (format!("{a} HEAD\n{a} one\n"), &["HEAD", "one"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(judged(&file), Ok(expected), "{file}");
        }
    }

    #[test]
    fn what_git_refuses_is_refused_and_the_line_named() {
        let (a, b) = (id('a'), id('b'));
        let good = format!("{a} refs/heads/a\n");
        for (file, number) in [
            ("#".to_owned(), 1),
            ("# pack-refs with: sorted".to_owned(), 1),
            (format!("# by hand\n{good}"), 1),
            (format!("{good}{b} refs/heads/b"), 2),
            (format!("{good}{b}"), 2),
            (format!("{good}^{b}"), 2),
            (format!("{good}^{b}\n^{b}\n"), 3),
            (format!("^{b}\n{good}"), 1),
            (format!("{good}^{b}\r\n"), 2),
            (format!("{good}^{}\n", &b[1..]), 2),
            (format!("{good}\n{good}"), 2),
            (format!("{good}# by hand\n"), 2),
            (format!("{good}{b}{b} refs/heads/b\n"), 2),
            (format!("{good}{b}\n{good}"), 2),
            (format!("{good}{b} refs/../config\n"), 2),
            (format!("{good}{b} refs/heads//b\n"), 2),
            (format!("{good}{b} refs/heads/\n"), 2),
            (format!("{good}{b} config x\n"), 2),
            (format!("{good}{b} \n"), 2),
        ] {
            let bad = judged(&file).expect_err(&file);
            assert!(bad.starts_with(&format!("line {number}: ")), "{bad} {file}");
            let header = "# pack-refs with: \n";
            if !file.starts_with('#') {
                let bad = judged(&format!("{header}{file}")).expect_err(&file);
                assert!(bad.starts_with(&format!("line {}: ", number + 1)), "{bad}");
            }
        }
        let long = judged(&format!("\u{202e}{}\n", id('x').repeat(9))).expect_err("no ref");
        assert!(long.len() < 100 && long.ends_with("\"...") && !long.contains('\u{202e}'));
    }

    #[test]
    fn what_is_sound_is_read_of_any_file() {
        let (a, b) = (id('a'), id('b'));
        let good = format!("{a} refs/heads/a\n");
        for file in [
            format!("# by hand\n{good}"),
            format!("\n{good}\n"),
            format!("^{b}\n{good}^{b}\n^{b}\n"),
            format!("{a} refs/heads/a\r\n^{b}\r\n"),
            format!("{good}{b} refs/heads/b"),
            format!("{b}{b} refs/heads/b\n{good}"),
        ] {
            let found = Records::sound(file.as_bytes(), ObjectFormat::Sha1);
            let names: Vec<_> = found.map(|found| found.name.to_string()).collect();
            assert_eq!(names, ["refs/heads/a"], "{file}");
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
