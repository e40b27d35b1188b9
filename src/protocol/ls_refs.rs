//! The command `ls-refs` of protocol v2 and its answer (gitprotocol-v2(5), "ls-refs").

use std::io::Read;

use bstr::{BStr, BString, ByteSlice as _};

use super::{
    pkt_line::{Packets, Request},
    ref_line::{Length, nonsense, parse_v2},
    refused, unreadable,
};
use crate::{Error, Limits, ObjectFormat, RefList, refs::table::RefTable};

/// The longest prefix in a request. No ref name is this long, and a truncated prefix only matches more names.
const MAX_PREFIX: usize = 60_000;

/// The request for the refs below `prefixes` (all refs if there are none) with the given `attributes`. Without a `format`
/// a server assumes SHA-1.
pub(crate) fn request(
    prefixes: &[BString],
    attributes: &[&str],
    format: Option<ObjectFormat>,
    agent: &str,
) -> Vec<u8> {
    let mut said = Request::default();
    said.line("command=ls-refs");
    said.line(format!("agent={agent}"));
    if let Some(format) = format {
        said.line(format!("object-format={format}"));
    }
    said.delimiter();
    attributes.iter().for_each(|attribute| said.line(attribute));
    for prefix in prefixes {
        let prefix = &prefix[..prefix.len().min(MAX_PREFIX)];
        said.line([b"ref-prefix ", prefix].concat());
    }
    said.flush();
    said.0
}

/// Reads the refs of an answer: all but HEAD, whose target is the default branch if HEAD was requested and is symbolic.
pub(crate) fn listing(
    from: impl Read,
    format: ObjectFormat,
    limits: &Limits,
) -> Result<RefList, Error> {
    let mut packets = Packets::new(from);
    let mut refs = RefTable::default();
    let mut head = None;
    let mut length = Length::up_to(limits);
    while let Some(line) = packets.next().map_err(unreadable)? {
        if let Some(text) = line.strip_prefix(b"ERR ") {
            return Err(refused(text));
        }
        let line = line.as_bstr();
        let parsed = parse_v2(line, format).ok_or_else(|| nonsense(line))?;
        // HEAD is requested in addition to the refs, so it does not count against their limit.
        if head.is_none() {
            head = head_line(line);
            if head.is_some() {
                continue;
            }
        }
        length.add(parsed.as_ref().map_or(0, |new| new.name.len()))?;
        refs.extend(parsed);
    }
    let mut list = RefList::of(format, refs);
    list.default_branch = head.flatten();
    Ok(list)
}

/// The target of HEAD (if it is symbolic) from its line; `None` for any other line.
fn head_line(line: &BStr) -> Option<Option<BString>> {
    let mut words = line.trim_end_with(|last| last == '\n').split_str(" ");
    let target = |word: &[u8]| word.strip_prefix(b"symref-target:").map(BString::from);
    (words.nth(1)? == b"HEAD").then(|| words.find_map(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pkt_line::HEAD_LEN;

    fn listed(lines: &[&str], limits: &Limits) -> Result<RefList, Error> {
        let packet = |line: &&str| format!("{:04x}{line}", line.len() + HEAD_LEN);
        let answer = lines.iter().map(packet).collect::<String>() + "0000";
        listing(answer.as_bytes(), ObjectFormat::Sha1, limits)
    }

    #[test]
    fn head_is_no_ref_and_names_one() {
        let id = "a".repeat(40);
        let main = format!("{id} refs/heads/main\n");
        let limits = Limits {
            refs: 1,
            ..Limits::default()
        };
        for (head, expected) in [
            (
                format!("{id} HEAD symref-target:refs/heads/main\n"),
                Some("refs/heads/main"),
            ),
            (
                format!("{id} HEAD peeled:{id} symref-target:refs/heads/x new:y"),
                Some("refs/heads/x"),
            ),
            (
                "unborn HEAD symref-target:refs/heads/main\n".to_owned(),
                Some("refs/heads/main"),
            ),
            (format!("{id} HEAD\n"), None),
        ] {
            for lines in [[&*head, &*main], [&*main, &*head]] {
                let listed = listed(&lines, &limits).expect("a listing");
                assert_eq!(listed.refs.len(), 1, "{head}");
                assert_eq!(listed.default_branch, expected.map(BString::from), "{head}");
            }
            assert!(listed(&[&head, &head, &main], &limits).is_err(), "{head}");
        }
        let listed = listed(&[&main], &limits).expect("a listing");
        assert_eq!(listed.default_branch, None);
    }
}
