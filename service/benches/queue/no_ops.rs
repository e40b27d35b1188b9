//! Syncs without changes: the service beside the bare engine and `git fetch`.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    daemon::Daemon,
    engine::git::{ObjectFormat, Sandbox},
    figures::{ROUNDS, cpu_of, folder, fsync_time, median, millis, per_second, verdict},
    peers::{self, AT_A_TIME, REPOS, SYNCS},
    roles::Role,
};

/// The processor time of a run that the service may take above the engine's.
const CPU_BAR: Duration = Duration::from_micros(2_500);
/// The time of a run, one at a time, that the service may take above the engine's.
const WAIT_BAR: Duration = Duration::from_millis(10);
/// The runs of a round, one at a time.
const ALONE: usize = 100;

pub fn bench() {
    let upstreams = Sandbox::new();
    let upstream = upstreams.init_bare("app.git", ObjectFormat::Sha1);
    upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
    let mut server = Role::start("server", [upstreams.path()]);
    let folder = folder();
    let mut all = Contenders::start(folder.path(), &server.line());
    all.eight_at_a_time();
    all.one_at_a_time(folder.path());
}

struct Contenders {
    engine: Role,
    git: Role,
    daemon: Daemon,
}

impl Contenders {
    fn start(folder: &Path, url: &str) -> Self {
        let role = |name: &str| {
            let folder = folder.join(name);
            fs::create_dir(&folder).expect("a folder");
            let mut role = Role::start(name, [folder.as_os_str(), url.as_ref()]);
            assert_eq!(role.line(), "ready");
            role
        };
        let daemon = Daemon::start(folder, AT_A_TIME);
        for at in 0..REPOS {
            daemon.make(&name(at), url);
            let stats = daemon.pull(&name(at));
            assert_eq!(stats["counts"]["updated"], 1, "the first run pulls");
        }
        Contenders {
            engine: role("engine"),
            git: role("git"),
            daemon,
        }
    }

    fn eight_at_a_time(&mut self) {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push([self.engine_round(), self.git_round(), self.daemon_round()]);
        }
        println!(
            "{SYNCS} syncs without changes of {REPOS} repositories, {AT_A_TIME} at a time, median of {ROUNDS} rounds"
        );
        println!("| | runs/s | CPU a run, ms |\n|---|---|---|");
        for (at, name) in ["bare engine", "git fetch", "refsyncd"].iter().enumerate() {
            let rates: Vec<_> = rounds.iter().map(|round| round[at].rate()).collect();
            let cpus: Vec<_> = rounds.iter().map(|round| round[at].cpu_a_run()).collect();
            println!("| {name} | {:.0} | {:.2} |", median(&rates), median(&cpus));
        }
        let above = |[engine, _, daemon]: &[Turn; 3]| daemon.cpu_a_run() - engine.cpu_a_run();
        let above: Vec<_> = rounds.iter().map(above).collect();
        let bar = millis(CPU_BAR);
        println!(
            "\nrefsyncd above the engine: {:.2} ms of CPU a run ({above:.2?}), at most {bar}: {}",
            median(&above),
            verdict(median(&above) <= bar)
        );
    }

    fn engine_round(&mut self) -> Turn {
        let before = cpu_of(self.engine.id());
        let wall = micros(&self.engine.ask("round"));
        let cpu = cpu_of(self.engine.id()) - before;
        Turn { wall, cpu }
    }

    fn git_round(&mut self) -> Turn {
        let said = self.git.ask("round");
        let (wall, cpu) = said.split_once(' ').expect("two figures");
        Turn {
            wall: micros(wall),
            cpu: micros(cpu),
        }
    }

    fn daemon_round(&mut self) -> Turn {
        let before = cpu_of(self.daemon.id());
        let wall = peers::round(|at| self.sync(at));
        let cpu = cpu_of(self.daemon.id()) - before;
        Turn { wall, cpu }
    }

    fn sync(&self, at: usize) {
        let stats = self.daemon.pull(&name(at % REPOS));
        assert_eq!(stats["counts"]["unchanged"], 1, "{stats}");
    }

    fn one_at_a_time(&mut self, folder: &Path) {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let (mut engine, mut service) = (Vec::new(), Vec::new());
            for at in 0..ALONE {
                engine.push(micros(&self.engine.ask("one")));
                let began = Instant::now();
                self.sync(at);
                service.push(began.elapsed());
            }
            let (engine, service) = (median(&engine), median(&service));
            rounds.push((engine, service, service.saturating_sub(engine)));
        }
        println!("\nOne at a time, {ROUNDS} rounds of {ALONE} in turn, medians");
        println!("| bare engine, ms | from POST to completed, ms | above, ms |\n|---|---|---|");
        for (engine, service, above) in &rounds {
            let (engine, service) = (millis(*engine), millis(*service));
            println!("| {engine:.2} | {service:.2} | {:.2} |", millis(*above));
        }
        let above: Vec<_> = rounds.iter().map(|(_, _, above)| *above).collect();
        println!(
            "\n{:.2} ms above the engine, of which three commits sync; an fsync takes {:.2} ms here. At most {}: {}",
            millis(median(&above)),
            millis(fsync_time(folder)),
            millis(WAIT_BAR),
            verdict(median(&above) <= WAIT_BAR)
        );
    }
}

/// A round of one contender.
struct Turn {
    wall: Duration,
    cpu: Duration,
}

impl Turn {
    fn rate(&self) -> f64 {
        per_second(SYNCS, self.wall)
    }

    fn cpu_a_run(&self) -> f64 {
        millis(self.cpu) / SYNCS as f64
    }
}

fn name(at: usize) -> String {
    format!("r{at}")
}

fn micros(text: &str) -> Duration {
    Duration::from_micros(text.parse().expect("a figure"))
}
