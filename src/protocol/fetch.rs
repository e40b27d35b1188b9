//! Asking for a pack in one round, and what a server says before it sends one (gitprotocol-v2(5),
//! "fetch"; gitprotocol-pack(5), "Packfile Negotiation").

use std::io::{self, BufRead};

use bstr::{BStr, BString, ByteSlice};

use super::{
    not_packets,
    pkt_line::{Packet, Request, read_head},
    printable,
    sideband_budget::SidebandBudget,
};
use crate::{Error, ErrorKind, ObjectFormat, ObjectId, PackRequest};

/// In which protocol a server is asked, with what it offers there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    V2 {
        /// Whether it knows the word `object-format`: one from before SHA-256 doesn't.
        names_format: bool,
        shallow: bool,
    },
    V0(Offers),
}

/// The capabilities of upload-pack that a server older than protocol v2 advertises
/// (gitprotocol-capabilities(5)).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offers {
    multi_ack_detailed: bool,
    side_band_64k: bool,
    side_band: bool,
    thin_pack: bool,
    ofs_delta: bool,
    no_progress: bool,
    shallow: bool,
    agent: bool,
}

impl Offers {
    /// Those of a server that offers what `offers` says that it does.
    pub(crate) fn of(offers: impl Fn(&str) -> bool) -> Self {
        Offers {
            multi_ack_detailed: offers("multi_ack_detailed"),
            side_band_64k: offers("side-band-64k"),
            side_band: offers("side-band"),
            thin_pack: offers("thin-pack"),
            ofs_delta: offers("ofs-delta"),
            no_progress: offers("no-progress"),
            shallow: offers("shallow"),
            agent: offers("agent"),
        }
    }
}

/// Says every "have" there is and "done" with them, so that the pack comes at once.
///
/// Fails if the server can't send a pack in side-bands.
pub(crate) fn request(
    request: &PackRequest,
    dialect: Dialect,
    format: ObjectFormat,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut said = Request::default();
    let wants = request.wants.iter();
    let haves = request.haves.iter();
    match dialect {
        Dialect::V2 {
            names_format,
            shallow,
        } => {
            said.line("command=fetch");
            said.line(format!("agent={agent}"));
            said.line_if(names_format, format!("object-format={format}"));
            said.delimiter();
            said.line_if(request.thin, "thin-pack");
            said.line_if(request.ofs_delta, "ofs-delta");
            said.line("no-progress");
            wants.for_each(|id| said.line(format!("want {id}")));
            let boundary = request.shallow.iter().filter(|_| shallow);
            boundary.for_each(|id| said.line(format!("shallow {id}")));
            haves.for_each(|id| said.line(format!("have {id}")));
            said.line("done");
            said.flush();
        }
        Dialect::V0(offers) => {
            let mut capabilities = requested(request, offers, agent)?;
            for id in wants {
                said.line(format!("want {id}{capabilities}"));
                capabilities.clear();
            }
            let boundary = request.shallow.iter().filter(|_| offers.shallow);
            boundary.for_each(|id| said.line(format!("shallow {id}")));
            said.flush();
            haves.for_each(|id| said.line(format!("have {id}")));
            said.line("done");
        }
    }
    Ok(said.0)
}

/// The capabilities that are requested of an older server, behind the first want.
fn requested(request: &PackRequest, offers: Offers, agent: &str) -> Result<String, Error> {
    let side_band = match offers {
        Offers {
            side_band_64k: true,
            ..
        } => "side-band-64k",
        Offers {
            side_band: true, ..
        } => "side-band",
        _ => {
            let text = "the server is too old: it sends a pack without side-bands only";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
    };
    let agent = format!("agent={agent}");
    let words = [
        (offers.multi_ack_detailed, "multi_ack_detailed"),
        (true, side_band),
        (offers.thin_pack && request.thin, "thin-pack"),
        (offers.ofs_delta && request.ofs_delta, "ofs-delta"),
        (offers.no_progress, "no-progress"),
        (offers.agent, &agent),
    ];
    let words = words.iter().filter(|(is_wanted, _)| *is_wanted);
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
    dialect: Dialect,
    budget: &mut SidebandBudget,
) -> Result<Preface, Error> {
    match dialect {
        Dialect::V2 { .. } => preface_v2(answer, budget),
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
    let mut said = vec![0; bytes];
    answer.read_exact(&mut said).map_err(unreadable)?;
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
