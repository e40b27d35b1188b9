//! Repositories: making, reading, listing, changing and removing them.

use serde_json::{Value, json};

use crate::support::{Server, Upstream};

const EMPTY: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

#[test]
fn a_repository_with_nothing_given() {
    let server = Server::start();
    let repo = server.repo(json!({}));
    let id = repo["id"].as_str().expect("an id");
    assert_eq!(repo["name"], format!("repo-{}", &id[id.len() - 8..]));
    assert_eq!(repo["org"], "default");
    assert_eq!(repo["default_bookmark"], "main");
    assert_eq!(repo["head_change_id"], EMPTY);
    assert_eq!(repo["upstream"], Value::Null);
    assert_eq!(repo["tags"], json!({}));
    let name = repo["name"].as_str().expect("a name");
    let clone_url = format!("{}/default/{name}.git", server.url());
    assert_eq!(repo["clone_url"], clone_url);
    let read = server.client().get(&format!("/v1/default/{name}")).ok(200);
    assert_eq!(read, repo);
}

#[test]
fn names_are_compared_without_case() {
    let server = Server::start();
    let client = server.client();
    server.repo(json!({ "name": "App" }));
    let again = client.post("/v1/default/repos", json!({ "name": "aPP" }));
    again.refused(409, "NAME_TAKEN");
    assert_eq!(client.get("/v1/default/app").ok(200)["name"], "App");
    assert_eq!(client.get("/v1/DEFAULT/APP").ok(200)["name"], "App");
    let other = server.repo(json!({ "name": "other" }));
    let renamed = client.patch("/v1/default/other", json!({ "name": "APP" }));
    renamed.refused(409, "NAME_TAKEN");
    assert_eq!(client.get("/v1/default/other").ok(200), other);
    client
        .patch("/v1/default/app", json!({ "name": "aPP" }))
        .ok(200);
}

#[test]
fn a_name_that_would_shadow_a_route_is_refused() {
    let server = Server::start();
    let client = server.client();
    let names = [
        "repos",
        "Webhook-Targets",
        "api-keys",
        ".",
        "..",
        "a.git",
        "a b",
        "a/b",
        "ä",
        "",
    ];
    for name in names {
        let made = client.post("/v1/default/repos", json!({ "name": name }));
        made.refused(400, "INVALID_NAME");
    }
    assert_eq!(client.get("/v1/default/repos").ok(200)["repos"], json!([]));
}

#[test]
fn a_patch_changes_what_it_names() {
    let server = Server::start();
    let client = server.client();
    let made = server.repo(json!({ "name": "app", "tags": { "a": "1", "b": "2" } }));
    let path = "/v1/default/app";
    assert_eq!(client.patch(path, json!({})).ok(200), made);
    let tags = json!({ "tags": { "a": null, "b": "3", "c": "4", "gone": null } });
    let changed = client.patch(path, tags).ok(200);
    assert_eq!(changed["tags"], json!({ "b": "3", "c": "4" }));
    let change = json!({ "name": "new", "default_bookmark": "trunk" });
    let changed = client.patch(path, change).ok(200);
    assert_eq!(changed["id"], made["id"]);
    assert_eq!(changed["default_bookmark"], "trunk");
    assert_eq!(changed["tags"], json!({ "b": "3", "c": "4" }));
    client.get(path).refused(404, "NOT_FOUND");
    assert_eq!(client.get("/v1/default/new").ok(200), changed);
}

#[test]
fn tags_have_a_limit_that_holds_for_their_sum() {
    let server = Server::start();
    let client = server.client();
    let tags = |from: usize, to: usize| -> Value {
        let tags = (from..to).map(|n| (format!("k{n}"), json!("v")));
        json!({ "tags": tags.collect::<serde_json::Map<_, _>>() })
    };
    client.post("/v1/default/repos", tags(0, 51)).ok(400);
    let mut body = tags(0, 50);
    body["name"] = json!("app");
    server.repo(body);
    let path = "/v1/default/app";
    client
        .patch(path, tags(50, 51))
        .refused(400, "INVALID_BODY");
    let swap = json!({ "tags": { "k0": null, "k50": "v" } });
    let swapped = client.patch(path, swap).ok(200);
    assert_eq!(
        swapped["tags"].as_object().map(serde_json::Map::len),
        Some(50)
    );
}

#[test]
fn lists_go_on_where_the_page_before_ended() {
    let server = Server::start();
    let client = server.client();
    for n in 0..5 {
        server.repo(json!({ "name": format!("r{n}") }));
    }
    for limit in [1, 2, 5, 100] {
        let rows = client.all("/v1/default/repos", "repos", limit);
        let names: Vec<_> = rows.iter().map(|row| row["name"].clone()).collect();
        assert_eq!(names, ["r0", "r1", "r2", "r3", "r4"], "limit {limit}");
    }
}

#[test]
fn a_removed_repository_is_gone_and_its_name_free() {
    let server = Server::start();
    let client = server.client();
    let first = server.repo(json!({ "name": "app" }));
    let gone = client.delete("/v1/default/app").ok(200);
    assert_eq!(gone, json!({ "success": true }));
    client.get("/v1/default/app").refused(404, "NOT_FOUND");
    client.delete("/v1/default/app").refused(404, "NOT_FOUND");
    assert_eq!(client.get("/v1/default/repos").ok(200)["repos"], json!([]));
    let second = server.repo(json!({ "name": "app" }));
    assert_ne!(first["id"], second["id"]);
}

#[test]
fn head_follows_pulls_and_the_default_bookmark() {
    let upstream = Upstream::start();
    let theirs = upstream.repo("up.git");
    let main = theirs.git(&["rev-parse", "main"]);
    let next = theirs.commit("next", &[&main], "next", &[("file", "2\n")], 1_700_000_100);
    let server = Server::start();
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    let run = server.sync("app", json!({ "direction": "pull" }));
    assert_eq!(run["status"], "completed", "{run}");
    let client = server.client();
    let repo = client.get("/v1/default/app").ok(200);
    assert_eq!(repo["head_change_id"], change_id(&main));
    let change = json!({ "default_bookmark": "next" });
    let changed = client.patch("/v1/default/app", change).ok(200);
    assert_eq!(changed["head_change_id"], change_id(&next));
    assert_eq!(client.get("/v1/default/app").ok(200), changed);
    let away = json!({ "default_bookmark": "nowhere" });
    let away = client.patch("/v1/default/app", away).ok(200);
    assert_eq!(away["head_change_id"], EMPTY);
}

/// The change is made by then, so the answer says so.
#[test]
fn a_default_bookmark_that_head_cannot_follow_at_once_is_changed() {
    let upstream = Upstream::start();
    upstream.repo("up.git");
    let server = Server::start();
    let body = json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } });
    let id = server.repo(body)["id"].as_str().expect("an id").to_owned();
    server.sync("app", json!({ "direction": "pull" }));
    let folder = server.service().repos.path(&id.parse().expect("an id"));
    let (head, away) = (folder.join("HEAD"), folder.join("HEAD.away"));
    std::fs::rename(&head, &away).expect("moved");
    std::fs::create_dir(&head).expect("a folder");
    let client = server.client();
    let change = json!({ "default_bookmark": "next" });
    let changed = client.patch("/v1/default/app", change).ok(200);
    assert_eq!(changed["default_bookmark"], "next");
    std::fs::remove_dir(&head).expect("removed");
    std::fs::rename(&away, &head).expect("moved back");
    // The next run lets it follow.
    server.sync("app", json!({ "direction": "pull" }));
    let text = std::fs::read_to_string(&head).expect("HEAD");
    assert_eq!(text, "ref: refs/heads/next\n");
}

fn change_id(commit: &str) -> String {
    refsync_service::records::change_id(commit).expect("a commit")
}

#[test]
fn changes_of_the_default_branch_at_once_leave_one_of_them() {
    let server = Server::start();
    server.repo(json!({ "name": "app" }));
    let service = server.service();
    let name = refsync_service::records::Name::new("app").expect("a name");
    let read = || {
        let org = server.block_on(service.store.org_by_slug("default"));
        let org = org.expect("read").expect("the organization");
        let repo = server.block_on(service.store.repo_by_name(&org.id, name.as_str()));
        repo.expect("read").expect("the repository")
    };
    service.repos.open_or_init(&read()).expect("made");
    let folder = service.repos.path(&read().id);
    for branch in ["a", "b"] {
        let tip = branch.repeat(40);
        let path = folder.join("refs/heads").join(branch);
        std::fs::write(path, format!("{tip}\n")).expect("a ref");
    }
    for round in 0..100 {
        std::thread::scope(|scope| {
            for branch in ["a", "b", "a", "b"] {
                let client = server.client();
                scope.spawn(move || {
                    let change = json!({ "default_bookmark": branch });
                    client.patch("/v1/default/app", change).ok(200);
                });
            }
        });
        let repo = read();
        let branch = &repo.default_bookmark;
        let head = std::fs::read_to_string(folder.join("HEAD")).expect("HEAD");
        assert_eq!(head, format!("ref: refs/heads/{branch}\n"), "{round}");
        assert_eq!(repo.head, Some(branch.repeat(40)), "{round}");
    }
}
