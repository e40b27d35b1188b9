//! A ref that a remote refuses for itself is not sent in every run.

use crate::support::pull::grow;
use crate::support::push::{LISTED, PUSHED, Pair};
use crate::support::wire;
use refsync::{Outcome, SyncOptions, SyncRunStats};
use std::time::{Duration, SystemTime};

const BIG: &str = "refs/heads/big";

fn with_previous(stats: &SyncRunStats) -> SyncOptions {
    let mut options = SyncOptions::default();
    options.previous = Some(stats.clone());
    options
}

fn with_a_big_one(hook: &str, script: &str) -> (Pair, SyncRunStats) {
    let pair = Pair::in_step();
    let noise = wire::noise(300_000);
    pair.source
        .commit("big", &[&pair.tip], "big\n", &[("noise", &noise)], 1);
    pair.hook(hook, script);
    let first = pair.push();
    assert_eq!(first.stats.count(Outcome::is_rejected), 1);
    (pair, first.stats)
}

const REFUSALS: [(&str, &str, bool); 2] = [
    (
        "pre-receive",
        "grep -q refs/heads/big && exit 1; exit 0",
        true,
    ),
    ("update", "test $1 != refs/heads/big", false),
];

#[test]
fn while_its_tips_stay_nothing_is_sent_before_its_time() {
    for (hook, script, alone) in REFUSALS {
        let (pair, first) = with_a_big_one(hook, script);
        let refusal = *first.find(BIG).unwrap().refusal.expect("it was judged");
        assert_eq!(refusal.alone, alone, "{hook}");
        let wait = refusal.retry_at.duration_since(SystemTime::now());
        let wait = wait.expect("a time to come");
        assert!(wait <= SyncOptions::default().refusal_backoff);
        assert!(wait > Duration::from_secs(60 * 30));

        let mut previous = first;
        for _ in 0..2 {
            let pushed = pair.push_with(&with_previous(&previous));
            assert_eq!(pushed.asked, LISTED, "{hook}");
            assert_eq!(pushed.stats.find(BIG), previous.find(BIG));
            previous = pushed.stats;
        }
    }
}

#[test]
fn once_its_time_has_come_it_is_sent_again() {
    for (hook, script, alone) in REFUSALS {
        let (pair, first) = with_a_big_one(hook, script);
        let mut options = with_previous(&first);
        options.refusal_backoff = Duration::ZERO;
        grow(&pair.source, "topic", &[&pair.tip]);
        let pushed = pair.push_with(&options);
        let sizes: Vec<_> = pushed.sent.iter().map(|sent| sent.names.len()).collect();
        // One that was judged beside others keeps none of them out.
        assert_eq!(sizes, if alone { vec![1, 1] } else { vec![2] }, "{hook}");
        assert_eq!(pushed.stats.count(Outcome::is_rejected), 1);
    }
}

#[test]
fn once_a_tip_moves_it_is_sent_again() {
    for (hook, script, _) in REFUSALS {
        let (pair, first) = with_a_big_one(hook, script);
        pair.source.set_ref(BIG, &pair.tip);
        let pushed = pair.push_with(&with_previous(&first));
        assert_eq!(pushed.asked, PUSHED, "{hook}");
    }
}

#[test]
fn without_the_stats_of_the_run_before_it_is_sent_in_every_run() {
    let (pair, _) = with_a_big_one(REFUSALS[1].0, REFUSALS[1].1);
    assert_eq!(pair.push().asked, PUSHED);
}
