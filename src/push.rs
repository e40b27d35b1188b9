//! Telling a destination that decides by itself, a remote, which refs to move, and what became of
//! them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::BufRead,
    time::Duration,
};

use crate::{
    Error, ErrorKind, ObjectId, PackAnswer, PackRequest, Phase, Push, PushAnswer, PushReport,
    Reason, RefList, RefSource, RefUpdate, Run, Service, SyncOptions, Traffic,
    plan::PlannedRef,
    pull::{MAX_REFUSALS, reject},
};

/// What the destination said about each ref that was sent, by the ref's place in the plan.
pub(crate) type Answers = HashMap<usize, PushAnswer>;

/// What the destination said to all pushes of a run.
#[derive(Default)]
pub(crate) struct Sent {
    answers: Answers,
    /// What it printed in the last one that it declined in part or whole.
    messages: Vec<String>,
    /// Why it was in no state to answer the last one.
    failure: Option<Error>,
}

/// Sends every open ref with the objects that the destination lacks for it. A ref whose objects
/// can't be had from the source is rejected, and the others are sent without it.
///
/// An error means that no ref has moved and that there is nothing to be said of any.
pub(crate) fn send(
    source: &dyn RefSource,
    push: &mut dyn Push,
    held: &RefList,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) -> Result<Sent, Error> {
    let _span = tracing::debug_span!("push").entered();
    let open = (0..planned.len()).filter(|at| planned[*at].is_open());
    let mut batches = VecDeque::from([open.collect::<Vec<_>>()]);
    let mut sender = Sender {
        source,
        push,
        haves: tips_of(held),
        shallow: &held.shallow,
        planned,
        run,
    };
    let mut sent = Sent::default();
    let (mut repetitions, mut first_bytes, mut repeated_bytes) = (0, 0, 0);
    while let Some(batch) = batches.pop_front() {
        let is_first = sent.answers.is_empty();
        let sent_before = run.traffic().bytes_sent;
        let (places, report) = match sender.send(&batch) {
            Ok(pushed) => pushed,
            Err(err) if is_overloaded(&err) => {
                sender.leave(&batch, &err);
                sent.failure = Some(err);
                break;
            }
            Err(err) if is_first => return Err(err),
            // The run has done its work by then, and what was declined stays declined.
            Err(err) => {
                tracing::warn!(%err, "the rest of what was declined is not tried again");
                break;
            }
        };
        let sent_bytes = run.traffic().bytes_sent - sent_before;
        if is_first {
            first_bytes = sent_bytes;
        } else {
            repeated_bytes += sent_bytes;
        }
        let answers: Vec<_> = places.into_iter().zip(report.answers).collect();
        let declined = declined_as_a_whole(&answers);
        if declined.len() > 1
            && repetitions + 2 <= options.max_repeated_pushes
            && repeated_bytes <= MOST_REPEATED_BYTES.max(2 * first_bytes)
        {
            let (first, second) = declined.split_at(declined.len() / 2);
            batches.extend([first.to_vec(), second.to_vec()]);
            repetitions += 2;
        }
        if answers
            .iter()
            .any(|(_, answer)| *answer != PushAnswer::Done)
        {
            sent.messages = report.messages;
        }
        sent.answers.extend(answers);
        if report.failure.is_some() {
            sent.failure = report.failure;
            break;
        }
    }
    Ok(sent)
}

/// Whether the destination may well take the same push later: HTTP 5xx or 429.
fn is_overloaded(err: &Error) -> bool {
    matches!(err.kind(), ErrorKind::ServerError | ErrorKind::RateLimited)
}

/// Repeated pushes hold much of the same objects again: they may add up to this, or to twice the
/// bytes of the first one.
const MOST_REPEATED_BYTES: u64 = 1024 * 1024;

/// What a remote says of every ref where it judged the push as a whole
/// (`builtin/receive-pack.c`): its `pre-receive` hook declined, or the pack was not accepted.
const DECLINED_AS_A_WHOLE: [&str; 2] = ["pre-receive hook declined", "unpacker error"];

/// The refs of which nothing is said but that: they may be fine without one of them. None, if some of
/// what was sent with them went through.
fn declined_as_a_whole(sent: &[(usize, PushAnswer)]) -> Vec<usize> {
    let is_refused = |answer: &PushAnswer| matches!(answer, PushAnswer::Refused { .. });
    if !sent.iter().all(|(_, answer)| is_refused(answer)) {
        return Vec::new();
    }
    let is_declined = |answer: &PushAnswer| match answer {
        PushAnswer::Refused { text } => DECLINED_AS_A_WHOLE
            .iter()
            .any(|words| text.starts_with(words)),
        _ => false,
    };
    let declined = sent.iter().filter(|(_, answer)| is_declined(answer));
    declined.map(|(at, _)| *at).collect()
}

struct Sender<'a, 'p> {
    source: &'a dyn RefSource,
    push: &'a mut dyn Push,
    haves: Vec<ObjectId>,
    shallow: &'a [ObjectId],
    planned: &'a mut [PlannedRef<'p>],
    run: &'a Run,
}

impl Sender<'_, '_> {
    /// Sends the refs at these places, but for those whose objects can't be had. With the report come
    /// the places that it is about.
    fn send(&mut self, batch: &[usize]) -> Result<(Vec<usize>, PushReport), Error> {
        let mut batch = batch.to_vec();
        for _ in 0..MAX_REFUSALS {
            batch.retain(|at| self.planned[*at].is_open());
            if batch.is_empty() {
                return Ok(Default::default());
            }
            let updates: Vec<_> = batch.iter().map(|at| self.planned[*at].update()).collect();
            let total = Some(updates.len() as u64);
            self.run.advance(Phase::Apply, 0, total);
            let report = self.try_send(&updates)?;
            self.run.advance(Phase::Apply, updates.len() as u64, total);
            if let Some(report) = report {
                let done = updates.iter().zip(&report.answers);
                let done = done.filter(|(_, answer)| **answer == PushAnswer::Done);
                self.haves.extend(done.map(|(update, _)| update.new));
                return Ok((batch, report));
            }
        }
        let detail = "given up: each time, another tip was at fault".to_owned();
        for at in batch {
            self.planned[at].reject(Reason::Unavailable {
                detail: detail.clone(),
            });
        }
        Ok(Default::default())
    }

    /// Nothing was sent of the refs at these places.
    fn leave(&mut self, batch: &[usize], why: &Error) {
        let open = |at: &&usize| self.planned[**at].is_open();
        for at in batch.iter().filter(open).copied().collect::<Vec<_>>() {
            let detail = why.to_string();
            self.planned[at].reject(Reason::Unconfirmed { detail });
        }
    }

    /// `None`: a tip that can't be had was rejected, and nothing was sent.
    fn try_send(&mut self, updates: &[RefUpdate]) -> Result<Option<PushReport>, Error> {
        let takes = self.push.takes();
        let mut seen = HashSet::new();
        let tips = updates.iter().map(|update| update.new);
        let request = PackRequest {
            wants: tips.filter(|tip| seen.insert(*tip)).collect(),
            haves: self.haves.clone(),
            shallow: self.shallow.to_vec(),
            thin: takes.thin,
            ofs_delta: takes.ofs_delta,
        };
        let mut report = None;
        let (push, run) = (&mut *self.push, self.run);
        let mut receive = |pack: &mut dyn BufRead| {
            run.add_traffic(counted(pack)?);
            report = Some(push.push_and_report(updates, pack, run)?);
            Ok(())
        };
        let given = self.source.upload_pack(&request, &mut receive, run);
        // Once there are answers, refs may have moved, whatever the source says.
        if let Some(mut report) = report {
            let detail = "the destination did not answer for each update".to_owned();
            let missing = PushAnswer::Unclear { detail };
            report.answers.resize(updates.len(), missing);
            return Ok(Some(report));
        }
        match given? {
            PackAnswer::Sent => Err(Error::new(ErrorKind::Protocol, "the source gave no pack")),
            PackAnswer::Unavailable { tip, detail } => {
                let fault = (tip, Reason::Unavailable { detail });
                reject(self.planned, &HashMap::from([fault]));
                Ok(None)
            }
        }
    }
}

/// Everything that the destination vouches for.
fn tips_of(held: &RefList) -> Vec<ObjectId> {
    let tips = held.iter().map(|held| held.target);
    tips.filter(|tip| !tip.is_null())
        .chain(held.haves.iter().copied())
        .collect()
}

/// How many objects a pack has, from its header (gitformat-pack: signature, version, count).
fn counted(pack: &mut dyn BufRead) -> Result<Traffic, Error> {
    let head = pack.fill_buf().map_err(|err| {
        let own = err.downcast::<Error>();
        own.unwrap_or_else(|err| Error::io("making the pack", err))
    })?;
    let count = head.get(8..12).and_then(|count| count.try_into().ok());
    Ok(Traffic {
        objects: count.map_or(0, u32::from_be_bytes).into(),
        ..Traffic::default()
    })
}

/// What a run has to say of its pushes, beside what became of each ref.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) messages: Vec<String>,
    /// How long the destination asked to wait before what is left is pushed.
    pub(crate) retry_after: Option<Duration>,
    /// Why the run failed. What is [unconfirmed](Reason::Unconfirmed) then is uncertain.
    pub(crate) failure: Option<Error>,
}

/// Makes outcomes of the answers. Where those leave a doubt the destination is listed again, and
/// what is there decides.
///
/// The run has failed if this listing does, or if the destination was in no state to answer and no
/// ref has moved, by this run or another.
pub(crate) fn settle(
    destination: &dyn RefSource,
    sent: Sent,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) -> Settled {
    let Sent {
        answers,
        messages,
        failure,
    } = sent;
    let mut settled = Settled {
        messages,
        ..Settled::default()
    };
    let overloaded = failure.filter(is_overloaded);
    let unclear = answers.values().filter(|answer| is_unclear(answer)).count();
    let mut now = None;
    if unclear > 0 || answers.values().any(reads_like_a_lost_race) {
        match destination.list(Service::ReceivePack, &options.globs.prefixes(), run) {
            Ok(list) => now = Some(list),
            Err(err) if unclear > 0 => {
                settled.failure = Some(lost(unclear, err, overloaded.as_ref()));
            }
            Err(err) => tracing::warn!(%err, "what refused refs are at now can't be listed"),
        }
    }
    let mut moved = 0;
    for (at, answer) in answers {
        let planned = &mut planned[at];
        let found = now.as_ref().map(|now| {
            let found = now.find(planned.name());
            found.map(|found| found.target).filter(|tip| !tip.is_null())
        });
        match verdict(answer, planned, found) {
            Ok(()) => moved += 1,
            Err(reason) => {
                moved += usize::from(reason == Reason::Raced);
                planned.reject(reason);
                planned.see(found.unwrap_or(planned.held()));
            }
        }
    }
    if let Some(err) = overloaded {
        settled.retry_after = err.retry_after();
        if moved == 0 {
            settled.failure.get_or_insert(err);
        }
    }
    settled
}

/// Neither the answer to the push is known nor where the refs are now. A destination that had said
/// that it was overloaded is so above all.
fn lost(unclear: usize, listing: Error, overloaded: Option<&Error>) -> Error {
    let text = format!(
        "the answer to the push was lost, and listing the refs again failed: it is uncertain what \
         became of {unclear} of them"
    );
    let first = overloaded.unwrap_or(&listing);
    let (kind, wait) = (first.kind(), first.retry_after());
    let wait = wait.or(listing.retry_after());
    Error::new(kind, text)
        .with_source(listing)
        .with_retry_after(wait)
}

fn is_unclear(answer: &PushAnswer) -> bool {
    matches!(answer, PushAnswer::Unclear { .. })
}

/// Refs that changed under a push are refused in the words of whatever noticed: "failed to update
/// ref", "cannot lock ref", "incorrect old value provided", "reference already exists" and others.
fn reads_like_a_lost_race(answer: &PushAnswer) -> bool {
    let PushAnswer::Refused { text } = answer else {
        return false;
    };
    let text = text.to_lowercase();
    let words = [
        "update ref",
        "cannot lock",
        "failed to lock",
        "lock failure",
        "old value",
        "already exists",
        "stale",
        "fetch first",
    ];
    words.iter().any(|words| text.contains(words)) && !text.contains("hook")
}

/// What an answer means for a ref, with its tip `now` where that was looked up.
fn verdict(
    answer: PushAnswer,
    planned: &PlannedRef<'_>,
    now: Option<Option<ObjectId>>,
) -> Result<(), Reason> {
    let has_moved = now.is_some_and(|now| now != planned.before());
    match answer {
        PushAnswer::Done => Ok(()),
        PushAnswer::Unclear { .. } if now == Some(Some(planned.source())) => Ok(()),
        PushAnswer::Unclear { .. } | PushAnswer::Refused { .. } if has_moved => Err(Reason::Raced),
        PushAnswer::Unclear { detail } => Err(Reason::Unconfirmed { detail }),
        PushAnswer::Refused { text } => Err(Reason::Remote { text }),
    }
}
