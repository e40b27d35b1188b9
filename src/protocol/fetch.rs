//! Asking for a pack in one round, and what a server says before it sends one (gitprotocol-v2(5),
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

/// The protocol in which a server is asked, with its capabilities there.
#[derive(Debug, Clone)]
pub(crate) enum Dialect {
    V2(Capabilities),
    V0(Capabilities),
}

impl Dialect {
    /// Whether a request names the object format: a v2 server from before SHA-256 doesn't know the word.
    pub(crate) fn names_format(&self) -> bool {
        matches!(self, Dialect::V2(capabilities) if capabilities.has("object-format"))
    }

    /// Whether a server of v2 can be asked for a HEAD that names a branch that isn't there.
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

/// Says every "have" there is and "done" with them, so that the pack comes at once.
///
/// Fails if the server can't send a pack in side-bands.
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

/// The capabilities that are requested of an older server, behind the first want.
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

/// The part of an answer before a pack, or instead of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    /// The pack is next, in side-bands. Of its first packet, which is there already, so many bytes are
    /// left if the head is gone.
    Pack(Option<usize>),
    /// The text of an `ERR` packet.
    Refused(BString),
}

/// Reads up to the pack. Whatever is said there is beside the matter: everything has been asked for
/// and nothing is left to negotiate.
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
                        // An empty section is what a server says to a shallow client.
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
                "the server answered a fetch in a way that makes no sense: {}",
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

/// The tip that the server doesn't want to hand out, from its `ERR` line: git says
/// `upload-pack: not our ref <oid>` (`upload-pack.c`), whether it lost the object or hides it.
pub(crate) fn refused_want(err_line: &BStr, wants: &[ObjectId]) -> Option<ObjectId> {
    let (_, rest) = err_line.split_once_str("not our ref ")?;
    let hex = rest.split(|byte| !byte.is_ascii_hexdigit()).next()?;
    let id = ObjectId::from_hex(hex).ok()?;
    wants.contains(&id).then_some(id)
}

#[cfg(test)]
mod tests;
