//! Clones, fetches and pushes, and the events of pushes.

use serde_json::{Value, json};

use crate::host::{Clone, Host};

fn null() -> String {
    "0".repeat(40)
}

fn update(name: &str, bookmark: &str, before: &str, after: &str, action: &str) -> Value {
    json!({"ref": name, "bookmark": bookmark, "before": before, "after": after, "action": action})
}

#[test]
fn an_empty_repository_is_cloned_pushed_to_and_fetched() {
    for protocol in [0, 2] {
        let host = Host::start(|_| ());
        let repo = host.new_repo("app", "trunk");
        let url = host.url("app", &host.key);
        let one = Clone::of(&host, &url, "one", protocol);
        if protocol == 2 {
            assert_eq!(one.git(&["symbolic-ref", "HEAD"]), "refs/heads/trunk");
        }
        one.git(&["checkout", "-q", "-B", "trunk"]);
        let first = one.commit("first");
        one.git(&["push", "-q", "origin", "trunk"]);
        let two = Clone::of(&host, &url, "two", protocol);
        assert_eq!(two.git(&["rev-parse", "trunk"]), first);
        let second = one.commit("second");
        one.git(&["push", "-q", "origin", "trunk"]);
        two.git(&["fetch", "-q"]);
        assert_eq!(two.git(&["rev-parse", "origin/trunk"]), second);
        assert_eq!(host.head(&repo.id), Some(second));
    }
}

#[test]
fn a_push_is_an_event_of_the_refs_that_moved() {
    let host = Host::start(|_| ());
    let repo = host.new_repo("app", "main");
    let clone = Clone::of(&host, &host.url("app", &host.key), "one", 2);
    clone.git(&["checkout", "-q", "-B", "main"]);
    let first = clone.commit("first");
    clone.git(&[
        "push",
        "-q",
        "origin",
        "main",
        "main:refs/heads/side",
        "main:refs/tags/v1",
    ]);
    let second = clone.commit("second");
    // The branch that HEAD names stays; the others are followed.
    let text = clone.refused(&[
        "push",
        "origin",
        "main",
        ":refs/heads/side",
        "main:refs/notes/x",
    ]);
    assert!(
        text.contains("refs/notes/x") && text.contains("hidden ref"),
        "{text}"
    );
    clone.refused(&["push", "origin", ":refs/heads/main"]);
    clone.git(&["push", "-q", "origin", "main"]);

    let pushes = host.pushes(&repo);
    let mut updates: Vec<_> = pushes.iter().map(|push| push["updates"].clone()).collect();
    for list in &mut updates {
        let list = list.as_array_mut().expect("a list");
        list.sort_by_key(|update| update["ref"].as_str().map(str::to_owned));
    }
    let created = json!([
        update("refs/heads/main", "main", &null(), &first, "created"),
        update("refs/heads/side", "side", &null(), &first, "created"),
        update("refs/tags/v1", "v1", &null(), &first, "created"),
    ]);
    let moved = json!([
        update("refs/heads/main", "main", &first, &second, "updated"),
        update("refs/heads/side", "side", &first, &null(), "deleted"),
    ]);
    assert_eq!(updates, [created, moved]);
    assert_eq!(pushes[0]["reconciliation"]["changes_created_count"], 0);
    assert_eq!(host.head(&repo.id), Some(second));
}

#[test]
fn a_push_whose_process_died_gets_its_event_once() {
    let mut host = Host::start(|_| ());
    let repo = host.new_repo("app", "main");
    let clone = Clone::of(&host, &host.url("app", &host.key), "one", 2);
    clone.git(&["checkout", "-q", "-B", "main"]);
    let first = clone.commit("first");
    clone.git(&["push", "-q", "origin", "main"]);
    let second = clone.commit("second");
    let bare = host.repo_path(&repo).to_str().expect("a name").to_owned();
    clone.git(&["push", "-q", &bare, "main"]);

    // What a process leaves that died after git had followed the first of two commands.
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let commands = [
        line(format!("{first} {second} refs/heads/main\0report-status\n")),
        line(format!("{} {second} refs/heads/never\n", null())),
        "0000".into(),
    ];
    let name = format!("{}.evt_{}", repo.id, "1".repeat(32));
    let path = host.folder.path().join("data/pushes").join(name);
    for _ in 0..2 {
        std::fs::write(&path, commands.concat()).expect("a file");
        host.restart();
        assert!(!path.exists());
    }
    let pushes = host.pushes(&repo);
    let found: Vec<_> = pushes.iter().map(|push| push["updates"].clone()).collect();
    let created = json!([update(
        "refs/heads/main",
        "main",
        &null(),
        &first,
        "created"
    )]);
    let moved = json!([update(
        "refs/heads/main",
        "main",
        &first,
        &second,
        "updated"
    )]);
    assert_eq!(found, [created, moved]);
    assert_eq!(host.head(&repo.id), Some(second));

    // Without a restart the next push finds it.
    let name = format!("{}.evt_{}", repo.id, "2".repeat(32));
    let path = host.folder.path().join("data/pushes").join(name);
    std::fs::write(&path, commands.concat()).expect("a file");
    clone.git(&["remote", "set-url", "origin", &host.url("app", &host.key)]);
    clone.commit("third");
    clone.git(&["push", "-q", "origin", "main"]);
    assert_eq!(host.pushes(&repo).len(), 4);
    assert!(!path.exists());
}

#[test]
fn objects_that_git_refuses_and_refs_that_are_hidden() {
    let host = Host::start(|_| ());
    let repo = host.new_repo("app", "main");
    let clone = Clone::of(&host, &host.url("app", &host.key), "one", 2);
    clone.git(&["checkout", "-q", "-B", "main"]);
    let first = clone.commit("first");
    clone.git(&["push", "-q", "origin", "main"]);

    let object = |kind: &str, content: &[u8]| {
        let file = clone.path.join("object");
        std::fs::write(&file, content).expect("a file");
        clone.git(&["hash-object", "-t", kind, "-w", "--literally", "object"])
    };
    let tree = clone.git(&["rev-parse", "HEAD^{tree}"]);
    let commit = |zone: &str, email: &str| {
        let who = format!("A {email} 1700000000 {zone}");
        object(
            "commit",
            format!("tree {tree}\nauthor {who}\ncommitter {who}\n\ntext\n").as_bytes(),
        )
    };
    // The engine's runs accept this one, and refuse that one.
    let old = commit("+051800", "<a@example.com>");
    clone.git(&["push", "-q", "origin", &format!("{old}:refs/heads/old")]);
    let wrong = commit("+0000", "a@example.com");
    let text = clone.refused(&["push", "origin", &format!("{wrong}:refs/heads/wrong")]);
    assert!(text.contains("missingEmail"), "{text}");

    let bare = host.repo_path(&repo);
    let output = crate::host::git_in(&bare, &["update-ref", "refs/secret/x", &first]);
    assert!(output.status.success());
    let listed = clone.git(&["ls-remote", "origin"]);
    assert!(
        listed.contains("refs/heads/old") && !listed.contains("secret"),
        "{listed}"
    );
}
