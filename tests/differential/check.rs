//! refsync's run against git's verdict, ref by ref.

use crate::expect::{Difference, Expected, ReasonCode, Word, expect};
use crate::history::Ancestry;
use crate::judge::{self, Verdict};
use crate::plan::Plan;
use crate::scenario::{SYMBOLIC, Scenario, in_the_way};
use crate::stores::Stores;
use crate::support::verdict::Flag;
use crate::support::{GitServer, Repo, remote, sync};
use gix::ObjectId;
use refsync::{
    FilterReason, LocalStore, Outcome, Reason, SyncOptions, SyncRunRef, SyncRunStats, TagPolicy,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Checked<T = ()> = Result<T, String>;

/// Fails with a sentence about the difference.
macro_rules! same {
    ($left:expr, $right:expr, $($about:tt)+) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(format!("{}:\n  {left:?}\n  {right:?}", format_args!($($about)+)));
        }
    }};
}
pub(crate) use same;

pub(crate) fn check(
    plan: &Plan,
    scenario: &Scenario,
    stores: &Stores,
    server: &GitServer,
    url: &str,
) -> Checked {
    let expected: BTreeMap<_, _> = scenario
        .source
        .iter()
        .map(|(name, tip)| (name.clone(), expect(plan, scenario, name, tip)))
        .collect();
    let verdict = judge::fetch(stores)?;
    let listed = verdict.flags.keys();
    let unknown: Vec<_> = listed
        .filter(|name| !expected.contains_key(*name))
        .collect();
    same!(
        unknown,
        Vec::<&String>::new(),
        "refs that git found beside ours"
    );
    compare_ancestry(scenario, stores)?;

    let pull = Pull {
        plan,
        stores,
        server,
        url,
    };
    let before = files(&stores.destination);
    let mut options = SyncOptions::default();
    if plan.immutable_tags {
        options.tags = TagPolicy::Immutable;
    }
    if plan.dry_run_first {
        options.dry_run = true;
        let (stats, _) = pull.run(&options)?;
        options.dry_run = false;
        compare_outcomes(&stats, &expected, scenario)?;
        same!(
            before,
            files(&stores.destination),
            "a dry run changed files"
        );
    }
    let (stats, fetches) = pull.run(&options)?;
    compare_outcomes(&stats, &expected, scenario)?;
    let missing = missing(scenario, &expected);
    same!(
        fetches,
        usize::from(!missing.is_empty()),
        "fetches, for {missing:?}"
    );

    let after = judge::refs_of(&stores.destination);
    for (name, expected) in &expected {
        compare_verdicts(name, expected, &verdict, &after, scenario)?;
    }
    compare_others(&expected, &verdict, &after, scenario)?;
    let sound = scenario.is_sound() && !scenario.leads_nowhere();
    judge::check_objects(&stores.destination.path, sound)?;
    nothing_left_behind(&before, &files(&stores.destination))?;
    run_again(&pull, options, &stats, fetches)
}

/// The number of a pair's refs whose ancestry is judged a second time: `git fetch` has looked at
/// all branches already, but never at a tag, and doesn't tell behind from diverged.
const MOST_RELATED: usize = 3;

fn compare_ancestry(scenario: &Scenario, stores: &Stores) -> Checked {
    let history = &scenario.history;
    let related = scenario.source.iter().rev().filter_map(|(name, tip)| {
        let held = scenario.destination.get(name)?;
        Some((name, held, tip, history.relate(held, tip)?))
    });
    // Git doesn't fetch for a symbolic ref.
    let unlike =
        related.filter(|(name, .., related)| *related != Ancestry::Same && *name != SYMBOLIC);
    for (name, held, tip, related) in unlike.take(MOST_RELATED) {
        let (old, new, yes) = match related {
            Ancestry::Behind => (tip, held, true),
            _ => (held, tip, related == Ancestry::FastForward),
        };
        same!(
            judge::is_ancestor(stores, old, new)?,
            yes,
            "{name}, git merge-base --is-ancestor and {related:?}"
        );
    }
    Ok(())
}

pub(crate) fn compare_outcomes(
    stats: &SyncRunStats,
    expected: &BTreeMap<String, Expected>,
    scenario: &Scenario,
) -> Checked {
    let names: Vec<_> = stats
        .refs
        .iter()
        .map(|found| found.name.to_string())
        .collect();
    same!(
        names,
        expected.keys().cloned().collect::<Vec<_>>(),
        "the refs in the stats"
    );
    for (found, (name, expected)) in stats.refs.iter().zip(expected) {
        same!(
            (
                Word::of(found.outcome),
                code(found.outcome, name, scenario)?
            ),
            (expected.outcome, expected.reason),
            "{name}, refsync and what was expected"
        );
        let before = scenario.destination.get(name);
        let found_before = found.before.map(ObjectId::from);
        same!(found_before.as_ref(), before, "{name} before");
        let source = ObjectId::from(found.source);
        same!(source, scenario.source[name], "{name} at the source");
        let null = ObjectId::null(source.kind());
        let after = match found.outcome {
            Outcome::Updated => source,
            _ => before.copied().unwrap_or(null),
        };
        same!(ObjectId::from(found.after), after, "{name} after");
    }
    Ok(())
}

fn code(outcome: &Outcome, name: &str, scenario: &Scenario) -> Checked<Option<ReasonCode>> {
    let reason = match outcome {
        Outcome::Updated | Outcome::Unchanged => return Ok(None),
        Outcome::Filtered(FilterReason::SymbolicRef) => return Ok(Some(ReasonCode::SymbolicRef)),
        Outcome::Filtered(other) => return Err(format!("{name}: {other}")),
        Outcome::Rejected(reason) => reason,
    };
    Ok(Some(match reason {
        Reason::DestinationAhead => ReasonCode::DestinationAhead,
        Reason::DestinationUnknown => ReasonCode::DestinationUnknown,
        Reason::Diverged => ReasonCode::Diverged,
        Reason::NotACommit => ReasonCode::NotACommit,
        Reason::TagExists => ReasonCode::TagExists,
        Reason::NameConflict { with }
            if in_the_way(&scenario.destination, name).any(|other| with == other) =>
        {
            ReasonCode::NameConflict
        }
        other => return Err(format!("{name}: {other}")),
    }))
}

/// Git's flag means the same as refsync's outcome, and both leave the same, except for a known
/// difference: then each does exactly what it is known for.
pub(crate) fn compare_verdicts(
    name: &str,
    expected: &Expected,
    verdict: &Verdict,
    after: &BTreeMap<String, ObjectId>,
    scenario: &Scenario,
) -> Checked {
    let flag = verdict.flags.get(name).copied().unwrap_or(Flag::Silent);
    same!(flag, expected.flag, "{name}, git and what was expected");
    let (ours, gits) = (after.get(name), verdict.after.get(name));
    let (before, tip) = (scenario.destination.get(name), Some(&scenario.source[name]));
    let Some(difference) = expected.difference else {
        let outcome = match flag {
            Flag::FastForward | Flag::New => Word::Updated,
            Flag::Rejected => Word::Rejected,
            Flag::Silent => return Err(format!("{name}: not a word from git")),
            Flag::UpToDate => Word::Unchanged,
        };
        same!(expected.outcome, outcome, "{name}, refsync and git");
        same!(ours, gits, "{name} afterwards, refsync's and git's");
        return Ok(());
    };
    let git_moves = matches!(flag, Flag::FastForward | Flag::New);
    same!(
        gits,
        if git_moves { tip } else { before },
        "{name}, git's, {difference:?}"
    );
    let we_move = difference == Difference::LightweightTag;
    same!(
        ours,
        if we_move { tip } else { before },
        "{name}, refsync's, {difference:?}"
    );
    same!(
        difference == Difference::LightweightTag && git_moves,
        false,
        "{name}"
    );
    Ok(())
}

/// Checks that refs which the source lacks stay.
fn compare_others(
    expected: &BTreeMap<String, Expected>,
    verdict: &Verdict,
    after: &BTreeMap<String, ObjectId>,
    scenario: &Scenario,
) -> Checked {
    let others = |refs: &BTreeMap<String, ObjectId>| -> BTreeMap<String, ObjectId> {
        let others = refs
            .iter()
            .filter(|(name, _)| !expected.contains_key(*name));
        others.map(|(name, tip)| (name.clone(), *tip)).collect()
    };
    let held = others(&scenario.destination);
    same!(others(after), held, "refs that only the destination has");
    same!(
        others(&verdict.after),
        held,
        "refs that only the destination has, git's"
    );
    Ok(())
}

/// The tips that no store of the destination has completely.
fn missing<'a>(scenario: &'a Scenario, expected: &BTreeMap<String, Expected>) -> Vec<&'a ObjectId> {
    let at_hand = scenario.at_hand();
    let open = scenario
        .source
        .iter()
        .filter(|(name, _)| expected[*name].is_open);
    open.map(|(_, tip)| tip)
        .filter(|tip| !scenario.history.closure([*tip]).is_subset(&at_hand))
        .collect()
}

/// Loose refs, packed refs, and packs with their index: nothing else is new, and nothing is gone.
fn nothing_left_behind(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Checked {
    let is_ours = |path: &str| match path.strip_prefix("objects/pack/pack-") {
        Some(pack) => pack.ends_with(".pack") || pack.ends_with(".idx"),
        None => {
            let is_loose = path.starts_with("refs/heads/") || path.starts_with("refs/tags/");
            path == "packed-refs" || is_loose && !path.ends_with(".lock")
        }
    };
    let left: Vec<_> = after
        .difference(before)
        .filter(|path| !is_ours(path))
        .collect();
    let gone: Vec<_> = before.difference(after).collect();
    same!(
        (left, gone),
        (vec![], vec![]),
        "files that are new, and gone"
    );
    Ok(())
}

/// Empty directories are not files: those below `refs/` come and go.
pub(crate) fn files(repo: &Repo) -> BTreeSet<String> {
    let files = repo.files().into_iter().map(|file| file.path);
    files.filter(|path| !path.ends_with('/')).collect()
}

struct Pull<'a> {
    plan: &'a Plan,
    stores: &'a Stores,
    server: &'a GitServer,
    url: &'a str,
}

impl Pull<'_> {
    /// The stats, and how many packs were asked for.
    fn run(&self, options: &SyncOptions) -> Checked<(SyncRunStats, usize)> {
        self.server.reset_counts();
        let failed = |err: refsync::Error| format!("refsync: {err}\n{err:?}");
        let local = LocalStore::open(&self.stores.destination.path).map_err(failed)?;
        let stats = sync(&remote(self.url), &local, options).map_err(failed)?;
        let requests = self.server.requests();
        same!(stats.traffic.requests, requests.len() as u64, "requests");
        let fetches = requests
            .iter()
            .filter(|r| r.command.as_deref() == Some("fetch"));
        Ok((stats, fetches.count()))
    }
}

/// Everything is settled by now: nothing moves, and nothing is fetched that was kept or remembered.
fn run_again(
    pull: &Pull<'_>,
    mut options: SyncOptions,
    first: &SyncRunStats,
    fetches: usize,
) -> Checked {
    if pull.plan.remembers {
        options.previous = Some(first.clone());
    }
    let (second, fetched) = pull.run(&options)?;
    same!(
        second.refs,
        first.refs.iter().map(settled).collect(),
        "the second run"
    );
    // A pack is kept only if a ref moved.
    let is_kept = first.count(Outcome::is_updated) > 0;
    let refetches = if is_kept || pull.plan.remembers {
        0
    } else {
        fetches
    };
    same!(fetched, refetches, "fetches of the second run");
    Ok(())
}

/// The outcome of a ref in a second run.
pub(crate) fn settled(found: SyncRunRef<'_>) -> SyncRunRef<'_> {
    let mut settled = found;
    if found.outcome.is_updated() {
        settled.before = Some(found.after);
        settled.outcome = &Outcome::Unchanged;
    }
    settled
}
