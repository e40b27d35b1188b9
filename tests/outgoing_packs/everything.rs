//! Packs for one that has nothing, from packs with so many commits that they are read as a whole.

use super::{deliver, support};
use support::{FastImport, ObjectFormat, Repo, Sandbox};

const COMMITS: usize = 1300;

/// A branch, and another one that leaves it in the middle. Files come back as they were before.
fn grow(repo: &Repo) {
    let mut import = FastImport::new();
    let (mut main, mut side) = (Vec::new(), Vec::new());
    for number in 0..COMMITS {
        let path = format!("{}/{}/{}", number % 3, number % 7, number % 11);
        // Every 40th change takes back what another one did.
        let content =
            format!("{}\n", if number % 40 == 0 { number / 2 } else { number }).repeat(20);
        let files = [(path.as_str(), content.as_str())];
        let date = 1_700_000_000 + number as i64;
        let parents: Vec<_> = main.last().copied().into_iter().collect();
        main.push(import.commit("main", &parents, "on main", &files, date));
        if number == COMMITS / 2 {
            side.push(main[number]);
        }
        if let Some(parent) = side.last().copied() {
            side.push(import.commit("side", &[parent], "beside it", &files, date + 7));
        }
    }
    repo.import(&import);
}

fn tip(repo: &Repo, rev: &str) -> String {
    repo.git(&["rev-parse", rev]).trim().to_owned()
}

fn send(sandbox: &Sandbox, source: &Repo, revs: &[&str]) {
    let wants: Vec<_> = revs.iter().map(|rev| tip(source, rev)).collect();
    let wants: Vec<_> = wants.iter().map(String::as_str).collect();
    let format = source.git(&["rev-parse", "--show-object-format"]);
    let format = match format.trim() {
        "sha256" => ObjectFormat::Sha256,
        _ => ObjectFormat::Sha1,
    };
    let receiver = sandbox.init_bare(&format!("receiver-{}.git", revs.join("-")), format);
    deliver(source, &receiver, &wants, &[]);
}

fn source(sandbox: &Sandbox, format: ObjectFormat) -> Repo {
    let source = sandbox.init_bare("source.git", format);
    grow(&source);
    source.git(&["repack", "-adfq", "--depth=50", "--window=50"]);
    source
}

#[test]
fn all_of_a_pack() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let sandbox = Sandbox::new();
        let source = source(&sandbox, format);
        send(&sandbox, &source, &["main", "side"]);
    }
}

/// Old trees are deltas of newer ones, which are not wanted here.
#[test]
fn an_old_part_of_a_pack() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    send(&sandbox, &source, &["side"]);
    send(&sandbox, &source, &["main~200"]);
}

#[test]
fn with_newer_objects_beside_the_pack() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    let new = [("0/0/0", "loose"), ("new/file", "loose, too")];
    source.commit("main", &["main"], "newer", &new, 1_800_000_000);
    send(&sandbox, &source, &["main"]);
    source.git(&["repack", "-dq"]);
    let new = [("0/0/1", "loose")];
    source.commit("main", &["main"], "newest", &new, 1_800_000_001);
    send(&sandbox, &source, &["main", "side"]);
}

#[test]
fn with_trees_and_blobs_wanted_for_themselves() {
    let sandbox = Sandbox::new();
    let source = source(&sandbox, ObjectFormat::Sha1);
    send(&sandbox, &source, &["main", "side~3^{tree}", "side:0/0"]);
}
