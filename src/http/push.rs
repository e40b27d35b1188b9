//! The push to a server: listing through receive-pack, the commands with the pack, and the report.

use std::{
    io::{BufRead, Cursor, Read as _},
    sync::atomic::Ordering,
};

use bstr::{BString, ByteSlice as _};

use super::{AGENT, SmartHttp, session::Session};
use crate::{
    Error, ErrorKind, Namespace, ObjectFormat, PackFeatures, Push, PushAnswer, PushReport, RefList,
    RefUpdate, Service, SyncContext,
    protocol::{
        receive_pack,
        ref_line::V0Lines,
        refused,
        report_status::{self, Report, Verdict},
        side_band::Trouble,
        sideband_budget::SidebandBudget,
    },
    text::repeatable,
    transport::Unanswered,
};

impl SmartHttp {
    /// Lists the refs through receive-pack, with further objects that the server has (`.have`, other namespaces).
    pub(super) fn list_for_push(&self, context: &SyncContext) -> Result<RefList, Error> {
        self.in_session(context, |session| {
            let (format, listed) = session.list_for_push(context)?;
            let (refs, haves) = receive_pack::split_haves(listed.refs);
            let mut list = RefList::of(format, refs);
            list.haves = haves;
            list.shallow = listed.shallow;
            list.longest_name = receive_pack::longest_name(format, AGENT);
            Ok(list)
        })
    }

    /// Lists the refs through upload-pack before a push, if that is cheaper. Receive-pack always lists all refs, and takes
    /// twice as long for each; upload-pack in v2 lists only the requested prefixes. If it is not known that the server
    /// speaks v2, listing all refs that way takes one more request.
    pub(super) fn list_before_push(
        &self,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<Option<RefList>, Error> {
        let is_whole = |prefix: &BString| Namespace::ALL.iter().any(|all| prefix == all.prefix());
        if self.profile().is_none() && prefixes.iter().any(is_whole) {
            return Ok(None);
        }
        // Receive-pack reports neither symbolic refs nor peeled tags. So these attributes are not requested here either: the
        // outcome of a ref must not depend on the service that listed it.
        match self.list_upload_pack(prefixes, &[], context) {
            Ok(mut list) => {
                list.refs.clear_annotated();
                list.longest_name = receive_pack::longest_name(list.object_format, AGENT);
                Ok(Some(list))
            }
            Err(err) if may_only_concern_fetches(err.kind()) => {
                tracing::debug!(%err, "the remote shows its refs to nobody who fetches");
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }
}

/// Whether a server that answers a listing for a fetch with this error may still accept a push.
fn may_only_concern_fetches(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(
        kind,
        Authentication
            | PermissionDenied
            | NotFound
            | ServerError
            | NotAGitServer
            | Protocol
            | Remote
            | Unsupported
    )
}

impl Push for &SmartHttp {
    /// The forms of delta that the server accepts; none unless it has just listed its refs.
    fn takes(&self) -> PackFeatures {
        let session = self.kept_session();
        let known = session
            .as_ref()
            .and_then(|session| session.receive_pack.as_ref());
        known.map_or_else(PackFeatures::default, |known| {
            receive_pack::pack_features(&known.capabilities)
        })
    }

    fn says_length(&self) -> bool {
        self.options.says_lengths.load(Ordering::Relaxed)
    }

    fn push(
        &mut self,
        updates: &[RefUpdate],
        pack: &mut dyn BufRead,
        context: &SyncContext,
    ) -> Result<PushReport, Error> {
        if updates.is_empty() {
            return Ok(PushReport::default());
        }
        let _span = tracing::debug_span!("send", updates = updates.len()).entered();
        self.in_session(context, |session| {
            if session.receive_pack.is_none() {
                session.list_for_push(context)?;
            }
            session.push(updates, pack, context)
        })
    }
}

impl Session {
    fn list_for_push(&mut self, context: &SyncContext) -> Result<(ObjectFormat, V0Lines), Error> {
        let mut advertisement = self.discover(Service::ReceivePack, context)?;
        let (format, listed) = (advertisement.format, advertisement.listed.take());
        tracing::debug!(%format, capabilities = ?advertisement.capabilities, "receive-pack");
        self.receive_pack = Some(advertisement);
        let Some(listed) = listed else {
            let text = "the server answered a push in protocol v2, which has none";
            return Err(Error::new(ErrorKind::Protocol, text));
        };
        Ok((format, listed))
    }

    fn push(
        &mut self,
        updates: &[RefUpdate],
        pack: &mut dyn BufRead,
        context: &SyncContext,
    ) -> Result<PushReport, Error> {
        let Some(advertisement) = &self.receive_pack else {
            let text = "a push was started before the server had listed its refs";
            return Err(Error::new(ErrorKind::Protocol, text));
        };
        let (capabilities, format) = (&advertisement.capabilities, advertisement.format);
        let commands = receive_pack::commands(updates, capabilities, format, AGENT)?;
        let mut request = Cursor::new(commands).chain(pack);
        let call = self.call(Service::ReceivePack, false);
        let answer = match self.client.upload(&call, &mut request) {
            Ok(answer) => answer,
            Err(unanswered) if !unanswered.may_have_acted => return Err(unanswered.error),
            Err(Unanswered { error, .. }) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "no answer");
                self.is_broken = true;
                return Ok(PushReport {
                    answers: all_unclear(&error, updates),
                    failure: Some(error),
                    ..PushReport::default()
                });
            }
        };
        let budget = SidebandBudget::up_to(context.limits().noise);
        let mut report = report_status::read(answer.body, capabilities, updates, budget);
        let failure = self.client.take_failure();
        self.is_broken = failure.is_some() || report.trouble.is_some();
        let mut messages = std::mem::take(&mut report.messages);
        // A hook may print its environment, credentials included.
        messages.retain(|line| !self.client.repeats_secret(line.as_bytes()));
        let mut answers = answers(report, failure.as_ref());
        answers
            .iter_mut()
            .flatten()
            .for_each(|answer| self.hide_secret(answer));
        let answers = if answer.is_repeated {
            self.look_again(updates, answers, context)
        } else {
            answers?
        };
        Ok(PushReport {
            answers,
            messages,
            failure,
        })
    }

    fn hide_secret(&self, answer: &mut PushAnswer) {
        let (PushAnswer::Refused { text } | PushAnswer::Unclear { detail: text }) = answer else {
            return;
        };
        if self.client.repeats_secret(text.as_bytes()) {
            *text = "the server's reason has the credentials in it".to_owned();
        }
    }

    /// Corrects the answers to a push that the server may have received twice: it refuses the second time what it did the
    /// first time. So the refs are listed again, and the listing decides.
    fn look_again(
        &mut self,
        updates: &[RefUpdate],
        answers: Result<Vec<PushAnswer>, Error>,
        context: &SyncContext,
    ) -> Vec<PushAnswer> {
        let mut answers = answers.unwrap_or_else(|err| all_unclear(&err, updates));
        let is_refused = |answer: &PushAnswer| matches!(answer, PushAnswer::Refused { .. });
        if !answers.iter().any(is_refused) {
            return answers;
        }
        let now = self.list_for_push(context);
        let now = now.map(|(format, listed)| RefList::of(format, listed.refs));
        self.is_broken |= now.is_err();
        for (update, answer) in updates.iter().zip(&mut answers) {
            let PushAnswer::Refused { text } = answer else {
                continue;
            };
            let found = now.as_ref().map(|now| now.find(update.name.as_bstr()));
            match found {
                Ok(Some(found)) if found.target == update.new => *answer = PushAnswer::Done,
                Ok(_) => {}
                Err(_) => {
                    let detail = std::mem::take(text);
                    *answer = PushAnswer::Unclear { detail };
                }
            }
        }
        answers
    }
}

fn all_unclear(err: &Error, updates: &[RefUpdate]) -> Vec<PushAnswer> {
    let detail = repeatable(&err.to_string());
    vec![PushAnswer::Unclear { detail }; updates.len()]
}

/// The answer to each update, from a report. `failure` is the error that ended the report early.
fn answers(report: Report, failure: Option<&Error>) -> Result<Vec<PushAnswer>, Error> {
    if let Some(Trouble::Refused(text)) = &report.trouble
        && report.unpack.is_none()
    {
        return Err(refused(text.as_bytes()));
    }
    let unpack_error = report
        .unpack
        .and_then(Result::err)
        .map(|text| repeatable(&text));
    let unpack_error = unpack_error.as_deref();
    let silence = match (report.trouble, failure, unpack_error) {
        (Some(Trouble::Fatal(text)), ..) => format!("the server gave up: {text}"),
        (Some(Trouble::Refused(text)), ..) => format!("the server refused: {text}"),
        (Some(Trouble::OverBudget(noise)), ..) => {
            format!("the server said {}", Error::from(noise))
        }
        (Some(Trouble::Garbled | Trouble::EndedEarly), Some(failure), _) => failure.to_string(),
        (Some(Trouble::Garbled | Trouble::EndedEarly), None, _) => {
            "the server's report is cut off or makes no sense".to_owned()
        }
        (None, _, Some(text)) => format!("the server could not take in the pack: {text}"),
        (None, _, None) => "the server reported nothing about this ref".to_owned(),
    };
    let answer = |verdict| match verdict {
        Verdict::Done => PushAnswer::Done,
        Verdict::Refused(text) => PushAnswer::Refused {
            text: refusal(text, unpack_error),
        },
        Verdict::Silent => PushAnswer::Unclear {
            detail: repeatable(&silence),
        },
        Verdict::Doubled => PushAnswer::Unclear {
            detail: "the server reported on this ref more than once".to_owned(),
        },
        Verdict::Rewritten => PushAnswer::Unclear {
            detail: "the server wrote something else than it was asked to".to_owned(),
        },
    };
    Ok(report.verdicts.into_iter().map(answer).collect())
}

/// The text of a refusal. Git reports "unpacker error" for each ref, and the cause once for all of them.
fn refusal(text: String, unpack_error: Option<&str>) -> String {
    match (text.is_empty(), unpack_error) {
        (true, None) => "the server gave no reason".to_owned(),
        (true, Some(unpack_error)) => unpack_error.to_owned(),
        (false, None) => text,
        (false, Some(unpack_error)) => format!("{text} ({unpack_error})"),
    }
}
