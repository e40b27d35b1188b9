//! Listing for a pull, and the pack or why there is none.

use bstr::{BString, ByteSlice as _};

use super::{AGENT, session::Session};
use crate::{
    Error, ErrorKind, ObjectFormat, PackAnswer, PackReceiver, PackRequest, SyncContext,
    protocol::{
        ended_early,
        fetch::{self, Dialect, Offers, Preface, refused_want},
        greeting::Greeting,
        ls_refs::{self, Listing},
        noise::Noise,
        printable, refused,
        side_band::{SideBand, Trouble},
    },
    transport::Call,
};

/// What a server said about its upload-pack when hands were shaken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadPack {
    pub(crate) dialect: Dialect,
    pub(super) format: ObjectFormat,
    /// Whether it can be asked for a HEAD that names a branch that isn't there.
    lists_unborn: bool,
    /// Whether nothing else is known about it.
    is_assumed: bool,
}

impl UploadPack {
    pub(crate) fn new(greeting: &Greeting) -> Self {
        let offers = |name: &str| greeting.offers(name);
        let ls_refs = greeting.capabilities.value("ls-refs").unwrap_or_default();
        let dialect = match greeting.listed {
            Some(_) => Dialect::V0(Offers::of(offers)),
            None => {
                let fetch = greeting.capabilities.value("fetch").unwrap_or_default();
                Dialect::V2 {
                    names_format: offers("object-format"),
                    shallow: fetch.split_str(" ").any(|word| word == b"shallow"),
                }
            }
        };
        UploadPack {
            dialect,
            format: greeting.format,
            lists_unborn: ls_refs.split_str(" ").any(|word| word == b"unborn"),
            is_assumed: false,
        }
    }

    /// That of a server which is known to speak v2 and to keep its objects in this format.
    pub(super) fn known(format: ObjectFormat) -> Self {
        UploadPack {
            dialect: Dialect::V2 {
                // Who doesn't name one means SHA-1, and every server knows what to make of that.
                names_format: format != ObjectFormat::Sha1,
                shallow: false,
            },
            format,
            lists_unborn: false,
            is_assumed: true,
        }
    }

    /// Whether enough is known to ask for this: a server that isn't told about a boundary sends less
    /// than is missing.
    pub(super) fn suffices_for(&self, request: &PackRequest) -> bool {
        request.shallow.is_empty() || !self.is_assumed
    }

    /// A server from before SHA-256 doesn't know the word.
    fn names_format(&self) -> bool {
        matches!(
            self.dialect,
            Dialect::V2 {
                names_format: true,
                ..
            }
        )
    }
}

impl Session {
    pub(super) fn ls_refs(
        &mut self,
        prefixes: &[BString],
        attributes: &[&str],
        known: UploadPack,
        run: &SyncContext,
    ) -> Result<Listing, Error> {
        let format = known.names_format().then_some(known.format);
        let unborn = ["unborn"].iter().filter(|_| known.lists_unborn);
        let attributes: Vec<_> = attributes.iter().chain(unborn).copied().collect();
        let body = ls_refs::request(prefixes, &attributes, format, AGENT);
        let call = Call {
            repository: &self.base,
            service: "git-upload-pack",
            version: Some("2"),
            moves_refs: false,
        };
        let answer = self.client.upload(&call, &mut body.as_slice());
        let answer = answer.map_err(|unanswered| unanswered.error)?.body;
        let listed = ls_refs::listing(answer, known.format, run.limits());
        listed.map_err(|err| self.client.take_failure().unwrap_or(err))
    }

    pub(super) fn fetch(
        &mut self,
        known: UploadPack,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let body = fetch::request(request, known.dialect, known.format, AGENT)?;
        let call = Call {
            repository: &self.base,
            service: "git-upload-pack",
            version: matches!(known.dialect, Dialect::V2 { .. }).then_some("2"),
            moves_refs: false,
        };
        let answer = self.client.upload(&call, &mut body.as_slice());
        let mut answer = answer.map_err(|unanswered| unanswered.error)?.body;
        let mut noise = Noise::up_to(run.limits().noise);
        let preface = fetch::preface(&mut answer, known.dialect, &mut noise);
        let network_first = |err| self.client.take_failure().unwrap_or(err);
        let begun = match preface.map_err(network_first)? {
            Preface::Pack(begun) => begun,
            Preface::Refused(line) => return unavailable(&line, request),
        };
        let mut pack = SideBand::new(answer, noise, begun);
        let received = receive(&mut pack).and_then(|()| {
            let finished = pack.finish();
            finished.map_err(|err| broken_pack().with_source(err))
        });
        let Err(err) = received else {
            return Ok(PackAnswer::Sent);
        };
        let trouble = pack.trouble();
        if let Some(Trouble::Fatal(words)) = trouble {
            return Ok(PackAnswer::GaveUp {
                blames_objects: words.contains(CORRUPTION),
                detail: format!("the server gave up on the pack: {words}"),
            });
        }
        // A pack that breaks off is the network's fault before it is the pack's.
        Err(network_first(match trouble {
            Some(Trouble::Refused(text)) => refused(text.as_bytes()),
            Some(Trouble::OverBudget(err)) => err,
            Some(Trouble::Garbled) => broken_pack().with_source(err),
            Some(Trouble::EndedEarly) => ended_early(),
            Some(Trouble::Fatal(_)) | None => err,
        }))
    }
}

/// What git says last where it lacks an object (`upload-pack.c:create_pack_file()`).
const CORRUPTION: &str = "repository corruption";

fn broken_pack() -> Error {
    Error::new(ErrorKind::Protocol, "receiving a pack failed")
}

fn unavailable(err_line: &BString, request: &PackRequest) -> Result<PackAnswer, Error> {
    match refused_want(err_line.as_bstr(), &request.wants) {
        Some(tip) => Ok(PackAnswer::Unavailable {
            tips: vec![(tip, printable(err_line))],
        }),
        None => Err(refused(err_line)),
    }
}
