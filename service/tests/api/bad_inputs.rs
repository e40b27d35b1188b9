//! Requests that are refused, each with a code that says why, and without a change.

use serde_json::json;

use crate::support::Server;

const REPOS: &str = "/v1/default/repos";
const SYNCS: &str = "/v1/default/app/upstream/syncs";

#[test]
fn bodies() {
    let server = Server::start();
    server.repo(json!({ "name": "app", "upstream": { "url": "https://example.com/a.git" } }));
    let client = server.client();
    let before = client.get("/v1/default/app").ok(200);
    let long = format!(r#"{{"name":"{}"}}"#, "a".repeat(70_000));
    let many: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!("x"))).collect();
    let many = json!({ "tags": many }).to_string();
    for (method, path, body, status, code) in [
        ("POST", REPOS, "", 400, "INVALID_JSON"),
        ("POST", REPOS, "{", 400, "INVALID_JSON"),
        ("POST", REPOS, "[]", 400, "INVALID_BODY"),
        ("POST", REPOS, "null", 400, "INVALID_BODY"),
        ("POST", REPOS, r#"{"name":1}"#, 400, "INVALID_BODY"),
        ("POST", REPOS, r#"{"name":null}"#, 400, "INVALID_BODY"),
        ("POST", REPOS, r#"{"nam":"x"}"#, 400, "INVALID_BODY"),
        (
            "POST",
            REPOS,
            r#"{"name":"a","name":"b"}"#,
            400,
            "INVALID_BODY",
        ),
        ("POST", REPOS, r#"{"name":"a\u0000"}"#, 400, "INVALID_BODY"),
        (
            "POST",
            REPOS,
            r#"{"tags":{"a\u0000":"x"}}"#,
            400,
            "INVALID_BODY",
        ),
        ("POST", REPOS, r#"{"name":"a/b"}"#, 400, "INVALID_NAME"),
        ("POST", REPOS, r#"{"name":"repos"}"#, 400, "INVALID_NAME"),
        ("POST", REPOS, r#"{"name":"a.git"}"#, 400, "INVALID_NAME"),
        ("POST", REPOS, r#"{"name":"APP"}"#, 409, "NAME_TAKEN"),
        (
            "POST",
            REPOS,
            r#"{"default_bookmark":"a..b"}"#,
            400,
            "INVALID_BODY",
        ),
        ("POST", REPOS, r#"{"upstream":[]}"#, 400, "INVALID_BODY"),
        ("POST", REPOS, r#"{"upstream":{}}"#, 400, "INVALID_BODY"),
        (
            "POST",
            REPOS,
            r#"{"upstream":{"url":"ftp://x/y"}}"#,
            400,
            "INVALID_URL",
        ),
        (
            "POST",
            REPOS,
            r#"{"upstream":{"url":"https://u:p@x/y"}}"#,
            400,
            "CREDENTIALS_IN_URL",
        ),
        ("POST", REPOS, &long, 413, "PAYLOAD_TOO_LARGE"),
        ("POST", REPOS, &many, 400, "INVALID_BODY"),
        ("PATCH", "/v1/default/app", &many, 400, "INVALID_BODY"),
        (
            "PATCH",
            "/v1/default/app",
            r#"{"name":null}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "PATCH",
            "/v1/default/app",
            r#"{"upstream":{"url":"https://example.com/a.git","auth":[]}}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "PATCH",
            "/v1/default/app",
            r#"{"upstream":{"url":"https://example.com/a.git","auth":{"kind":"none"}}}"#,
            400,
            "INVALID_BODY",
        ),
        ("POST", SYNCS, "{}", 400, "INVALID_BODY"),
        (
            "POST",
            SYNCS,
            r#"{"direction":"both"}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "POST",
            SYNCS,
            r#"{"direction":"pull","ref_globs":null}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "POST",
            SYNCS,
            r#"{"direction":"pull","ref_globs":[]}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "POST",
            SYNCS,
            r#"{"direction":"pull","ref_globs":{}}"#,
            400,
            "INVALID_GLOB",
        ),
        (
            "POST",
            SYNCS,
            r#"{"direction":"pull","ref_globs":{"branches":"["}}"#,
            400,
            "INVALID_GLOB",
        ),
        (
            "POST",
            SYNCS,
            r#"{"direction":"pull","dry_run":true}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "POST",
            "/v1/default/webhook-targets",
            r#"{"url":"x"}"#,
            400,
            "INVALID_URL",
        ),
        (
            "POST",
            "/v1/default/webhook-targets",
            r#"{"url":"https://x.example/","events":["x"]}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "POST",
            "/v1/default/api-keys",
            r#"{"scopes":[]}"#,
            400,
            "INVALID_BODY",
        ),
        (
            "POST",
            "/v1/default/api-keys",
            r#"{"scopes":["root"]}"#,
            400,
            "INVALID_BODY",
        ),
    ] {
        let answer = client.with_text(method, path, body);
        let short: String = body.chars().take(60).collect();
        let found = (
            answer.status,
            answer.json["error"]["code"].as_str().unwrap_or_default(),
        );
        assert_eq!(
            found,
            (status, code),
            "{method} {path} {short}: {}",
            answer.text
        );
    }
    assert_eq!(client.get("/v1/default/app").ok(200), before);
    assert_eq!(client.all(REPOS, "repos", 100).len(), 1);
    assert_eq!(client.all(SYNCS, "syncs", 100).len(), 0);
}

#[test]
fn addresses_methods_and_headers() {
    let server = Server::start();
    server.repo(json!({ "name": "app" }));
    let client = server.client();
    let json = ("content-type", "application/json");
    for (method, path, headers, status, code) in [
        ("GET", "/nothing", &[][..], 404, "NOT_FOUND"),
        ("GET", "/v1/default/none", &[], 404, "NOT_FOUND"),
        ("GET", "/v1/other/repos", &[], 404, "NOT_FOUND"),
        ("GET", "/v1/default/app%00", &[], 400, "INVALID_PATH"),
        ("GET", "/v1/default/app%ff", &[], 400, "INVALID_PATH"),
        (
            "GET",
            "/v1/default/repos?cursor=%00",
            &[],
            400,
            "INVALID_QUERY",
        ),
        (
            "GET",
            "/v1/default/repos?limit=0",
            &[],
            400,
            "INVALID_QUERY",
        ),
        (
            "GET",
            "/v1/default/repos?limit=101",
            &[],
            400,
            "INVALID_QUERY",
        ),
        (
            "GET",
            "/v1/default/repos?limit=x",
            &[],
            400,
            "INVALID_QUERY",
        ),
        ("GET", "/v1/default/repos?sort=x", &[], 400, "INVALID_QUERY"),
        (
            "GET",
            "/v1/default/repos?cursor=x",
            &[],
            400,
            "INVALID_CURSOR",
        ),
        (
            "GET",
            "/v1/default/app/upstream/syncs/x",
            &[],
            404,
            "NOT_FOUND",
        ),
        (
            "PUT",
            "/v1/default/repos",
            &[json],
            405,
            "METHOD_NOT_ALLOWED",
        ),
        ("DELETE", "/v1/whoami", &[], 405, "METHOD_NOT_ALLOWED"),
        (
            "GET",
            "/v1/whoami",
            &[("accept", "text/html")],
            406,
            "NOT_ACCEPTABLE",
        ),
        (
            "POST",
            "/v1/default/repos",
            &[],
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "POST",
            "/v1/default/repos",
            &[("content-type", "text/plain")],
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ] {
        let body = (method == "POST").then_some(&b"{}"[..]);
        let answer = client.call(method, path, body, headers);
        let found = (
            answer.status,
            answer.json["error"]["code"].as_str().unwrap_or_default(),
        );
        assert_eq!(found, (status, code), "{method} {path}: {}", answer.text);
    }
    let long = format!("/v1/default/{}", "a".repeat(3_000));
    client.get(&long).refused(414, "URI_TOO_LONG");
    // A cursor leads on in its own list alone.
    server.repo(json!({ "name": "two" }));
    let page = client.get("/v1/default/repos?limit=1").ok(200);
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let elsewhere = format!("/v1/default/api-keys?cursor={cursor}");
    client.get(&elsewhere).refused(400, "INVALID_CURSOR");
}
