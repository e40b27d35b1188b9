//! The authorization matrix: every operation of `openapi.json` with every kind of key.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::openapi::DOCUMENT;
use crate::support::{Client, Server, Signer};

const UPSTREAM: &str = "https://git.example.com/app.git";

/// One operation: its method, the template of its path, a body that is accepted, and the scope that it needs.
struct Operation {
    method: &'static str,
    template: &'static str,
    body: Option<fn() -> Value>,
    scope: &'static str,
}

fn operation(
    method: &'static str,
    template: &'static str,
    scope: &'static str,
    body: Option<fn() -> Value>,
) -> Operation {
    Operation {
        method,
        template,
        body,
        scope,
    }
}

const SYNCS: &str = "/{org}/{repo}/upstream/syncs";
const HOOK: &str = "/{org}/{repo}/upstream/hook";
const TARGETS: &str = "/{org}/webhook-targets";

/// All operations; those that remove something come last.
fn operations() -> Vec<Operation> {
    let target = "/{org}/webhook-targets/{id}";
    vec![
        operation("GET", "/whoami", "read", None),
        operation("GET", "/{org}/repos", "read", None),
        operation("POST", "/{org}/repos", "write", Some(|| json!({}))),
        operation("GET", "/{org}/{repo}", "read", None),
        operation("PATCH", "/{org}/{repo}", "write", Some(|| json!({}))),
        operation("GET", SYNCS, "read", None),
        operation(
            "POST",
            SYNCS,
            "write",
            Some(|| json!({ "direction": "push" })),
        ),
        operation("GET", "/{org}/{repo}/upstream/syncs/{id}", "read", None),
        operation(
            "POST",
            "/{org}/{repo}/upstream/syncs/{id}/cancel",
            "write",
            None,
        ),
        operation(
            "POST",
            HOOK,
            "write",
            Some(|| json!({ "provider": "github" })),
        ),
        operation("DELETE", HOOK, "write", None),
        operation("GET", TARGETS, "admin", None),
        operation(
            "POST",
            TARGETS,
            "admin",
            Some(|| json!({ "url": "https://hooks.example.com/" })),
        ),
        operation("GET", target, "admin", None),
        operation("PATCH", target, "admin", Some(|| json!({}))),
        operation(
            "GET",
            "/{org}/webhook-targets/{id}/deliveries",
            "admin",
            None,
        ),
        operation(
            "POST",
            "/{org}/webhook-targets/{id}/deliveries/{sub_id}/redeliver",
            "admin",
            None,
        ),
        operation("POST", "/{org}/webhook-targets/{id}/test", "admin", None),
        operation(
            "POST",
            "/{org}/webhook-targets/{id}/rotate-secret",
            "admin",
            None,
        ),
        operation("GET", "/{org}/api-keys", "admin", None),
        operation("POST", "/{org}/api-keys", "admin", Some(|| json!({}))),
        operation("DELETE", "/{org}/api-keys/{id}", "admin", None),
        operation("DELETE", target, "admin", None),
        operation("DELETE", "/{org}/{repo}", "write", None),
    ]
}

/// Things of which each operation may have one: made anew for each call, so that no call depends on another.
struct Things {
    repo: String,
    repo_id: String,
    sync: String,
    target: String,
    delivery: String,
    key: String,
}

impl Things {
    /// All of them about one repository, so that a key that is limited to it sees them.
    fn made(admin: &Client) -> Self {
        let text = |value: &Value, key: &str| value[key].as_str().expect(key).to_owned();
        let body = json!({ "upstream": { "url": UPSTREAM } });
        let repo = admin.post("/v1/default/repos", body).ok(201);
        let (name, id) = (text(&repo, "name"), text(&repo, "id"));
        let hook = format!("/v1/default/{name}/upstream/hook");
        admin.post(&hook, json!({ "provider": "gitlab" })).ok(201);
        let syncs = format!("/v1/default/{name}/upstream/syncs");
        let sync = admin.post(&syncs, json!({ "direction": "pull" })).ok(201);
        let body = json!({ "url": "https://hooks.example.com/", "repo_ids": [id] });
        let target = admin.post("/v1/default/webhook-targets", body).ok(201);
        let test = format!("/v1/default/webhook-targets/{}/test", text(&target, "id"));
        let delivery = admin.call("POST", &test, None, &[]).ok(201);
        let body = json!({ "repo_ids": [id] });
        let key = admin.post("/v1/default/api-keys", body).ok(201);
        Things {
            repo: name,
            repo_id: id,
            sync: text(&sync, "id"),
            target: text(&target, "id"),
            delivery: text(&delivery, "id"),
            key: text(&key, "id"),
        }
    }

    fn path(&self, operation: &Operation, org: &str) -> String {
        let template = operation.template;
        let id = if template.contains("api-keys") {
            &self.key
        } else if template.contains("webhook-targets") {
            &self.target
        } else {
            &self.sync
        };
        let path = template.replace("{org}", org).replace("{repo}", &self.repo);
        let path = path.replace("{id}", id).replace("{sub_id}", &self.delivery);
        format!("/v1{path}")
    }
}

impl Operation {
    fn call(&self, client: &Client, path: &str) -> u16 {
        let body = self.body.map(|body| body().to_string());
        let answer = match &body {
            Some(body) => client.with_text(self.method, path, body),
            None => client.call(self.method, path, None, &[]),
        };
        answer.status
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// Whether the operation leads through a repository, or a thing that belongs to one.
    fn is_of_repo(&self) -> bool {
        self.template.contains("{repo}") || self.template.contains("{id}")
    }
}

fn idle_server() -> Server {
    Server::start_with(|config| {
        config.workers = 0;
        config.deliveries = false;
    })
}

#[test]
fn the_matrix_has_every_operation() {
    let ours: BTreeSet<_> = operations().iter().map(Operation::name).collect();
    let mut documented = BTreeSet::new();
    for (template, methods) in DOCUMENT["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("operations").keys() {
            documented.insert(format!("{} {template}", method.to_uppercase()));
        }
    }
    for open in ["GET /openapi.json", "POST /hooks/{id}/{token}"] {
        assert!(documented.remove(open), "{open} needs no key");
    }
    assert_eq!(ours, documented);
    for operation in operations() {
        let method = operation.method.to_lowercase();
        let said = &DOCUMENT["paths"][operation.template][method]["description"];
        let scope = format!("Required scope: `{}`.", operation.scope);
        let said = said.as_str().expect("a description");
        assert!(said.starts_with(&scope), "{}: {said}", operation.name());
    }
}

#[test]
fn every_scope_opens_its_operations_and_no_others() {
    let server = idle_server();
    let admin = server.client();
    let ranks = ["read", "write", "admin"];
    let rank = |scope: &str| ranks.iter().position(|known| *known == scope);
    for operation in operations() {
        for scope in ranks {
            let things = Things::made(&admin);
            let client = server.client_of(&[scope], &[]);
            let path = things.path(&operation, "default");
            let status = operation.call(&client, &path);
            let name = format!("{} with {scope}", operation.name());
            if rank(scope) >= rank(operation.scope) {
                assert!((200..300).contains(&status), "{name}: {status}");
            } else {
                assert_eq!(status, 403, "{name}");
            }
            admin.delete(&format!("/v1/default/{}", things.repo));
        }
    }
}

/// The same as with keys, by tokens; one with rights on repositories is a key that is limited to them.
#[test]
fn every_token_opens_its_operations_and_no_others() {
    let server = idle_server();
    let (admin, signer) = (server.client(), Signer::new(1));
    signer.register(&admin, &["admin"]);
    let rank = |scope: &str| {
        ["read", "write", "admin"]
            .iter()
            .position(|it| *it == scope)
    };
    for operation in operations() {
        for level in ["read-repo", "write-repo", "admin"] {
            let (things, other) = (Things::made(&admin), Things::made(&admin));
            // The other repository has the other level, so that no level passes for that of both.
            let opposite = if level == "read-repo" {
                "write-repo"
            } else {
                "read-repo"
            };
            let claims = match level {
                "admin" => json!({ "admin": true }),
                level => json!({ "access": { &things.repo: level, &other.repo: opposite } }),
            };
            let client = signer.client(&server, &claims);
            let status = operation.call(&client, &things.path(&operation, "default"));
            let name = format!("{} with {level}", operation.name());
            let scope = level.strip_suffix("-repo").unwrap_or(level);
            let makes_a_repo = operation.name() == "POST /{org}/repos" && scope != "admin";
            if rank(scope) >= rank(operation.scope) && !makes_a_repo {
                assert!((200..300).contains(&status), "{name}: {status}");
            } else {
                assert_eq!(status, 403, "{name}");
            }
            if scope != "admin" && operation.template.contains("{repo}") {
                let hidden = Things::made(&admin);
                let status = operation.call(&client, &hidden.path(&operation, "default"));
                // The scope comes first where a token has it on no repository.
                assert!(matches!(status, 403 | 404), "{name} of another: {status}");
                admin.delete(&format!("/v1/default/{}", hidden.repo));
            }
            admin.delete(&format!("/v1/default/{}", things.repo));
            admin.delete(&format!("/v1/default/{}", other.repo));
        }
    }
}

#[test]
fn without_a_valid_key_nothing_opens() {
    let server = idle_server();
    let things = Things::made(&server.client());
    for operation in operations() {
        let path = things.path(&operation, "default");
        let token = Signer::new(1).client(&server, &json!({ "admin": true }));
        for client in [server.stranger(), server.client_with("rsk_unknown"), token] {
            assert_eq!(operation.call(&client, &path), 401, "{}", operation.name());
        }
    }
    let (url, key) = (server.stranger(), server.admin_key());
    for header in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        key.to_owned(),
        format!("Basic {key}"),
        format!("Bearer {key}x"),
    ] {
        let answer = url.call("GET", "/v1/whoami", None, &[("authorization", &header)]);
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{header}");
        answer.refused(401, "UNAUTHORIZED");
    }
    let lower = format!("bearer {key}");
    url.call("GET", "/v1/whoami", None, &[("authorization", &lower)])
        .ok(200);
}

#[test]
fn the_organization_in_the_path_is_the_keys() {
    let server = idle_server();
    server.org("other");
    let things = Things::made(&server.client());
    for operation in operations()
        .iter()
        .filter(|it| it.template.contains("{org}"))
    {
        for org in ["other", "unknown"] {
            let path = things.path(operation, org);
            let status = operation.call(&server.client(), &path);
            assert_eq!(status, 404, "{} of {org}", operation.name());
        }
    }
}

#[test]
fn a_key_that_is_limited_to_repositories_sees_no_others() {
    let server = idle_server();
    let admin = server.client();
    let own = Things::made(&admin);
    let client = server.client_of(&["admin"], &[&own.repo_id]);
    let other = Things::made(&admin);
    for operation in operations().iter().filter(|it| it.is_of_repo()) {
        let status = operation.call(&client, &other.path(operation, "default"));
        assert_eq!(status, 404, "{} of another repository", operation.name());
    }
    for operation in operations() {
        let status = operation.call(&client, &own.path(&operation, "default"));
        let name = operation.name();
        if name == "POST /{org}/repos" {
            assert_eq!(status, 403, "{name}");
        } else {
            assert!((200..300).contains(&status), "{name}: {status}");
        }
    }
    admin.get(&format!("/v1/default/{}", other.repo)).ok(200);
}

#[test]
fn lists_have_only_what_a_limited_key_may_see() {
    let server = idle_server();
    let admin = server.client();
    let (other, own) = (Things::made(&admin), Things::made(&admin));
    let client = server.client_of(&["admin"], &[&own.repo_id]);
    let everywhere = json!({ "url": "https://hooks.example.com/all" });
    admin
        .post("/v1/default/webhook-targets", everywhere)
        .ok(201);
    let ids = |path: &str, key: &str| -> Vec<String> {
        let rows = client.all(path, key, 1);
        let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
        rows.iter().map(id).collect()
    };
    assert_eq!(ids("/v1/default/repos", "repos"), [own.repo_id.as_str()]);
    let targets = ids("/v1/default/webhook-targets", "webhook_targets");
    assert_eq!(targets, [own.target.as_str()]);
    let keys = ids("/v1/default/api-keys", "api_keys");
    assert!(
        keys.contains(&own.key) && !keys.contains(&other.key),
        "{keys:?}"
    );
    // Rows that it may not see make no page shorter.
    let page = client.get("/v1/default/webhook-targets?limit=1").ok(200);
    assert_eq!(
        page["webhook_targets"][0]["id"],
        json!(own.target),
        "{page}"
    );
    assert_eq!(page["has_more"], json!(false), "{page}");
    // What it makes is limited as it is itself.
    let body = json!({ "url": "https://hooks.example.com/mine" });
    let made = client.post("/v1/default/webhook-targets", body).ok(201);
    assert_eq!(made["repo_ids"], json!([own.repo_id]));
    let id = made["id"].as_str().expect("an id");
    let path = format!("/v1/default/webhook-targets/{id}");
    let cleared = client.patch(&path, json!({ "repo_ids": null })).ok(200);
    assert_eq!(cleared["repo_ids"], json!([own.repo_id]));
    let more = json!({ "repo_ids": [own.repo_id, other.repo_id] });
    client.patch(&path, more).refused(400, "INVALID_BODY");
}
