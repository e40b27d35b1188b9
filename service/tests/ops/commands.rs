//! `org`, `key` and `rekey`.

use crate::daemon::{Daemon, folder, printed, refusal, run};

#[test]
fn organizations_and_keys_are_made_beside_a_running_service() {
    let place = folder();
    let run = |arguments: &[&str]| run(place.path(), arguments);
    for command in [
        &["org", "create", "acme"][..],
        &["key", "create"],
        &["rekey"],
    ] {
        assert!(refusal(&run(command)).contains("refsyncd-data"));
    }
    let daemon = Daemon::start(place.path(), &[]);
    let line = printed(&run(&["org", "create", "acme"]));
    let key = line.strip_prefix("admin key: ").expect("a key").to_owned();
    assert!(daemon.knows(&key, "acme"));
    assert!(refusal(&run(&["org", "create", "ACME"])).contains("already"));
    for slug in ["whoami", "hooks", "openapi.json", "a/b", "", ".."] {
        refusal(&run(&["org", "create", slug]));
    }

    let lines = printed(&run(&[
        "key", "create", "--org", "acme", "--name", "ci", "--scope", "read",
    ]));
    let field = |name: &str| {
        lines
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("a line")
            .to_owned()
    };
    let (id, secret) = (field("key id: "), field("key: "));
    assert!(daemon.knows(&secret, "acme"));
    assert!(refusal(&run(&["key", "revoke", &id])).contains("default has no key"));
    printed(&run(&["key", "revoke", "--org", "acme", &id]));
    assert!(!daemon.knows(&secret, "acme"));
    assert!(refusal(&run(&["key", "revoke", "--org", "acme", &id])).contains("no key"));
    refusal(&run(&["key", "revoke", "key_1"]));
    assert!(refusal(&run(&["key", "create", "--org", "none"])).contains("no organization"));
    assert!(daemon.knows(&key, "acme"));
}

#[test]
fn a_new_master_key_needs_the_folder_for_itself() {
    let place = folder();
    let file = place.path().join("refsyncd-data/master.key");
    let daemon = Daemon::start(place.path(), &[]);
    let before = std::fs::read(&file).expect("the key");
    assert!(refusal(&run(place.path(), &["rekey"])).contains("in use"));
    daemon.stop();
    assert_eq!(std::fs::read(&file).expect("the key"), before);
    printed(&run(place.path(), &["rekey"]));
    let after = std::fs::read(&file).expect("the key");
    assert!(after != before && after.len() == before.len());
    Daemon::start(place.path(), &[]).stop();
}
