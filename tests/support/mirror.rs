//! A repository like a mirror's: many refs on little history.

use super::fast_import::{FastImport, Mark};
use super::git::Repo;

const EPOCH: i64 = 1_600_000_000;

/// Makes `refs` refs over a line of `commits` commits, all packed; returns the commits, oldest first.
///
/// Half are branches: `main` at the newest commit, up to 100 `release/x.y`, the rest `feature/...`.
/// Half are tags, one in five of them annotated.
#[track_caller]
pub fn ref_heavy(repo: &Repo, refs: usize, commits: usize) -> Vec<String> {
    let mut import = FastImport::new();
    let history = line_of_commits(&mut import, commits);
    let tags = refs / 2;
    let mut lightweight = Vec::new();
    for index in 0..tags {
        let (name, target) = (format!("v{index}"), spread(&history, index));
        if index % 5 == 0 {
            import.tag(&name, target, &name, EPOCH);
        } else {
            lightweight.push((format!("refs/tags/{name}"), target));
        }
    }
    let branches = branch_names(refs - tags).zip((0..).map(|index| spread(&history, index)));
    let imported = repo.import(&import);
    let refs: Vec<_> = branches.chain(lightweight).collect();
    repo.set_refs(
        refs.iter()
            .map(|(name, target)| (name.as_str(), imported.id(*target))),
    );
    repo.git(&["pack-refs", "--all"]);
    repo.git(&["repack", "-a", "-d", "--quiet"]);
    history
        .iter()
        .map(|commit| imported.id(*commit).to_owned())
        .collect()
}

fn line_of_commits(import: &mut FastImport, count: usize) -> Vec<Mark> {
    let mut history: Vec<Mark> = Vec::with_capacity(count);
    for index in 0..count {
        let path = format!("src/part-{}/file-{}.txt", index % 17, index % 101);
        let content = format!("changed by commit {index}\n");
        let parent = history.last().copied();
        history.push(import.commit(
            "main",
            parent.as_slice(),
            &format!("Commit {index}\n"),
            &[(&path, &content)],
            EPOCH + index as i64,
        ));
    }
    history
}

/// `main` is not among these: the commits have moved it already.
fn branch_names(count: usize) -> impl Iterator<Item = String> {
    let others = count.saturating_sub(1);
    let releases = (others / 2).min(100);
    let release = |index| format!("refs/heads/release/{}.{}", index / 10, index % 10);
    let feature = |index| format!("refs/heads/feature/team-{}/topic-{index}", index % 7);
    (0..releases)
        .map(release)
        .chain((0..others - releases).map(feature))
}

/// A prime step, so that neighbours in the ref listing are not neighbours in history.
fn spread(history: &[Mark], index: usize) -> Mark {
    history[index * 7919 % history.len()]
}
