//! Comparing the tips of each ref: their kinds, and how their histories relate.

use crate::{Error, ObjectId, Objects, Phase, Reason, Relation, SyncContext, SyncOptions, TipKind};

use super::{classify, planned_ref::PlannedRef};

/// `(source, destination)` tip kinds.
type Kinds = (TipKind, Option<TipKind>);

/// Settles every open ref that may not move; those that stay open may. `absent` is the reason of a ref
/// whose tip at the destination is not among the `objects`.
pub(crate) fn compare(
    objects: &mut dyn Objects,
    planned: &mut [PlannedRef<'_>],
    absent: &Reason,
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("compare").entered();
    let kinds = kinds(objects, planned, context)?;
    context.advance(Phase::Compare, 0, Some(kinds.len() as u64));
    let relations = relations(objects, planned, &kinds, context)?;
    context.advance(Phase::Compare, kinds.len() as u64, Some(kinds.len() as u64));

    let mut relations = relations.into_iter();
    let open = planned.iter_mut().filter(|planned| planned.is_open());
    for (planned, (source, destination)) in open.zip(kinds) {
        let verdict = match destination {
            None => classify::creation(planned.namespace(), source),
            Some(destination) => {
                let relation = relations.next().unwrap_or(Relation::Unknown);
                let verdict = classify::movement(
                    planned.namespace(),
                    options.tags,
                    destination,
                    source,
                    relation,
                );
                match (verdict, destination) {
                    (Err(Reason::HistoryUnknown), TipKind::Unknown) => Err(absent.clone()),
                    (verdict, _) => verdict,
                }
            }
        };
        if let Err(reason) = verdict {
            let is_unavailable = source == TipKind::Unknown && is_about_history(&reason);
            planned.reject(if is_unavailable {
                unavailable(planned.source())
            } else {
                reason
            });
        }
    }
    Ok(())
}

fn is_about_history(reason: &Reason) -> bool {
    matches!(reason, Reason::HistoryUnknown | Reason::DestinationUnknown)
}

/// The reason of a ref whose tip the source lacks.
fn unavailable(tip: ObjectId) -> Reason {
    let detail = format!("{tip} is missing or can't be read");
    Reason::Unavailable { detail }
}

/// The kinds of the tips of each open ref. A tip that is missing may have been repacked meanwhile, so it is
/// looked up twice.
fn kinds(
    objects: &mut dyn Objects,
    planned: &[PlannedRef<'_>],
    context: &SyncContext,
) -> Result<Vec<Kinds>, Error> {
    let look = |objects: &mut dyn Objects| -> Result<Vec<Kinds>, Error> {
        let open = planned.iter().filter(|planned| planned.is_open());
        open.map(|planned| {
            context.check()?;
            let source = objects.kind(&planned.source())?;
            let before = planned.before().map(|before| objects.kind(&before));
            Ok((source, before.transpose()?))
        })
        .collect()
    };
    let kinds = look(objects)?;
    if !kinds.iter().any(lacks_one) {
        return Ok(kinds);
    }
    objects.refresh()?;
    look(objects)
}

fn lacks_one((source, destination): &Kinds) -> bool {
    *source == TipKind::Unknown || *destination == Some(TipKind::Unknown)
}

/// The relations of the tips of each open ref that has two. History that seems to be cut off between
/// existing tips is walked twice, for the same reason.
fn relations(
    objects: &mut dyn Objects,
    planned: &[PlannedRef<'_>],
    kinds: &[Kinds],
    context: &SyncContext,
) -> Result<Vec<Relation>, Error> {
    let open = planned.iter().filter(|planned| planned.is_open());
    let (mut pairs, mut has_both) = (Vec::new(), Vec::new());
    for (planned, kinds) in open.zip(kinds) {
        pairs.extend(planned.before().map(|before| (before, planned.source())));
        has_both.extend(planned.before().map(|_| !lacks_one(kinds)));
    }
    let has_to_end = || context.check().is_err();
    let mut relations = objects.relate(&pairs, &has_to_end);
    let seems_cut_off = |relations: &Vec<Relation>| {
        let mut both = relations.iter().zip(&has_both);
        both.any(|(relation, has_both)| *relation == Relation::Unknown && *has_both)
    };
    if relations.as_ref().is_ok_and(seems_cut_off) {
        objects.refresh()?;
        relations = objects.relate(&pairs, &has_to_end);
    }
    let relations = relations.map_err(|err| context.check().err().unwrap_or(err))?;
    Ok(answers(relations, &pairs))
}

/// The relation of each pair. An application's own objects may answer, so an answer that can't be one is
/// [`Relation::Unknown`], which moves no ref.
fn answers(relations: Vec<Relation>, pairs: &[(ObjectId, ObjectId)]) -> Vec<Relation> {
    if relations.len() != pairs.len() {
        return vec![Relation::Unknown; pairs.len()];
    }
    let answer = |(relation, (old, new)): (Relation, &(ObjectId, ObjectId))| match relation {
        Relation::Same if old != new => Relation::Unknown,
        relation => relation,
    };
    relations.into_iter().zip(pairs).map(answer).collect()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::atomic::Ordering, thread, time::Duration};

    use super::*;
    use crate::{
        AdvertisedRef, ErrorKind, ObjectFormat, ObjectId, RefList,
        ancestry::{self, Commit, CommitGraph, Hole},
        sync::plan::plan,
    };

    /// Two lines of commits that never meet; and what happens at the hundredth that is looked up.
    struct TwoLines<'a> {
        looked_up: &'a Cell<usize>,
        at_the_hundredth: &'a dyn Fn(),
    }

    const LENGTH: u32 = 20_000;

    fn id(line: u8, number: u32) -> ObjectId {
        let mut bytes = [line; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ObjectId::from(bytes)
    }

    impl CommitGraph for TwoLines<'_> {
        fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
            self.looked_up.set(self.looked_up.get() + 1);
            if self.looked_up.get() == 100 {
                (self.at_the_hundredth)();
            }
            let (number, line) = id.as_bytes().split_first_chunk().expect("20 bytes");
            let number = u32::from_be_bytes(*number);
            parents.extend((number < LENGTH).then(|| self::id(line[0], number + 1)));
            Ok(Commit {
                generation: None,
                date: -i64::from(number),
            })
        }
    }

    impl Objects for TwoLines<'_> {
        fn kind(&mut self, _: &ObjectId) -> Result<TipKind, Error> {
            Ok(TipKind::Commit)
        }

        fn relate(
            &mut self,
            pairs: &[(ObjectId, ObjectId)],
            cancelled: &dyn Fn() -> bool,
        ) -> Result<Vec<Relation>, Error> {
            ancestry::compare(self, pairs, cancelled)
        }
    }

    /// The error of a comparison, and the number of commits that were looked up.
    fn compared(
        options: &SyncOptions,
        at_the_hundredth: impl Fn(&SyncContext),
    ) -> (Option<Error>, usize) {
        let list = |line| {
            let listed = AdvertisedRef::new("refs/heads/main".into(), id(line, 0));
            RefList::new(ObjectFormat::Sha1, [listed])
        };
        let (source, destination) = (list(1), list(2));
        let planned = plan(&source, &destination, options, || Ok(()));
        let context = SyncContext::new(options);
        let looked_up = Cell::new(0);
        let mut objects = TwoLines {
            looked_up: &looked_up,
            at_the_hundredth: &|| at_the_hundredth(&context),
        };
        let mut planned = planned.expect("nothing stops it");
        let absent = &Reason::HistoryUnknown;
        let ended = compare(&mut objects, &mut planned, absent, options, &context);
        (ended.err(), looked_up.get())
    }

    #[test]
    fn an_answer_that_cannot_be_one_is_unknown() {
        use Relation::{Diverged, FastForward, Same, Unknown};
        let (a, b) = (id(1, 0), id(2, 0));
        let pairs = [(a, b), (a, a)];
        let table: [(&[Relation], [Relation; 2]); 5] = [
            (&[FastForward, Same], [FastForward, Same]),
            (&[Diverged, Unknown], [Diverged, Unknown]),
            (&[Same, Same], [Unknown, Same]),
            // Whose answer is missing?
            (&[FastForward], [Unknown, Unknown]),
            (&[FastForward, Same, Same], [Unknown, Unknown]),
        ];
        for (given, taken) in table {
            assert_eq!(answers(given.to_vec(), &pairs), taken, "{given:?}");
        }
    }

    #[test]
    fn a_walk_over_history_ends_soon_after_the_run_has_to() {
        let mut options = SyncOptions::default();
        let (err, looked_up) = compared(&options, |_| {});
        assert!(err.is_none());
        assert!(looked_up > LENGTH as usize);

        let cancel = |context: &SyncContext| context.cancel_flag().store(true, Ordering::Relaxed);
        let (err, looked_up) = compared(&options, cancel);
        assert_eq!(err.expect("cancelled").kind(), ErrorKind::Cancelled);
        assert!(looked_up < 300, "{looked_up}");

        options.limits.total_time = Some(Duration::from_millis(300));
        let wait = |context: &SyncContext| {
            while context.check().is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let (err, looked_up) = compared(&options, wait);
        assert_eq!(err.expect("no time").kind(), ErrorKind::BudgetExceeded);
        assert!(looked_up < 300, "{looked_up}");
    }
}
