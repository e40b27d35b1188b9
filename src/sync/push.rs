//! Telling a destination that decides by itself, a remote, which refs to move, and what became of
//! them.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io::BufRead,
};

use bstr::BString;

use crate::{
    Error, ErrorKind, ObjectId, PackAnswer, PackRequest, Phase, Push, PushAnswer, PushReport,
    Reason, RefList, RefSource, RefUpdate, Service, SyncContext, SyncOptions, Traffic,
    sync::{
        plan::PlannedRef,
        pull::{MAX_REFUSALS, reject},
    },
    text::repeatable,
};

use self::{
    budget::Budget,
    halves::{Halves, Verdict, in_order},
    settle::{Company, Judged},
};
pub(crate) use self::{
    refusals::{Refused, recall},
    settle::{Settled, settle},
};

mod budget;
mod halves;
mod refusals;
mod settle;

/// What the destination said to all pushes of a run.
#[derive(Default)]
pub(crate) struct Sent {
    /// What it said last about each ref that was sent, by the ref's place in the plan.
    answers: HashMap<usize, Judged>,
    /// What it printed in the last push that it declined in part or whole.
    messages: Vec<String>,
    /// Why it was in no state to answer the last one.
    failure: Option<Error>,
}

/// Sends every open ref with the objects that the destination lacks for it. A ref whose objects
/// can't be had from the source is rejected, and the others are sent without it.
///
/// Where the destination declines a push as a whole, its refs are tried again in [parts](Halves), the
/// source's default branch first. What it refused alone in an earlier run comes last.
///
/// An error means that no ref has moved and that there is nothing to be said of any.
pub(crate) fn send(
    ends: (&dyn RefSource, &dyn RefSource),
    push: &mut dyn Push,
    held: &RefList,
    default_branch: Option<&BString>,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &SyncContext,
) -> Result<Sent, Error> {
    let _span = tracing::debug_span!("push").entered();
    let is_default =
        |planned: &PlannedRef<'_>| default_branch.is_some_and(|name| name == planned.name());
    let default_branch = planned.iter().position(is_default);
    let (first, last) = refusals::queues(planned, default_branch);
    let mut halves = Halves::new(first, last);
    let mut budget = Budget::new(options.max_repeated_pushes);
    let mut sent = Sent::default();
    let mut sender = Sender {
        source: ends.0,
        destination: ends.1,
        push,
        haves: tips_of(held),
        shallow: &held.shallow,
        planned,
        options,
        run,
    };
    while budget.allows_another()
        && (budget.is_untouched() || !run.is_out_of_time())
        && let Some(batch) = halves.next()
    {
        let is_first = budget.is_untouched();
        let sent_before = run.traffic().bytes_sent;
        let pushed = match sender.send(&batch) {
            Ok(pushed) => pushed,
            Err(err) if is_first && !is_overloaded(&err) => return Err(err),
            Err(err) => {
                sent.give_up(err);
                sender.leave(&batch, &sent);
                break;
            }
        };
        if !pushed.places.is_empty() {
            budget.take(run.traffic().bytes_sent - sent_before);
        }
        let verdict = sent.take_in(pushed);
        if sent.failure.is_some() {
            break;
        }
        match verdict {
            Verdict::Declined(refs) if is_first => {
                let start = start_among(refs.len(), options.max_repeated_pushes);
                halves.start_over(&in_order(&refs, default_branch, start));
            }
            verdict => halves.learn(verdict),
        }
    }
    refusals::keep(planned, &sent.answers);
    Ok(sent)
}

/// Where to start with so many refs. If they are more than there can be pushes, that is anywhere: runs
/// that don't know of each other shall not look at the same ones each time.
fn start_among(refs: usize, most_pushes: usize) -> usize {
    if refs <= most_pushes {
        return 0;
    }
    RandomState::new().hash_one(refs) as usize
}

/// Whether the destination may well take the same push later: HTTP 5xx or 429.
fn is_overloaded(err: &Error) -> bool {
    matches!(err.kind(), ErrorKind::ServerError | ErrorKind::RateLimited)
}

impl Sent {
    /// Takes in what was said of the refs of a push.
    fn take_in(&mut self, pushed: Pushed) -> Verdict {
        let Pushed {
            places,
            report,
            is_judged,
        } = pushed;
        let is_done = |answer: &PushAnswer| *answer == PushAnswer::Done;
        let left = places.iter().zip(&report.answers);
        let left = left.filter(|(_, answer)| !is_done(answer));
        let left: Vec<_> = left.map(|(at, _)| *at).collect();
        let (company, verdict) = match places.len() {
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
        let judged = judged.map(|answer| Judged { answer, company });
        self.answers.extend(places.into_iter().zip(judged));
        self.failure = report.failure;
        verdict
    }

    /// Nothing came of the last push. What was declined before stays declined.
    fn give_up(&mut self, err: Error) {
        tracing::warn!(%err, "what is left is not pushed");
        self.failure = Some(err);
    }
}

/// A push that was made.
#[derive(Default)]
struct Pushed {
    /// The refs in it.
    places: Vec<usize>,
    report: PushReport,
    /// Whether what was said of each ref is about that ref. It is not where none went through: all were
    /// refused, or the destination did answer and said of no ref that it had moved, as if it had died
    /// of one.
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
    run: &'a SyncContext,
}

impl Sender<'_, '_> {
    /// Sends the refs at these places, but for those whose objects can't be had.
    fn send(&mut self, batch: &[usize]) -> Result<Pushed, Error> {
        let mut batch = batch.to_vec();
        for _ in 0..MAX_REFUSALS {
            batch.retain(|at| self.planned[*at].is_open());
            if batch.is_empty() {
                return Ok(Pushed::default());
            }
            let updates: Vec<_> = batch.iter().map(|at| self.planned[*at].update()).collect();
            let total = Some(updates.len() as u64);
            self.run.advance(Phase::Apply, 0, total);
            let report = self.try_send(&updates)?;
            self.run.advance(Phase::Apply, updates.len() as u64, total);
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
                    places: batch,
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

    /// Finds out which refs have moved, if any answer leaves that open.
    fn look_again(&self, updates: &[RefUpdate], report: &mut PushReport) {
        if !report.answers.iter().any(settle::is_unclear) {
            return;
        }
        let now = match self.list_again() {
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

    fn list_again(&self) -> Result<RefList, Error> {
        let prefixes = self.options.globs.prefixes();
        self.destination
            .list(Service::ReceivePack, &prefixes, self.run)
    }

    /// Nothing was sent of the refs at these places. What was refused before stays so.
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
            PackAnswer::Unavailable { tips } => {
                let tips = tips.into_iter();
                let faults = tips.map(|(tip, detail)| (tip, Reason::Unavailable { detail }));
                reject(self.planned, &faults.collect());
                Ok(None)
            }
            PackAnswer::GaveUp { detail, .. } => Err(Error::new(ErrorKind::Remote, detail)),
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
