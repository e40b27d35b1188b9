//! Listing for a pull, and the pack or why there is none.

use bstr::{BString, ByteSlice as _};
use gix_transport::{
    Protocol,
    client::blocking_io::{ReadlineBufRead, TransportV2Ext as _},
};

use super::{
    AGENT,
    session::{Greeting, Session, each_line, failed, nonsense, refused},
};
use crate::{
    AdvertisedRef, Error, ErrorKind, Limits, ObjectFormat, PackAnswer, PackReceiver, PackRequest,
    Run,
    protocol::{
        fetch::{self, Dialect, Offers, Preface, refused_want},
        noise::Noise,
        printable,
        ref_line::{self, Length},
        side_band::{SideBand, Trouble},
    },
    transport::Call,
};

/// What a server said about its upload-pack when hands were shaken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadPack {
    pub(crate) dialect: Dialect,
    pub(super) format: ObjectFormat,
}

impl UploadPack {
    pub(crate) fn new(greeting: &Greeting) -> Self {
        let offers = |name: &str| greeting.offers(name);
        let dialect = match greeting.protocol {
            Protocol::V2 => {
                let fetch = greeting.capabilities.capability("fetch");
                Dialect::V2 {
                    names_format: offers("object-format"),
                    shallow: fetch.is_some_and(|fetch| fetch.supports("shallow") == Some(true)),
                }
            }
            Protocol::V0 | Protocol::V1 => Dialect::V0(Offers::of(offers)),
        };
        UploadPack {
            dialect,
            format: greeting.format,
        }
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
        run: &Run,
    ) -> Result<Vec<AdvertisedRef>, Error> {
        let capabilities = [
            ("agent", Some(AGENT.to_owned())),
            ("object-format", Some(known.format.to_string())),
        ];
        let capabilities = capabilities
            .into_iter()
            .filter(|(name, _)| known.names_format() || *name != "object-format");
        let prefixes = prefixes
            .iter()
            .map(|prefix| format!("ref-prefix {prefix}").into());
        let attributes = attributes.iter().map(|attribute| BString::from(*attribute));
        let arguments = attributes.chain(prefixes);
        let answer = self
            .transport
            .invoke("ls-refs", capabilities, Some(arguments), false);
        let mut lines = match answer {
            Ok(lines) => lines,
            Err(err) => return Err(failed(&self.client, "listing refs", err.into())),
        };
        let unreadable = |err| failed(&self.client, "listing refs", err);
        listing(&mut *lines, known.format, run.limits(), &unreadable)
    }

    pub(super) fn fetch(
        &mut self,
        known: UploadPack,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &Run,
    ) -> Result<PackAnswer, Error> {
        let body = fetch::request(request, known.dialect, known.format, AGENT)?;
        let call = Call {
            repository: &self.base,
            service: "git-upload-pack",
            version: matches!(known.dialect, Dialect::V2 { .. }).then_some("2"),
            moves_refs: false,
        };
        let answer = self.client.upload(&call, &mut body.as_slice());
        let mut answer = answer.map_err(|unanswered| unanswered.error)?;
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
        // A pack that breaks off is the network's fault before it is the pack's.
        Err(network_first(match pack.trouble() {
            Some(Trouble::Fatal(words)) => {
                let text = format!("the server gave up on the pack: {words}");
                Error::new(ErrorKind::Remote, text)
            }
            Some(Trouble::Refused(text)) => refused(text.as_bytes()),
            Some(Trouble::OverBudget(err)) => err,
            Some(Trouble::Garbled) => broken_pack().with_source(err),
            None => err,
        }))
    }
}

/// The refs that an answer to `ls-refs` lists. `unreadable` is about what can't be read of it.
pub(crate) fn listing(
    lines: &mut dyn ReadlineBufRead,
    format: ObjectFormat,
    limits: &Limits,
    unreadable: &dyn Fn(gix::Error) -> Error,
) -> Result<Vec<AdvertisedRef>, Error> {
    let mut refs = Vec::new();
    let mut length = Length::up_to(limits);
    each_line(lines, unreadable, |line| {
        let parsed = ref_line::parse_v2(line, format).ok_or_else(|| nonsense(line))?;
        length.add(parsed.as_ref().map_or(0, |new| new.name.len()))?;
        refs.extend(parsed);
        Ok(())
    })?;
    Ok(refs)
}

fn broken_pack() -> Error {
    Error::new(ErrorKind::Protocol, "receiving a pack failed")
}

fn unavailable(err_line: &BString, request: &PackRequest) -> Result<PackAnswer, Error> {
    match refused_want(err_line.as_bstr(), &request.wants) {
        Some(tip) => Ok(PackAnswer::Unavailable {
            tip,
            detail: printable(err_line),
        }),
        None => Err(refused(err_line)),
    }
}
