//! Hosts that ask to wait.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use refsync_service::{
    Service, clock, ids,
    records::{Change, Direction, Name, Repo, Status},
    store::{NewRepo, NewUpstream},
    work,
};

use crate::{
    engine::{
        git::ObjectFormat,
        server::{Answer, GitServer},
    },
    world::{World, completed, memory_folder, open},
};

/// The time for which the host asks.
const WAIT: Duration = Duration::from_secs(3);

/// A repository of a node, whose upstream `up.git` is behind `server`, under the name `host`.
async fn repo(world: &World, node: &Service, name: &str, server: &GitServer, host: &str) -> Repo {
    let origin = format!("http://{host}:{}", server.address().port());
    let new = NewRepo {
        id: ids::new(),
        org: world.org.id.clone(),
        name: Name::new(name).expect("a name"),
        default_bookmark: "main".into(),
        default_given: false,
        tags: BTreeMap::new(),
        home: node.config.node.clone(),
        upstream: Some(NewUpstream {
            url: format!("{origin}/up.git"),
            host: host.into(),
            origin,
            schedule: Change::Keep,
            auth: Change::Keep,
        }),
    };
    let made = world.service.store.create_repo(new, clock::now()).await;
    made.expect("stored").expect("not taken")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_asks_a_host_again_before_it_has_waited() {
    let world = World::with(|config| config.retry.first_wait = Duration::ZERO).await;
    let upstream = world.upstreams.init_bare("up.git", ObjectFormat::Sha1);
    upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
    let free = GitServer::builder(world.upstreams.path()).start();
    let data = memory_folder();
    let mut config = (*world.service.config).clone();
    config.node = "two".into();
    config.data = data.path().to_owned();
    let two = open(config).await;

    // The first request is refused; the times of the ones after it are those of the others' first.
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&asked);
    world.server.intercept(move |_| {
        let mut asked = seen.lock().expect("a lock");
        asked.push(Instant::now());
        (asked.len() == 1).then(|| Answer::Status {
            code: 429,
            headers: vec![("Retry-After".into(), WAIT.as_secs().to_string())],
            body: Vec::new(),
        })
    });
    let one = &world.service;
    let first = repo(&world, one, "first", &world.server, "localhost").await;
    let run = world.queue(&first, Direction::Pull).await;
    let workers = [work::start(one.clone()), work::start(two.clone())];
    let limited = world
        .until(&first, &run.id, |run| {
            run.next_attempt_at.is_some() || run.status.is_end()
        })
        .await;
    assert_eq!(limited.status, Status::InProgress, "{limited:?}");
    let mut runs = vec![(first, run)];
    for (node, name) in [(one, "one"), (&two, "two")] {
        for (server, host) in [(&world.server, "localhost"), (&free, "127.0.0.1")] {
            let repo = repo(&world, node, &format!("{name}-{host}"), server, host).await;
            let run = world.queue(&repo, Direction::Pull).await;
            runs.push((repo, run));
        }
    }
    for (repo, run) in &runs {
        completed(&world.ended(repo, &run.id).await);
    }
    for workers in workers {
        workers.stop().await;
    }
    let asked = asked.lock().expect("a lock");
    assert!(asked.len() > 3, "three repositories: {asked:?}");
    for at in &asked[1..] {
        let waited = *at - asked[0];
        assert!(waited >= WAIT, "{waited:?}");
    }
    assert!(!free.requests().is_empty());
}
