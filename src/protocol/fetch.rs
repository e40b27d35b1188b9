//! The request for a pack in one round, with wants and haves, and the server's answer before the pack (gitprotocol-v2(5),
//! "fetch"; gitprotocol-pack(5), "Packfile Negotiation").

use std::io::{self, BufRead};

use bstr::{BStr, BString, ByteSlice};

use super::{
    capabilities::Capabilities,
    not_packets,
    pkt_line::{Packet, Request, read_data, read_head},
    printable,
    sideband_budget::SidebandBudget,
};
use crate::{Error, ErrorKind, ObjectFormat, ObjectId, PackRequest};

/// The protocol version of a server, with its capabilities.
#[derive(Debug, Clone)]
pub(crate) enum Dialect {
    V2(Capabilities),
    V0(Capabilities),
}

impl Dialect {
    /// Whether a request names the object format: a v2 server older than SHA-256 does not know that argument.
    pub(crate) fn names_format(&self) -> bool {
        matches!(self, Dialect::V2(capabilities) if capabilities.has("object-format"))
    }

    /// Whether a v2 server can report an unborn HEAD.
    pub(crate) fn lists_unborn(&self) -> bool {
        matches!(self, Dialect::V2(capabilities) if capabilities.has_feature("ls-refs", "unborn"))
    }

    fn takes_shallow(&self) -> bool {
        match self {
            Dialect::V2(capabilities) => capabilities.has_feature("fetch", "shallow"),
            Dialect::V0(capabilities) => capabilities.has("shallow"),
        }
    }
}

/// The request with all haves and `done`, so that the pack comes in the first answer.
///
/// # Errors
/// An error if the server cannot send a pack in side-bands.
pub(crate) fn request(
    request: &PackRequest,
    dialect: &Dialect,
    format: ObjectFormat,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut said = Request::default();
    let wants = request.wants.iter();
    let haves = request.haves.iter();
    let boundary = request.shallow.iter();
    let boundary = boundary.filter(|_| dialect.takes_shallow());
    match dialect {
        Dialect::V2(_) => {
            said.line("command=fetch");
            said.line(format!("agent={agent}"));
            said.line_if(dialect.names_format(), format!("object-format={format}"));
            said.delimiter();
            said.line_if(request.thin, "thin-pack");
            said.line_if(request.ofs_delta, "ofs-delta");
            said.line("no-progress");
            wants.for_each(|id| said.line(format!("want {id}")));
            boundary.for_each(|id| said.line(format!("shallow {id}")));
            haves.for_each(|id| said.line(format!("have {id}")));
            said.line("done");
            said.flush();
        }
        Dialect::V0(capabilities) => {
            let mut capabilities = requested(request, capabilities, agent)?;
            for id in wants {
                said.line(format!("want {id}{capabilities}"));
                capabilities.clear();
            }
            boundary.for_each(|id| said.line(format!("shallow {id}")));
            said.flush();
            haves.for_each(|id| said.line(format!("have {id}")));
            said.line("done");
        }
    }
    Ok(said.0)
}

/// The capabilities for the first want line of a server older than v2.
fn requested(
    request: &PackRequest,
    capabilities: &Capabilities,
    agent: &str,
) -> Result<String, Error> {
    let side_bands = ["side-band-64k", "side-band"];
    let side_band = side_bands.into_iter().find(|word| capabilities.has(word));
    let side_band = side_band.ok_or_else(|| {
        let text = "the server is too old: it sends a pack without side-bands only";
        Error::new(ErrorKind::Unsupported, text)
    })?;
    let agent = format!("agent={agent}");
    let words = [
        (true, "multi_ack_detailed"),
        (true, side_band),
        (request.thin, "thin-pack"),
        (request.ofs_delta, "ofs-delta"),
        (true, "no-progress"),
        (true, &agent),
    ];
    let words = words
        .iter()
        .filter(|(is_wanted, word)| *is_wanted && capabilities.has(word));
    Ok(words.map(|(_, word)| format!(" {word}")).collect())
}

/// The result of reading an answer up to its pack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    /// The pack follows, in side-bands. The number is the length of its first packet if the length was read already.
    Pack(Option<usize>),
    /// The text of an `ERR` packet.
    Refused(BString),
}

/// Reads an answer up to its pack. Acknowledgements are ignored: the request has `done`, so nothing is left to
/// negotiate.
pub(crate) fn preface(
    answer: &mut impl BufRead,
    dialect: &Dialect,
    budget: &mut SidebandBudget,
) -> Result<Preface, Error> {
    match dialect {
        Dialect::V2(_) => preface_v2(answer, budget),
        Dialect::V0(_) => preface_v0(answer, budget),
    }
}

fn preface_v2(answer: &mut impl BufRead, budget: &mut SidebandBudget) -> Result<Preface, Error> {
    loop {
        let headline = match read_head(answer).map_err(unreadable)? {
            Packet::Data(bytes) => line(answer, bytes, budget)?,
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => return Err(no_pack()),
        };
        match headline.as_slice() {
            b"packfile" => return Ok(Preface::Pack(None)),
            b"acknowledgments" | b"shallow-info" => {}
            other => return refused_or_nonsense(other),
        }
        loop {
            match read_head(answer).map_err(unreadable)? {
                Packet::Data(bytes) => {
                    let said = line(answer, bytes, budget)?;
                    match headline.as_slice() {
                        b"acknowledgments" if is_acknowledgment(&said) => {}
                        // Servers send an empty section to a shallow client.
                        b"shallow-info" if is_about_shallow(&said) => return Err(shallow_source()),
                        _ => return refused_or_nonsense(&said),
                    }
                }
                Packet::Delimiter => break,
                Packet::Flush | Packet::ResponseEnd => return Err(no_pack()),
            }
        }
    }
}

fn preface_v0(answer: &mut impl BufRead, budget: &mut SidebandBudget) -> Result<Preface, Error> {
    loop {
        let Packet::Data(bytes) = read_head(answer).map_err(unreadable)? else {
            return Err(no_pack());
        };
        if let Some(1..=3) = answer.fill_buf().map_err(unreadable)?.first() {
            return Ok(Preface::Pack(Some(bytes)));
        }
        let said = line(answer, bytes, budget)?;
        if is_about_shallow(&said) {
            return Err(shallow_source());
        }
        if !is_acknowledgment(&said) {
            return refused_or_nonsense(&said);
        }
    }
}

fn line(
    answer: &mut impl BufRead,
    bytes: usize,
    budget: &mut SidebandBudget,
) -> Result<BString, Error> {
    budget.take(bytes)?;
    let mut said = Vec::new();
    read_data(answer, bytes, &mut said).map_err(unreadable)?;
    said.truncate(said.trim_end_with(|c| c == '\n').len());
    Ok(said.into())
}

fn is_acknowledgment(said: &[u8]) -> bool {
    said == b"NAK" || said == b"ready" || said.starts_with(b"ACK ")
}

fn is_about_shallow(said: &[u8]) -> bool {
    said.starts_with(b"shallow ") || said.starts_with(b"unshallow ")
}

fn refused_or_nonsense(said: &[u8]) -> Result<Preface, Error> {
    match said.strip_prefix(b"ERR ") {
        Some(text) => Ok(Preface::Refused(text.into())),
        None => {
            let text = format!(
                "the server's answer to a fetch is malformed: {}",
                printable(said)
            );
            Err(Error::new(ErrorKind::Protocol, text))
        }
    }
}

fn no_pack() -> Error {
    let text = "the server was told \"done\" and sent no pack";
    Error::new(ErrorKind::Protocol, text)
}

fn unreadable(err: io::Error) -> Error {
    not_packets("receiving a pack failed", err)
}

pub(crate) fn shallow_source() -> Error {
    let text = "the source is a shallow clone: its history has holes";
    Error::new(ErrorKind::Unsupported, text)
}

/// The want that the server refuses, from its `ERR` line: git sends `upload-pack: not our ref <oid>` (`upload-pack.c`) for
/// a missing object and for a hidden one.
pub(crate) fn refused_want(err_line: &BStr, wants: &[ObjectId]) -> Option<ObjectId> {
    let (_, rest) = err_line.split_once_str("not our ref ")?;
    let hex = rest.split(|byte| !byte.is_ascii_hexdigit()).next()?;
    let id = ObjectId::from_hex(hex).ok()?;
    wants.contains(&id).then_some(id)
}

#[cfg(test)]
mod tests;
