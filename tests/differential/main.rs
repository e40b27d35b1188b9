//! Generated pairs of repositories, pulled by refsync and by `git fetch`: they must agree.
//!
//! `PROPTEST_CASES` pairs in all, an equal share to each test below. A failure names its seed;
//! with that in `PROPTEST_RNG_SEED` the test makes the same pairs again. Many pairs are best made
//! in a `TMPDIR` in memory: every pull waits for its files to be on disk.
#![cfg(feature = "http")]

mod check;
mod expect;
mod history;
mod judge;
mod plan;
mod scenario;
mod stores;
#[path = "../support/mod.rs"]
mod support;

use plan::{Focus, Plan, pairs};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use scenario::Scenario;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::{env, fs};
use stores::Stores;
use support::{GitServer, ObjectFormat, Sandbox};

const DEFAULT_PAIRS: u32 = 48;
const TESTS: u32 = 4;

#[test]
fn histories() {
    differential(Focus::History);
}

#[test]
fn tags() {
    differential(Focus::Tags);
}

#[test]
fn names() {
    differential(Focus::Names);
}

#[test]
fn debris() {
    differential(Focus::Debris);
}

fn differential(focus: Focus) {
    let bench = Bench::new();
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
    sandbox: Sandbox,
    server: GitServer,
    pairs: Cell<u32>,
}

impl Bench {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let template = sandbox.init_bare(format.name(), format);
            fs::remove_dir_all(template.path.join("hooks")).ok();
        }
        let server = GitServer::builder(sandbox.path()).start();
        Bench {
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
        let stores = Stores::write(&dir, &template, plan, &scenario);
        let url = self.server.url(&format!("{name}/source.git"));
        let checked = check::check(plan, &scenario, &stores, &self.server, &url);
        fs::remove_dir_all(&dir).ok();
        checked.map_err(TestCaseError::fail)
    }
}
