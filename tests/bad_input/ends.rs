//! URLs, destinations, globs and object formats that can't be used.

use crate::fails;
use crate::support::git::ObjectFormat;
use crate::support::pull::{Pair, asked, created, grow, leftovers};
use crate::support::{remote, sync, wire};
use refsync::{ErrorKind, LocalStore, NetworkPolicy, Outcome, RefGlobs, SmartHttp, SyncOptions};
use std::fs;

#[track_caller]
fn cannot_open(path: impl AsRef<std::path::Path>, kind: ErrorKind) {
    let err = LocalStore::open(path.as_ref()).expect_err("no destination");
    assert_eq!(err.kind(), kind, "{err:?}");
    assert!(!err.is_retryable());
    let path = path.as_ref().display().to_string();
    assert!(err.to_string().contains(&path), "{err}");
}

#[test]
fn urls_that_are_none() {
    for url in [
        "",
        "/srv/git/up.git",
        "file:///srv/git/up.git",
        "git@example.com:up.git",
        "ssh://git@example.com/up.git",
        "git://example.com/up.git",
        "https://",
        "https://token@example.com/up.git",
        "https://example.com/up.git?token=x",
    ] {
        let err = SmartHttp::new(url).expect_err(url);
        assert_eq!(err.kind(), ErrorKind::InvalidUrl, "{url}");
        assert!(!err.is_retryable());
    }
}

#[test]
fn a_url_that_the_network_policy_forbids() {
    let pair = Pair::in_step();
    let url = pair.server.url("up.git");
    let local = LocalStore::open(&pair.destination.path).unwrap();
    let mut https_only = NetworkPolicy::any();
    https_only.allow_plain_http = false;
    let mut public_only = NetworkPolicy::any();
    public_only.allow_private_networks = false;
    let files = pair.destination.files();
    for policy in [https_only, public_only] {
        let remote = remote(&url).with_network_policy(policy);
        let err = sync(&remote, &local, &SyncOptions::default()).expect_err("forbidden");
        assert_eq!(err.kind(), ErrorKind::Forbidden, "{err:?}");
    }
    assert_eq!(asked(&pair.server.requests()), [""; 0]);
    assert_eq!(pair.destination.files(), files);
}

#[test]
fn nobody_listens_there() {
    let mut pair = Pair::in_step();
    let url = pair.server.url("up.git");
    pair.server = crate::support::GitServer::builder(pair.sandbox.path()).start();
    assert_ne!(pair.server.url("up.git"), url);
    let remote = remote(&url);
    let local = LocalStore::open(&pair.destination.path).unwrap();
    let err = sync(&remote, &local, &SyncOptions::default()).expect_err("no connection");
    assert_eq!(err.kind(), ErrorKind::Connect, "{err:?}");
    assert!(err.is_retryable());
}

#[test]
fn a_destination_that_is_no_repository() {
    let pair = Pair::in_step();
    let inside = pair.sandbox.path();
    fs::write(inside.join("file"), "text").unwrap();
    fs::create_dir(inside.join("empty")).unwrap();
    for path in ["nothing/there", "file", "empty", "down.git/refs"] {
        cannot_open(inside.join(path), ErrorKind::NotARepository);
    }
}

#[test]
fn a_destination_that_keeps_its_refs_as_a_reftable() {
    let pair = Pair::in_step();
    pair.sandbox.git(&[
        "init",
        "--quiet",
        "--bare",
        "--ref-format=reftable",
        "table.git",
    ]);
    cannot_open(
        pair.sandbox.path().join("table.git"),
        ErrorKind::Unsupported,
    );
}

#[test]
fn a_destination_with_an_extension_that_nobody_knows() {
    let pair = Pair::in_step();
    pair.destination
        .git(&["config", "core.repositoryFormatVersion", "1"]);
    pair.destination
        .git(&["config", "extensions.fromTheFuture", "true"]);
    let refused = LocalStore::open(&pair.destination.path)
        .err()
        .map(|err| err.kind());
    assert_eq!(refused, Some(ErrorKind::Unsupported));
}

/// Whichever way it shows, and at either end: `open` doesn't know which it will be.
#[test]
fn a_partial_clone() {
    let settings: [&[(&str, &str)]; 5] = [
        &[("remote.some.where.promisor", "true")],
        &[("remote.origin.promisor", "1")],
        &[("remote.origin.partialCloneFilter", "blob:none")],
        &[("extensions.partialClone", "origin")],
        &[
            ("core.repositoryFormatVersion", "1"),
            ("extensions.partialClone", "origin"),
        ],
    ];
    for settings in settings {
        let pair = Pair::in_step();
        for (key, value) in settings {
            pair.destination.git(&["config", key, value]);
        }
        cannot_open(&pair.destination.path, ErrorKind::Unsupported);
    }
    // As `git clone --filter` leaves it, the remote forgotten since, and one that borrows from it.
    let pair = Pair::in_step();
    let url = format!("file://{}", pair.upstream.path.display());
    pair.upstream
        .git(&["config", "uploadpack.allowFilter", "1"]);
    let clone = [
        "clone",
        "-q",
        "--bare",
        "--filter=blob:none",
        &url,
        "partial.git",
    ];
    pair.sandbox.git(&clone);
    let partial = pair.sandbox.repo("partial.git");
    cannot_open(&partial.path, ErrorKind::Unsupported);
    partial.git(&["config", "--remove-section", "remote.origin"]);
    cannot_open(&partial.path, ErrorKind::Unsupported);
    let alternates = pair.destination.path.join("objects/info/alternates");
    let objects = format!("{}\n", partial.path.join("objects").display());
    fs::write(&alternates, objects).unwrap();
    cannot_open(&pair.destination.path, ErrorKind::Unsupported);
    fs::remove_file(alternates).unwrap();
    let remote = ["config", "remote.origin.promisor", "false"];
    pair.destination.git(&remote);
    LocalStore::open(&pair.destination.path).unwrap();
}

#[test]
fn a_file_is_not_shown_to_whoever_takes_it_for_a_repository() {
    let pair = Pair::in_step();
    let inside = pair.sandbox.path();
    pair.upstream
        .git(&["bundle", "create", "-q", "../all.bundle", "main"]);
    fs::create_dir(inside.join("worktree")).unwrap();
    fs::write(inside.join("worktree/.git"), "# v2 git bundle\n").unwrap();
    for path in ["all.bundle", "worktree"] {
        let err = LocalStore::open(inside.join(path)).expect_err("no repository");
        assert_eq!(err.kind(), ErrorKind::NotARepository, "{path}");
        assert!(err.to_string().ends_with("is a file, not a repository"));
        let shown = format!("{err:?}");
        assert!(!shown.contains("git bundle"), "{shown}");
    }
    // A file that leads to a repository is one.
    let git_dir = format!("gitdir: {}\n", pair.destination.path.display());
    fs::write(inside.join("worktree/.git"), git_dir).unwrap();
    LocalStore::open(inside.join("worktree")).unwrap();
    LocalStore::open(inside.join("worktree/.git")).unwrap();
}

#[test]
fn a_destination_whose_configuration_cannot_be_read() {
    let pair = Pair::in_step();
    fs::write(
        pair.destination.git_dir().join("config"),
        "[core\nbare = what",
    )
    .unwrap();
    cannot_open(&pair.destination.path, ErrorKind::NotARepository);
}

/// Permissions would not hold back a privileged user, so that the directory's place is taken.
#[test]
fn a_destination_whose_objects_cannot_be_written() {
    let pair = Pair::in_step();
    pair.destination.git(&["repack", "-a", "-d", "--quiet"]);
    grow(&pair.upstream, "topic", &[&pair.tip]);
    let objects = pair.destination.git_dir().join("objects");
    fs::rename(&objects, pair.sandbox.path().join("elsewhere")).unwrap();
    fs::write(&objects, "a file").unwrap();
    let files = pair.destination.files();
    let result = LocalStore::open(&pair.destination.path)
        .and_then(|local| sync(&pair.remote(), &local, &SyncOptions::default()));
    let kind = result.expect_err("no objects").kind();
    assert!(
        matches!(
            kind,
            ErrorKind::LocalIo | ErrorKind::Corrupt | ErrorKind::NotARepository
        ),
        "{kind:?}"
    );
    assert_eq!(pair.destination.files(), files);
}

#[test]
fn a_destination_whose_refs_cannot_be_written() {
    for many in [0, 64] {
        let pair = Pair::in_step();
        let tip = grow(&pair.upstream, "topic", &[&pair.tip]);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        pair.upstream
            .set_refs(names.iter().map(|name| (name.as_str(), tip.as_str())));
        // With the first of them all new refs are loose, however many there are.
        let locks = ["packed-refs.lock", "refs/heads/topic.lock"];
        let locks = locks.map(|lock| pair.destination.git_dir().join(lock));
        for lock in &locks {
            fs::write(lock, "held by somebody").unwrap();
        }
        let stats = pair.try_pull(&SyncOptions::default()).unwrap();
        let topic = stats.find("refs/heads/topic").unwrap();
        let reason = topic.outcome.rejection().unwrap();
        assert!(
            matches!(reason, refsync::Reason::NotWritten { .. }),
            "{reason}"
        );
        let shown = reason.to_string();
        let path = pair.destination.path.to_string_lossy();
        assert!(!shown.contains(&*path), "a path of this machine: {shown}");
        assert_eq!(stats.count(Outcome::is_updated), many + 1, "and bystander");
        assert_eq!(stats.count(Outcome::is_unchanged), 1);
        for lock in &locks {
            assert_eq!(fs::read_to_string(lock).unwrap(), "held by somebody");
            fs::remove_file(lock).unwrap();
        }
        assert_eq!(leftovers(&pair.destination), [""; 0]);
    }
}

#[test]
fn a_destination_with_alternates_that_are_gone_is_still_of_use() {
    let pair = Pair::in_step();
    let gone = pair
        .sandbox
        .path()
        .join("gone/objects")
        .display()
        .to_string();
    fs::write(
        pair.destination.git_dir().join("objects/info/alternates"),
        gone + "\n",
    )
    .unwrap();
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    assert_eq!(pair.pull().fate_of("refs/heads/topic"), created(&topic));
}

#[test]
fn a_destination_whose_packed_refs_are_garbage() {
    let pair = Pair::in_step();
    fs::write(
        pair.destination.git_dir().join("packed-refs"),
        "\0garbage\n",
    )
    .unwrap();
    fails(&pair, ErrorKind::MalformedPackedRefs);
}

#[test]
fn globs_that_are_none() {
    let both = |branches, tags| RefGlobs::new(branches, tags).map(drop);
    for (branches, tags) in [
        (None, None),
        (Some(""), Some("")),
        (Some("["), None),
        (None, Some("{a,b")),
        (Some("refs/heads/*"), None),
        (Some("*"), Some("refs/tags/v*")),
    ] {
        let err = both(branches, tags).expect_err("no glob");
        assert_eq!(err.kind(), ErrorKind::InvalidGlob, "{branches:?} {tags:?}");
        let bad = branches
            .or(tags)
            .filter(|glob| !glob.is_empty() && *glob != "*");
        assert!(
            err.to_string()
                .contains(bad.or(tags).unwrap_or("at least one")),
            "{err}"
        );
    }
}

#[test]
fn ends_of_two_object_formats() {
    for (up, down) in [
        (ObjectFormat::Sha1, ObjectFormat::Sha256),
        (ObjectFormat::Sha256, ObjectFormat::Sha1),
    ] {
        for protocol in [0, 2] {
            let mut pair = Pair::in_step();
            let server = crate::support::GitServer::builder(pair.sandbox.path());
            pair.server = server.max_protocol(protocol).start();
            fs::remove_dir_all(&pair.upstream.path).unwrap();
            fs::remove_dir_all(&pair.destination.path).unwrap();
            pair.upstream = pair.sandbox.init_bare("up.git", up);
            grow(&pair.upstream, "main", &[]);
            pair.destination = pair.sandbox.init_bare("down.git", down);
            let err = fails(&pair, ErrorKind::ObjectFormatMismatch);
            let text = err.to_string();
            assert!(text.contains("sha1") && text.contains("sha256"), "{text}");
            assert!(!asked(&pair.server.requests()).contains(&"fetch".to_owned()));
        }
    }
}

#[test]
fn an_empty_upstream_is_a_success_without_refs() {
    let pair = Pair::in_step();
    for (name, _) in pair.upstream.for_each_ref() {
        pair.upstream.delete_ref(&name);
    }
    let files = pair.destination.files();
    let pulled = pair.pull();
    assert!(pulled.stats.refs.is_empty());
    assert_eq!(pair.destination.files(), files);
}

/// Servers of old list nothing at all then, and git takes that for an empty repository, too.
#[test]
fn an_empty_upstream_may_list_nothing_at_all() {
    let pair = Pair::in_step();
    let nothing = b"001e# service=git-upload-pack\n00000000";
    pair.server
        .intercept(|_| Some(wire::advertisement(nothing.to_vec())));
    assert!(pair.pull().stats.refs.is_empty());
}

#[test]
fn an_empty_destination_gets_everything() {
    let pair =
        Pair::with_destination(|sandbox, _| sandbox.init_bare("down.git", ObjectFormat::Sha1));
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/main"), created(&pair.tip));
    assert_eq!(pulled.stats.traffic.objects, 6);
}

#[test]
fn a_shallow_source() {
    for protocol in [0, 2] {
        let mut pair = Pair::in_step();
        let server = crate::support::GitServer::builder(pair.sandbox.path());
        pair.server = server.max_protocol(protocol).start();
        fs::remove_dir_all(&pair.destination.path).unwrap();
        pair.destination = pair.sandbox.init_bare("down.git", ObjectFormat::Sha1);
        pair.upstream.write_ref("shallow", &pair.tip);
        let err = fails(&pair, ErrorKind::Unsupported);
        assert!(err.to_string().contains("shallow"), "{err}");
    }
}
