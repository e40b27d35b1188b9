//! Asking a v2 server for its refs, and its answer (gitprotocol-v2(5), "ls-refs").

use std::io::Read;

use bstr::{BString, ByteSlice as _};

use super::{
    pkt_line::{Packets, Request},
    ref_line::{Length, nonsense, parse_v2},
    refused, unreadable,
};
use crate::{Error, Limits, ObjectFormat, ref_table::RefTable};

/// The longest prefix that is asked for. A server gives no name this long, and one that is cut short
/// is a prefix of more.
const MAX_PREFIX: usize = 60_000;

/// Asks for the refs below `prefixes`, all if there are none, with what `attributes` name. A server
/// that isn't told a `format` takes it to be SHA-1.
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

/// The refs that an answer lists.
pub(crate) fn listing(
    from: impl Read,
    format: ObjectFormat,
    limits: &Limits,
) -> Result<RefTable, Error> {
    let mut packets = Packets::new(from);
    let mut refs = RefTable::default();
    let mut length = Length::up_to(limits);
    while let Some(line) = packets.next().map_err(unreadable)? {
        if let Some(text) = line.strip_prefix(b"ERR ") {
            return Err(refused(text));
        }
        let line = line.as_bstr();
        let parsed = parse_v2(line, format).ok_or_else(|| nonsense(line))?;
        length.add(parsed.as_ref().map_or(0, |new| new.name.len()))?;
        refs.extend(parsed);
    }
    Ok(refs)
}
