//! Pushes to real git behind a server of this process.

mod listing;
mod pushes;
mod settings;

use std::{
    io::{Cursor, Write as _},
    process::Stdio,
};

use self::support::{
    canary::CANARY,
    git::{self, Repo, Sandbox},
    server::{Answer, GitServer},
};
use super::SmartHttp;
use crate::{
    Credentials, Error, ErrorKind, NetworkPolicy, ObjectId, Push as _, PushAnswer, RefUpdate,
    Service, SyncContext, SyncOptions,
};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "these tests use a part of what all others share"
)]
#[path = "../../../tests/support"]
mod support {
    pub mod canary;
    pub mod fast_import;
    pub mod git;
    pub mod server;
}

const MAIN: &str = "refs/heads/main";
const OTHER: &str = "refs/heads/other";

/// A repository to push from and one to push to, with the same two commits of `main` in the former
/// and only the older one in the latter.
struct Ends {
    source: Repo,
    destination: Repo,
    old: String,
    new: String,
    server: GitServer,
    remote: SmartHttp,
    // Last: its directory outlives the server.
    sandbox: Sandbox,
}

fn ends() -> Ends {
    ends_of(git::ObjectFormat::Sha1)
}

fn ends_of(format: git::ObjectFormat) -> Ends {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", format);
    let old = source.commit("main", &[], "one", &[("a", "1")], 1);
    let new = source.commit("main", &[&old], "two", &[("a", "2")], 2);
    let destination = sandbox.init_bare("destination.git", format);
    send(&source, &destination, &format!("{old}:{MAIN}"));
    let server = GitServer::builder(sandbox.path())
        .auth("me", CANARY)
        .receive_pack(true)
        .start();
    let remote = SmartHttp::new(&server.url("destination.git"))
        .expect("a valid URL")
        .with_credentials(Credentials::username_password("me", CANARY))
        .with_network_policy(NetworkPolicy::any());
    Ends {
        source,
        destination,
        old,
        new,
        server,
        remote,
        sandbox,
    }
}

fn send(from: &Repo, to: &Repo, refspec: &str) {
    let to = to.path.to_str().expect("a path in UTF-8");
    from.git(&["push", "--quiet", to, refspec]);
}

fn context() -> SyncContext {
    SyncContext::new(&SyncOptions::default())
}

fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("hex")
}

fn update<'a>(name: &'a str, expected: Option<&str>, new: &str) -> RefUpdate<'a> {
    RefUpdate {
        name: name.into(),
        expected: expected.map(id),
        new: id(new),
    }
}

/// The pack that git makes for `revisions`.
fn pack(repo: &Repo, revisions: &str) -> Vec<u8> {
    let mut child = git::command(&repo.path)
        .args(["pack-objects", "--quiet", "--revs", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("a piped stdin");
    writeln!(stdin, "{revisions}").expect("written");
    drop(stdin);
    child.wait_with_output().expect("git ends").stdout
}

type Change = fn(&mut Vec<u8>);

/// Thin packs, and offset deltas.
fn takes(remote: &SmartHttp) -> (bool, bool) {
    let takes = remote.takes();
    (takes.thin, takes.ofs_delta)
}

impl Ends {
    /// Pushes with what is missing for `new`.
    fn push(&self, updates: &[RefUpdate]) -> Result<Vec<PushAnswer>, Error> {
        self.push_in(&context(), updates)
    }

    fn push_in(
        &self,
        context: &SyncContext,
        updates: &[RefUpdate],
    ) -> Result<Vec<PushAnswer>, Error> {
        let pack = pack(&self.source, &format!("{}\n^{}", self.new, self.old));
        self.push_pack(updates, &pack, context)
    }

    /// From now on answers to requests of this method are changed by this.
    fn garble(&self, method: &'static str, change: Change) {
        self.server
            .intercept(move |request| (request.method == method).then_some(Answer::Garble(change)));
    }

    fn push_pack(
        &self,
        updates: &[RefUpdate],
        pack: &[u8],
        context: &SyncContext,
    ) -> Result<Vec<PushAnswer>, Error> {
        let report = (&self.remote).push(updates, &mut Cursor::new(pack), context)?;
        Ok(report.answers)
    }

    fn no_objects(&self) -> Vec<u8> {
        pack(&self.source, "")
    }

    fn tip(&self, name: &str) -> Option<String> {
        let refs = self.destination.for_each_ref();
        refs.into_iter().find(|r| r.0 == name).map(|r| r.1)
    }

    fn requests(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        requests
            .map(|r| format!("{} {}", r.method, r.path))
            .collect()
    }
}

const GET: &str = "GET /destination.git/info/refs";
const POST: &str = "POST /destination.git/git-receive-pack";
