//! Two services that pull from and push to each other: each tells the other of what it got, and they come to rest.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Client, Receiver, Server, engine::git::Sandbox};

/// A service as the other one and the loop between them know it.
struct Peer {
    server: Server,
    name: &'static str,
}

/// Lets a service at which something has moved push, and the other one pull.
struct Reaction {
    name: &'static str,
    own: Client,
    /// The hook of the other service, and the secret that it is shown.
    hook: (Client, String, String),
}

impl Peer {
    fn start(name: &'static str) -> Self {
        let server = Server::start_with(|config| config.queue.hook_distance = Duration::ZERO);
        server.repo(json!({ "name": name }));
        Peer { server, name }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/default/{}{rest}", self.name)
    }

    /// The address of the repository with the admin's key.
    fn remote(&self) -> String {
        let url = self.server.url().replace("http://", "");
        format!(
            "http://any:{}@{url}/default/{}.git",
            self.server.admin_key(),
            self.name
        )
    }

    fn follow(&self, other: &Peer) {
        let url = format!("{}/default/{}.git", other.server.url(), other.name);
        let auth = json!({ "kind": "token", "token": other.server.admin_key() });
        let body = json!({ "upstream": { "url": url, "auth": auth } });
        self.server.client().patch(&self.path(""), body).ok(200);
    }

    fn reaction(&self, other: &Peer) -> Reaction {
        let made = other.server.client().post(
            &other.path("/upstream/hook"),
            json!({ "provider": "gitlab" }),
        );
        let made = made.ok(201);
        let text = |key: &str| made[key].as_str().expect(key).to_owned();
        let path = text("url").replace(&other.server.url(), "");
        Reaction {
            name: self.name,
            own: self.server.client(),
            hook: (other.server.stranger(), path, text("secret")),
        }
    }

    fn runs(&self) -> Vec<Value> {
        let syncs = self.path("/upstream/syncs");
        self.server.client().all(&syncs, "syncs", 100)
    }

    fn deliveries(&self) -> Vec<Value> {
        let client = self.server.client();
        let targets = "/v1/default/webhook-targets";
        let found = client.all(targets, "webhook_targets", 100);
        let id = found[0]["id"].as_str().expect("an id");
        client.all(&format!("{targets}/{id}/deliveries"), "deliveries", 100)
    }
}

impl Reaction {
    fn react(&self) {
        let syncs = format!("/v1/default/{}/upstream/syncs", self.name);
        self.own
            .post(&syncs, json!({ "direction": "push" }))
            .ok(201);
        let (other, path, secret) = &self.hook;
        let headers = [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", secret)];
        other.call("POST", path, Some(b"{}"), &headers).ok(202);
    }
}

/// Two services with the loop between them.
struct Pair {
    one: Peer,
    two: Peer,
    work: Sandbox,
    receiver: Receiver,
    reactions: Arc<OnceLock<[Reaction; 2]>>,
}

impl Pair {
    fn start() -> Self {
        let pair = Self::apart();
        pair.connect();
        pair
    }

    /// Two services that follow each other and do not tell of anything yet.
    fn apart() -> Self {
        let reactions: Arc<OnceLock<[Reaction; 2]>> = Arc::default();
        let known = Arc::clone(&reactions);
        let receiver = Receiver::answering(move |received| {
            let moved = received.json()["repository"]["name"].clone();
            let reactions = known.get().expect("both services");
            let mine = reactions.iter().find(|reaction| moved == reaction.name);
            mine.expect("one of the two").react();
            204
        });
        let (one, two) = (Peer::start("one"), Peer::start("two"));
        one.follow(&two);
        two.follow(&one);
        let work = Sandbox::new();
        work.git(&["init", "-q", "-b", "main"]);
        Pair {
            one,
            two,
            work,
            receiver,
            reactions,
        }
    }

    /// Lets each service tell of what moves from now on.
    fn connect(&self) {
        let (one, two) = (&self.one, &self.two);
        let both = [one.reaction(two), two.reaction(one)];
        assert!(self.reactions.set(both).is_ok());
        for peer in [one, two] {
            let target = json!({ "url": self.receiver.url(), "events": ["push"] });
            let client = peer.server.client();
            client.post("/v1/default/webhook-targets", target).ok(201);
        }
    }

    fn commit(&self, branch: &str, message: &str) {
        self.work.git(&["checkout", "-q", "-B", branch]);
        self.work
            .git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    fn push(&self, peer: &Peer, refspec: &str) {
        self.work.git(&["push", "-q", &peer.remote(), refspec]);
    }

    fn refs(&self, peer: &Peer) -> String {
        let refs = self.work.git(&["ls-remote", &peer.remote()]);
        refs.lines()
            .filter(|line| line.contains("refs/"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Waits until nothing is under way at either service: all runs and deliveries have ended, and there are as many as
    /// there were when that was looked at before. What one of them starts would be another one.
    fn rest(&self) {
        let mut before = None;
        loop {
            let peers = [&self.one, &self.two];
            let deliveries = peers.map(Peer::deliveries);
            let runs = peers.map(Peer::runs);
            let have_ended = deliveries
                .iter()
                .flatten()
                .all(|one| one["state"] == "delivered")
                && runs
                    .iter()
                    .flatten()
                    .all(|one| !one["finished_at"].is_null());
            let now = (
                have_ended,
                deliveries.map(|all| all.len()),
                runs.map(|all| all.len()),
            );
            if have_ended && before.as_ref() == Some(&now) {
                return;
            }
            before = Some(now);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The numbers of runs since `before`.
    fn runs_since(&self, before: [usize; 2]) -> [usize; 2] {
        [
            self.one.runs().len() - before[0],
            self.two.runs().len() - before[1],
        ]
    }

    fn runs(&self) -> [usize; 2] {
        self.runs_since([0, 0])
    }
}

#[test]
fn a_change_at_one_reaches_the_other_and_comes_to_rest() {
    let pair = Pair::start();
    pair.commit("main", "first");
    pair.push(&pair.one, "main");
    // The event of the push is there when git has ended.
    pair.rest();
    let runs = pair.runs();
    assert!(runs.iter().all(|count| (1..=3).contains(count)), "{runs:?}");
    assert_eq!(pair.refs(&pair.one), pair.refs(&pair.two));
    assert!(pair.refs(&pair.two).contains("refs/heads/main"));

    // Both at once, and each something else.
    pair.commit("left", "left");
    pair.commit("right", "right");
    pair.push(&pair.one, "left");
    pair.push(&pair.two, "right");
    pair.rest();
    // Two changes, so twice as many at most.
    let more = pair.runs_since(runs);
    assert!(more.iter().all(|count| (1..=6).contains(count)), "{more:?}");
    assert_eq!(pair.refs(&pair.one), pair.refs(&pair.two));
    for name in ["left", "right"] {
        assert!(pair.refs(&pair.one).contains(&format!("refs/heads/{name}")));
    }
}

#[test]
fn branches_that_have_diverged_stay_and_come_to_rest() {
    let pair = Pair::apart();
    for (branch, peer) in [("ours", &pair.one), ("theirs", &pair.two)] {
        // Without a common ancestor.
        pair.work.git(&["checkout", "-q", "--orphan", branch]);
        pair.work
            .git(&["commit", "-q", "--allow-empty", "-m", branch]);
        pair.push(peer, &format!("{branch}:refs/heads/main"));
    }
    pair.connect();
    let tips = [&pair.one, &pair.two].map(|peer| pair.refs(peer));
    assert_ne!(tips[0], tips[1]);
    // Something that moves, so that both sides look at all of their branches.
    pair.push(&pair.one, "ours:refs/heads/side");
    pair.rest();
    let runs = pair.runs();
    assert!(runs.iter().all(|count| (1..=3).contains(count)), "{runs:?}");
    let main = |refs: &str| {
        let mut lines = refs.lines();
        lines
            .find(|line| line.ends_with("refs/heads/main"))
            .map(str::to_owned)
    };
    let now = [&pair.one, &pair.two].map(|peer| pair.refs(peer));
    for (before, after) in tips.iter().zip(&now) {
        assert_eq!(main(before), main(after), "a diverged branch stays");
        assert!(after.contains("refs/heads/side"), "{after}");
    }
}
