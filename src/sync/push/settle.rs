//! The outcomes of the refs that were pushed.

use std::time::{Duration, SystemTime};

use super::{
    Sent,
    answer::{Company, RefAnswer},
    is_overloaded, refusals,
};
use crate::{
    Error, ObjectId, PushAnswer, Reason, RefSource, Refusal, SyncContext, SyncOptions,
    sync::{
        listing::list_again,
        planned_ref::{PlannedRef, Refused, Step},
    },
};

/// The result of the pushes of a run, apart from the outcomes of refs.
#[derive(Default)]
pub(in crate::sync) struct Settled {
    pub(in crate::sync) messages: Vec<String>,
    /// The time that the destination asked to wait before the other refs are pushed.
    pub(in crate::sync) retry_after: Option<Duration>,
    /// The error of the run, if it failed. [Unconfirmed](Reason::Unconfirmed) refs are uncertain then.
    pub(in crate::sync) failure: Option<Error>,
}

/// Turns the answers into outcomes. If an answer is unclear, the destination is listed again, and the listing decides:
/// answers are never guessed.
///
/// The run has failed if this listing fails, or if the destination did not answer and no ref has moved, by this run or
/// another.
pub(super) fn settle(
    destination: &dyn RefSource,
    sent: Sent,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    context: &SyncContext,
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
    let unclear = answers.values().filter(|judged| is_unclear(&judged.answer));
    let unclear = unclear.count();
    let mut now = None;
    if unclear > 0 || answers.values().any(reads_like_a_lost_race) {
        match list_again(destination, options, context) {
            Ok(list) => now = Some(list),
            Err(err) if unclear > 0 => {
                settled.failure = Some(lost(unclear, err, overloaded.as_ref()));
            }
            // Its text may be the server's, which may repeat a credential.
            Err(err) => {
                let kind = err.kind().as_str();
                tracing::warn!(kind, "the present tips of refused refs can't be listed");
            }
        }
    }
    let clock = SystemTime::now();
    let mut moved = 0;
    for (at, judged) in answers {
        let planned = &mut planned[at];
        let found = now.as_ref().map(|now| {
            let found = now.find(planned.name());
            found.map(|found| found.target).filter(|tip| !tip.is_null())
        });
        let again = refusal(&judged, options.refusal_backoff, clock);
        let is_answered = !is_unclear(&judged.answer);
        match verdict(judged, planned, found) {
            Ok(()) => {
                moved += 1;
                planned.step = Step::Moved;
            }
            Err(reason) => {
                moved += usize::from(reason == Reason::Raced);
                if is_answered || again.is_some() {
                    planned.refused = again.map(|again| Refused::new(again, reason.clone()));
                }
                planned.reject(reason);
                planned.see(found.unwrap_or(planned.unmoved()));
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

/// The error if neither the answers nor the present tips of the refs are known. If the destination has reported that it is
/// overloaded, the error is of that kind.
fn lost(unclear: usize, listing: Error, overloaded: Option<&Error>) -> Error {
    let text = format!(
        "the answer to the push was lost, and listing the refs again failed: it is uncertain what \
         became of {unclear} of them"
    );
    let first = overloaded.unwrap_or(&listing);
    let kind = first.kind();
    let wait = first.retry_after().or(listing.retry_after());
    Error::new(kind, text)
        .with_source(listing)
        .with_retry_after(wait)
}

pub(super) fn is_unclear(answer: &PushAnswer) -> bool {
    matches!(answer, PushAnswer::Unclear { .. })
}

/// Whether a refusal means that the ref changed during the push. The text depends on the place in git that noticed:
/// "failed to update ref", "cannot lock ref", "incorrect old value provided", "reference already exists" and others.
fn reads_like_a_lost_race(judged: &RefAnswer) -> bool {
    let PushAnswer::Refused { text } = &judged.answer else {
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

/// The outcome that follows from an answer, and from the ref's tip `now` if the destination was listed again.
fn verdict(
    judged: RefAnswer,
    planned: &PlannedRef<'_>,
    now: Option<Option<ObjectId>>,
) -> Result<(), Reason> {
    let has_moved = now.is_some_and(|now| now != planned.before());
    match judged.answer {
        PushAnswer::Done => Ok(()),
        PushAnswer::Unclear { .. } if now == Some(Some(planned.source())) => Ok(()),
        PushAnswer::Unclear { .. } | PushAnswer::Refused { .. } if has_moved => Err(Reason::Raced),
        PushAnswer::Unclear { detail } => Err(Reason::Unconfirmed { detail }),
        PushAnswer::Refused { text } => Err(Reason::Remote {
            text: with_company(text, judged.company),
        }),
    }
}

fn with_company(text: String, company: Company) -> String {
    match company {
        Company::Alone | Company::Each => text,
        Company::Declined { others: 1 } => format!("{text} (refused together with 1 other)"),
        Company::Declined { others } => {
            format!("{text} (refused together with {others} others)")
        }
    }
}

/// The refusal of a ref that was not moved, if the answer was about the ref itself.
///
/// A ref without an answer, for example because the destination died, has no refusal and is pushed in the next run: the
/// reason may have been another one.
fn refusal(judged: &RefAnswer, backoff: Duration, now: SystemTime) -> Option<Refusal> {
    let alone = judged.company == Company::Alone;
    let backoff = match (&judged.answer, judged.company) {
        (PushAnswer::Done, _) | (_, Company::Declined { .. }) => return None,
        (PushAnswer::Refused { .. }, _) => backoff,
        (PushAnswer::Unclear { .. }, Company::Alone) => Duration::ZERO,
        (PushAnswer::Unclear { .. }, Company::Each) => return None,
    };
    let retry_at = refusals::retry_at(now, backoff);
    Some(Refusal { retry_at, alone })
}

#[cfg(test)]
mod tests;
