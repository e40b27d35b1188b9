//! Pulls, against `git fetch`.

use std::{ops::Deref, time::Duration};

use crate::{
    FAR, FEW, NEAR, SLOW, USUAL,
    support::{
        Repo,
        contest::{Contender, Contest},
        programs::{self, Refs},
        report::Report,
        served::Served,
    },
};

pub(super) fn bench(
    report: &mut Report,
    few: &impl Deref<Target = Served>,
    many: &impl Deref<Target = Served>,
    project: &impl Deref<Target = Served>,
) {
    let all = Refs::ALL;
    report.run("no-op pull, 10 refs", FEW, || no_op(few, all, NEAR));
    report.run("no-op pull, 10 refs, 50 ms away", FEW, || {
        no_op(few, all, FAR)
    });
    report.run("no-op pull, 50,000 refs", USUAL, || no_op(many, all, NEAR));
    report.run("no-op pull, release/* of 50,000 refs", USUAL, || {
        no_op(many, Refs::RELEASES, NEAR)
    });
    report.run("pull, 50,000 refs to objects at hand", SLOW, || {
        new_refs(many)
    });
    for (name, commits, round_trip) in [
        ("pull, 1 commit", 1, NEAR),
        ("pull, 1 commit, 50 ms away", 1, FAR),
        ("pull, 100 commits", 100, NEAR),
    ] {
        report.run(name, USUAL, || {
            let project = &**project;
            let (after, before) = (project.main(0), project.main(commits));
            let prepare = move || project.copy_of(&before);
            let mut contest = project.pulls(&after, all, round_trip, prepare);
            contest.ours.push(known(all));
            contest
        });
    }
    report.run("first pull, 6,000 commits", SLOW, || {
        project.pulls(&project.repo, all, NEAR, || project.empty())
    });
}

fn no_op(served: &Served, refs: Refs, round_trip: Duration) -> Contest<'_> {
    let prepare = || served.copy_of(&served.repo);
    let mut contest = served.pulls(&served.repo, refs, round_trip, prepare);
    let again = move |repo: &Repo, url: &str| programs::pull_twice(repo, url, refs);
    let again = Contender::new("second run of a process", again);
    contest.ours.extend([known(refs), again]);
    contest
}

fn known(refs: Refs) -> Contender<'static> {
    let pull = move |repo: &Repo, url: &str| programs::pull_known(repo, url, refs);
    Contender::new("known server", pull)
}

/// With a ref that shows that the objects are complete.
fn new_refs(served: &Served) -> Contest<'_> {
    let main = served.repo.git(&["rev-parse", "main"]);
    let prepare = move || {
        let repo = served.copy_of(&served.repo);
        std::fs::remove_file(repo.path.join("packed-refs")).expect("a file of ours");
        repo.set_ref("refs/heads/main", &main);
        repo
    };
    let mut contest = served.pulls(&served.repo, Refs::ALL, NEAR, prepare);
    // Of the objects too: a clone has none at hand.
    let clone = Contender::new("clone --mirror", programs::git_clone);
    contest.peers.push(clone);
    contest
}
