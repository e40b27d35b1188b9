//! Telling a destination that decides by itself, a remote, which refs to move, and what became of
//! them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::BufRead,
};

use crate::{
    Error, ErrorKind, ObjectId, PackAnswer, PackRequest, Phase, Push, PushAnswer, Reason, RefList,
    RefSource, RefUpdate, Run, Service, SyncOptions, Traffic,
    plan::PlannedRef,
    pull::{MAX_REFUSALS, reject},
};

/// What the destination said about each ref that was sent, by the ref's place in the plan.
pub(crate) type Answers = HashMap<usize, PushAnswer>;

/// Sends every open ref with the objects that the destination lacks for it. A ref whose objects
/// can't be had from the source is rejected, and the others are sent without it.
///
/// An error means that no ref has moved.
pub(crate) fn send(
    source: &dyn RefSource,
    push: &mut dyn Push,
    held: &RefList,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) -> Result<Answers, Error> {
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
    let mut answers = Answers::new();
    let (mut repetitions, mut first_bytes, mut repeated_bytes) = (0, 0, 0);
    while let Some(batch) = batches.pop_front() {
        let is_first = answers.is_empty();
        let sent_before = run.traffic().bytes_sent;
        let sent = match sender.send(batch) {
            Ok(sent) => sent,
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
        let declined = declined_as_a_whole(&sent);
        if declined.len() > 1
            && repetitions + 2 <= options.max_repeated_pushes
            && repeated_bytes <= MOST_REPEATED_BYTES.max(2 * first_bytes)
        {
            let (first, second) = declined.split_at(declined.len() / 2);
            batches.extend([first.to_vec(), second.to_vec()]);
            repetitions += 2;
        }
        answers.extend(sent);
    }
    Ok(answers)
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
    /// Sends the refs at these places, but for those whose objects can't be had.
    fn send(&mut self, mut batch: Vec<usize>) -> Result<Vec<(usize, PushAnswer)>, Error> {
        for _ in 0..MAX_REFUSALS {
            batch.retain(|at| self.planned[*at].is_open());
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let updates: Vec<_> = batch.iter().map(|at| self.planned[*at].update()).collect();
            let total = Some(updates.len() as u64);
            self.run.advance(Phase::Apply, 0, total);
            let answers = self.try_send(&updates)?;
            self.run.advance(Phase::Apply, updates.len() as u64, total);
            if let Some(answers) = answers {
                let done = updates.iter().zip(&answers);
                let done = done.filter(|(_, answer)| **answer == PushAnswer::Done);
                self.haves.extend(done.map(|(update, _)| update.new));
                return Ok(batch.into_iter().zip(answers).collect());
            }
        }
        let detail = "given up: each time, another tip was at fault".to_owned();
        for at in batch {
            self.planned[at].reject(Reason::Unavailable {
                detail: detail.clone(),
            });
        }
        Ok(Vec::new())
    }

    /// `None`: a tip that can't be had was rejected, and nothing was sent.
    fn try_send(&mut self, updates: &[RefUpdate]) -> Result<Option<Vec<PushAnswer>>, Error> {
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
        let mut answers = None;
        let (push, run) = (&mut *self.push, self.run);
        let mut receive = |pack: &mut dyn BufRead| {
            run.add_traffic(counted(pack)?);
            answers = Some(push.push(updates, pack, run)?);
            Ok(())
        };
        let given = self.source.upload_pack(&request, &mut receive, run);
        // Once there are answers, refs may have moved, whatever the source says.
        if let Some(mut answers) = answers {
            let detail = "the destination did not answer for each update".to_owned();
            answers.resize(updates.len(), PushAnswer::Unclear { detail });
            return Ok(Some(answers));
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

/// Makes outcomes of the answers. Where those leave a doubt the destination is listed again, and
/// what is there decides.
///
/// An error means that this listing failed, too: what is [unconfirmed](Reason::Unconfirmed) then
/// is uncertain.
pub(crate) fn settle(
    destination: &dyn RefSource,
    answers: Answers,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) -> Result<(), Error> {
    let is_unclear = |answer: &PushAnswer| matches!(answer, PushAnswer::Unclear { .. });
    let unclear = answers.values().filter(|answer| is_unclear(answer)).count();
    let mut now = None;
    let mut lost = Ok(());
    if unclear > 0 || answers.values().any(reads_like_a_lost_race) {
        match destination.list(Service::ReceivePack, &options.globs.prefixes(), run) {
            Ok(list) => now = Some(list),
            Err(err) if unclear > 0 => {
                let text = format!(
                    "the answer to the push was lost, and listing the refs again failed: it is \
                     uncertain what became of {unclear} of them"
                );
                let wait = err.retry_after();
                let err = Error::new(err.kind(), text).with_source(err);
                lost = Err(err.with_retry_after(wait));
            }
            Err(err) => tracing::warn!(%err, "what refused refs are at now can't be listed"),
        }
    }
    for (at, answer) in answers {
        let planned = &mut planned[at];
        let found = now.as_ref().map(|now| {
            let found = now.find(planned.name);
            found.map(|found| found.target).filter(|tip| !tip.is_null())
        });
        if let Err(reason) = verdict(answer, planned, found) {
            planned.reject(reason);
            planned.held = found.unwrap_or(planned.held);
        }
    }
    lost
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
    let has_moved = now.is_some_and(|now| now != planned.before);
    match answer {
        PushAnswer::Done => Ok(()),
        PushAnswer::Unclear { .. } if now == Some(Some(planned.source)) => Ok(()),
        PushAnswer::Unclear { .. } | PushAnswer::Refused { .. } if has_moved => Err(Reason::Raced),
        PushAnswer::Unclear { detail } => Err(Reason::Unconfirmed { detail }),
        PushAnswer::Refused { text } => Err(Reason::Remote { text }),
    }
}
