//! Medians, the processor time and the memory of processes, and the time of an `fsync`.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// The rounds of each comparison.
pub const ROUNDS: usize = 3;

pub fn median<T: PartialOrd + Copy>(figures: &[T]) -> T {
    let mut figures = figures.to_vec();
    figures.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    figures[figures.len() / 2]
}

pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `met`, or that it is not.
pub fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT met" }
}

/// The processor time of a process so far, with that of its threads that have ended.
#[cfg(target_os = "linux")]
pub fn cpu_of(process: u32) -> Duration {
    let process = nix::unistd::Pid::from_raw(process.try_into().expect("a process id"));
    let clock = nix::time::clock_getcpuclockid(process).expect("a process that runs");
    clock.now().expect("a clock").into()
}

#[cfg(not(target_os = "linux"))]
pub fn cpu_of(_: u32) -> Duration {
    unimplemented!("the clock of another process")
}

/// The resident memory of a process in KiB: now, and the most of it so far.
pub fn memory_of(process: u32) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("a process of Linux that runs");
    ["VmRSS:", "VmHWM:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.expect("a figure").trim().parse().expect("a number")
    })
}

/// The processor time of the processes that this one has started and that have ended.
pub fn cpu_of_children() -> Duration {
    use nix::sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a system that counts");
    let time = |time: TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// The median time in which a page that was appended to a file reaches the disk.
pub fn fsync_time(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("fsync")).expect("a file");
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[0; 4096]).expect("written");
        file.sync_data().expect("synced");
        times.push(began.elapsed());
    }
    median(&times)
}

/// A folder on the disk of the target folder.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk")
}
