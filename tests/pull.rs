//! Pulls from a real `git http-backend` into a local repository.

mod support;

use refsync::{LocalStore, NetworkPolicy, Outcome, SmartHttp, SyncOptions, sync};
use support::{GitServer, ObjectFormat, Sandbox};

#[test]
fn smoke() {
    let sandbox = Sandbox::new();
    let upstream = sandbox.init_bare("up.git", ObjectFormat::Sha1);
    let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
    let a = upstream.commit("main", &[], "one", &[("a", "1"), ("d/b", "2")], 1000);
    let _b = upstream.commit("main", &[&a], "two", &[("a", "2")], 2000);
    upstream.tag_annotated("v1", &a);
    let server = GitServer::builder(sandbox.path()).start();
    let remote = SmartHttp::new(&server.url("up.git"))
        .unwrap()
        .with_network_policy(NetworkPolicy::any());
    let local = LocalStore::open(&destination.path).unwrap();
    let stats = sync(&remote, &local, &SyncOptions::default()).unwrap();
    assert_eq!(stats.count(Outcome::Updated), 2, "{stats:?}");
    assert_eq!(upstream.for_each_ref(), destination.for_each_ref());
    destination.fsck();
    assert_eq!(stats.traffic.requests, 3);
    let stats = sync(&remote, &local, &SyncOptions::default()).unwrap();
    assert_eq!(stats.count(Outcome::Unchanged), 2, "{stats:?}");
    assert_eq!(stats.traffic.requests, 2);
}
