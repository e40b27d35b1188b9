//! The packs that a local store gives, as real git sees them.

#![allow(
    clippy::print_stderr,
    reason = "figures are what some of it is run for"
)]

#[path = "../support/mod.rs"]
mod support;

mod bitmaps;
mod full_clone;
mod history;
#[cfg(unix)]
mod many_packs;
mod real;

use history::{Plan, build, plans};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use support::{Repo, Sandbox, pack};

/// Pairs of wants and haves for each generated history.
const PAIRS: usize = 4;

/// The most objects that may be too many in all pairs. Once in a thousand of them git happens to know of a
/// file that the receiver has in an older commit only, or of a folder with all that is in it. Neither
/// looks for those.
const SLACK: u32 = 8;
static TOO_MANY: AtomicU32 = AtomicU32::new(0);

type Pick = (Vec<prop::sample::Index>, Vec<prop::sample::Index>);

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let some = |count| prop::collection::vec(any::<prop::sample::Index>(), count);
    prop::collection::vec((some(1..4), some(0..4)), PAIRS)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn a_pack_completes_what_the_receiver_has(plan in plans(), picks in picks()) {
        check(&plan, &picks);
    }
}

fn check(plan: &Plan, picks: &[Pick]) {
    let sandbox = Sandbox::new();
    let (source, ids) = build(&sandbox, plan);
    for (number, (wants, haves)) in picks.iter().enumerate() {
        // Loose objects first, then packs of git's own making with deltas in them.
        if number == PAIRS / 2 {
            // A bitmap would tell git of all that is behind the haves; without one it goes by trees.
            source.git(&["-c", "repack.writeBitmaps=false", "repack", "-adfq"]);
        }
        let pick = |from: &[prop::sample::Index]| -> Vec<&str> {
            from.iter().map(|index| index.get(&ids).as_str()).collect()
        };
        let receiver = sandbox.init_bare(&format!("receiver-{number}.git"), plan.format);
        deliver(&source, &receiver, &pick(wants), &pick(haves));
    }
}

/// Gives the receiver what is behind the haves, then our pack, and asks git about the result.
fn deliver(source: &Repo, receiver: &Repo, wants: &[&str], haves: &[&str]) {
    if !haves.is_empty() {
        receive(receiver, &pack::make_with_git(source, haves, &[]));
        refer(receiver, "have", haves);
    }
    let ours = pack::make(source, wants, haves);
    let gits = pack::make_with_git(source, wants, haves);
    let (ours_count, gits_count) = (pack::count(&ours), pack::count(&gits));
    let more = ours_count.saturating_sub(gits_count);
    assert!(
        TOO_MANY.fetch_add(more, Relaxed) + more <= SLACK,
        "{wants:?} without {haves:?} takes {ours_count} objects, with git {gits_count}"
    );
    receive(receiver, &ours);
    refer(receiver, "want", wants);
    receiver.fsck();
}

fn receive(receiver: &Repo, pack: &[u8]) {
    receiver.git_with_input(&["index-pack", "--stdin", "--fix-thin", "--strict"], pack);
}

fn refer(receiver: &Repo, name: &str, ids: &[&str]) {
    for (number, id) in ids.iter().enumerate() {
        receiver.set_ref(&format!("refs/tags/{name}-{number}"), id);
    }
}
