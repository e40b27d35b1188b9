//! Generated pairs of repositories, pulled by refsync and by `git fetch`, and pushed by refsync and by
//! `git push`: they must agree.
//!
//! `PROPTEST_CASES` pairs for each direction, an equal share to each of its tests below. A failure names its seed;
//! with that in `PROPTEST_RNG_SEED` the test makes the same pairs again. Many pairs are best made
//! in a `TMPDIR` in memory: every run waits for its files to be on disk.
#![cfg(feature = "http")]

mod check;
mod expect;
mod history;
mod judge;
mod plan;
mod push;
mod push_expect;
mod scenario;
mod stores;
#[path = "../support/mod.rs"]
mod support;

use plan::{Focus, Plan, pairs};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use scenario::{End, Scenario};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::{env, fs};
use stores::Stores;
use support::{GitServer, ObjectFormat, Sandbox};

const DEFAULT_PAIRS: u32 = 48;
const TESTS: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Direction {
    Pull,
    Push,
}

#[test]
fn histories() {
    differential(Direction::Pull, Focus::History);
}

#[test]
fn tags() {
    differential(Direction::Pull, Focus::Tags);
}

#[test]
fn names() {
    differential(Direction::Pull, Focus::Names);
}

#[test]
fn debris() {
    differential(Direction::Pull, Focus::Debris);
}

#[test]
fn pushed_histories() {
    differential(Direction::Push, Focus::History);
}

#[test]
fn pushed_tags() {
    differential(Direction::Push, Focus::Tags);
}

#[test]
fn pushed_names() {
    differential(Direction::Push, Focus::Names);
}

#[test]
fn pushed_debris() {
    differential(Direction::Push, Focus::Debris);
}

fn differential(direction: Direction, focus: Focus) {
    let bench = Bench::new(direction);
    let all = match env::var("PROPTEST_CASES") {
        Ok(_) => Config::default().cases,
        Err(_) => DEFAULT_PAIRS,
    };
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(focus as u8),
    };
    let mut runner = TestRunner::new(Config {
        cases: all.div_ceil(TESTS),
        max_shrink_iters: 150,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    match runner.run(&pairs(focus), |plan| bench.try_pair(&plan)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, plan)) => {
            let pairs = bench.pairs.get();
            panic!("PROPTEST_RNG_SEED={seed}, after {pairs} pairs: {reason}\n{plan:?}")
        }
        Err(aborted) => panic!("PROPTEST_RNG_SEED={seed}: {aborted}"),
    }
}

/// One server, whatever the number of pairs.
struct Bench {
    direction: Direction,
    sandbox: Sandbox,
    server: GitServer,
    pairs: Cell<u32>,
}

impl Bench {
    fn new(direction: Direction) -> Self {
        let sandbox = Sandbox::new();
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            sandbox.init_bare(format.name(), format);
        }
        let server = GitServer::builder(sandbox.path()).receive_pack(true);
        let server = server.start();
        Bench {
            direction,
            sandbox,
            server,
            pairs: Cell::new(0),
        }
    }

    fn try_pair(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let number = self.pairs.replace(self.pairs.get() + 1);
        let name = format!("pair-{number}");
        let dir = self.sandbox.path().join(&name);
        let template = self.sandbox.path().join(plan.format.name());
        let scenario = Scenario::new(plan);
        let decides = match self.direction {
            Direction::Pull => End::Destination,
            Direction::Push => End::Source,
        };
        let stores = Stores::write(&dir, &template, plan, &scenario, decides);
        let url = |end: &str| self.server.url(&format!("{name}/{end}.git"));
        let checked = match self.direction {
            Direction::Pull => check::check(plan, &scenario, &stores, &self.server, &url("source")),
            Direction::Push => {
                push::check(plan, &scenario, &stores, &self.server, &url("destination"))
            }
        };
        fs::remove_dir_all(&dir).ok();
        checked.map_err(TestCaseError::fail)
    }
}
