//! A destination whose `packed-refs` git refuses, or has elsewhere.

use crate::support::pull::{LISTED, Pair, asked, created, fate_in};
use refsync::{ErrorKind, SyncOptions};
use std::fs;

fn many_new(pair: &Pair, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|n| format!("refs/heads/many/{n}")).collect();
    let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
    pair.upstream.set_refs(new);
    names
}

#[test]
fn a_line_that_git_refuses_fails_the_run_before_anything_is_fetched() {
    for count in [1, 70] {
        let pair = Pair::in_step();
        let (tip, root) = (&pair.tip, &pair.root);
        let header = "# pack-refs with: peeled fully-peeled sorted \n";
        let main = format!("{tip} refs/heads/main\n");
        for (file, line) in [
            (format!("{header}{main}{root} refs/tags/v"), 3),
            (
                format!("{header}{main}{root} refs/tags/v\n^{tip}\n^{tip}\n"),
                5,
            ),
            (format!("{header}^{tip}\n{main}"), 2),
            (format!("{header}\n{main}"), 2),
            (format!("{header}{main}# by hand\n"), 3),
            (
                format!("{header}{main}{root} refs/tags/v\n^{tip}\n").replace('\n', "\r\n"),
                4,
            ),
        ] {
            let path = pair.destination.git_dir().join("packed-refs");
            fs::write(&path, &file).unwrap();
            let judged = pair.destination.try_git(&["for-each-ref"]);
            assert!(!judged.status.success(), "git reads {file:?}");
            many_new(&pair, count);
            pair.server.reset_counts();
            let err = pair.try_pull(&SyncOptions::default()).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::MalformedPackedRefs, "{file:?}");
            assert!(
                err.to_string().contains(&format!("line {line}: ")),
                "{err} {file:?}"
            );
            assert!(!err.is_retryable());
            let asked = asked(&pair.server.requests());
            assert!(
                asked.iter().all(|asked| LISTED.contains(&&**asked)),
                "{asked:?}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), file);
        }
    }
}

/// Lines with names that git warns of, and leaves as they are.
#[test]
fn names_that_git_warns_of_are_kept() {
    for count in [1, 70] {
        let pair = Pair::in_step();
        let path = pair.destination.git_dir().join("packed-refs");
        let strange = format!("{0} refs/heads/a..b\n{0} refs/heads/cr\r\n", pair.root);
        fs::write(&path, &strange).unwrap();
        let names = many_new(&pair, count);
        let pulled = pair.try_pull(&SyncOptions::default()).unwrap();
        for name in &names {
            assert_eq!(fate_in(&pulled, name), created(&pair.tip));
        }
        let file = fs::read_to_string(&path).unwrap();
        assert!(strange.lines().all(|line| file.contains(line)), "{file:?}");
    }
}

/// As in what git-new-workdir makes: to replace the link would be to hide the refs from the others.
#[cfg(unix)]
#[test]
fn a_link_stays_and_what_it_leads_to_is_written() {
    let pair = Pair::in_step();
    let git_dir = pair.destination.git_dir();
    pair.destination.git(&["pack-refs", "--all"]);
    let (link, elsewhere) = (
        git_dir.join("packed-refs"),
        pair.sandbox.path().join("elsewhere"),
    );
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&link, elsewhere.join("packed")).unwrap();
    std::os::unix::fs::symlink("packed", elsewhere.join("link")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/link", &link).unwrap();
    let names = many_new(&pair, 70);
    let pulled = pair.pull();
    for name in &names {
        assert_eq!(pulled.fate_of(name), created(&pair.tip));
    }
    assert_eq!(
        fs::read_link(&link).unwrap().to_str(),
        Some("../elsewhere/link")
    );
    let file = fs::read_to_string(elsewhere.join("packed")).unwrap();
    assert!(names.iter().all(|name| file.contains(name)), "{file}");
    assert!(file.contains("refs/heads/main"));
    // The lock is there, too.
    fs::write(elsewhere.join("packed.lock"), "").unwrap();
    let more: Vec<_> = (0..70).map(|n| format!("refs/heads/more/{n}")).collect();
    let new = more.iter().map(|name| (name.as_str(), pair.tip.as_str()));
    pair.upstream.set_refs(new);
    let pulled = pair.pull_with(&SyncOptions::default());
    assert!(
        more.iter()
            .all(|name| pulled.fate_of(name) == created(&pair.tip))
    );
    assert_eq!(fs::read_to_string(elsewhere.join("packed")).unwrap(), file);
}
