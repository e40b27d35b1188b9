//! New refs that can't exist beside others: a directory is in the way of a file of its name.
//!
//! All names are put in an order in which those below a directory come right behind it, whatever
//! other names begin alike. An obstacle to a new name is next to it then: no table of all directories is
//! needed, which a few deep names would fill.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeSet};

use bstr::{BStr, ByteSlice};

use crate::{
    Error, Reason,
    refs::{Namespace, RefList},
    sync::planned_ref::{PlannedRef, Step},
};

/// Rejects new refs that can't exist beside others. The first one of two new ones is created.
pub(super) fn reject(
    planned: &mut [PlannedRef<'_>],
    destination: &RefList,
    check: &mut impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let new = planned.iter_mut();
    let mut new: Vec<_> = new.filter(|new| new.step == Step::Create).collect();
    if new.is_empty() {
        return Ok(());
    }
    let present = destination.iter().map(|listed| listed.name);
    let mut names: Vec<_> = present
        .filter(|name| Namespace::split(name).is_some())
        .collect();
    let first_new = names.len();
    names.extend(new.iter().map(|new| new.name()));
    let order = order(&names, destination, check)?;
    let mut places = vec![0; names.len()];
    for (place, name) in (0..).zip(&order) {
        places[*name as usize] = place;
    }

    let name_at = |place: &u32| names[order[*place as usize] as usize];
    let mut taken: BTreeSet<u32> = (0..)
        .zip(&order)
        .filter(|(_, name)| (**name as usize) < first_new)
        .map(|(place, _)| place)
        .collect();
    for (new, place) in new.iter_mut().zip(&places[first_new..]) {
        check()?;
        let before = taken.range(..place).next_back();
        let after = taken.range(place..).next();
        let mut neighbours = before.into_iter().chain(after).map(name_at);
        match neighbours.find(|taken| excludes(taken, new.name(), destination)) {
            Some(with) => new.reject(Reason::NameConflict {
                with: with.to_owned(),
            }),
            None => {
                taken.insert(*place);
            }
        }
    }
    Ok(())
}

/// The places of the names in [the order of paths](cmp_paths), case-folded if the destination is. Equal
/// names keep their order.
fn order(
    names: &[&BStr],
    destination: &RefList,
    check: &mut impl FnMut() -> Result<(), Error>,
) -> Result<Vec<u32>, Error> {
    let count = u32::try_from(names.len()).expect("memory ends long before four billion names do");
    let mut order: Vec<u32> = (0..count).collect();
    if !destination.folds_case {
        order.sort_by(|a, b| cmp_paths(names[*a as usize], names[*b as usize]));
        return Ok(order);
    }
    // One behind the other, as a million small pieces of memory take several times as much.
    let mut folded = Vec::new();
    let mut ends = vec![0];
    for name in names {
        check()?;
        folded.extend_from_slice(&destination.fold(name));
        ends.push(folded.len());
    }
    let key = |name: u32| &folded[ends[name as usize]..ends[name as usize + 1]];
    order.sort_by(|a, b| cmp_paths(key(*a), key(*b)));
    Ok(order)
}

/// Orders by component: what is below `a` comes before `a-b`.
fn cmp_paths(a: &[u8], b: &[u8]) -> Ordering {
    let at = alike(a, b);
    let next = |name: &[u8]| name.get(at).map(|byte| (*byte != b'/', *byte));
    next(a).cmp(&next(b))
}

/// Whether one of two names is a directory of the other one, or they differ in case only up to the
/// end of a component, where that is no difference.
fn excludes(a: &[u8], b: &[u8], destination: &RefList) -> bool {
    let at = alike(a, b);
    let start = a[..at].rfind_byte(b'/').map_or(0, |slash| slash + 1);
    let component = |name| -> Cow<'_, [u8]> {
        let name: &[u8] = name;
        let rest = &name[start..];
        destination.fold(&rest[..rest.find_byte(b'/').unwrap_or(rest.len())])
    };
    component(a) == component(b)
}

/// The length of the longest common prefix, in bytes.
fn alike(a: &[u8], b: &[u8]) -> usize {
    const PIECE: usize = 64;
    let pieces = a.chunks(PIECE).zip(b.chunks(PIECE));
    let start = PIECE * pieces.take_while(|(a, b)| a == b).count();
    let start = start.min(a.len()).min(b.len());
    let bytes = a[start..].iter().zip(&b[start..]);
    start + bytes.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::{AdvertisedRef, ErrorKind, ObjectFormat, ObjectId, SyncOptions, sync::plan};

    fn list(names: &[String]) -> RefList {
        let listed = names
            .iter()
            .map(|name| AdvertisedRef::new(name.as_str().into(), ObjectId::from([1; 20])));
        RefList::new(ObjectFormat::Sha1, listed)
    }

    /// Component by component, which takes long for many names.
    fn exclude_each_other(a: &str, b: &str, folds_case: bool) -> bool {
        let fold = |component: &str| {
            if folds_case {
                component.to_lowercase()
            } else {
                component.to_owned()
            }
        };
        let mut both = a.split('/').zip(b.split('/'));
        match both.find(|(a, b)| a != b) {
            Some((a, b)) => fold(a) == fold(b),
            None => a != b,
        }
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        let component = prop::sample::select(vec!["a", "A", "a-", "b", "\u{e4}", "\u{c4}"]);
        let name = prop::collection::vec(component, 1..4);
        let name = name.prop_map(|components| format!("refs/heads/{}", components.join("/")));
        prop::collection::vec(name, 0..12)
    }

    #[test]
    fn the_first_of_those_in_each_others_way_is_created() {
        proptest!(|(existing in names(), added in names(), folds_case in any::<bool>())| {
            let mut taken: Vec<String> = Vec::new();
            let mut fits = |name: &String| {
                let is_free = !taken.iter().any(|taken| exclude_each_other(taken, name, folds_case));
                if is_free {
                    taken.push(name.clone());
                }
                is_free
            };
            let existing: Vec<_> = existing.into_iter().filter(&mut fits).collect();
            let (mut destination, source) = (list(&existing), list(&added));
            destination.folds_case = folds_case;
            let plan = plan::plan(&source, &destination, &SyncOptions::default(), || Ok(()));
            for planned in plan.expect("nothing stops it") {
                let expected = fits(&planned.name().to_string());
                prop_assert_eq!(planned.is_open(), expected, "{}", planned.name());
                if let Some(Reason::NameConflict { with }) = planned.rejection() {
                    let (with, name) = (with.to_string(), planned.name().to_string());
                    prop_assert!(exclude_each_other(&with, &name, folds_case));
                }
            }
        });
    }

    /// Each of these needs two thousand directories.
    #[test]
    fn deep_names_can_be_left_in_the_middle() {
        let deep = "d/".repeat(2000);
        let names = (0..300).map(|number| format!("refs/heads/{deep}{number}"));
        let source = list(&names.collect::<Vec<_>>());
        for folds_case in [false, true] {
            let mut destination = list(&[]);
            destination.folds_case = folds_case;
            let asked = Cell::new(0);
            let plan = |most: u32| {
                asked.set(0);
                let check = || {
                    asked.set(asked.get() + 1);
                    if asked.get() <= most {
                        return Ok(());
                    }
                    Err(Error::cancelled())
                };
                plan::plan(&source, &destination, &SyncOptions::default(), check)
            };
            let all = plan(u32::MAX).expect("planned");
            assert!(all.iter().all(PlannedRef::is_open));
            let all = asked.get();
            assert!(all >= 300, "{all}");
            for most in [0, 2, 200, all - 1] {
                let err = plan(most).expect_err("cancelled");
                assert_eq!(err.kind(), ErrorKind::Cancelled);
                assert_eq!(asked.get(), most + 1);
            }
        }
    }
}
