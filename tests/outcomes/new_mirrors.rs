//! Destinations that nobody has put anything into: how they are made, and the branch that HEAD names.

use crate::support::git::{ObjectFormat, Repo, Sandbox};
use crate::support::pull::{DATE, FETCHED, LISTED, Pair, copy, created, leftovers};
use crate::support::{GitServer, git, remote, sync};
use refsync::{ErrorKind, LocalStore, RefGlobs, SyncOptions};
use std::fs;

const MASTER: &str = "refs/heads/master";
const TRUNK: &str = "refs/heads/trunk";

fn head(repo: &Repo) -> String {
    repo.git(&["symbolic-ref", "HEAD"])
}

/// An upstream whose HEAD is `trunk`, and a bare destination as git makes it.
fn pair() -> Pair {
    let pair = Pair::with_destination(|sandbox, upstream| {
        upstream.git(&["branch", "trunk", "main"]);
        upstream.git(&["symbolic-ref", "HEAD", TRUNK]);
        sandbox.init_bare("down.git", ObjectFormat::Sha1)
    });
    pair.destination.git(&["symbolic-ref", "HEAD", MASTER]);
    pair
}

#[test]
fn a_new_mirror_has_the_default_branch_of_its_source() {
    let pair = pair();
    let pulled = pair.pull();
    assert_eq!(pulled.asked, FETCHED, "it costs no request");
    assert_eq!(pulled.fate_of(TRUNK), created(&pair.tip));
    let found = pulled.stats.default_branch.as_ref();
    assert_eq!(found.map(ToString::to_string).as_deref(), Some(TRUNK));
    assert_eq!(head(&pair.destination), TRUNK);
    pair.sandbox.git(&["clone", "--quiet", "down.git", "clone"]);
    let clone = pair.sandbox.repo("clone");
    assert_eq!(clone.git(&["rev-parse", "HEAD"]), pair.tip);
}

#[test]
fn servers_of_every_protocol_and_local_sources_tell_their_default_branch() {
    for protocol in [0, 1, 2] {
        let pair = pair();
        let server = GitServer::builder(pair.sandbox.path())
            .max_protocol(protocol)
            .start();
        let local = LocalStore::open(&pair.destination.path).unwrap();
        let stats = sync(
            &remote(&server.url("up.git")),
            &local,
            &SyncOptions::default(),
        )
        .unwrap();
        assert_eq!(stats.default_branch, Some(TRUNK.into()), "v{protocol}");
        assert_eq!(head(&pair.destination), TRUNK, "v{protocol}");
    }
    let pair = pair();
    let from = LocalStore::open(&pair.upstream.path).unwrap();
    let into = LocalStore::open(&pair.destination.path).unwrap();
    let stats = refsync::sync(&from, &into, &SyncOptions::default()).unwrap();
    assert_eq!(stats.default_branch, Some(TRUNK.into()));
    assert_eq!(head(&pair.destination), TRUNK);
}

#[test]
fn a_mirror_whose_refs_are_there_gets_its_head_as_well() {
    let pair = pair();
    copy(&pair.upstream, &pair.destination);
    assert_eq!(head(&pair.destination), MASTER);
    let pulled = pair.pull();
    assert_eq!(pulled.asked, LISTED);
    assert_eq!(head(&pair.destination), TRUNK);
}

#[test]
fn head_stays_where_it_was_put() {
    type Change = fn(&Pair, &mut SyncOptions);
    let table: [(&str, &str, Change); 8] = [
        ("switched off", MASTER, |_, options| {
            options.set_head = false;
        }),
        ("a dry run", MASTER, |_, options| {
            options.dry_run = true;
        }),
        ("the branch is not selected", MASTER, |_, options| {
            options.globs = RefGlobs::new(Some("main"), None).unwrap();
        }),
        ("the branch is not born", MASTER, |pair, _| {
            pair.upstream
                .git(&["symbolic-ref", "HEAD", "refs/heads/none"]);
        }),
        ("the source's HEAD is detached", MASTER, |pair, _| {
            pair.upstream
                .git(&["update-ref", "--no-deref", "HEAD", &pair.tip]);
        }),
        (
            "it names a branch that is there",
            "refs/heads/own",
            |pair, _| {
                copy(&pair.upstream, &pair.destination);
                pair.destination.git(&["branch", "own", &pair.tip]);
                pair.destination
                    .git(&["symbolic-ref", "HEAD", "refs/heads/own"]);
            },
        ),
        ("it names no branch", "refs/own", |pair, _| {
            pair.destination.git(&["symbolic-ref", "HEAD", "refs/own"]);
        }),
        ("there is a working tree", MASTER, |pair, _| {
            pair.destination.git(&["config", "core.bare", "false"]);
        }),
    ];
    for (what, expected, change) in table {
        let pair = pair();
        let mut options = SyncOptions::default();
        change(&pair, &mut options);
        pair.pull_with(&options);
        assert_eq!(head(&pair.destination), expected, "{what}");
    }
}

#[test]
fn a_branch_that_is_not_born_is_the_default_branch_all_the_same() {
    let pair = pair();
    pair.upstream
        .git(&["symbolic-ref", "HEAD", "refs/heads/later"]);
    for _ in 0..2 {
        let stats = pair.pull().stats;
        assert_eq!(stats.default_branch, Some("refs/heads/later".into()));
    }
}

#[test]
fn a_detached_destination_stays_detached() {
    let pair = pair();
    copy(&pair.upstream, &pair.destination);
    pair.destination
        .git(&["update-ref", "--no-deref", "HEAD", &pair.root]);
    pair.pull();
    assert_eq!(pair.destination.git(&["rev-parse", "HEAD"]), pair.root);
    assert!(
        !pair
            .destination
            .try_git(&["symbolic-ref", "HEAD"])
            .status
            .success()
    );
}

#[test]
fn somebody_elses_lock_of_head_does_not_fail_the_run() {
    let pair = pair();
    let lock = pair.destination.git_dir().join("HEAD.lock");
    fs::write(&lock, "").unwrap();
    let stats = pair.try_pull(&SyncOptions::default()).unwrap();
    assert_eq!(stats.default_branch, Some(TRUNK.into()));
    assert_eq!(head(&pair.destination), MASTER);
    assert_eq!(leftovers(&pair.destination), ["HEAD.lock"]);
    fs::remove_file(lock).unwrap();
    pair.pull();
    assert_eq!(head(&pair.destination), TRUNK);
}

/// The settings of a repository that git takes for one of its own.
fn settings(repo: &Repo) -> Vec<String> {
    let listed = repo.git(&["config", "--local", "--list"]);
    let mut settings: Vec<_> = listed.lines().map(str::to_owned).collect();
    settings.sort();
    settings
}

#[test]
fn repositories_are_made_as_git_makes_them() {
    for (format, of_git) in [
        (refsync::ObjectFormat::Sha1, ObjectFormat::Sha1),
        (refsync::ObjectFormat::Sha256, ObjectFormat::Sha256),
    ] {
        let sandbox = Sandbox::new();
        let mut init = git::command(sandbox.path());
        let option = format!("--object-format={}", of_git.name());
        init.args(["init", "--quiet", "--bare", &option, "theirs.git"]);
        let made = init.env_remove("GIT_TEMPLATE_DIR").status();
        assert!(made.expect("git runs").success());
        let theirs = sandbox.repo("theirs.git");
        let path = sandbox.path().join("some/where/ours.git");
        let store = LocalStore::init(&path, format).unwrap();
        assert_eq!(store.object_format(), format);
        let ours = Repo::at(&path);
        assert_eq!(ours.git(&["rev-parse", "--is-bare-repository"]), "true");
        assert_eq!(settings(&ours), settings(&theirs));
        assert_eq!(head(&ours), MASTER);
        ours.fsck();
        let tip = ours.commit("main", &[], "x\n", &[("x", "x")], DATE);
        assert_eq!(tip.len(), of_git.null_id().len());
        let files = |repo: &Repo| -> Vec<_> {
            let files = repo.files().into_iter().map(|file| file.path);
            files.filter(|path| !path.contains('/')).collect()
        };
        assert_eq!(files(&ours), files(&theirs));
    }
}

#[test]
fn a_repository_that_is_there_is_opened_and_kept() {
    use refsync::ObjectFormat::{Sha1, Sha256};
    let pair = Pair::in_step();
    let repo = &pair.destination;
    repo.git(&["config", "some.setting", "here"]);
    for store in [
        LocalStore::init(&repo.path, Sha1),
        LocalStore::open_or_init(&repo.path, Sha1),
    ] {
        store.unwrap();
        assert_eq!(repo.git(&["rev-parse", "main"]), pair.tip);
        assert_eq!(repo.git(&["config", "some.setting"]), "here");
        assert_eq!(head(repo), "refs/heads/main");
    }
    for store in [
        LocalStore::init(&repo.path, Sha256),
        LocalStore::open_or_init(&repo.path, Sha256),
    ] {
        let kind = store.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::ObjectFormatMismatch);
    }
    assert_eq!(leftovers(repo), [""; 0]);
}

#[test]
fn a_repository_is_made_only_where_there_is_nothing() {
    use refsync::ObjectFormat::Sha256;
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.path().join(name);
    fs::create_dir(path("empty")).unwrap();
    // A process that was killed before it had made all of it.
    fs::create_dir_all(path("begun/objects/pack")).unwrap();
    fs::create_dir(path("begun/refsync-dead")).unwrap();
    for name in ["new", "empty", "begun"] {
        for _ in 0..2 {
            LocalStore::open_or_init(path(name), Sha256).unwrap();
        }
        assert_eq!(head(&sandbox.repo(name)), MASTER, "{name}");
    }
    fs::create_dir(path("other")).unwrap();
    fs::write(path("other/notes.txt"), "").unwrap();
    fs::write(path("file"), "").unwrap();
    for name in ["other", "file"] {
        let err = LocalStore::open_or_init(path(name), Sha256).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::NotARepository, "{name}");
    }
    let entries = fs::read_dir(path("other")).unwrap().count();
    assert_eq!(entries, 1);
}
