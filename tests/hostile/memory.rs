//! However much an input inflates to, the process stays within `Limits::memory` and one object.
//!
//! Each input is received in a process of its own, which tells the most that it had resident.
#![cfg(target_os = "linux")]

use crate::hungry::{Input, Scale, inputs};
use crate::world::{Offer, World, judge};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const INPUT: &str = "REFSYNC_TEST_HOSTILE_INPUT";
const FOLDER: &str = "REFSYNC_TEST_HOSTILE_FOLDER";
const SCALE: &str = "REFSYNC_TEST_HOSTILE_SCALE";
/// The process itself, with its code: what it has resident before it does anything.
const FIXED: u64 = 8 << 20;

fn find(name: &str) -> Input {
    let found = inputs().into_iter().find(|input| input.name == name);
    found.expect("an input of that name")
}

/// Not a test: what the others run in a process of its own, to look at its memory.
#[test]
#[ignore = "runs as the child of another test"]
fn receive_one() {
    let (Ok(name), Ok(folder)) = (env::var(INPUT), env::var(FOLDER)) else {
        return;
    };
    let scale = match env::var(SCALE).as_deref() {
        Ok("full") => Scale::Full,
        _ => Scale::Small,
    };
    let folder = PathBuf::from(folder);
    let offer = Offer::read(&folder);
    let store = refsync::LocalStore::open(folder.join("store.git")).unwrap();
    let start = Instant::now();
    let (peak, pulled) = peak_during(|| refsync::sync(&offer, &store, &scale.options()));
    let took = start.elapsed();
    judge(&find(&name).expected, &pulled).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    fs::write(folder.join("peak"), format!("{peak} {}", took.as_millis())).unwrap();
}

/// The most bytes that this process has resident while it does something.
///
/// Without the pages of files that are mapped: packs and their indices are, and the system takes
/// such pages back when it needs them. So it has to be looked at all the time: the peak that Linux
/// keeps has them in it.
fn peak_during<T>(act: impl FnOnce() -> T) -> (u64, T) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !is_done.load(Ordering::Relaxed) {
                peak = peak.max(resident());
                thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        let done = act();
        is_done.store(true, Ordering::Relaxed);
        (watcher.join().unwrap(), done)
    })
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("RssAnon:")).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() * 1024
}

/// The peak and the time it took, of one input in a store of its own.
fn measure(input: &Input, scale: Scale) -> Result<(u64, Duration), String> {
    let world = World::new();
    let folder = world.folder();
    (input.build)(&world, scale).write(folder);
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "memory::receive_one"])
        .env(INPUT, input.name)
        .env(FOLDER, folder)
        .env(
            SCALE,
            if scale == Scale::Full {
                "full"
            } else {
                "small"
            },
        )
        .output()
        .unwrap();
    if !child.status.success() {
        return Err(format!(
            "{}: {}",
            input.name,
            String::from_utf8_lossy(&[child.stdout, child.stderr].concat())
        ));
    }
    let told = fs::read_to_string(folder.join("peak")).unwrap();
    let (peak, took) = told.split_once(' ').unwrap();
    Ok((
        peak.parse().unwrap(),
        Duration::from_millis(took.parse().unwrap()),
    ))
}

#[track_caller]
#[expect(
    clippy::print_stdout,
    reason = "the figures are what it is run for by hand"
)]
fn all_within(scale: Scale, mut inputs: Vec<Input>) {
    let limits = scale.options().limits;
    let bar = limits.memory + limits.object_size + FIXED;
    if let Ok(only) = env::var("REFSYNC_TEST_ONLY") {
        inputs.retain(|input| input.name.contains(&only));
    }
    let mut wrong = Vec::new();
    for input in inputs {
        match measure(&input, scale) {
            Ok((peak, took)) => {
                let line = format!(
                    "{:4} MiB {:6} ms  {}",
                    peak >> 20,
                    took.as_millis(),
                    input.name
                );
                println!("{line}");
                if peak > bar {
                    wrong.push(line);
                }
            }
            Err(text) => wrong.push(text),
        }
    }
    assert!(
        wrong.is_empty(),
        "over {} MiB:\n{}",
        bar >> 20,
        wrong.join("\n")
    );
}

/// Two halves, to run side by side.
fn half(remainder: usize) -> Vec<Input> {
    let inputs = inputs().into_iter().enumerate();
    let inputs = inputs.filter(|(index, _)| index % 2 == remainder);
    inputs.map(|(_, input)| input).collect()
}

#[test]
fn scaled_down() {
    all_within(Scale::Small, half(0));
}

#[test]
fn scaled_down_too() {
    all_within(Scale::Small, half(1));
}

#[test]
#[ignore = "takes some minutes and a release build"]
fn as_the_limits_are_by_default() {
    all_within(Scale::Full, inputs());
}
