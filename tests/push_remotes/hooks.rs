//! Hooks of the remote: which refs they decline, and what they say meanwhile.

use crate::support::pull::{assert_matches_git, created, grow, rejected};
use crate::support::push::{LOOKED_AGAIN, PUSHED, Pair, Pushed};
use refsync::{Outcome, Reason, SyncOptions};

const BYSTANDER: &str = "refs/heads/bystander";
const TOPIC: &str = "refs/heads/topic";

fn remote(text: &str) -> Reason {
    Reason::Remote { text: text.into() }
}

/// The number of refs that each request pushed.
fn sizes(pushed: &Pushed) -> Vec<usize> {
    pushed.sent.iter().map(|sent| sent.names.len()).collect()
}

/// A hook that reads all updates and declines them all because of one.
fn one_spoils_it(name: &str) -> String {
    format!(
        "while read old new name; do\n  case $name in {name}) echo \"$name is not for you\"; exit 1;; esac\ndone"
    )
}

#[test]
fn an_update_hook_that_declines_one_of_twenty() {
    let pair = Pair::in_step();
    let branches = pair.branches("many", 20);
    pair.hook("update", "test \"$1\" != refs/heads/many-07");
    let pushed = pair.push();
    for (name, id) in &branches {
        let fate = match &**name {
            "refs/heads/many-07" => rejected(None, id, remote("hook declined")),
            _ => created(id),
        };
        assert_eq!(pushed.fate_of(name), fate);
    }
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(sizes(&pushed), [21]);
    assert_eq!(pushed.stats.traffic.objects, 60);
}

#[test]
fn a_pre_receive_hook_that_declines_all_because_of_one() {
    let pair = Pair::in_step();
    let branches = pair.branches("many", 20);
    pair.hook("pre-receive", &one_spoils_it("refs/heads/many-07"));
    let pushed = pair.push();
    for (name, id) in &branches {
        let fate = match &**name {
            "refs/heads/many-07" => rejected(None, id, remote("pre-receive hook declined")),
            _ => created(id),
        };
        assert_eq!(pushed.fate_of(name), fate);
    }
    assert_eq!(sizes(&pushed), [21, 1, 2, 4, 8, 4, 2, 1, 1, 4, 8]);
    assert_eq!(pushed.asked.len(), 12, "no need to look again");
    let tried: Vec<_> = pushed.sent.iter().map(|sent| sent.objects).collect();
    assert_eq!(tried, [60, 0, 6, 12, 24, 12, 6, 3, 3, 12, 24]);
}

/// Objects that an earlier half brought are not sent again with a later one.
#[test]
fn halves_that_build_on_each_other() {
    let pair = Pair::in_step();
    let mut line = vec![pair.tip.clone()];
    for number in 0..5 {
        let branch = format!("line-{number}");
        line.push(grow(&pair.source, &branch, &[&line[number]]));
    }
    pair.hook("pre-receive", &one_spoils_it("refs/heads/line-4"));
    let pushed = pair.push();
    assert_eq!(pushed.stats.count(Outcome::is_updated), 5);
    assert_eq!(
        pushed.reason_of("refs/heads/line-4"),
        remote("pre-receive hook declined")
    );
    assert_eq!(sizes(&pushed), [6, 1, 2, 3, 1, 1, 1]);
    let tried: Vec<_> = pushed.sent.iter().map(|sent| sent.objects).collect();
    assert_eq!(tried, [15, 0, 6, 9, 3, 3, 3]);
}

#[test]
fn a_pre_receive_hook_where_no_push_may_be_repeated() {
    let pair = Pair::in_step();
    let branches = pair.branches("many", 20);
    pair.hook("pre-receive", &one_spoils_it("refs/heads/many-07"));
    let mut options = SyncOptions::default();
    options.max_repeated_pushes = 0;
    let files = pair.remote.files();
    let pushed = pair.push_to_any(&options);
    for (name, id) in &branches {
        let text = "pre-receive hook declined (refused together with 20 others)";
        assert_eq!(pushed.fate_of(name), rejected(None, id, remote(text)));
    }
    assert_eq!(pushed.stats.count(Outcome::is_rejected), 21);
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(pair.remote.files(), files);
}

#[test]
fn a_pre_receive_hook_that_declines_everything_has_its_limit() {
    let pair = Pair::in_step();
    pair.branches("many", 40);
    pair.hook("pre-receive", "exit 1");
    let files = pair.remote.files();
    for most in [1, 2, 5, 32] {
        let mut options = SyncOptions::default();
        options.max_repeated_pushes = most;
        let pushed = pair.push_to_any(&options);
        assert_eq!(pushed.stats.count(Outcome::is_rejected), 41);
        let alone = remote("pre-receive hook declined");
        let alone = |found: &refsync::SyncRunRef<'_>| found.outcome.rejection() == Some(&alone);
        assert_eq!(pushed.stats.refs.iter().filter(alone).count(), most);
        assert_eq!(pushed.sent.len(), 1 + most);
        assert_eq!(pushed.asked.len(), 2 + most);
    }
    assert_eq!(pair.remote.files(), files);
}

#[test]
fn a_single_ref_that_a_pre_receive_hook_declines_is_not_tried_again() {
    let pair = Pair::in_step();
    pair.hook("pre-receive", "exit 1");
    let pushed = pair.push_to_any(&SyncOptions::default());
    assert_eq!(
        pushed.fate_of(BYSTANDER),
        rejected(None, &pair.root, remote("pre-receive hook declined"))
    );
    assert_eq!(pushed.asked, PUSHED);
}

/// Refs that were pushed before it keep their outcomes.
#[test]
fn a_remote_that_fails_under_a_repeated_push() {
    let pair = Pair::in_step();
    pair.branches("many", 3);
    pair.hook("pre-receive", &one_spoils_it("refs/heads/many-02"));
    let pushes = std::sync::atomic::AtomicUsize::new(0);
    pair.on_push(move |_| {
        let number = pushes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (number == 2).then(|| crate::support::Answer::status(403))
    });
    let pushed = pair.push();
    assert_eq!(pushed.stats.count(Outcome::is_updated), 1);
    for name in ["00", "01", "02"].map(|number| format!("refs/heads/many-{number}")) {
        let text = "pre-receive hook declined (refused together with 3 others)";
        assert_eq!(pushed.reason_of(&name), remote(text), "{name}");
    }
    assert_eq!(pushed.asked, ["info/refs", "push", "push", "push"]);
}

#[test]
fn hooks_that_talk_do_no_harm() {
    let pair = Pair::in_step();
    let topic = grow(&pair.source, "topic", &[&pair.tip]);
    let shout = r#"
cat >/dev/null
i=0
while test $i -lt 300; do
  printf 'unpack ok\nng refs/heads/topic no\n0000\033[31m\007\000\r\n'
  printf 'to the other stream \377\376\n' >&2
  i=$((i + 1))
done"#;
    for name in ["pre-receive", "post-receive", "update", "post-update"] {
        pair.hook(name, shout);
    }
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(TOPIC), created(&topic));
    assert_eq!(pushed.asked, PUSHED);
    assert!(pushed.stats.traffic.bytes_received > 50_000);
}

#[test]
fn a_post_receive_hook_that_fails_changes_nothing() {
    let pair = Pair::in_step();
    pair.hook("post-receive", "exit 1");
    assert_eq!(pair.push().fate_of(BYSTANDER), created(&pair.root));
}

#[test]
fn a_hook_that_moves_the_ref_on() {
    let pair = Pair::in_step();
    let topic = grow(&pair.source, "topic", &[&pair.tip]);
    pair.hook(
        "post-receive",
        "git update-ref refs/heads/topic refs/heads/main",
    );
    let pushed = pair.push_to_any(&SyncOptions::default());
    // The remote said that the ref was where it should be, and it was.
    assert_eq!(pushed.fate_of(TOPIC), created(&topic));
    assert_eq!(pair.remote.git(&["rev-parse", TOPIC]), pair.tip);
}

/// A `proc-receive` hook has the last word on the refs below `refs/heads/for/`: it says `lines` about
/// `refs/heads/for/main`, and does `act`.
fn with_proc_receive(act: &str, lines: &[&str]) -> (Pair, String) {
    let pair = Pair::in_step();
    let ahead = grow(&pair.source, "for/main", &[&pair.tip]);
    pair.set("receive.procReceiveRefs", "refs/heads/for");
    let packet = |line: &&str| format!("{:04x}{line}", line.len() + 4);
    let packets: String = lines.iter().map(packet).collect();
    let answer =
        format!("printf '000eversion=1\\n0000'; {act}\nprintf '{packets}0000'\ncat >/dev/null");
    pair.hook("proc-receive", &answer);
    (pair, ahead)
}

const FOR_MAIN: &str = "refs/heads/for/main";

#[test]
fn a_hook_that_leaves_the_ref_to_git() {
    let (pair, ahead) = with_proc_receive("", &["ok refs/heads/for/main", "option fall-through"]);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(FOR_MAIN), created(&ahead));
    assert_eq!(pushed.asked, PUSHED);
}

#[test]
fn a_hook_that_sends_the_ref_elsewhere() {
    let lines = [
        "ok refs/heads/for/main",
        "option refname refs/heads/elsewhere",
    ];
    let (pair, ahead) = with_proc_receive("", &lines);
    let pushed = pair.push();
    let reason = pushed.reason_of(FOR_MAIN);
    assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
    assert_eq!(pushed.fate_of(FOR_MAIN), rejected(None, &ahead, reason));
    assert_eq!(pushed.asked, LOOKED_AGAIN);
}

#[test]
fn a_hook_that_writes_something_else() {
    // No id in the hook's answer depends on the pair: every pair has the same commits.
    let tip = Pair::in_step().tip;
    let option = format!("option new-oid {tip}");
    let lines = ["ok refs/heads/for/main", &option];
    let (pair, ahead) = with_proc_receive("git update-ref refs/heads/for/main main", &lines);
    let pushed = pair.push();
    let found = pushed.stats.find(FOR_MAIN).unwrap();
    assert_eq!(found.outcome.rejection(), Some(&Reason::Raced));
    assert_eq!(
        (found.after.to_string(), found.source.to_string()),
        (tip, ahead)
    );
    assert_eq!(pushed.asked, LOOKED_AGAIN);
}

#[test]
fn a_hook_that_declines_in_its_own_words() {
    let (pair, ahead) = with_proc_receive("", &["ng refs/heads/for/main not yours"]);
    let pushed = pair.push();
    assert_eq!(
        pushed.fate_of(FOR_MAIN),
        rejected(None, &ahead, remote("not yours"))
    );
    assert_eq!(pushed.asked, PUSHED);
    assert_matches_git(&pushed.stats, &pair.remote);
}

/// Git judges some refs before it asks the hook about the rest.
#[test]
fn a_ref_that_is_refused_for_itself_does_not_keep_the_rest_from_another_try() {
    let pair = Pair::in_step();
    pair.set("receive.hideRefs", "refs/heads/hidden");
    pair.hook("pre-receive", &one_spoils_it("refs/heads/two"));
    let grown = |name: &str| grow(&pair.source, name, &[&pair.tip]);
    let [hidden, one, two] = ["hidden/x", "one", "two"].map(grown);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of("refs/heads/one"), created(&one));
    assert_eq!(
        pushed.fate_of("refs/heads/two"),
        rejected(None, &two, remote("pre-receive hook declined"))
    );
    assert_eq!(
        pushed.fate_of("refs/heads/hidden/x"),
        rejected(None, &hidden, remote("deny updating a hidden ref"))
    );
    assert_eq!(sizes(&pushed), [4, 1, 2, 1]);
}
