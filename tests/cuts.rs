//! A connection that breaks at any byte of a pull or a push, in either direction and in each of four
//! ways: nothing panics, no ref is wrong, nothing is left behind, and the next run puts it right.
#![cfg(feature = "http")]

mod support;

use refsync::{
    Error, ErrorKind, LocalStore, Outcome, Reason, SmartHttp, SyncOptions, SyncRunStats, Timeouts,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};
use support::listing::FileEntry;
use support::pull::{DATE, copy, grow, leftovers};
use support::server::replay::{Exchange, Fault, Kind, Replay, Way, body_length, record};
use support::{GitServer, ObjectFormat, Repo, Sandbox, sync};

const WORKERS: usize = 8;
/// One in so many cuts is tried each time.
const SAMPLED: usize = 41;
/// The number of runs that fail before an honest one has to put it right.
const CONVERGE_AFTER: usize = 25;

#[test]
fn a_sample_of_all_cuts_of_a_pull_in_protocol_v2() {
    Pull::recorded(2).sweep(SAMPLED);
}

#[test]
fn a_sample_of_all_cuts_of_a_pull_in_protocol_v0() {
    Pull::recorded(0).sweep(SAMPLED);
}

#[test]
fn a_sample_of_all_cuts_of_a_push() {
    Push::recorded().sweep(SAMPLED);
}

#[test]
#[ignore = "takes minutes; the samples are of the same cuts"]
fn every_cut() {
    let (v2, v0, push) = (Pull::recorded(2), Pull::recorded(0), Push::recorded());
    let cuts = v2.sweep(1) + v0.sweep(1) + push.sweep(1);
    assert!(cuts >= 20_000, "{cuts}");
}

/// One in `step` of the places where a recorded run can break, from the last one backwards, and
/// every way.
fn faults(recorded: &[Exchange], step: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (exchange, Exchange { request, response }) in recorded.iter().enumerate() {
        let places = [
            (Way::Request, Kind::Cut, request.len()),
            (Way::Request, Kind::Reset, request.len()),
            (Way::Request, Kind::Stall, request.len()),
            (Way::Response, Kind::Cut, response.len()),
            (Way::Response, Kind::Reset, response.len()),
            (Way::Response, Kind::Stall, response.len()),
            (Way::Response, Kind::Shorten, body_length(response)),
        ];
        for (way, kind, length) in places {
            let at = |at| Fault {
                exchange,
                way,
                at,
                kind,
                for_good: false,
            };
            faults.extend((0..length).rev().step_by(step).map(at));
        }
    }
    faults
}

/// One of the two directions of a sync, recorded.
trait Recorded: Sync {
    type Worker<'a>
    where
        Self: 'a;

    fn faults(&self, step: usize) -> Vec<Fault>;
    fn worker(&self) -> Self::Worker<'_>;
    fn check(&self, worker: &Self::Worker<'_>, fault: Fault) -> &'static str;
    fn converge(&self, worker: &Self::Worker<'_>);

    /// Tries one in `step` of the faults, and says how many those were.
    fn sweep(&self, step: usize) -> usize {
        let faults = self.faults(step);
        let next = AtomicUsize::new(0);
        let work = || {
            let worker = self.worker();
            let mut found = BTreeMap::new();
            for done in 1.. {
                let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) else {
                    break;
                };
                *found.entry(self.check(&worker, *fault)).or_insert(0) += 1;
                if done % CONVERGE_AFTER == 0 {
                    self.converge(&worker);
                }
            }
            found
        };
        let mut all = BTreeMap::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                for (what, times) in worker.join().expect("no panic in any run") {
                    *all.entry(what).or_insert(0_usize) += times;
                }
            }
        });
        assert!(all.len() > 1, "cuts that all do the same: {all:?}");
        assert_eq!(all.values().sum::<usize>(), faults.len());
        faults.len()
    }
}

/// An idle timeout that a stall may use up, and any other fault must not.
fn timeouts(kind: Kind) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if kind == Kind::Stall {
        timeouts.idle = Duration::from_millis(60);
    }
    timeouts
}

fn remote(url: &str, kind: Kind) -> SmartHttp {
    support::remote(url).with_timeouts(timeouts(kind))
}

#[track_caller]
fn assert_blames_the_network(err: &Error, fault: Fault) {
    let expected = [
        ErrorKind::Network,
        ErrorKind::Protocol,
        ErrorKind::NotAGitServer,
    ];
    assert!(expected.contains(&err.kind()), "{fault:?}: {err:?}");
}

/// A branch that moves, one that is new, an annotated tag, and one that needs no objects.
struct Ends {
    sandbox: Sandbox,
    ahead: Repo,
    behind: Repo,
}

impl Ends {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let ahead = sandbox.init_bare("ahead.git", ObjectFormat::Sha1);
        let root = grow(&ahead, "main", &[]);
        let behind = sandbox.init_bare("behind.git", ObjectFormat::Sha1);
        copy(&ahead, &behind);
        let text: String = (0..40)
            .map(|line| format!("line {line} of many\n"))
            .collect();
        let tip = ahead.commit("main", &[&root], "more\n", &[("text", &text)], DATE);
        ahead.commit(
            "topic",
            &[&tip],
            "topic\n",
            &[("text", &(text + "end\n"))],
            DATE,
        );
        ahead.tag_annotated("v1", "main");
        ahead.set_ref("refs/heads/bystander", &root);
        ahead.git(&["repack", "-a", "-d", "--quiet"]);
        behind.git(&["repack", "-a", "-d", "--quiet"]);
        Ends {
            sandbox,
            ahead,
            behind,
        }
    }
}

fn tips(repo: &Repo) -> BTreeMap<String, String> {
    repo.for_each_ref().into_iter().collect()
}

struct Pull {
    ends: Ends,
    recorded: Vec<Exchange>,
    files: Vec<FileEntry>,
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
}

struct Puller {
    replay: Replay,
    destination: Repo,
}

impl Pull {
    fn recorded(version: u8) -> Self {
        let ends = Ends::new();
        let server = GitServer::builder(ends.sandbox.path())
            .max_protocol(version)
            .start();
        let scratch = ends.sandbox.path().join("recorded.git");
        ends.behind.copy_to(&scratch);
        let recorded = record(server.address(), |address| {
            let url = format!("http://localhost:{}/ahead.git", address.port());
            let local = LocalStore::open(&scratch).expect("a repository");
            let stats = sync(&remote(&url, Kind::Cut), &local, &SyncOptions::default());
            let stats = stats.expect("an honest run");
            assert_eq!(stats.count(Outcome::is_updated), 4);
        });
        Pull {
            recorded,
            files: ends.behind.files(),
            old: tips(&ends.behind),
            new: tips(&ends.ahead),
            ends,
        }
    }

    fn reset(&self, destination: &Repo) {
        fs::remove_dir_all(&destination.path).expect("the destination");
        self.ends.behind.copy_to(&destination.path);
    }
}

fn pull(worker: &Puller, kind: Kind) -> Result<SyncRunStats, Error> {
    let local = LocalStore::open(&worker.destination.path)?;
    let remote = remote(&worker.replay.url("ahead.git"), kind);
    sync(&remote, &local, &SyncOptions::default())
}

impl Recorded for Pull {
    type Worker<'a> = Puller;

    fn faults(&self, step: usize) -> Vec<Fault> {
        faults(&self.recorded, step)
    }

    fn worker(&self) -> Puller {
        let folder = tempfile::tempdir_in(self.ends.sandbox.path()).expect("a folder");
        let path: PathBuf = folder.keep().join("behind.git");
        self.ends.behind.copy_to(&path);
        Puller {
            replay: Replay::start(&self.recorded, &[]),
            destination: Repo::at(path),
        }
    }

    fn check(&self, worker: &Puller, fault: Fault) -> &'static str {
        worker.replay.arm(Some(fault));
        match pull(worker, fault.kind) {
            Err(err) => {
                assert_blames_the_network(&err, fault);
                assert_eq!(worker.destination.files(), self.files, "{fault:?}: {err:?}");
                "failed"
            }
            Ok(stats) => {
                worker.destination.fsck();
                let held = tips(&worker.destination);
                for found in &stats.refs {
                    let name = found.name.to_string();
                    let tip = held.get(&name);
                    let after = (!found.after.is_null()).then(|| found.after.to_string());
                    assert_eq!(tip, after.as_ref(), "{fault:?}: {found:?}");
                    let expected = match found.outcome {
                        Outcome::Updated => self.new.get(&name),
                        _ => self.old.get(&name),
                    };
                    assert_eq!(tip, expected, "{fault:?}: {found:?}");
                }
                assert_eq!(leftovers(&worker.destination), [""; 0], "{fault:?}");
                self.reset(&worker.destination);
                "done"
            }
        }
    }

    fn converge(&self, worker: &Puller) {
        worker.replay.arm(None);
        let stats = pull(worker, Kind::Cut).expect("an honest run");
        assert_eq!(stats.count(Outcome::is_updated), 4);
        assert_eq!(tips(&worker.destination), self.new);
        assert_eq!(leftovers(&worker.destination), [""; 0]);
        worker.destination.fsck();
        self.reset(&worker.destination);
    }
}

struct Push {
    ends: Ends,
    recorded: Vec<Exchange>,
    after: Vec<Exchange>,
    files: Vec<FileEntry>,
}

impl Push {
    fn recorded() -> Self {
        let ends = Ends::new();
        let server = GitServer::builder(ends.sandbox.path())
            .receive_pack(true)
            .start();
        let run = |updated| {
            record(server.address(), |address| {
                let url = format!("http://localhost:{}/behind.git", address.port());
                let local = LocalStore::open(&ends.ahead.path).expect("a repository");
                let stats = sync(&local, &remote(&url, Kind::Cut), &SyncOptions::default());
                let stats = stats.expect("an honest run");
                assert_eq!(stats.count(Outcome::is_updated), updated);
            })
        };
        let (recorded, after) = (run(4), run(0));
        Push {
            recorded,
            after,
            files: ends.ahead.files(),
            ends,
        }
    }

    fn push(&self, replay: &Replay, kind: Kind) -> Result<SyncRunStats, Error> {
        let local = LocalStore::open(&self.ends.ahead.path)?;
        sync(
            &local,
            &remote(&replay.url("behind.git"), kind),
            &SyncOptions::default(),
        )
    }
}

impl Recorded for Push {
    type Worker<'a> = Replay;

    fn faults(&self, step: usize) -> Vec<Fault> {
        let once = faults(&self.recorded, step);
        // A push whose answer is lost looks again, unless there is nobody left to ask.
        let last = self.recorded.len() - 1;
        let for_good = once.iter().filter(|fault| {
            fault.exchange == last && [Kind::Cut, Kind::Reset].contains(&fault.kind)
        });
        let for_good = for_good.map(|fault| Fault {
            for_good: true,
            ..*fault
        });
        once.iter().copied().chain(for_good).collect()
    }

    fn worker(&self) -> Replay {
        Replay::start(&self.recorded, &self.after)
    }

    fn check(&self, replay: &Replay, fault: Fault) -> &'static str {
        replay.arm(Some(fault));
        let result = self.push(replay, fault.kind);
        let moved = replay.has_taken_a_push();
        assert_eq!(self.ends.ahead.files(), self.files, "{fault:?}");
        let (stats, what) = match &result {
            Ok(stats) => (stats, if moved { "moved" } else { "unmoved" }),
            Err(err) => {
                // Nobody there any more, to those who come back.
                if err.kind() != ErrorKind::Connect || !fault.for_good {
                    assert_blames_the_network(err, fault);
                }
                let Some(stats) = err.stats() else {
                    assert!(!moved, "{fault:?}: {err:?}");
                    return "failed";
                };
                (stats, "uncertain")
            }
        };
        assert_eq!(stats.refs.len(), 4, "{fault:?}");
        for found in &stats.refs {
            let is_unconfirmed =
                matches!(found.outcome.rejection(), Some(Reason::Unconfirmed { .. }));
            match found.outcome {
                Outcome::Updated => assert!(moved, "{fault:?}: {found:?}"),
                _ => assert!(is_unconfirmed, "{fault:?}: {found:?}"),
            }
            // With a listing after it, nothing is left in doubt.
            let is_updated = found.outcome.is_updated();
            assert!(
                result.is_err() || is_updated == moved,
                "{fault:?}: {found:?}"
            );
        }
        what
    }

    fn converge(&self, replay: &Replay) {
        replay.arm(None);
        let stats = self.push(replay, Kind::Cut).expect("an honest run");
        assert_eq!(stats.count(Outcome::is_updated), 4);
    }
}
