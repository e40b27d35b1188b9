//! Runs through the API: asking for them, waiting, reading, listing, cancelling.

use std::{fmt::Write as _, path::Path, time::Duration};

use refsync_service::store::Counters;
use serde_json::{Value, json};

use crate::support::{Server, Upstream};

const SYNCS: &str = "/v1/default/app/upstream/syncs";

fn idle_server() -> Server {
    let server = Server::start_with(|config| config.workers = 0);
    server.repo(json!({ "name": "app", "upstream": { "url": "https://git.example.com/a.git" } }));
    server
}

#[test]
fn a_queued_run_has_every_key_of_the_contract() {
    let server = idle_server();
    let run = server
        .client()
        .post(SYNCS, json!({ "direction": "pull" }))
        .ok(201);
    assert_eq!(run["ref_globs"], json!({ "branches": "*", "tags": "*" }));
    assert_eq!(run["status"], "queued");
    assert_eq!(run["attempt"], 0);
    assert_eq!(run["source"], "api");
    assert_eq!(run["dry_run"], false);
    for key in [
        "stats",
        "error",
        "error_code",
        "started_at",
        "finished_at",
        "next_attempt_at",
    ] {
        assert_eq!(run.get(key), Some(&Value::Null), "{key}");
    }
    let repo = server.client().get("/v1/default/app").ok(200);
    assert_eq!(repo["upstream"]["latest_sync"], run);
    let path = format!("{SYNCS}/{}", run["id"].as_str().expect("an id"));
    assert_eq!(server.client().get(&path).ok(200), run);
}

#[test]
fn a_request_looks_its_key_and_repository_up_at_once() {
    let server = idle_server();
    let run = server.client().post(SYNCS, json!({ "direction": "pull" }));
    let run = run.ok(201);
    let path = format!("{SYNCS}/{}", run["id"].as_str().expect("an id"));
    let before = server.service().store.counters();
    assert_eq!(server.client().get(&path).ok(200), run);
    let reads = before.reads + 2;
    let read = Counters { reads, ..before };
    assert_eq!(server.service().store.counters(), read, "the run is one");
}

#[test]
fn a_glob_that_is_left_out_matches_nothing() {
    let server = idle_server();
    for (given, kept) in [
        (
            json!({ "branches": "main" }),
            json!({ "branches": "main", "tags": "" }),
        ),
        (
            json!({ "tags": "v*" }),
            json!({ "branches": "", "tags": "v*" }),
        ),
        (
            json!({ "branches": "main", "tags": "" }),
            json!({ "branches": "main", "tags": "" }),
        ),
    ] {
        let body = json!({ "direction": "push", "ref_globs": given });
        let run = server.client().post(SYNCS, body).ok(201);
        assert_eq!(run["ref_globs"], kept);
    }
    for nothing in [
        json!({}),
        json!({ "branches": "" }),
        json!({ "branches": "", "tags": "" }),
    ] {
        let body = json!({ "direction": "push", "ref_globs": nothing });
        server
            .client()
            .post(SYNCS, body)
            .refused(400, "INVALID_GLOB");
    }
}

#[test]
fn an_equal_run_that_is_queued_is_returned() {
    let server = idle_server();
    let client = server.client();
    let ask = |body: Value, query: &str| {
        let run = client.post(&format!("{SYNCS}{query}"), body).ok(201);
        run["id"].as_str().expect("an id").to_owned()
    };
    let pull = json!({ "direction": "pull" });
    let first = ask(pull.clone(), "");
    assert_eq!(ask(pull.clone(), ""), first);
    let spelled = json!({ "direction": "pull", "ref_globs": { "branches": "*", "tags": "*" } });
    assert_eq!(ask(spelled, "?dry_run=false"), first);
    assert_ne!(ask(json!({ "direction": "push" }), ""), first);
    assert_ne!(ask(pull, "?dry_run=true"), first);
    assert_eq!(client.all(SYNCS, "syncs", 100).len(), 3);
}

#[test]
fn the_list_has_the_newest_first() {
    let server = idle_server();
    let client = server.client();
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = json!({ "direction": "pull", "ref_globs": { "branches": format!("b{n}") } });
        ids.push(client.post(SYNCS, body).ok(201)["id"].take());
    }
    ids.reverse();
    for limit in [1, 2, 5, 100] {
        let rows = client.all(SYNCS, "syncs", limit);
        let listed: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(listed, ids, "limit {limit}");
    }
}

#[test]
fn a_repository_without_an_upstream_has_no_runs() {
    let server = Server::start();
    let client = server.client();
    server.repo(json!({ "name": "app" }));
    let body = json!({ "direction": "pull" });
    client.post(SYNCS, body.clone()).refused(409, "NO_UPSTREAM");
    assert_eq!(client.get(SYNCS).ok(200)["syncs"], json!([]));
    client
        .patch("/v1/default/app", json!({ "upstream": null }))
        .ok(200);
    client.post(SYNCS, body).refused(409, "NO_UPSTREAM");
}

#[test]
fn full_queues_are_refused() {
    let server = Server::start_with(|config| {
        config.workers = 0;
        config.queue.per_repo = 2;
        config.queue.per_org = 3;
    });
    let client = server.client();
    for name in ["app", "other"] {
        let upstream = json!({ "url": "https://git.example.com/a.git" });
        server.repo(json!({ "name": name, "upstream": upstream }));
    }
    let ask = |name: &str, glob: &str| {
        let body = json!({ "direction": "pull", "ref_globs": { "branches": glob } });
        client.post(&format!("/v1/default/{name}/upstream/syncs"), body)
    };
    ask("app", "1").ok(201);
    ask("app", "2").ok(201);
    ask("app", "3").refused(429, "QUEUE_FULL");
    ask("app", "2").ok(201);
    ask("other", "1").ok(201);
    ask("other", "2").refused(429, "QUEUE_FULL");
    assert_eq!(
        client.all(SYNCS, "syncs", 100).len(),
        2,
        "nothing more was queued"
    );
}

#[test]
fn a_run_is_cancelled_once() {
    let server = idle_server();
    let client = server.client();
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    let path = format!("{SYNCS}/{}", run["id"].as_str().expect("an id"));
    let cancel = format!("{path}/cancel");
    let cancelled = client.call("POST", &cancel, None, &[]).ok(200);
    assert_eq!(cancelled["status"], "failed");
    assert_eq!(cancelled["error_code"], "cancelled");
    assert!(cancelled["error"].is_string() && cancelled["finished_at"].is_string());
    assert_eq!(client.get(&path).ok(200), cancelled);
    client
        .call("POST", &cancel, None, &[])
        .refused(409, "SYNC_ENDED");
    let unknown = format!("{SYNCS}/sync_00000000000000000000000000000000/cancel");
    client
        .call("POST", &unknown, None, &[])
        .refused(404, "NOT_FOUND");
}

#[test]
fn removing_an_upstream_ends_its_runs() {
    let server = idle_server();
    let client = server.client();
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    client
        .patch("/v1/default/app", json!({ "upstream": null }))
        .ok(200);
    let path = format!("{SYNCS}/{}", run["id"].as_str().expect("an id"));
    let ended = client.get(&path).ok(200);
    assert_eq!(
        (&ended["status"], &ended["error_code"]),
        (&json!("failed"), &json!("cancelled"))
    );
}

#[test]
fn a_wait_ends_with_the_run() {
    let server = idle_server();
    let client = server.client();
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    let path = format!("{SYNCS}/{}", run["id"].as_str().expect("an id"));
    let waiting = {
        let (client, path) = (client.clone(), format!("{path}?wait=60"));
        std::thread::spawn(move || client.get(&path).ok(200))
    };
    client
        .call("POST", &format!("{path}/cancel"), None, &[])
        .ok(200);
    // A wait that goes on to its own end fails by the 120 s of the client, together with a machine that is slow.
    assert_eq!(waiting.join().expect("an answer")["status"], "failed");
    let ended = client.get(&format!("{path}?wait=60")).ok(200);
    assert_eq!(
        ended["status"], "failed",
        "a run that has ended is not waited for"
    );
    client
        .get(&format!("{path}?wait=61"))
        .refused(400, "INVALID_QUERY");
    let unknown = format!("{SYNCS}/sync_00000000000000000000000000000000?wait=60");
    client.get(&unknown).refused(404, "NOT_FOUND");
}

#[test]
fn a_wait_ends_with_the_process() {
    let server = Server::start_with(|config| {
        config.workers = 0;
        config.drain = Duration::from_secs(5);
    });
    server.repo(json!({ "name": "app", "upstream": { "url": "https://example.com/a.git" } }));
    let client = server.client();
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    let path = format!("{SYNCS}/{}?wait=60", run["id"].as_str().expect("an id"));
    let asked = server.service().store.counters().reads;
    let waiting = std::thread::spawn(move || client.get(&path).ok(200));
    while server.service().store.counters().reads < asked + 2 {
        std::thread::yield_now();
    }
    drop(server);
    // It would be cut off at the end of the time to drain.
    assert_eq!(waiting.join().expect("an answer")["status"], "queued");
}

#[test]
fn a_wait_that_is_too_short_shows_the_run_as_it_is() {
    let server = idle_server();
    let client = server.client();
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    let path = format!("{SYNCS}/{}?wait=1", run["id"].as_str().expect("an id"));
    assert_eq!(client.get(&path).ok(200)["status"], "queued");
}

#[test]
fn one_run_has_all_refs_and_a_list_has_some() {
    let upstream = Upstream::start();
    let theirs = upstream.repo("up.git");
    let main = theirs.git(&["rev-parse", "main"]);
    let names: Vec<_> = (0..150).map(|n| format!("refs/heads/b{n:03}")).collect();
    theirs.set_refs(names.iter().map(|name| (name.as_str(), main.as_str())));
    let server = Server::start();
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    let run = server.sync("app", json!({ "direction": "pull" }));
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["stats"]["refs"].as_array().map(Vec::len), Some(151));
    let client = server.client();
    let listed = client.get(SYNCS).ok(200)["syncs"][0].take();
    let repo = client.get("/v1/default/app").ok(200);
    for capped in [&listed, &repo["upstream"]["latest_sync"]] {
        let stats = &capped["stats"];
        assert_eq!(stats["refs"].as_array().map(Vec::len), Some(100));
        assert_eq!(stats["truncated"], true);
        assert_eq!(stats["counts"]["updated"], 151);
    }
}

#[test]
fn a_run_of_many_refs_is_short_in_lists_and_whole_by_itself() {
    const REFS: usize = 50_000;
    let upstream = Upstream::start();
    let repo = upstream.repo("many.git");
    let tip = repo.git(&["rev-parse", "refs/heads/main"]);
    let tip = tip.trim();
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for at in 0..REFS - 1 {
        writeln!(text, "{tip} refs/heads/n{at:05}").expect("a string");
    }
    std::fs::write(Path::new(&repo.path).join("packed-refs"), text).expect("written");
    let server = Server::start();
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("many.git") } }));
    let client = server.client();
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    let path = format!("{SYNCS}/{}?wait=60", run["id"].as_str().expect("an id"));
    let answer = client.get(&path);
    // Its length is not known before it was sent: no more than a piece of it is in memory.
    assert_eq!(answer.headers.get("content-length"), None);
    let run = answer.ok(200);
    assert_eq!(run["status"], "completed", "{}", run["error"]);
    assert_eq!(run["stats"]["refs"].as_array().map(Vec::len), Some(REFS));

    // A page has at most a hundred of such runs.
    let list = client.get(SYNCS);
    assert!(list.text.len() * 100 < 5_000_000, "{}", list.text.len());
    let list = list.ok(200);
    let stats = &list["syncs"][0]["stats"];
    assert_eq!(stats["refs"].as_array().map(Vec::len), Some(100));
    assert_eq!(stats["counts"]["updated"], REFS);
    assert_eq!(stats["truncated"], true);
}
