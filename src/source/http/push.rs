//! A remote as a destination: listing its refs for a push, and the push.

use std::io::{BufRead, Cursor, Read as _};

use gix_transport::Protocol;

use super::{
    AGENT, SmartHttp,
    session::{Greeting, Session, refused},
};
use crate::{
    AdvertisedRef, Error, ErrorKind, ObjectFormat, ObjectId, RefList, RefUpdate, Run,
    protocol::{
        receive_pack::{self, Capabilities},
        report_status::{self, Report, Trouble, Verdict},
    },
    transport::Unanswered,
};

const SERVICE: &str = "git-receive-pack";

/// What became of one update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PushAnswer {
    /// The ref has its new tip.
    Done,
    /// It has not, and this is why.
    Refused {
        /// The remote's words, safe to print.
        text: String,
    },
    /// The answer was lost or makes no sense. Look again.
    Unclear {
        /// What is known, safe to print.
        detail: String,
    },
}

/// What a server said about its receive-pack when it listed its refs.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceivePack {
    capabilities: Capabilities,
    format: ObjectFormat,
}

impl SmartHttp {
    /// The refs that receive-pack lists, and what else the server has with everything behind it.
    #[allow(dead_code, reason = "the trait does not ask for it yet")]
    pub(crate) fn list_for_push(&self, run: &Run) -> Result<(RefList, Vec<ObjectId>), Error> {
        let _span = tracing::debug_span!("list remote", url = %self.url).entered();
        self.in_session(run, |session| {
            let (format, listed) = session.list_for_push()?;
            let (refs, haves) = receive_pack::split_haves(listed);
            Ok((RefList::new(format, refs), haves))
        })
    }

    /// Whether a pack for this server may be thin, and whether it may have offset deltas. Neither,
    /// unless the server has just listed its refs.
    #[allow(dead_code, reason = "the trait does not ask for it yet")]
    pub(crate) fn pack_features(&self) -> (bool, bool) {
        let session = self.kept_session();
        let known = session.as_ref().and_then(|session| session.receive_pack);
        known.map_or((false, false), |known| {
            (known.capabilities.thin_pack, known.capabilities.ofs_delta)
        })
    }

    /// Moves refs, each by compare-and-swap, after the server has taken in `pack`. One answer per
    /// update, in order.
    ///
    /// No pack means that the server has all objects. An error means that nothing was moved: the
    /// request didn't arrive as a whole, or the server refused it as a whole.
    #[allow(dead_code, reason = "the trait does not ask for it yet")]
    pub(crate) fn push(
        &self,
        updates: &[RefUpdate],
        pack: Option<&mut dyn BufRead>,
        run: &Run,
    ) -> Result<Vec<PushAnswer>, Error> {
        let _span = tracing::debug_span!("push", updates = updates.len()).entered();
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        self.in_session(run, |session| {
            if session.receive_pack.is_none() {
                session.list_for_push()?;
            }
            session.push(updates, pack)
        })
    }
}

impl Session {
    fn list_for_push(&mut self) -> Result<(ObjectFormat, Vec<AdvertisedRef>), Error> {
        let greeting = self.greet_receive_pack()?;
        let known = ReceivePack::new(&greeting);
        self.receive_pack = Some(known);
        let Some(listed) = greeting.listed else {
            let text = "the server answered a push in protocol v2, which has none";
            return Err(Error::new(ErrorKind::Protocol, text));
        };
        // What a shallow destination lacks behind its boundary shows when it checks what it gets.
        tracing::debug!(shallow = listed.is_shallow, ?known, "receive-pack");
        Ok((known.format, listed.refs))
    }

    fn push(
        &mut self,
        updates: &[RefUpdate],
        pack: Option<&mut dyn BufRead>,
    ) -> Result<Vec<PushAnswer>, Error> {
        let Some(ReceivePack {
            capabilities,
            format,
        }) = self.receive_pack
        else {
            let text = "a push was started before the server had listed its refs";
            return Err(Error::new(ErrorKind::Protocol, text));
        };
        let commands = receive_pack::commands(updates, &capabilities, format, AGENT)?;
        let mut empty = Cursor::new(receive_pack::empty_pack(format)?);
        let mut request = Cursor::new(commands).chain(pack.unwrap_or(&mut empty));
        let answer = match self.client.upload(&self.url, SERVICE, &mut request) {
            Ok(answer) => answer,
            Err(Unanswered {
                error,
                may_have_acted: false,
            }) => return Err(error),
            Err(Unanswered { error, .. }) => {
                self.is_broken = true;
                let detail = error.to_string();
                return Ok(vec![PushAnswer::Unclear { detail }; updates.len()]);
            }
        };
        let report = report_status::read(answer, &capabilities, updates);
        let failure = self.client.take_failure();
        self.is_broken = failure.is_some() || report.trouble.is_some();
        answers(report, failure)
    }
}

impl ReceivePack {
    fn new(greeting: &Greeting) -> Self {
        // gix has capabilities of its own for a server that sent none.
        let none_sent = greeting.protocol == Protocol::V0;
        let offers = |name: &str| !none_sent && greeting.capabilities.contains(name);
        ReceivePack {
            capabilities: Capabilities::of(offers),
            format: greeting.format,
        }
    }
}

/// What a report says about each update. `failure` is what kept it from being read to its end.
fn answers(report: Report, failure: Option<Error>) -> Result<Vec<PushAnswer>, Error> {
    if let Some(Trouble::Refused(text)) = &report.trouble
        && !report.has_begun
    {
        return Err(refused(text.as_bytes()));
    }
    let unpack_error = report.unpack_error.as_deref();
    let silence = match (report.trouble, failure, unpack_error) {
        (Some(Trouble::Fatal(text)), ..) => format!("the server gave up: {text}"),
        (Some(Trouble::Refused(text)), ..) => format!("the server refused: {text}"),
        (Some(Trouble::Unreadable), Some(failure), _) => failure.to_string(),
        (Some(Trouble::Unreadable), None, _) => {
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
            detail: silence.clone(),
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

/// What is behind git's "unpacker error" for each ref is said once, for all of them.
fn refusal(text: String, unpack_error: Option<&str>) -> String {
    match (text.is_empty(), unpack_error) {
        (true, None) => "the server gave no reason".to_owned(),
        (true, Some(unpack_error)) => unpack_error.to_owned(),
        (false, None) => text,
        (false, Some(unpack_error)) => format!("{text} ({unpack_error})"),
    }
}
