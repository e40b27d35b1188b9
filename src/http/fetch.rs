//! The fetch from a server: `ls-refs`, and the request for a pack with its answer.

use bstr::{BString, ByteSlice as _};

use super::{AGENT, services::UploadPackService, session::Session};
use crate::{
    Error, ErrorKind, PackAnswer, PackReceiver, PackRequest, RefList, Service, SyncContext,
    protocol::{
        ended_early,
        fetch::{self, Dialect, Preface, refused_want},
        ls_refs, printable, refused,
        side_band::{SideBand, Trouble},
        sideband_budget::SidebandBudget,
    },
};

impl Session {
    pub(super) fn ls_refs(
        &mut self,
        prefixes: &[BString],
        attributes: &[&str],
        known: &UploadPackService,
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        let dialect = &known.dialect;
        let format = dialect.names_format().then_some(known.format);
        let unborn = ["unborn"].iter().filter(|_| dialect.lists_unborn());
        let attributes: Vec<_> = attributes.iter().chain(unborn).copied().collect();
        let body = ls_refs::request(prefixes, &attributes, format, AGENT);
        let call = self.call(Service::UploadPack, true);
        let answer = self.client.upload_bytes(&call, &body)?;
        let listed = ls_refs::listing(answer, known.format, context.limits());
        listed.map_err(|err| self.client.take_failure().unwrap_or(err))
    }

    pub(super) fn fetch(
        &mut self,
        known: &UploadPackService,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let body = fetch::request(request, &known.dialect, known.format, AGENT)?;
        let is_v2 = matches!(known.dialect, Dialect::V2(_));
        let call = self.call(Service::UploadPack, is_v2);
        let mut answer = self.client.upload_bytes(&call, &body)?;
        let mut budget = SidebandBudget::up_to(context.limits().noise);
        let preface = fetch::preface(&mut answer, &known.dialect, &mut budget);
        let network_first = |err| self.client.take_failure().unwrap_or(err);
        let begun = match preface.map_err(network_first)? {
            Preface::Pack(begun) => begun,
            Preface::Refused(line) => return unavailable(&line, request),
        };
        let mut pack = SideBand::new(answer, budget, begun);
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
        // If the pack ends early, an error of the network takes precedence over one of the pack.
        Err(network_first(match trouble {
            Some(Trouble::Refused(text)) => refused(text.as_bytes()),
            Some(Trouble::OverBudget(noise)) => noise.into(),
            Some(Trouble::Garbled) => broken_pack().with_source(err),
            Some(Trouble::EndedEarly) => ended_early(),
            Some(Trouble::Fatal(_)) | None => err,
        }))
    }
}

/// The text with which git ends if it lacks an object (`upload-pack.c:create_pack_file()`).
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
