//! The shell block of the README, run as it stands but for the two addresses.

use std::{fs, process::Command};

use crate::{
    daemon::{Daemon, folder},
    support::Upstream,
};

const README: &str = include_str!("../../README.md");
const URL: &str = "http://127.0.0.1:8080";
const UPSTREAM: &str = "https://github.com/octocat/Hello-World.git";

#[test]
fn the_calls_lead_from_nothing_to_a_clone_of_what_was_pulled() {
    let blocks = README.split("```sh\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let block = blocks
        .find(|block| block.contains("curl"))
        .expect("the block");
    assert_eq!(block.matches("curl ").count(), 6);
    assert!(block.contains(URL) && block.contains(UPSTREAM));

    let upstream = Upstream::start();
    upstream.repo("hello.git");
    let place = folder();
    let mut daemon = Daemon::start(place.path(), &["--network", "any"]);
    let line = daemon.line();
    let key = line.strip_prefix("admin key: ").expect("the key");
    let script = block.replace(UPSTREAM, &upstream.url("hello.git"));
    let script = script.replace(URL, &format!("http://{}", daemon.address));
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", &script])
        .current_dir(place.path())
        .env("KEY", key);
    shell
        .env("HOME", place.path())
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = shell.output().expect("a shell");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    let answers: Vec<serde_json::Value> = out
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), 6, "{out}");
    assert_eq!(answers[3]["status"], "completed", "{out}");
    assert_eq!(
        answers[3]["stats"]["refs"][0]["outcome"], "updated",
        "{out}"
    );
    assert_eq!(
        answers[5]["upstream"]["latest_sync"]["id"], answers[2]["id"],
        "{out}"
    );
    assert_eq!(
        fs::read_to_string(place.path().join("hello/file")).expect("the file"),
        "1\n"
    );
}
