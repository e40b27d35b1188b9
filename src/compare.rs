//! Whether a ref may move: what its tips are, and how they relate.

use crate::{
    Error, Objects, Phase, Reason, Relation, Run, SyncOptions, TipKind, ancestry, classify,
    plan::PlannedRef,
};

/// The kinds of a ref's tips, the source's first.
type Kinds = (TipKind, Option<TipKind>);

/// Settles every open ref that may not move; those that stay open may. `absent` is the reason where
/// the destination's tip is not among the `objects`.
pub(crate) fn compare(
    objects: &mut dyn Objects,
    planned: &mut [PlannedRef<'_>],
    absent: &Reason,
    options: &SyncOptions,
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("compare").entered();
    let kinds = kinds(objects, planned, run)?;
    run.advance(Phase::Compare, 0, Some(kinds.len() as u64));
    let relations = relations(objects, planned, &kinds, run)?;
    run.advance(Phase::Compare, kinds.len() as u64, Some(kinds.len() as u64));

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
            planned.reject(reason);
        }
    }
    Ok(())
}

/// What the tips of each open ref are. What is lacking may have been repacked while it was being looked
/// for, so it is looked for twice.
fn kinds(
    objects: &mut dyn Objects,
    planned: &[PlannedRef<'_>],
    run: &Run,
) -> Result<Vec<Kinds>, Error> {
    let look = |objects: &mut dyn Objects| -> Result<Vec<Kinds>, Error> {
        let open = planned.iter().filter(|planned| planned.is_open());
        open.map(|planned| {
            run.check()?;
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

/// How the tips of each open ref relate that has two. History that seems to be cut off between tips
/// that are both there is looked at twice, for the same reason.
fn relations(
    objects: &mut dyn Objects,
    planned: &[PlannedRef<'_>],
    kinds: &[Kinds],
    run: &Run,
) -> Result<Vec<Relation>, Error> {
    let open = planned.iter().filter(|planned| planned.is_open());
    let (mut pairs, mut has_both) = (Vec::new(), Vec::new());
    for (planned, kinds) in open.zip(kinds) {
        pairs.extend(planned.before().map(|before| (before, planned.source())));
        has_both.extend(planned.before().map(|_| !lacks_one(kinds)));
    }
    let has_to_end = || run.check().is_err();
    let mut relations = ancestry::compare(&mut *objects.commits()?, &pairs, &has_to_end);
    let seems_cut_off = |relations: &Vec<Relation>| {
        let mut both = relations.iter().zip(&has_both);
        both.any(|(relation, has_both)| *relation == Relation::Unknown && *has_both)
    };
    if relations.as_ref().is_ok_and(seems_cut_off) {
        objects.refresh()?;
        relations = ancestry::compare(&mut *objects.commits()?, &pairs, &has_to_end);
    }
    relations.map_err(|err| run.check().err().unwrap_or(err))
}
