//! Keys, scopes and paths.

use refsync_service::records::Scope;

use crate::host::{Clone, Host};

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

/// `key` as the password, in base64.
fn basic(key: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("x:{key}"))
}

#[test]
fn scopes_and_repositories_of_keys() {
    let host = Host::start(|_| ());
    let (one, _two) = (host.new_repo("one", "main"), host.new_repo("two", "main"));
    let clone = Clone::of(&host, &host.url("one", &host.key), "one", 2);
    clone.git(&["checkout", "-q", "-B", "main"]);
    clone.commit("first");
    let read = host.new_key(Scope::Read, None);
    let write = host.new_key(Scope::Write, Some(vec![one.id]));
    let (read_one, write_one) = (host.url("one", &read), host.url("one", &write));
    let text = clone.refused(&["push", &read_one, "main"]);
    assert!(text.contains("403"), "{text}");
    clone.git(&["push", "-q", &write_one, "main"]);
    clone.git(&["fetch", "-q", &read_one]);
    clone.git(&["ls-remote", &host.url("two", &read)]);
    let text = clone.refused(&["ls-remote", &host.url("two", &write)]);
    assert!(text.contains("not found"), "{text}");
    clone.refused(&["ls-remote", &host.url("one", "rsk_wrong")]);
}

#[test]
fn only_the_paths_of_the_protocol_are_there() {
    let host = Host::start(|_| ());
    host.new_repo("app", "main");
    let key = basic(&host.key);
    let ask = |method: &str, path: &str, authorization: &str| {
        host.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\n{authorization}content-length: 0\r\nconnection: close\r\n\r\n"
        ))
    };
    let with_key = format!("authorization: Basic {key}\r\n");
    let refs = "/info/refs?service=git-upload-pack";
    let answer = ask("GET", &format!("/default/app.git{refs}"), "");
    assert_eq!(status(&answer), "401");
    assert!(
        answer.to_lowercase().contains("www-authenticate: basic "),
        "{answer}"
    );
    // Nobody learns without a key what exists.
    assert_eq!(status(&ask("GET", &format!("/no/no.git{refs}"), "")), "401");
    for (method, path, found) in [
        ("GET", format!("/default/app.git{refs}"), "200"),
        ("GET", format!("/DEFAULT/App.git{refs}"), "200"),
        ("HEAD", format!("/default/app.git{refs}"), "200"),
        ("GET", format!("/default/app{refs}"), "404"),
        ("GET", format!("/other/app.git{refs}"), "404"),
        ("GET", format!("/default/no.git{refs}"), "404"),
        ("GET", format!("/default/app%00.git{refs}"), "404"),
        ("GET", format!("/default/..%2fapp.git{refs}"), "404"),
        ("GET", format!("/default/%2e%2e.git{refs}"), "404"),
        ("GET", format!("/default/app.git/../app.git{refs}"), "404"),
        ("GET", "/default/app.git/info/refs".into(), "403"),
        (
            "GET",
            "/default/app.git/info/refs?service=git-upload-archive".into(),
            "403",
        ),
        ("GET", "/default/app.git/HEAD".into(), "404"),
        ("GET", "/default/app.git/objects/info/packs".into(), "404"),
        ("GET", "/default/app.git/config".into(), "404"),
        ("GET", "/default/app.git/git-upload-pack".into(), "405"),
        ("POST", format!("/default/app.git{refs}"), "405"),
    ] {
        let answer = ask(method, &path, &with_key);
        assert_eq!(status(&answer), found, "{method} {path}: {answer}");
    }
}

#[test]
fn git_over_http_can_be_turned_off() {
    let host = Host::start(|config| config.git.http = false);
    host.new_repo("app", "main");
    let path = "/default/app.git/info/refs?service=git-upload-pack";
    let key = basic(&host.key);
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Basic {key}\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(status(&host.raw(&request)), "404");
}
