//! The lines of a ref listing, in protocols v2 and v0.

use bstr::{BStr, ByteSlice as _};

use super::printable;
use crate::{
    AdvertisedRef, Error, ErrorKind, Limits, ObjectFormat, ObjectId, error::check_limit,
    object_id::parse_hex, refs::table::RefTable,
};

/// The size of a listing so far, checked against [`Limits::refs`] and [`Limits::ref_names`].
pub(crate) struct Length<'a> {
    limits: &'a Limits,
    lines: u64,
    names: u64,
}

impl<'a> Length<'a> {
    pub(crate) fn up_to(limits: &'a Limits) -> Self {
        Length {
            limits,
            lines: 0,
            names: 0,
        }
    }

    /// Counts one more ref with a name of `name` bytes.
    pub(crate) fn add(&mut self, name: usize) -> Result<(), Error> {
        let Limits {
            refs, ref_names, ..
        } = *self.limits;
        self.lines += 1;
        self.names += name as u64;
        check_limit("refs", "refs", self.lines, refs as u64)?;
        let unit = "bytes of names of refs";
        check_limit("ref_names", unit, self.names, ref_names as u64)
    }
}

/// One line of a v2 `ls-refs` answer (gitprotocol-v2, "ls-refs"):
/// `<oid> <name>[ symref-target:<name>][ peeled:<oid>]`.
///
/// `Some(None)` for the line of an unborn HEAD, which lists no ref. `None` for a malformed line.
pub(crate) fn parse_v2(line: &BStr, format: ObjectFormat) -> Option<Option<AdvertisedRef<'_>>> {
    let (id, rest) = split_word(without_newline(line));
    let (name, mut rest) = split_word(rest?);
    if name.is_empty() {
        return None;
    }
    let mut found = AdvertisedRef::new(name.into(), ObjectId::null(format));
    while let Some(words) = rest {
        let attribute;
        (attribute, rest) = split_word(words);
        if let Some(peeled) = attribute.strip_prefix(b"peeled:") {
            parse_hex(peeled, format)?;
            found.annotated = true;
        } else if attribute.starts_with(b"symref-target:") {
            found.symbolic = true;
        }
    }
    if id == b"unborn" {
        return Some(None);
    }
    found.target = parse_hex(id, format)?;
    Some(Some(found))
}

/// The lines of a v0 or v1 advertisement (gitprotocol-pack(5), "Reference Discovery"), without the capabilities:
/// `<oid> <name>`. A line for `<name>^{}` has the peeled target of the tag before it.
#[derive(Default)]
pub(crate) struct V0Lines {
    pub(crate) refs: RefTable,
    /// The server's shallow boundary, if it is a shallow clone.
    pub(crate) shallow: Vec<ObjectId>,
}

impl V0Lines {
    /// Adds the next line, and counts it against the limits.
    pub(crate) fn take(
        &mut self,
        line: &BStr,
        format: ObjectFormat,
        length: &mut Length<'_>,
    ) -> Result<(), Error> {
        let refs = self.refs.len();
        self.push(line, format).ok_or_else(|| nonsense(line))?;
        match self.refs.get(refs) {
            Some(new) => length.add(new.name.len()),
            // Not counted: a ref has at most one such line.
            None if line.trim_ascii_end().ends_with(b"^{}") && refs > 0 => Ok(()),
            None => length.add(0),
        }
    }

    /// Adds the next line; `None` if it is malformed.
    pub(crate) fn push(&mut self, line: &BStr, format: ObjectFormat) -> Option<()> {
        let line = without_newline(line);
        if let Some(id) = line.strip_prefix(b"shallow ") {
            self.shallow.push(parse_hex(id, format)?);
            return Some(());
        }
        let (id, name) = line.split_at_checked(format.hash_kind().len_in_hex())?;
        let id = parse_hex(id, format)?;
        let name = name.strip_prefix(b" ")?;
        match name.strip_suffix(b"^{}") {
            // An empty repository sends its capabilities with this name.
            Some(b"capabilities") if id.is_null() && self.refs.is_empty() => {}
            Some(tag) => {
                let last = self.refs.last();
                last.filter(|last| last.name == tag && !last.annotated)?;
                self.refs.annotate_last();
            }
            None if name.is_empty() => return None,
            None => self.refs.push(AdvertisedRef::new(name.into(), id)),
        }
        Some(())
    }
}

pub(crate) fn nonsense(line: &BStr) -> Error {
    let text = format!("the server sent a malformed ref line: {}", printable(line));
    Error::new(ErrorKind::Protocol, text)
}

/// The first word, and the rest after the space.
fn split_word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.find_byte(b' ') {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    }
}

fn without_newline(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_suffix(b"\n") {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const NULL: &str = "0000000000000000000000000000000000000000";

    fn id(hex: &str) -> ObjectId {
        ObjectId::from_hex(hex.as_bytes()).expect("hex")
    }

    fn listed(name: &str, annotated: bool, symbolic: bool) -> AdvertisedRef<'_> {
        AdvertisedRef {
            name: name.into(),
            target: id(A),
            annotated,
            symbolic,
        }
    }

    #[test]
    fn ls_refs_lines() {
        let table = [
            (
                format!("{A} refs/heads/main\n"),
                Some(Some(listed("refs/heads/main", false, false))),
            ),
            (
                format!("{A} refs/heads/main"),
                Some(Some(listed("refs/heads/main", false, false))),
            ),
            (
                format!("{A} refs/tags/v1 peeled:{B}\n"),
                Some(Some(listed("refs/tags/v1", true, false))),
            ),
            (
                format!("{A} HEAD symref-target:refs/heads/main\n"),
                Some(Some(listed("HEAD", false, true))),
            ),
            (
                format!("{A} x symref-target:y peeled:{B} new:z\n"),
                Some(Some(listed("x", true, true))),
            ),
            (
                "unborn HEAD symref-target:refs/heads/main\n".into(),
                Some(None),
            ),
            (String::new(), None),
            ("\n".into(), None),
            (format!("{A}\n"), None),
            (format!("{A} \n"), None),
            (format!("{A}refs/heads/main\n"), None),
            (
                format!("{}f refs/heads/main\n", &A[1..].replace('a', "g")),
                None,
            ),
            (format!("{A}{} refs/heads/sha256\n", &A[..24]), None),
            (format!("{A} refs/tags/v1 peeled:bad\n"), None),
        ];
        for (line, expected) in table {
            assert_eq!(
                parse_v2(line.as_str().into(), ObjectFormat::Sha1),
                expected,
                "{line:?}"
            );
        }
    }

    fn v0(lines: &[String]) -> Option<V0Lines> {
        let mut parsed = V0Lines::default();
        for line in lines {
            parsed.push(line.as_str().into(), ObjectFormat::Sha1)?;
        }
        Some(parsed)
    }

    #[test]
    fn v0_lines() {
        let lines = [
            format!("{A} HEAD\n"),
            format!("{A} refs/tags/v1\n"),
            format!("{B} refs/tags/v1^{{}}\n"),
            format!("{A} refs/tags/v2"),
            format!("shallow {B}\n"),
        ];
        let parsed = v0(&lines).expect("a good advertisement");
        let expected = [
            listed("HEAD", false, false),
            listed("refs/tags/v1", true, false),
            listed("refs/tags/v2", false, false),
        ];
        assert_eq!(parsed.refs, RefTable::from_iter(expected));
        assert_eq!(
            parsed.shallow,
            [ObjectId::from_hex(B.as_bytes()).expect("hex")]
        );
        let empty = v0(&[format!("{NULL} capabilities^{{}}\n")]).expect("an empty repository");
        assert!(empty.refs.is_empty());
        assert!(empty.shallow.is_empty());
    }

    #[test]
    fn a_listing_has_a_budget() {
        let limits = Limits {
            refs: 3,
            ref_names: 10,
            ..Limits::default()
        };
        let add = |names: &[usize]| {
            let mut length = Length::up_to(&limits);
            names.iter().try_for_each(|name| length.add(*name))
        };
        assert!(add(&[3, 3, 4]).is_ok());
        let err = add(&[0; 4]).expect_err("too many");
        assert_eq!(err.to_string(), "more than 3 refs (limit `refs`)");
        let err = add(&[5, 6]).expect_err("too long");
        let text = "more than 10 bytes of names of refs (limit `ref_names`)";
        assert_eq!(err.to_string(), text);
    }

    #[test]
    fn v0_lines_out_of_order() {
        let orphan = format!("{B} refs/tags/v1^{{}}\n");
        assert!(
            v0(std::slice::from_ref(&orphan)).is_none(),
            "peeled without a tag"
        );
        assert!(
            v0(&[format!("{A} refs/tags/v2\n"), orphan.clone()]).is_none(),
            "peeled for another tag"
        );
        let tag = [format!("{A} refs/tags/v1\n"), orphan.clone(), orphan];
        assert!(v0(&tag[..2]).is_some());
        assert!(v0(&tag).is_none(), "peeled again");
        assert!(v0(&["nonsense\n".into()]).is_none());
        assert!(v0(&[format!("{A} \n")]).is_none());
    }

    /// The bytes that real git sends, and what it says they mean: see `fixtures/record-wire`.
    macro_rules! recorded {
        ($protocol:literal, $format:literal) => {
            include_bytes!(concat!("../../fixtures/wire/", $protocol, "-", $format)).as_slice()
        };
    }

    fn pkt_lines(bytes: &[u8], mut take: impl FnMut(&BStr)) {
        use gix_transport::packetline::{PacketLineRef, blocking_io::StreamingPeekableIter};
        let mut lines = StreamingPeekableIter::new(bytes, &[PacketLineRef::Flush], false);
        while let Some(line) = lines.read_line() {
            take(
                line.expect("no I/O")
                    .expect("a pkt-line")
                    .as_bstr()
                    .expect("text"),
            );
        }
    }

    fn said_by_git(refs: &[u8]) -> Vec<AdvertisedRef<'_>> {
        let refs = refs.lines().map(|line| {
            let [name, target, peeled, symref] = line.split_str(" ").collect::<Vec<_>>()[..] else {
                panic!("four columns: {}", line.as_bstr());
            };
            AdvertisedRef {
                name: name.into(),
                target: ObjectId::from_hex(target).expect("hex"),
                annotated: ObjectId::from_hex(peeled).is_ok(),
                symbolic: !symref.is_empty(),
            }
        });
        refs.collect()
    }

    #[test]
    fn recorded_ls_refs_answers_say_what_git_says() {
        for (format, bytes, refs) in [
            (
                ObjectFormat::Sha1,
                recorded!("v2", "sha1"),
                recorded!("refs", "sha1"),
            ),
            (
                ObjectFormat::Sha256,
                recorded!("v2", "sha256"),
                recorded!("refs", "sha256"),
            ),
        ] {
            let mut found = RefTable::default();
            pkt_lines(bytes, |line| {
                found.extend(parse_v2(line, format).expect("a ref line"))
            });
            assert_eq!(found, RefTable::from_iter(said_by_git(refs)), "{format}");
        }
    }

    #[test]
    fn recorded_v0_advertisements_say_what_git_says_but_for_symbolic_refs() {
        for (format, bytes, refs) in [
            (
                ObjectFormat::Sha1,
                recorded!("v0", "sha1"),
                recorded!("refs", "sha1"),
            ),
            (
                ObjectFormat::Sha256,
                recorded!("v0", "sha256"),
                recorded!("refs", "sha256"),
            ),
        ] {
            let mut found = V0Lines::default();
            pkt_lines(bytes, |line| {
                // The first line carries the capabilities, which gix cuts off.
                let line = line.split_str("\0").next().expect("at least one");
                found.push(line.as_bstr(), format).expect("a ref line");
            });
            let mut found = found.refs.iter();
            assert_eq!(found.next().expect("a ref").name, "HEAD");
            let expected = said_by_git(refs).into_iter().map(|r| AdvertisedRef {
                symbolic: false,
                ..r
            });
            assert!(found.eq(expected), "{format}");
        }
    }
}
