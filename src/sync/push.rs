//! The steps of a push: compare, send ref updates with a pack, settle the destination's report.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io::BufRead,
};

use bstr::BString;

use crate::{
    Error, ErrorKind, ObjectId, PackAnswer, PackRequest, Phase, Push, PushAnswer, PushReport,
    Reason, RefList, RefSource, RefUpdate, SyncContext, SyncOptions, Traffic,
    local::Scratch,
    sync::{
        NO_ANSWER,
        compare::compare,
        listing::{Listed, list_again},
        planned_ref::{MAX_UNAVAILABLE, PlannedRef, reject_tips},
        pull,
    },
    text::repeatable,
};

use self::{
    answer::{Company, RefAnswer},
    batches::{PushBatches, Verdict, in_order},
    repeat_budget::RepeatBudget,
    settle::settle,
};
pub(super) use self::{refusals::recall, settle::Settled};

mod answer;
mod batches;
mod refusals;
mod repeat_budget;
mod settle;

/// Compares the tips with the source's objects, pushes the refs that are still open, and settles the answers.
pub(super) fn push(
    (source, destination): (&dyn RefSource, &dyn RefSource),
    push: &mut dyn Push,
    listed: &Listed,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<Settled, Error> {
    let scratch;
    let (source, mut objects) = match source.objects(context)? {
        Some(objects) => (source, objects),
        None => {
            let format = listed.destination.object_format;
            scratch = Scratch::create(options.scratch.as_deref(), format)?;
            let store = &scratch.store;
            pull::into_scratch(source, store, planned, options, context)?;
            (store as &dyn RefSource, store.open_objects(context)?)
        }
    };
    let absent = &Reason::DestinationUnknown;
    compare(&mut *objects, planned, absent, options, context)?;
    // With them goes the mapping of all packs that the comparison has read.
    drop(objects);
    if options.dry_run {
        return Ok(Settled::default());
    }
    let ends = (source, destination);
    let sent = send(ends, push, listed, planned, options, context)?;
    Ok(settle(destination, sent, planned, options, context))
}

/// The answers of the destination to all pushes of a run.
#[derive(Default)]
struct Sent {
    /// The last answer about each ref that was sent, by the ref's position in the plan.
    answers: HashMap<usize, RefAnswer>,
    /// The lines that the destination printed in the last push that was declined in part or as a whole.
    messages: Vec<String>,
    /// The error of the last push, if the destination did not answer it.
    failure: Option<Error>,
}

/// Sends every open ref with the objects that the destination lacks for it. A ref whose objects the source cannot read
/// is rejected, and the others are sent without it.
///
/// If the destination declines a push as a whole, its refs are sent again in [batches](PushBatches), the source's
/// default branch first. A ref that was refused alone in an earlier run comes last.
///
/// # Errors
/// An error means that no ref has moved and that no ref has an outcome.
fn send(
    (source, destination): (&dyn RefSource, &dyn RefSource),
    push: &mut dyn Push,
    listed: &Listed,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<Sent, Error> {
    let _span = tracing::debug_span!("push").entered();
    let default_branch = position(planned, listed.source.default_branch.as_ref());
    let (first, last) = refusals::queues(planned, default_branch);
    let mut batches = PushBatches::new(first, last);
    let mut budget = RepeatBudget::new(options.max_repeated_pushes);
    let mut sent = Sent::default();
    let mut sender = Sender {
        source,
        destination,
        push,
        haves: haves(&listed.destination),
        shallow: &listed.destination.shallow,
        planned,
        options,
        context,
    };
    while budget.allows_another()
        && (budget.is_untouched() || !context.is_out_of_time())
        && let Some(batch) = batches.next()
    {
        let is_first = budget.is_untouched();
        let sent_before = context.traffic().bytes_sent;
        let pushed = match sender.send(&batch) {
            Ok(pushed) => pushed,
            Err(err) if is_first && !is_overloaded(&err) => return Err(err),
            Err(err) => {
                sent.give_up(err);
                sender.leave(&batch, &sent);
                break;
            }
        };
        if !pushed.positions.is_empty() {
            budget.take(context.traffic().bytes_sent - sent_before);
        }
        let verdict = sent.record(pushed);
        if sent.failure.is_some() {
            break;
        }
        match verdict {
            Verdict::Declined(refs) if is_first => {
                let start = start_among(refs.len(), options.max_repeated_pushes);
                batches.start_over(&in_order(&refs, default_branch, start));
            }
            verdict => batches.learn(verdict),
        }
    }
    refusals::keep(planned, &sent.answers);
    Ok(sent)
}

/// The position of a branch in the plan.
fn position(planned: &[PlannedRef<'_>], branch: Option<&BString>) -> Option<usize> {
    let branch = branch?;
    planned.iter().position(|planned| branch == planned.name())
}

/// The ref to start with among so many. If there are more refs than pushes it is a random one, so that runs without
/// [`previous`](SyncOptions::previous) do not try the same refs each time.
fn start_among(refs: usize, most_pushes: usize) -> usize {
    if refs <= most_pushes {
        return 0;
    }
    RandomState::new().hash_one(refs) as usize
}

/// Whether the destination may accept the same push later: HTTP 5xx or 429.
fn is_overloaded(err: &Error) -> bool {
    matches!(err.kind(), ErrorKind::ServerError | ErrorKind::RateLimited)
}

impl Sent {
    /// Records the answers to a push, and returns the verdict for the next batch.
    fn record(&mut self, pushed: Pushed) -> Verdict {
        let Pushed {
            positions,
            report,
            is_judged,
        } = pushed;
        let is_done = |answer: &PushAnswer| *answer == PushAnswer::Done;
        let left = positions.iter().zip(&report.answers);
        let left = left.filter(|(_, answer)| !is_done(answer));
        let left: Vec<_> = left.map(|(at, _)| *at).collect();
        let (company, verdict) = match positions.len() {
            _ if is_judged || left.is_empty() => (Company::Each, Verdict::Judged),
            1 => (Company::Alone, Verdict::RefusedAlone),
            group => (
                Company::Declined { others: group - 1 },
                Verdict::Declined(left),
            ),
        };
        let has_words = report.failure.is_none() || !report.messages.is_empty();
        if has_words && !report.answers.iter().all(is_done) {
            self.messages = report.messages;
        }
        let judged = report.answers.into_iter();
        let judged = judged.map(|answer| RefAnswer { answer, company });
        self.answers.extend(positions.into_iter().zip(judged));
        self.failure = report.failure;
        verdict
    }

    /// Ends the pushes after one without answers. Refs that were declined before stay declined.
    fn give_up(&mut self, err: Error) {
        // The caller gets the error, whose text may be the server's.
        tracing::warn!(kind = err.kind().as_str(), "the other refs are not pushed");
        self.failure = Some(err);
    }
}

/// A push that was made.
#[derive(Default)]
struct Pushed {
    /// The positions of the refs in the push.
    positions: Vec<usize>,
    report: PushReport,
    /// Whether each answer is about its own ref. That is not so if no ref has moved: the destination refused all refs,
    /// or it answered and reported no ref as moved, for example because it died over one of them.
    is_judged: bool,
}

struct Sender<'a, 'p> {
    source: &'a dyn RefSource,
    destination: &'a dyn RefSource,
    push: &'a mut dyn Push,
    haves: Vec<ObjectId>,
    shallow: &'a [ObjectId],
    planned: &'a mut [PlannedRef<'p>],
    options: &'a SyncOptions,
    context: &'a SyncContext,
}

impl Sender<'_, '_> {
    /// Sends the refs at these positions, without those whose objects the source cannot read.
    fn send(&mut self, batch: &[usize]) -> Result<Pushed, Error> {
        let mut batch = batch.to_vec();
        for _ in 0..MAX_UNAVAILABLE {
            batch.retain(|at| self.planned[*at].is_open());
            if batch.is_empty() {
                return Ok(Pushed::default());
            }
            let updates: Vec<_> = batch.iter().map(|at| self.planned[*at].update()).collect();
            let total = Some(updates.len() as u64);
            self.context.advance(Phase::Apply, 0, total);
            let said_length = self.push.says_length();
            let mut report = self.try_send(&updates);
            if report.is_err() && self.push.says_length() && !said_length {
                report = self.try_send(&updates);
            }
            let report = report?;
            self.context
                .advance(Phase::Apply, updates.len() as u64, total);
            if let Some(mut report) = report {
                let is_judged =
                    report.failure.is_some() || report.answers.contains(&PushAnswer::Done);
                if !is_judged && updates.len() > 1 {
                    self.look_again(&updates, &mut report);
                }
                let done = updates.iter().zip(&report.answers);
                let done = done.filter(|(_, answer)| **answer == PushAnswer::Done);
                self.haves.extend(done.map(|(update, _)| update.new));
                return Ok(Pushed {
                    positions: batch,
                    report,
                    is_judged,
                });
            }
        }
        let detail = "given up: each time, another tip was at fault".to_owned();
        for at in batch {
            self.planned[at].reject(Reason::Unavailable {
                detail: detail.clone(),
            });
        }
        Ok(Pushed::default())
    }

    /// Lists the destination again if an answer does not say whether its ref has moved.
    fn look_again(&self, updates: &[RefUpdate], report: &mut PushReport) {
        if !report.answers.iter().any(settle::is_unclear) {
            return;
        }
        let now = match list_again(self.destination, self.options, self.context) {
            Ok(now) => now,
            Err(err) => {
                report.failure = Some(err);
                return;
            }
        };
        for (update, answer) in updates.iter().zip(&mut report.answers) {
            let found = now.find(update.name.as_ref());
            if found.is_some_and(|found| found.target == update.new) {
                *answer = PushAnswer::Done;
            }
        }
    }

    /// Rejects the refs of a push that was not sent. Refs that were refused before keep their reason.
    fn leave(&mut self, batch: &[usize], sent: &Sent) {
        let detail = sent.failure.as_ref();
        let detail = detail.map(|err| repeatable(&err.to_string()));
        for at in batch {
            let planned = &mut self.planned[*at];
            if planned.is_open() && planned.refused.is_none() && !sent.answers.contains_key(at) {
                let detail = detail.clone().unwrap_or_default();
                planned.reject(Reason::Unconfirmed { detail });
            }
        }
    }

    /// Sends one pack. Returns `None` if the source could not read a tip: that ref was rejected, and nothing was sent.
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
        let (push, context) = (&mut *self.push, self.context);
        let mut receive = |pack: &mut dyn BufRead| {
            context.add_traffic(counted(pack)?);
            report = Some(push.push(updates, pack, context)?);
            Ok(())
        };
        let given = self.source.upload_pack(&request, &mut receive, context);
        // Once the destination has answered, refs may have moved, even if the source reports an error afterwards.
        if let Some(mut report) = report {
            let missing = PushAnswer::Unclear {
                detail: NO_ANSWER.to_owned(),
            };
            report.answers.resize(updates.len(), missing);
            return Ok(Some(report));
        }
        match given? {
            PackAnswer::Sent => Err(Error::new(ErrorKind::Protocol, "the source gave no pack")),
            PackAnswer::Unavailable { tips } => {
                let tips = tips.into_iter();
                let faults = tips.map(|(tip, detail)| (tip, Reason::Unavailable { detail }));
                reject_tips(self.planned, &faults.collect());
                Ok(None)
            }
            PackAnswer::GaveUp { detail, .. } => Err(Error::new(ErrorKind::Remote, detail)),
        }
    }
}

/// The objects that the destination has with everything reachable from them.
fn haves(destination: &RefList) -> Vec<ObjectId> {
    let tips = destination.iter().map(|listed| listed.target);
    tips.filter(|tip| !tip.is_null())
        .chain(destination.haves.iter().copied())
        .collect()
}

/// The number of objects in a pack, from its header (gitformat-pack: signature, version, count).
fn counted(pack: &mut dyn BufRead) -> Result<Traffic, Error> {
    let head = pack.fill_buf();
    let head = head.map_err(|err| Error::own_or_io("making the pack", err))?;
    let count = head.get(8..12).and_then(|count| count.try_into().ok());
    Ok(Traffic {
        objects: count.map_or(0, u32::from_be_bytes).into(),
        ..Traffic::default()
    })
}
