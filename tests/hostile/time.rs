//! Whatever a run is busy with, it ends soon after it has to.

use crate::hungry::Scale;
use crate::objects::{commit, commit_at, entry};
use crate::pack::{BLOB, OFS_DELTA, deflate_pieces, deflate_zeros, delta, distance, size};
use crate::world::{Offer, World};
use gix::objs::Kind;
use refsync::{Error, ErrorKind, Phase, Progress, SyncOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A second, and as much again for a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(2);

struct Stage {
    name: &'static str,
    /// The phase that reports its progress.
    phase: Phase,
    /// The time since the phase has begun.
    after: Duration,
    build: fn(&World) -> Offer,
}

const AT_ONCE: Duration = Duration::from_millis(10);

/// Stages that take long, each in one way.
fn stages() -> Vec<Stage> {
    vec![
        Stage {
            name: "one object that inflates to as much as is allowed",
            phase: Phase::Receive,
            after: AT_ONCE,
            build: |world| {
                let mut pack = world.pack();
                let (length, times) = (256 << 20, 40);
                let stream = deflate_zeros(length);
                for _ in 0..times {
                    pack.stream(BLOB, length, &stream);
                }
                Offer::branch(world.nowhere(1), pack)
            },
        },
        Stage {
            name: "empty blocks in one stream",
            phase: Phase::Receive,
            after: AT_ONCE,
            build: |world| {
                let mut pack = world.pack();
                let flood = [0, 0, 0, 0xff, 0xff].repeat(60_000_000);
                pack.raw(&[size(BLOB, 4), vec![0x78, 1], flood].concat());
                Offer::branch(world.nowhere(1), pack)
            },
        },
        Stage {
            name: "small objects",
            phase: Phase::Receive,
            after: AT_ONCE,
            build: |world| crate::deltas::on_one_base(world, 120_000),
        },
        Stage {
            name: "large results of deltas",
            phase: Phase::Receive,
            after: AT_ONCE,
            build: |world| crate::deltas::comb(world, 40, 40, 32 << 20),
        },
        Stage {
            name: "one delta with very many copies of a byte from a base on disk",
            phase: Phase::Receive,
            // By then it has come in, and is being applied.
            after: Duration::from_millis(1500),
            build: |world| {
                let mut pack = world.pack();
                let length = 48 << 20;
                let base = pack.stream(BLOB, length, &deflate_zeros(length));
                let copies = [0x90, 1].repeat(1 << 20);
                let head = delta::of(length, 40 << 20, &[]);
                let pieces = std::iter::once(&head[..]).chain((0..40).map(|_| &copies[..]));
                let stream = deflate_pieces(pieces);
                for _ in 0..2 {
                    let total = head.len() as u64 + 40 * copies.len() as u64;
                    let back = distance(pack.end() - base);
                    pack.raw(&[size(OFS_DELTA, total), back, stream.clone()].concat());
                }
                Offer::branch(world.nowhere(1), pack)
            },
        },
        Stage {
            name: "the walk over wide trees",
            phase: Phase::Verify,
            after: AT_ONCE,
            build: |world| {
                let mut pack = world.pack();
                let mut content = Vec::new();
                for number in 0..300_000 {
                    let name = format!("{number:08}");
                    entry(&mut content, "100644", name.as_bytes(), &world.blob);
                }
                let base = pack.place(Kind::Tree, &content);
                let mut tip = world.tip;
                for number in 0..40_u32 {
                    let mut last = Vec::new();
                    let name = format!("x{number}");
                    entry(&mut last, "100644", name.as_bytes(), &world.blob);
                    pack.ofs_delta(base, &delta::append(content.len() as u64, &last));
                    let id = world.id(Kind::Tree, &[&content[..], &last].concat());
                    tip = pack.object(Kind::Commit, &commit(&id, &[tip], "slow"));
                }
                Offer::branch(tip, pack)
            },
        },
        Stage {
            name: "the walk over a line of commits",
            phase: Phase::Verify,
            after: AT_ONCE,
            build: |world| {
                let mut pack = world.pack();
                let mut tip = world.tip;
                for _ in 0..25_000 {
                    tip = pack.object(Kind::Commit, &commit(&world.tree, &[tip], "slow"));
                }
                Offer::branch(tip, pack)
            },
        },
        Stage {
            name: "the comparison of a long history without an order",
            phase: Phase::Compare,
            after: AT_ONCE,
            build: |world| {
                let mut pack = world.pack();
                let mut tip = world.tip;
                for number in 0..25_000_i64 {
                    let date = 1_600_000_000 + number * 7_919_017 % 100_000_000;
                    tip = pack.object(Kind::Commit, &commit_at(&world.tree, &[tip], date, "slow"));
                }
                Offer::new([("refs/heads/main", tip)], pack.finish())
            },
        },
    ]
}

/// Sets the flag some time after the phase has begun, and notes when.
struct CancelIn {
    phase: Phase,
    after: Duration,
    cancel: Arc<AtomicBool>,
    cancelled: Arc<Mutex<Option<Instant>>>,
    has_begun: AtomicBool,
}

impl Progress for CancelIn {
    fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
        if phase != self.phase || self.has_begun.swap(true, Ordering::SeqCst) {
            return;
        }
        let (cancel, cancelled) = (Arc::clone(&self.cancel), Arc::clone(&self.cancelled));
        let after = self.after;
        thread::spawn(move || {
            thread::sleep(after);
            *cancelled.lock().unwrap() = Some(Instant::now());
            cancel.store(true, Ordering::SeqCst);
        });
    }
}

fn options() -> SyncOptions {
    let mut options = SyncOptions::default();
    // So that what is large has to wait on disk.
    options.limits.memory = Scale::Small.options().limits.memory * 4;
    options
}

#[test]
fn it_is_cancelled_at_every_stage() {
    let mut wrong = Vec::new();
    for stage in stages() {
        let world = World::new();
        let files = world.repo.files();
        let offer = (stage.build)(&world);
        let cancel = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::new(Mutex::new(None));
        let mut options = options();
        options.cancel = Some(Arc::clone(&cancel));
        options.progress = Some(Arc::new(CancelIn {
            phase: stage.phase,
            after: stage.after,
            cancel,
            cancelled: Arc::clone(&cancelled),
            has_begun: AtomicBool::new(false),
        }));
        let ended = world.pull(&offer, &options);
        let late = cancelled.lock().unwrap().map(|at| at.elapsed());
        let kind = ended.as_ref().map_err(Error::kind).err();
        if kind != Some(ErrorKind::Cancelled) || late.is_none_or(|late| late > SOON) {
            wrong.push(format!("{}: {ended:?} after {late:?}", stage.name));
        }
        assert!(
            world.repo.files() == files,
            "{}: the store has changed",
            stage.name
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Holds the run up in a phase until its time is over, and notes what is begun after that.
struct Hold {
    phase: Phase,
    limit: Duration,
    is_over: AtomicBool,
    begun_later: Mutex<Vec<Phase>>,
}

impl Progress for Hold {
    fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
        if phase != self.phase {
            if self.is_over.load(Ordering::SeqCst) {
                self.begun_later.lock().unwrap().push(phase);
            }
            return;
        }
        if !self.is_over.load(Ordering::SeqCst) {
            // The run's time began before this.
            thread::sleep(self.limit);
            self.is_over.store(true, Ordering::SeqCst);
        }
    }
}

/// However slow the machine is: the time is over within the stage, or before it.
#[test]
fn it_runs_out_of_time_at_every_stage() {
    let mut wrong = Vec::new();
    for stage in stages() {
        let world = World::new();
        let files = world.repo.files();
        let offer = (stage.build)(&world);
        let mut options = options();
        let limit = Duration::from_millis(400);
        options.limits.total_time = Some(limit);
        let hold = Arc::new(Hold {
            phase: stage.phase,
            limit,
            is_over: AtomicBool::new(false),
            begun_later: Mutex::default(),
        });
        options.progress = Some(hold.clone());
        let ended = world.pull(&offer, &options);
        let begun_later = hold.begun_later.lock().unwrap().clone();
        match ended {
            Err(err) if err.kind() == ErrorKind::BudgetExceeded && begun_later.is_empty() => {
                assert!(err.to_string().contains("total_time"), "{err}");
            }
            ended => wrong.push(format!("{}: {ended:?}, {begun_later:?}", stage.name)),
        }
        let is_same = world.repo.files() == files;
        assert!(is_same, "{}: the store has changed", stage.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
