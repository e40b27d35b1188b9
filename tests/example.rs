//! The example program, run as a user would run it.

mod support;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};
use support::{Answer, GitServer, ObjectFormat, Repo, Sandbox};

const CANARY: &str = "canary-5d41402a";

/// An upstream with one branch and one annotated tag, served, and an empty destination.
struct Setup {
    sandbox: Sandbox,
    upstream: Repo,
    destination: Repo,
    server: GitServer,
}

impl Setup {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let upstream = sandbox.init_bare("up.git", ObjectFormat::Sha1);
        let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
        let tip = upstream.commit("main", &[], "one", &[("a", "1")], 1000);
        upstream.tag_annotated("v1", &tip);
        let server = GitServer::builder(sandbox.path()).start();
        Setup {
            sandbox,
            upstream,
            destination,
            server,
        }
    }

    fn sync(&self, options: &[&str]) -> Output {
        let url = self.server.url("up.git");
        let path = self.destination.path.to_str().expect("a path in UTF-8");
        sync(&[&[&url, path, "--network", "any"], options].concat(), &[])
    }

    fn json(&self, options: &[&str]) -> Value {
        let output = self.sync(&[&["--json"], options].concat());
        assert_exit(&output, 0);
        serde_json::from_slice(&output.stdout).expect("JSON alone on standard output")
    }

    fn fetches(&self) -> usize {
        let requests = self.server.requests();
        let fetch = |request: &&support::Request| request.command.as_deref() == Some("fetch");
        requests.iter().filter(fetch).count()
    }
}

fn sync(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut program = Command::new(program());
    for name in ["REFSYNC_TOKEN", "REFSYNC_USERNAME", "REFSYNC_PASSWORD"] {
        program.env_remove(name);
    }
    program
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the example runs")
}

/// Plain `cargo test` builds the examples too, beside the directory of the tests.
fn program() -> PathBuf {
    let this = env::current_exe().expect("the path of this test");
    let profile = this.parent().and_then(|deps| deps.parent());
    let name = format!("sync{}", env::consts::EXE_SUFFIX);
    let program = profile
        .expect("target/<profile>/deps")
        .join("examples")
        .join(name);
    assert!(
        program.exists(),
        "`cargo test --test` builds no examples: run `cargo build --example sync` first"
    );
    program
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", everything(output));
}

fn everything(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[track_caller]
fn assert_same_but_traffic(one: &Value, other: &Value) {
    let [mut one, mut other] = [one, other].map(Clone::clone);
    for json in [&mut one, &mut other] {
        assert!(json["traffic"].take().is_object(), "{json}");
    }
    assert_eq!(one, other);
}

#[test]
fn without_arguments_it_shows_every_outcome() {
    let output = sync(&[], &[]);
    assert_exit(&output, 0);
    let text = everything(&output);
    for outcome in ["  updated", "  unchanged", "  filtered", "  rejected"] {
        assert!(text.lines().any(|line| line.contains(outcome)), "{text}");
    }
}

#[test]
fn a_run_that_rejects_refs_has_worked() {
    let setup = Setup::new();
    assert_exit(&setup.sync(&[]), 0);
    assert_eq!(
        setup.destination.for_each_ref(),
        setup.upstream.for_each_ref()
    );
    let main = setup.destination.git(&["rev-parse", "main"]);
    setup
        .destination
        .commit("main", &[&main], "ours", &[("a", "2")], 2000);
    let output = setup.sync(&[]);
    assert_exit(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout);
    let theirs = &setup.upstream.git(&["rev-parse", "main"])[..7];
    let rejected = format!("  {theirs}  rejected   destination ahead");
    assert!(text.contains(&rejected), "{text}");
    assert!(text.contains("  unchanged"), "{text}");
    assert!(
        text.contains("0 updated, 1 unchanged, 0 filtered, 1 rejected; "),
        "{text}"
    );
    assert!(text.contains("; 2 requests, "), "{text}");
    assert!(output.stderr.is_empty(), "{}", everything(&output));

    let output = setup.sync(&["--hide-unchanged"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&rejected), "{text}");
    assert!(!text.contains("  unchanged"), "{text}");
    assert!(text.contains(" 1 unchanged, "), "{text}");
}

#[test]
fn a_run_that_failed_says_why_and_whether_to_try_again() {
    let setup = Setup::new();
    let missing = setup.sandbox.path().join("missing");
    let url = setup.server.url("up.git");
    let missing = missing.to_str().expect("a path in UTF-8");
    let output = sync(&[&url, missing, "--network", "any"], &[]);
    assert_exit(&output, 1);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("error: "), "{text}");
    assert!(text.contains("\n  caused by: "), "{text}");
    assert!(text.contains("fail again"), "{text}");
    let causes = text.lines().filter_map(|line| line.split_once(": "));
    let causes: Vec<_> = causes.map(|(_, said)| said).collect();
    for (at, said) in causes.iter().enumerate() {
        let repeated = causes[..at].iter().any(|before| before.contains(said));
        assert!(!repeated, "{text}");
    }

    setup.server.intercept(|_| {
        Some(Answer::Status {
            code: 503,
            headers: vec![("Retry-After".into(), "7".into())],
            body: Vec::new(),
        })
    });
    let output = setup.sync(&[]);
    assert_exit(&output, 1);
    let text = everything(&output);
    assert!(text.contains("may succeed later"), "{text}");
    assert!(text.contains("wait 7 s"), "{text}");

    let output = setup.sync(&["--json"]);
    assert_exit(&output, 1);
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = json!({"error": {
        "kind": "server_error",
        "message": "the server failed (HTTP 503)",
        "retryable": true,
        "retry_after": 7,
    }});
    assert_eq!(printed, expected);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("may succeed later"), "{text}");
}

#[test]
fn json_of_what_went_over_the_wire() {
    let setup = Setup::new();
    let printed = setup.json(&[]);
    let (received, sent) = setup.server.wire_bytes();
    let expected = json!({
        "requests": setup.server.requests().len(),
        "bytes_sent": received,
        "bytes_received": sent,
        "objects": 4,
    });
    assert_eq!(printed["traffic"], expected);
}

#[test]
fn the_default_network_is_the_public_one() {
    let setup = Setup::new();
    let url = setup.server.url("up.git");
    let path = setup.destination.path.to_str().expect("a path in UTF-8");
    assert_exit(&sync(&[&url, path], &[]), 1);
    assert_eq!(setup.server.requests().len(), 0);
}

#[test]
fn bad_usage_is_told_apart() {
    let setup = Setup::new();
    let path = setup.destination.path.to_str().expect("a path in UTF-8");
    let url = setup.server.url("up.git");
    let with_password = url.replace("://", "://me:secret@");
    let not_json = setup.upstream.git_dir().join("HEAD");
    let not_json = not_json.to_str().expect("a path in UTF-8");
    let cases: &[&[&str]] = &[
        &[&url],
        &[&url, path, "--nonsense"],
        &[&url, path, "--network", "some"],
        &[&url, path, "--branches", "a["],
        &[&url, path, "--branches", "refs/heads/main"],
        &[&url, path, "--tags", ""],
        &[&url, path, "--previous", not_json],
        &[&url, path, "--fsck", "some"],
        &[&url, path, "--fsck-ignore", "nonsense"],
        &[&url, path, "--fsck-ignore", "nulInHeader"],
        &[&url, path, "--fsck-skip", not_json],
        &[&url, path, "--fsck-skip", "missing"],
        &[&with_password, path],
        &["ssh://example.com/a", path],
    ];
    for arguments in cases {
        let output = sync(arguments, &[]);
        assert_exit(&output, 2);
        assert!(!output.stderr.is_empty(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let environments: &[&[(&str, &str)]] = &[
        &[("REFSYNC_PASSWORD", CANARY)],
        &[("REFSYNC_USERNAME", "me")],
        &[("REFSYNC_TOKEN", CANARY), ("REFSYNC_PASSWORD", CANARY)],
    ];
    for environment in environments {
        let output = sync(&[&url, path], environment);
        assert_exit(&output, 2);
        assert!(!everything(&output).contains(CANARY));
    }
    assert_eq!(setup.server.requests().len(), 0);
}

#[test]
fn json_has_the_keys_of_the_contract_and_two_more() {
    let setup = Setup::new();
    let blob = setup
        .upstream
        .git_with_input(&["hash-object", "-w", "--stdin"], b"x");
    setup
        .destination
        .git_with_input(&["hash-object", "-w", "--stdin"], b"x");
    setup.destination.set_ref("refs/tags/v1", &blob);
    let json = setup.json(&["--branches", "*", "--tags", "*"]);
    assert_eq!(keys(&json), ["default_branch", "refs", "rules", "traffic"]);
    let refs = json["refs"].as_array().expect("a list");
    let main = setup.upstream.git(&["rev-parse", "main"]);
    let expected = serde_json::json!([
        {"name": "refs/heads/main", "before": null, "after": main, "source": main,
         "outcome": "updated"},
        {"name": "refs/tags/v1", "before": blob, "after": blob,
         "source": setup.upstream.git(&["rev-parse", "refs/tags/v1"]),
         "outcome": "rejected", "reason": "tag exists"},
    ]);
    assert_eq!(Value::from(refs.clone()), expected);
}

fn keys(json: &Value) -> Vec<&str> {
    let object = json.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn what_was_rejected_before_is_not_fetched_again() {
    let setup = Setup::new();
    setup
        .destination
        .commit("main", &[], "unrelated", &[("b", "1")], 3000);
    let file = setup.sandbox.path().join("previous.json");
    let first = setup.json(&["--branches", "main"]);
    assert_eq!(first["refs"][0]["reason"], "diverged");
    assert_eq!(setup.fetches(), 1);

    fs::write(&file, first.to_string()).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let second = setup.json(&["--branches", "main", "--previous", file]);
    assert_same_but_traffic(&second, &first);
    assert_eq!(setup.fetches(), 1);

    let third = setup.json(&["--branches", "main"]);
    assert_same_but_traffic(&third, &first);
    assert_eq!(setup.fetches(), 2);
}

#[test]
fn fsck_rules_are_set_as_for_git() {
    let setup = Setup::new();
    let blob = setup.upstream.git(&["rev-parse", "main:a"]);
    let blob = refsync::ObjectId::from_hex(blob.as_bytes()).expect("an id");
    let tree = [b"0100644 a\0", blob.as_bytes()].concat();
    let as_tree = ["hash-object", "-w", "--literally", "-t", "tree", "--stdin"];
    let tree = setup.upstream.git_with_input(&as_tree, &tree);
    let commit = setup.upstream.git(&["commit-tree", "-m", "old", &tree]);
    setup.upstream.set_ref("refs/heads/old", &commit);
    let skip_list = setup.sandbox.path().join("skip");
    fs::write(&skip_list, format!("{tree} # of 2005\n")).expect("a file");
    let skip_list = skip_list.to_str().expect("a path in UTF-8");

    let output = setup.sync(&["--fsck", "strict", "--dry-run"]);
    assert_exit(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout);
    let reason = format!("faulty: object {tree}: zeroPaddedFilemode: ");
    assert!(text.contains(&reason), "{text}");
    assert!(text.ends_with("\nfaulty objects: 1\n"), "{text}");

    let table: &[(&[&str], &str)] = &[
        (&["--fsck", "strict"], "rejected"),
        (
            &["--fsck", "strict", "--fsck-ignore", "badTimezone"],
            "rejected",
        ),
        (
            &["--fsck", "strict", "--fsck-ignore", "zeroPaddedFilemode"],
            "updated",
        ),
        (&["--fsck", "strict", "--fsck-skip", skip_list], "updated"),
        (&["--fsck", "default"], "updated"),
        (&["--fsck", "off"], "updated"),
        (&[], "updated"),
    ];
    for (options, expected) in table {
        let json = setup.json(&[*options, &["--branches", "old", "--dry-run"]].concat());
        assert_eq!(json["refs"][0]["outcome"], *expected, "{options:?}");
        let is_counted = json["faulty_objects"] == 1;
        assert_eq!(is_counted, *expected == "rejected", "{json}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let setup = Setup::new();
    let files = setup.destination.files();
    let foretold = setup.json(&["--dry-run"]);
    assert_eq!(foretold["refs"][0]["outcome"], "updated");
    assert_eq!(setup.destination.files(), files);
    assert_same_but_traffic(&setup.json(&[]), &foretold);
    assert_ne!(setup.destination.files(), files);
}

#[test]
fn all_refs_are_listed_on_request() {
    let setup = Setup::new();
    let names = |json: Value| {
        let refs = json["refs"].as_array().expect("a list").clone();
        refs.iter()
            .map(|r| r["outcome"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(setup.json(&["--branches", "main"])), ["updated"]);
    let all = setup.json(&["--branches", "main", "--all-refs"]);
    assert_eq!(all["refs"][1]["reason"], "excluded");
    assert_eq!(names(all), ["unchanged", "filtered"]);
}

#[test]
fn credentials_are_used_and_never_shown() {
    let sandbox = Sandbox::new();
    let upstream = sandbox.init_bare("up.git", ObjectFormat::Sha1);
    let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
    upstream.commit("main", &[], "one", &[("a", "1")], 1000);
    let server = GitServer::builder(sandbox.path())
        .auth("bot", CANARY)
        .start();
    let url = server.url("up.git");
    let path = destination.path.to_str().expect("a path in UTF-8");
    let arguments = [url.as_str(), path, "--network", "any"];

    let refused: &[&[(&str, &str)]] = &[
        &[],
        &[("REFSYNC_TOKEN", CANARY)],
        &[("REFSYNC_TOKEN", "other"), ("REFSYNC_USERNAME", CANARY)],
        &[("REFSYNC_USERNAME", CANARY), ("REFSYNC_PASSWORD", CANARY)],
    ];
    for environment in refused {
        let output = sync(&arguments, environment);
        assert_exit(&output, 1);
        assert_hidden(&output);
    }
    let last = server.requests().pop().expect("a request");
    assert_eq!((last.status, last.authorization), (Some(401), true));

    for secret in ["REFSYNC_TOKEN", "REFSYNC_PASSWORD"] {
        let output = sync(&arguments, &[(secret, CANARY), ("REFSYNC_USERNAME", "bot")]);
        assert_exit(&output, 0);
        assert_hidden(&output);
    }
    assert_eq!(destination.for_each_ref(), upstream.for_each_ref());
}

/// Neither as it is nor in the Base64 of a Basic authentication with the user in the tests.
#[track_caller]
fn assert_hidden(output: &Output) {
    let text = everything(output);
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains("Basic "), "{text}");
    assert!(!text.contains("Ym90OmNhbmFyeS01ZDQxNDAyYQ"), "{text}");
}
