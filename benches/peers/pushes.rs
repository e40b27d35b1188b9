//! Pushes, against `git push`.

use std::ops::Deref;

use crate::{
    FAR, NEAR, SLOW, USUAL,
    support::{
        Repo,
        contest::Contender,
        programs::{self, Refs},
        report::Report,
        served::Served,
    },
};

pub(super) fn bench(
    report: &mut Report,
    many: &impl Deref<Target = Served>,
    project: &impl Deref<Target = Served>,
) {
    for (name, refs) in [
        ("no-op push, 50,000 refs", Refs::ALL),
        ("no-op push, release/* of 50,000 refs", Refs::RELEASES),
    ] {
        report.run(name, USUAL, || {
            let prepare = || many.copy_of(&many.repo);
            let mut contest = many.pushes(&many.repo, refs, NEAR, prepare);
            let from = many.repo.clone();
            let push = move |_: &Repo, url: &str| programs::push_known(&from, url, refs);
            contest.ours.push(Contender::new("known server", push));
            contest
        });
    }
    for (name, commits, round_trip) in [
        ("push, 1 commit", 1, NEAR),
        ("push, 1 commit, 50 ms away", 1, FAR),
        ("push, 100 commits", 100, NEAR),
    ] {
        report.run(name, USUAL, || {
            let project = &**project;
            let after = project.main_with_loose(commits);
            let before = project.main(commits);
            let prepare = move || project.copy_of(&before);
            let from = after.clone();
            let mut contest = project.pushes(&after, Refs::ALL, round_trip, prepare);
            let push = move |_: &Repo, url: &str| programs::push_expected(&from, url, Refs::ALL);
            let expected = Contender::new("known server, change expected", push);
            contest.ours.push(expected);
            contest
        });
    }
    report.run("first push, 6,000 commits", SLOW, || {
        project.pushes(&project.repo, Refs::ALL, NEAR, || project.empty())
    });
}
