//! refsync's push against git's verdict, ref by ref.

use crate::check::{Checked, compare_outcomes, compare_verdicts, files, same, settled};
use crate::expect::Expected;
use crate::judge::{self, Verdict};
use crate::plan::Plan;
use crate::push_expect::expect;
use crate::scenario::{BEHIND_SYMBOLIC, End, SYMBOLIC, Scenario};
use crate::stores::Stores;
use crate::support::pull::leftovers;
use crate::support::push::{Sent, is_push};
use crate::support::{GitServer, remote, sync};
use gix::ObjectId;
use refsync::{LocalStore, Outcome, SyncOptions, SyncRunStats, TagPolicy};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(crate) fn check(
    plan: &Plan,
    scenario: &Scenario,
    stores: &Stores,
    server: &GitServer,
    url: &str,
) -> Checked {
    let known = scenario.history.closure(scenario.source.values());
    let expected: BTreeMap<_, _> = scenario
        .source
        .iter()
        .map(|(name, tip)| (name.clone(), expect(plan, scenario, &known, name, tip)))
        .collect();
    let verdict = judge::push(stores)?;
    let judged: Vec<_> = verdict.flags.keys().collect();
    same!(
        judged,
        expected.keys().collect::<Vec<_>>(),
        "the refs that git pushed"
    );

    let push = Push::new(stores, server, url);
    let (source, before) = (files(&stores.source), files(&stores.destination));
    let mut options = SyncOptions::default();
    if plan.immutable_tags {
        options.tags = TagPolicy::Immutable;
    }
    if plan.dry_run_first {
        options.dry_run = true;
        let (stats, sent) = push.run(&options)?;
        options.dry_run = false;
        compare_outcomes(&stats, &expected, scenario)?;
        same!(sent, vec![], "what a dry run sent");
        same!(
            before,
            files(&stores.destination),
            "a dry run changed files"
        );
    }
    let (stats, sent) = push.run(&options)?;
    compare_outcomes(&stats, &expected, scenario)?;
    compare_sent(&sent, &stats, &expected, scenario)?;

    let after = judge::refs_of(&stores.destination);
    for (name, expected) in &expected {
        compare_verdicts(name, expected, &verdict, &after, scenario)?;
    }
    compare_others(&expected, &after, scenario)?;
    compare_others(&expected, &verdict.after, scenario)?;
    check_both(stores, scenario, &verdict)?;
    same!(source, files(&stores.source), "a push changed the source");
    same!(
        leftovers(&stores.destination),
        Vec::<String>::new(),
        "left behind"
    );
    run_again(&push, plan, options, &stats)
}

/// One request with the refs that move and no other, or none at all, and at least the objects that
/// the destination has nowhere.
fn compare_sent(
    sent: &[Sent],
    stats: &SyncRunStats,
    expected: &BTreeMap<String, Expected>,
    scenario: &Scenario,
) -> Checked {
    let moving: Vec<_> = expected
        .iter()
        .filter(|(_, expected)| expected.is_open)
        .map(|(name, _)| name.clone())
        .collect();
    let names: Vec<_> = sent.iter().map(|sent| sent.names.clone()).collect();
    let once = if moving.is_empty() {
        vec![]
    } else {
        vec![moving.clone()]
    };
    same!(names, once, "the refs that were sent");
    let objects: u64 = sent.iter().map(|sent| sent.objects).sum();
    same!(stats.traffic.objects, objects, "objects counted and sent");
    let needed = scenario
        .history
        .closure(moving.iter().map(|name| &scenario.source[name]));
    let missing = needed.difference(&scenario.at_hand()).count() as u64;
    let enough = (missing..=needed.len() as u64).contains(&objects);
    same!(enough, true, "{objects} objects, {missing} are missing");
    Ok(())
}

/// Checks that refs which the source lacks stay, but for the branch behind a symbolic ref.
fn compare_others(
    expected: &BTreeMap<String, Expected>,
    after: &BTreeMap<String, ObjectId>,
    scenario: &Scenario,
) -> Checked {
    let others = |refs: &BTreeMap<String, ObjectId>| -> BTreeMap<String, ObjectId> {
        let others = refs
            .iter()
            .filter(|(name, _)| !expected.contains_key(*name));
        others.map(|(name, tip)| (name.clone(), *tip)).collect()
    };
    let mut held = others(&scenario.destination);
    if scenario.symbolic == Some(End::Destination)
        && let Some(tip) = after.get(SYMBOLIC)
    {
        held.insert(BEHIND_SYMBOLIC.to_owned(), *tip);
    }
    same!(others(after), held, "refs that only the destination has");
    Ok(())
}

fn check_both(stores: &Stores, scenario: &Scenario, verdict: &Verdict) -> Checked {
    let is_born = |refs: &BTreeMap<String, ObjectId>| {
        !scenario.leads_nowhere() || refs.contains_key(SYMBOLIC)
    };
    let sound = scenario.is_sound() && is_born(&verdict.after);
    for repo in [&stores.destination, &stores.judged] {
        judge::check_objects(&repo.path, sound)?;
    }
    Ok(())
}

struct Push<'a> {
    stores: &'a Stores,
    server: &'a GitServer,
    url: &'a str,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl<'a> Push<'a> {
    fn new(stores: &'a Stores, server: &'a GitServer, url: &'a str) -> Self {
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let seen = Arc::clone(&sent);
        server.intercept(move |head| {
            if is_push(head) {
                seen.lock().unwrap().push(Sent::parse(&head.body));
            }
            None
        });
        Push {
            stores,
            server,
            url,
            sent,
        }
    }

    /// The stats, and what was pushed.
    fn run(&self, options: &SyncOptions) -> Checked<(SyncRunStats, Vec<Sent>)> {
        self.server.reset_counts();
        let failed = |err: refsync::Error| format!("refsync: {err}\n{err:?}");
        let local = LocalStore::open(&self.stores.source.path).map_err(failed)?;
        let stats = sync(&local, &remote(self.url), options).map_err(failed)?;
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let requests = self.server.requests().len();
        same!(stats.traffic.requests, requests as u64, "requests");
        same!(requests, 1 + sent.len(), "one listing, and what was pushed");
        Ok((stats, sent))
    }
}

/// Everything is settled by now: nothing moves and nothing is sent.
fn run_again(
    push: &Push<'_>,
    plan: &Plan,
    mut options: SyncOptions,
    first: &SyncRunStats,
) -> Checked {
    if plan.remembers {
        options.previous = Some(first.clone());
    }
    let (second, sent) = push.run(&options)?;
    let expected = first.refs.iter().map(settled).collect();
    same!(second.refs, expected, "the second run");
    same!(second.count(Outcome::is_updated), 0, "refs that move again");
    same!(sent, vec![], "what the second run sent");
    Ok(())
}
