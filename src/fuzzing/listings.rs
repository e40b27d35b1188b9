//! Advertisements of servers, and listings of their refs.

use std::io::Read;

use bstr::ByteSlice;

use super::{
    bytes::{Bytes, Pieces},
    packets::{Frame, frames},
};
use crate::{
    Error, Limits, ObjectFormat, ObjectId, PackRequest, RefList,
    http::services::UploadPackService,
    protocol::{
        advertisement::{self, Advertisement},
        fetch::{self, Dialect},
        ls_refs::listing,
        ref_line::{V0Lines, parse_v2},
    },
    refs::table::RefTable,
};

/// The advertisement of a server older than v2, behind a byte that says how it comes.
///
/// It means the same in whichever pieces it comes; what is taken keeps to the limits, and written
/// down again it is taken for the same.
pub fn v0_advertisement(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let limits = small_limits(seed);
    let whole = advertise(bytes.0, &limits);
    let pieces = advertise(Pieces::new(bytes.0, seed), &limits);
    assert_eq!(said(&whole), said(&pieces));
    let Ok(advertisement) = whole else {
        return;
    };
    let Some(listed) = advertisement.listed else {
        return;
    };
    keeps_to(&limits, &listed.refs, advertisement.format);
    let mut again = V0Lines::default();
    for listed in listed.refs.iter() {
        let mut lines = vec![format!("{} ", listed.target).into_bytes()];
        lines[0].extend_from_slice(listed.name);
        if listed.annotated {
            lines.push([&lines[0][..], b"^{}\n"].concat());
        }
        for line in lines {
            again
                .push(line.as_bstr(), advertisement.format)
                .expect("a line");
        }
    }
    for id in &listed.shallow {
        assert_eq!(id.format(), advertisement.format);
        let line = format!("shallow {id}\n");
        again
            .push(line.as_str().into(), advertisement.format)
            .expect("a line");
    }
    assert_eq!(again.refs, listed.refs);
    assert_eq!(again.shallow, listed.shallow);
}

/// The capabilities of a server that speaks v2, behind a byte that says how they come.
///
/// What it offers is what stands there, and it is never asked for anything else.
pub fn v2_advertisement(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let limits = small_limits(seed);
    let whole = advertise(bytes.0, &limits);
    let pieces = advertise(Pieces::new(bytes.0, seed), &limits);
    assert_eq!(said(&whole), said(&pieces));
    let Ok(advertisement) = whole else {
        return;
    };
    if advertisement.listed.is_some() {
        return;
    }
    let text = lines_of(bytes.0);
    let lines: Vec<_> = text.split_str("\n").skip(1).collect();
    let offered = |name: &str| {
        let mut values = lines
            .iter()
            .map(|line| line.split_once_str("=").unwrap_or((line, b"")));
        values
            .find(|(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    };
    for name in [
        "object-format",
        "fetch",
        "ls-refs",
        "agent",
        "server-option",
    ] {
        assert_eq!(
            advertisement.capabilities.has(name),
            offered(name).is_some(),
            "{name}"
        );
    }
    let format = offered("object-format").filter(|value| !value.is_empty());
    let format = format.map_or("sha1".into(), |value| value.to_str_lossy());
    assert_eq!(advertisement.format.to_string(), format);

    let known = UploadPackService::new(&advertisement);
    let names_format = known.dialect.names_format();
    assert!(matches!(known.dialect, Dialect::V2(_)));
    assert_eq!(names_format, offered("object-format").is_some());
    let may_be_shallow =
        offered("fetch").is_some_and(|value| value.split_str(" ").any(|word| word == b"shallow"));
    let id = ObjectId::null(advertisement.format);
    let request = PackRequest {
        wants: vec![id],
        shallow: vec![id],
        ..PackRequest::default()
    };
    let request = fetch::request(&request, &known.dialect, advertisement.format, "me")
        .expect("v2 has side-bands");
    assert_eq!(request.contains_str("shallow "), may_be_shallow);
    assert_eq!(request.contains_str("object-format="), names_format);
}

/// An answer to `ls-refs`, behind a byte that says how it comes.
pub fn ls_refs(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let format = if seed & 1 == 0 {
        ObjectFormat::Sha1
    } else {
        ObjectFormat::Sha256
    };
    let limits = small_limits(seed);
    let whole = listing(bytes.0, format, &limits);
    let pieces = listing(Pieces::new(bytes.0, seed), format, &limits);
    let text = |listed: &Result<RefList, Error>| {
        let listed = listed.as_ref().map_err(Error::to_string);
        listed.map(|listed| (listed.refs.clone(), listed.default_branch.clone()))
    };
    assert_eq!(text(&whole), text(&pieces));
    let Ok(RefList {
        refs,
        default_branch: head,
        ..
    }) = whole
    else {
        return;
    };
    assert!(head.is_none_or(|head| bytes.0.contains_str(head)));
    keeps_to(&limits, &refs, format);
    let lines = frames(bytes.0)
        .into_iter()
        .take_while(|frame| *frame != Frame::Flush);
    assert!(refs.len() <= lines.count());
    for listed in refs.iter() {
        let mut line = format!("{} ", listed.target).into_bytes();
        line.extend_from_slice(listed.name);
        if listed.annotated {
            line.extend(format!(" peeled:{}", listed.target).bytes());
        }
        if listed.symbolic {
            line.extend_from_slice(b" symref-target:refs/heads/x");
        }
        line.extend_from_slice(b" new:x\n");
        assert_eq!(parse_v2(line.as_bstr(), format), Some(Some(listed)));
    }
}

fn small_limits(seed: u8) -> Limits {
    let mut limits = Limits::default();
    if seed & 0x80 != 0 {
        (limits.refs, limits.ref_names) = (4, 60);
    }
    limits
}

fn keeps_to(limits: &Limits, refs: &RefTable, format: ObjectFormat) {
    assert!(refs.len() <= limits.refs);
    let names: usize = refs.iter().map(|listed| listed.name.len()).sum();
    assert!(names <= limits.ref_names);
    for listed in refs.iter() {
        assert!(!listed.name.is_empty());
        assert_eq!(listed.target.format(), format);
    }
}

fn advertise(stream: impl Read, limits: &Limits) -> Result<Advertisement, String> {
    advertisement::read(stream, "git-upload-pack", limits).map_err(|err| err.to_string())
}

type Said<'a> = (ObjectFormat, String, Option<(&'a RefTable, &'a [ObjectId])>);

fn said(advertisement: &Result<Advertisement, String>) -> Result<Said<'_>, &str> {
    let advertisement = advertisement.as_ref().map_err(String::as_str)?;
    let listed = advertisement.listed.as_ref();
    Ok((
        advertisement.format,
        format!("{:?}", advertisement.capabilities),
        listed.map(|listed| (&listed.refs, &listed.shallow[..])),
    ))
}

/// The content of the packets before the first empty one, a line for each. The announcement of a service
/// doesn't count.
fn lines_of(stream: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut frames = frames(stream).into_iter().peekable();
    let announced =
        |frame: &Frame<'_>| matches!(frame, Frame::Data(line) if line.starts_with(b"# service="));
    if frames.next_if(announced).is_some() {
        frames.by_ref().find(|frame| *frame == Frame::Flush);
    }
    for frame in frames {
        let Frame::Data(line) = frame else {
            break;
        };
        text.extend_from_slice(line);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}
