//! Listing for a pull, and the pack or why there is none.

use std::path::PathBuf;

use bstr::{BString, ByteSlice as _};
use gix_protocol::fetch::{Context, Options, Shallow, Tags};
use gix_transport::{Protocol, client::blocking_io::TransportV2Ext as _};

use super::{
    AGENT,
    session::{Session, broken, each_line, err_line, failed, refused, shallow_source},
};
use crate::{
    AdvertisedRef, Error, ErrorKind, ObjectFormat, PackAnswer, PackReceiver, PackRequest, Run,
    protocol::{
        fetch::{OneRound, refused_want},
        last_words::LastWords,
        printable, ref_line,
    },
    transport::HttpClient,
};

impl Session {
    pub(super) fn ls_refs(
        &mut self,
        prefixes: &[BString],
        attributes: &[&str],
        format: ObjectFormat,
        run: &Run,
    ) -> Result<Vec<AdvertisedRef>, Error> {
        let capabilities = [
            ("agent", Some(AGENT.to_owned())),
            ("object-format", Some(format.to_string())),
        ];
        // A server from before SHA-256 doesn't know the word.
        let known = self
            .handshake
            .as_ref()
            .is_some_and(|h| h.capabilities.contains("object-format"));
        let capabilities = capabilities
            .into_iter()
            .filter(|(name, _)| known || *name != "object-format");
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
        let mut refs = Vec::new();
        each_line(&mut *lines, &self.client, |line| {
            refs.extend(ref_line::parse_v2(line, format)?);
            Some(())
        })?;
        run.check()?;
        Ok(refs)
    }

    pub(super) fn fetch(
        &mut self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        run: &Run,
    ) -> Result<PackAnswer, Error> {
        let Some(handshake) = &mut self.handshake else {
            return Err(Error::new(
                ErrorKind::Protocol,
                "a pack was asked for before the handshake",
            ));
        };
        let is_v2 = handshake.server_protocol_version == Protocol::V2;
        let no_progress = is_v2 || handshake.capabilities.contains("no-progress");
        let mut refused_pack = None;
        let words = LastWords::default();
        let outcome = gix_protocol::fetch(
            &mut OneRound {
                request,
                no_progress,
            },
            |pack, _, _| match receive(pack) {
                Ok(()) => Ok(true),
                Err(err) => {
                    refused_pack = Some(err);
                    Err(gix::error::message("the pack was not taken in").into())
                }
            },
            words.clone(),
            run.cancel_flag(),
            Context {
                handshake,
                transport: &mut self.transport,
                user_agent: ("agent", Some(AGENT.into())),
                trace_packetlines: false,
            },
            Options {
                // There is none: the boundary is part of the request, and the answer can't move it.
                shallow_file: PathBuf::new(),
                shallow: &Shallow::NoChange,
                tags: Tags::None,
                reject_shallow_remote: true,
            },
        );
        match outcome {
            Ok(Some(_)) => Ok(PackAnswer::Sent),
            Ok(None) => Err(Error::new(ErrorKind::Protocol, "the server sent no pack")),
            Err(err) => no_pack(&self.client, request, words.take(), refused_pack, err),
        }
    }
}

/// Why there is no pack: what the transport recorded, what the server said, what was wrong with the
/// pack, or what gix makes of it, in that order. A pack that breaks off is the network's fault
/// before it is the pack's.
fn no_pack(
    client: &HttpClient,
    request: &PackRequest,
    last_words: Option<String>,
    refused_pack: Option<Error>,
    err: gix::Error,
) -> Result<PackAnswer, Error> {
    if let Some(network) = client.take_failure() {
        return Err(network);
    }
    // In v2 it shows here only; gix puts it down to a setting that there is none of.
    if request.shallow.is_empty() && is_headed(&client.beginning(), b"shallow-info") {
        return Err(shallow_source());
    }
    let Some(line) = err_line(client, &err) else {
        let gave_up = |words| {
            let text = format!("the server gave up on the pack: {words}");
            Error::new(ErrorKind::Remote, text)
        };
        let known = last_words.map(gave_up).or(refused_pack);
        return Err(known.unwrap_or_else(|| broken("receiving a pack", err)));
    };
    match refused_want(line.as_bstr(), &request.wants) {
        Some(tip) => Ok(PackAnswer::Unavailable {
            tip,
            detail: printable(&line),
        }),
        None => Err(refused(&line)),
    }
}

fn is_headed(answer: &[u8], section: &[u8]) -> bool {
    answer
        .get(4..)
        .is_some_and(|headline| headline.starts_with(section))
}
