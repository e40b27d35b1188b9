//! A source, a remote behind a server, and what a push from one to the other did.

use super::git::{ObjectFormat, Repo, Sandbox};
use super::pull::{
    Fate, asked, assert_matches_git, copy, fate_in, grow, is_sound, leftovers, reason_in,
};
use super::remote::{remote, sync};
use super::server::{Answer, GitServer, RequestHead};
use refsync::{Error, LocalStore, Outcome, Reason, SmartHttp, SyncOptions, SyncRunStats};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The requests of a run that found nothing to push.
pub const LISTED: &[&str] = &["info/refs"];
/// Those of a run that pushed once, and had an answer that left nothing open.
pub const PUSHED: &[&str] = &["info/refs", "push"];
/// Those of one that had to look again.
pub const LOOKED_AGAIN: &[&str] = &["info/refs", "push", "info/refs"];

/// Two repositories in one sandbox, the second of them served.
pub struct Pair {
    pub server: GitServer,
    pub source: Repo,
    pub remote: Repo,
    /// The tip of `main` at both ends; `root` is its parent.
    pub tip: String,
    pub root: String,
    pub sandbox: Sandbox,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// The commands and the pack of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub names: Vec<String>,
    pub capabilities: String,
    /// The number of objects in the header of its pack.
    pub objects: u64,
}

impl Pair {
    /// Both bare and SHA-1 with two commits on `main`. The source has another branch, `bystander`,
    /// that needs no objects and is to be created by every run, whatever it does else.
    pub fn in_step() -> Self {
        Self::with_remote(|sandbox, source| {
            let remote = sandbox.init_bare("remote.git", ObjectFormat::Sha1);
            copy(source, &remote);
            remote
        })
    }

    /// The same with a remote of any make. `source` has no `bystander` yet.
    pub fn with_remote(make: impl FnOnce(&Sandbox, &Repo) -> Repo) -> Self {
        let sandbox = Sandbox::new();
        let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
        let root = grow(&source, "main", &[]);
        let tip = grow(&source, "main", &[&root]);
        let remote = make(&sandbox, &source);
        source.set_ref("refs/heads/bystander", &root);
        let server = GitServer::builder(sandbox.path()).receive_pack(true);
        let pair = Pair {
            server: server.start(),
            source,
            remote,
            tip,
            root,
            sandbox,
            sent: Arc::default(),
        };
        pair.script(|_| None);
        pair
    }

    pub fn url(&self) -> String {
        let name = self.remote.path.file_name().expect("a name");
        self.server.url(&name.to_string_lossy())
    }

    pub fn destination(&self) -> SmartHttp {
        remote(&self.url())
    }

    #[track_caller]
    pub fn push(&self) -> Pushed {
        self.push_with(&SyncOptions::default())
    }

    /// Checks what holds for every push that does its work: the bystander goes through, the stats
    /// say what git sees, and a sound repository stays sound.
    #[track_caller]
    pub fn push_with(&self, options: &SyncOptions) -> Pushed {
        let was_sound = is_sound(&self.remote);
        let pushed = self.push_to_any(options);
        let bystander = pushed.stats.find("refs/heads/bystander");
        assert!(
            bystander.is_none_or(|bystander| {
                bystander.after == bystander.source || bystander.outcome.is_filtered()
            }),
            "{bystander:?}"
        );
        assert!(!was_sound || is_sound(&self.remote));
        if !options.dry_run {
            assert_matches_git(&pushed.stats, &self.remote);
        }
        pushed
    }

    /// Whatever becomes of the bystander, and without a look at the remote's refs.
    #[track_caller]
    pub fn push_to_any(&self, options: &SyncOptions) -> Pushed {
        let stats = self.try_push(options).expect("a run that does its work");
        let asked = asked(&self.server.requests());
        assert_eq!(stats.traffic.requests, asked.len() as u64, "{asked:?}");
        let sent = self.sent.lock().unwrap().clone();
        let objects: u64 = sent.iter().map(|sent| sent.objects).sum();
        assert_eq!(stats.traffic.objects, objects, "{sent:?}");
        Pushed { stats, asked, sent }
    }

    /// A push reads the source and nothing else, and the remote keeps nothing of what it refused,
    /// whether or not the run does its work.
    #[track_caller]
    pub fn try_push(&self, options: &SyncOptions) -> Result<SyncRunStats, Error> {
        self.try_push_to(&self.destination(), options)
    }

    #[track_caller]
    pub fn try_push_to(
        &self,
        destination: &SmartHttp,
        options: &SyncOptions,
    ) -> Result<SyncRunStats, Error> {
        self.server.reset_counts();
        self.sent.lock().unwrap().clear();
        let files = self.source.files();
        let local = LocalStore::open(&self.source.path)?;
        let result = sync(&local, destination, options);
        assert_eq!(self.source.files(), files, "the source changed");
        assert_eq!(leftovers(&self.remote), [""; 0]);
        result
    }

    /// Answers requests in the server's place.
    pub fn script(&self, answer: impl Fn(&RequestHead) -> Option<Answer> + Send + Sync + 'static) {
        let sent = Arc::clone(&self.sent);
        self.server.intercept(move |head| {
            if is_push(head) {
                sent.lock().unwrap().push(Sent::parse(&head.body));
            }
            answer(head)
        });
    }

    /// Answers the requests that push.
    pub fn on_push(&self, answer: impl Fn(&RequestHead) -> Option<Answer> + Send + Sync + 'static) {
        self.script(move |head| is_push(head).then(|| answer(head))?);
    }

    /// Does this once, after the refs were listed and before anything is pushed.
    pub fn before_push(&self, act: impl Fn(&Repo) + Send + Sync + 'static) {
        let (remote, done) = (self.remote.clone(), AtomicBool::new(false));
        self.on_push(move |_| {
            if !done.swap(true, Ordering::SeqCst) {
                act(&remote);
            }
            None
        });
    }

    /// Shell for one of the remote's hooks.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.remote.git_dir().join("hooks").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("the hooks' directory");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the hook");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
    }

    /// A setting of the remote.
    #[track_caller]
    pub fn set(&self, key: &str, value: &str) {
        self.remote.git(&["config", key, value]);
    }

    /// New branches of the source, `name-0` to `name-<count - 1>`, each with a commit on `main`.
    #[track_caller]
    pub fn branches(&self, name: &str, count: usize) -> Vec<(String, String)> {
        let full = |number| format!("refs/heads/{name}-{number:02}");
        (0..count)
            .map(|number| {
                (
                    full(number),
                    grow(&self.source, &full(number), &[&self.tip]),
                )
            })
            .collect()
    }
}

/// The stats of a run, its requests in a word each, and what it pushed.
pub struct Pushed {
    pub stats: SyncRunStats,
    pub asked: Vec<String>,
    pub sent: Vec<Sent>,
}

impl Pushed {
    #[track_caller]
    pub fn fate_of(&self, name: &str) -> Fate {
        fate_in(&self.stats, name)
    }

    #[track_caller]
    pub fn reason_of(&self, name: &str) -> Reason {
        reason_in(&self.stats, name)
    }

    /// The names in the one request that pushed.
    #[track_caller]
    pub fn names(&self) -> Vec<&str> {
        let [sent] = self.sent.as_slice() else {
            panic!("pushed {} times", self.sent.len())
        };
        sent.names.iter().map(String::as_str).collect()
    }
}

impl Sent {
    /// Commands up to a flush packet, then the pack (gitprotocol-pack, "Pushing Data").
    #[track_caller]
    pub fn parse(body: &[u8]) -> Self {
        let mut names = Vec::new();
        let mut capabilities = String::new();
        let mut rest = body;
        loop {
            let length = str::from_utf8(&rest[..4]).expect("a length in ASCII");
            let length = usize::from_str_radix(length, 16).expect("a length in hex");
            if length == 0 {
                break;
            }
            let line = String::from_utf8_lossy(&rest[4..length]);
            let (command, found) = line.split_once('\0').unwrap_or((&line, ""));
            let name = command.splitn(3, ' ').nth(2).expect("old, new and name");
            names.push(name.trim_end().to_owned());
            capabilities += found;
            rest = &rest[length..];
        }
        let count = rest[4..][8..12].try_into().expect("four bytes");
        Sent {
            names,
            capabilities,
            objects: u32::from_be_bytes(count).into(),
        }
    }
}

/// A request with commands in it, unlike the one that asks whether it would be welcome.
pub fn is_push(head: &RequestHead) -> bool {
    head.path.ends_with("/git-receive-pack") && head.body != b"0000"
}

/// A remote's answer to a push: these lines on the side-band (gitprotocol-pack, "Report Status").
pub fn report(lines: &[&str]) -> Vec<u8> {
    use super::wire::packet;
    let mut report = Vec::new();
    for line in lines {
        report.extend(packet(format!("{line}\n").as_bytes()));
    }
    report.extend_from_slice(b"0000");
    [packet(&[b"\x01", &report[..]].concat()), b"0000".to_vec()].concat()
}
