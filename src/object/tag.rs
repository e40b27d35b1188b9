//! Tags as git parses them.

use bstr::ByteSlice;
use gix::{ObjectId, objs::Kind};

use super::header_line::id_line;

/// The target of a tag and its kind, if git can read the tag (`tag.c:parse_tag_buffer()`).
pub(crate) fn tag_target(tag: &[u8], format: gix::hash::Kind) -> Option<(ObjectId, Kind)> {
    if tag.len() < format.len_in_hex() + MIN_TAG {
        return None;
    }
    let (target, rest) = id_line("object ", tag, format)?;
    let (kind, rest) = rest.strip_prefix(b"type ")?.split_once_str("\n")?;
    let kind = Kind::from_bytes(kind).ok()?;
    let name = rest.strip_prefix(b"tag ")?;
    name.contains(&b'\n').then_some((target, kind))
}

/// Bytes that git requires of a tag beside the id. Some tags with an empty name have fewer.
const MIN_TAG: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_git_reads_it() {
        let object = format!("object {}\n", "a".repeat(40));
        let table = [
            ("type commit\ntag v1\n", Some(Kind::Commit)),
            ("type tag\ntag v1\n\nmessage", Some(Kind::Tag)),
            ("type tree\ntag \n\nno name", Some(Kind::Tree)),
            ("type blob\ntag v\n", Some(Kind::Blob)),
            ("type blob\ntag \n", None),
            ("type commit\ntag v1", None),
            ("type commit\ntag", None),
            ("type commit\ntagger A <a> 1 +0000\n", None),
            ("type commit \ntag v1\n", None),
            ("type Commit\ntag v1\n", None),
            ("type commit", None),
            ("tag v1\ntype commit\n", None),
        ];
        for (rest, expected) in table {
            let tag = object.clone() + rest;
            let found = tag_target(tag.as_bytes(), gix::hash::Kind::Sha1);
            assert_eq!(found.map(|(_, kind)| kind), expected, "{rest:?}");
        }
        let without_id = b"object \ntype commit\ntag v1\n\nand a message that is long enough";
        assert_eq!(tag_target(without_id, gix::hash::Kind::Sha1), None);
    }
}
