//! A source that lacks objects behind some of its refs: all that is whole comes.

use crate::support::fast_import::FastImport;
use crate::support::pull::{
    DATE, Pair, Pulled, assert_matches_git, created, fate_in, is_sound, leftovers, reason_in,
};
use crate::support::sync;
use refsync::{LocalStore, Outcome, Reason, SyncOptions, SyncRunStats};
use std::fs;
use std::ops::Range;

const REFS: usize = 130;
const BROKEN: [Range<usize>; 3] = [12..22, 64..75, 101..111];
/// More than that many.
const MANY_BROKEN: [Range<usize>; 3] = [5..30, 50..75, 90..110];

fn name(number: usize) -> String {
    format!("refs/heads/topic/{number:03}")
}

/// Branches on `main`, each with a commit of its own; the broken ones have lost their file. Their tips.
fn with_broken(broken: &[Range<usize>]) -> (Pair, Vec<String>) {
    let pair = Pair::in_step();
    let upstream = &pair.upstream;
    upstream.delete_ref("refs/heads/bystander");
    upstream.git(&["config", "fastimport.unpackLimit", "100000"]);
    let mut import = FastImport::new();
    let parent = import.existing(&pair.tip);
    for number in 0..REFS {
        let content = format!("{number}\n");
        import.commit(
            &name(number),
            &[parent],
            "a topic",
            &[("file", &content)],
            DATE,
        );
    }
    upstream.import(&import);
    let tips = upstream.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/topic"]);
    let tips: Vec<_> = tips.lines().map(str::to_owned).collect();
    let files = broken.iter().cloned().flatten();
    let files: Vec<_> = files
        .map(|number| format!("{}:file", tips[number]))
        .collect();
    let arguments = files.iter().map(String::as_str);
    let blobs = upstream.git(
        &["rev-parse"]
            .into_iter()
            .chain(arguments)
            .collect::<Vec<_>>(),
    );
    for blob in blobs.lines() {
        fs::remove_file(upstream.object_file(blob)).expect("a loose object");
    }
    (pair, tips)
}

fn is_in(ranges: &[Range<usize>], number: usize) -> bool {
    ranges.iter().any(|range| range.contains(&number))
}

#[track_caller]
fn assert_all_that_is_whole_came(stats: &SyncRunStats, tips: &[String], broken: &[Range<usize>]) {
    for (number, tip) in tips.iter().enumerate() {
        let name = name(number);
        if !is_in(broken, number) {
            assert_eq!(fate_in(stats, &name), created(tip), "{name}");
            continue;
        }
        let reason = reason_in(stats, &name);
        assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    }
}

fn locally(pair: &Pair) -> SyncRunStats {
    let [from, to] = [&pair.upstream, &pair.destination]
        .map(|repo| LocalStore::open(&repo.path).expect("a repository"));
    sync(&from, &to, &SyncOptions::default()).expect("a run that does its work")
}

fn requests_for_packs(pulled: &Pulled) -> usize {
    pulled.asked.iter().filter(|word| *word == "fetch").count()
}

#[test]
fn by_way_of_http() {
    let (pair, tips) = with_broken(&BROKEN);
    let pulled = pair.pull();
    assert_all_that_is_whole_came(&pulled.stats, &tips, &BROKEN);
    let requests = requests_for_packs(&pulled);
    assert!((10..=64).contains(&requests), "{requests}");
    let objects = pulled.stats.traffic.objects;
    assert_eq!(objects, 3 * 99, "what has come is not sent again");

    // What could not be had the last time keeps nothing back.
    let late = crate::support::pull::grow(&pair.upstream, "topic/065-late", &[&pair.tip]);
    let mut options = SyncOptions::default();
    options.previous = Some(pulled.stats);
    options.max_pack_requests = 2;
    let pulled = pair.pull_with(&options);
    assert_eq!(pulled.fate_of("refs/heads/topic/065-late"), created(&late));
    assert_eq!(requests_for_packs(&pulled), 2);
}

#[test]
fn from_one_repository_to_the_other() {
    for broken in [&BROKEN, &MANY_BROKEN] {
        let (pair, tips) = with_broken(broken);
        let stats = locally(&pair);
        assert_all_that_is_whole_came(&stats, &tips, broken);
        assert_matches_git(&stats, &pair.destination);
        assert!(is_sound(&pair.destination));
        assert_eq!(leftovers(&pair.destination), [""; 0]);
        let reason = reason_in(&stats, &name(broken[1].start)).to_string();
        assert!(reason.contains("is missing"), "{reason}");
    }
}

#[test]
fn a_single_ref_is_rejected_in_the_words_of_the_server() {
    let (pair, tips) = with_broken(std::slice::from_ref(&(0..1)));
    let others = (1..tips.len()).map(|number| format!("delete {}\n", name(number)));
    let others: String = others.collect();
    pair.upstream
        .git_with_input(&["update-ref", "--stdin"], others.as_bytes());
    let pulled = pair.pull();
    let reason = pulled.reason_of(&name(0));
    assert!(reason.to_string().contains("corruption"), "{reason}");
    assert_eq!(requests_for_packs(&pulled), 1);
}

#[test]
fn no_more_packs_are_asked_for_than_may_be() {
    let (pair, _) = with_broken(&BROKEN);
    let mut options = SyncOptions::default();
    options.max_pack_requests = 1;
    let pulled = pair.pull_with(&options);
    assert_eq!(requests_for_packs(&pulled), 1);
    assert_eq!(pulled.stats.count(Outcome::is_rejected), REFS);
    let reason = pulled.reason_of(&name(0)).to_string();
    assert!(reason.contains("together with others"), "{reason}");
}
