//! The messages of a remote and its hooks during a push.

use crate::support::pull::grow;
use crate::support::push::Pair;
use refsync::SyncOptions;

const SAYS_WHY: &str = "echo 'GH001: big.bin is 120 MB' >&2; echo 'see https://example.com' >&2";

#[test]
fn of_a_hook_that_declines() {
    for hook in ["pre-receive", "update"] {
        let pair = Pair::in_step();
        pair.hook(hook, &format!("{SAYS_WHY}; exit 1"));
        let pushed = pair.push_to_any(&SyncOptions::default());
        // Git has a word of its own behind those of an update hook.
        let said = &pushed.stats.remote_messages[..2];
        let expected = ["GH001: big.bin is 120 MB", "see https://example.com"];
        assert_eq!(said, expected, "{hook}");
    }
}

#[test]
fn of_a_remote_that_takes_a_part() {
    let pair = Pair::in_step();
    grow(&pair.source, "topic", &[&pair.tip]);
    pair.hook(
        "update",
        &format!("test $1 != refs/heads/topic || {{ {SAYS_WHY}; exit 1; }}"),
    );
    let said = pair.push().stats.remote_messages;
    assert_eq!(said[0], "GH001: big.bin is 120 MB");
}

#[test]
fn of_a_remote_that_takes_everything_nothing_is_kept() {
    let pair = Pair::in_step();
    pair.hook("post-receive", "echo 'create a merge request at ...' >&2");
    assert_eq!(pair.push().stats.remote_messages, [""; 0]);
}

#[test]
fn of_the_check_of_a_pack() {
    let pair = Pair::in_step();
    let tree = pair.source.git(&["rev-parse", "main^{tree}"]);
    let commit = format!("tree {tree}\nauthor a 1 +0000\ncommitter a <a@e> 1 +0000\n\nm\n");
    let write = [
        "hash-object",
        "-w",
        "-t",
        "commit",
        "--stdin",
        "--literally",
    ];
    let faulty = pair.source.git_with_input(&write, commit.as_bytes());
    pair.source.set_ref("refs/heads/bystander", &faulty);
    pair.set("receive.fsckObjects", "true");
    let pushed = pair.push_to_any(&SyncOptions::default());
    let said = pushed.stats.remote_messages.join("\n");
    assert!(
        said.contains(&faulty) && said.contains("missingEmail"),
        "{said}"
    );
}

#[test]
fn however_much_it_is_and_whatever_it_holds() {
    let pair = Pair::in_step();
    let shout = "i=0; while test $i -lt 1000; do printf '\\033[31mno\\342\\200\\256 way %d\\n' $i >&2; i=$((i + 1)); done";
    pair.hook("pre-receive", &format!("{shout}; exit 1"));
    let said = pair
        .push_to_any(&SyncOptions::default())
        .stats
        .remote_messages;
    assert_eq!(said.len(), 20);
    assert_eq!(said[19], " [31mno  way 19");
    pair.hook(
        "pre-receive",
        "head -c 60000 /dev/zero | tr '\\0' x >&2; exit 1",
    );
    let said = pair
        .push_to_any(&SyncOptions::default())
        .stats
        .remote_messages;
    assert_eq!(said, ["x".repeat(4095)]);
}
