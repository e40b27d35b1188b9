//! The resources that a program takes, with all the processes that it starts.
//!
//! The system tells a process what its children took, all of them together and once it has waited for
//! them. So each program gets a parent of its own: this executable in another role.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROLE: &str = "--measure";

#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub wall: Duration,
    /// The processor time, by user and system, of all of its processes together.
    pub cpu: Duration,
    /// The most resident memory that any one of its processes had, in KiB.
    pub peak: u64,
}

pub struct Done {
    pub cost: Cost,
    pub succeeded: bool,
    /// On standard output, then on standard error.
    pub said: String,
}

/// Its input is empty, and its environment just what the command sets.
pub fn measure(command: &Command) -> Done {
    let mut parent = Command::new(this_program());
    parent.arg(ROLE).arg(command.get_program());
    parent.args(command.get_args()).env_clear();
    let set = command.get_envs();
    parent.envs(set.filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        parent.current_dir(folder);
    }
    let output = parent.stdin(Stdio::null()).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    let (said, figures) = said.trim_end().rsplit_once('\n').unwrap_or(("", &said));
    let figures: Vec<u64> = figures
        .split_whitespace()
        .map(|figure| figure.parse().expect("a figure"))
        .collect();
    Done {
        cost: Cost {
            wall: Duration::from_micros(figures[0]),
            cpu: Duration::from_micros(figures[1]),
            peak: figures[2],
        },
        succeeded: figures[3] == 1,
        said: format!("{said}\n{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// To be called first in `main`: whether this process was started to measure another one.
pub fn plays_its_role() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ROLE)) {
        return false;
    }
    let mut command = Command::new(arguments.next().expect("a program"));
    command.args(arguments);
    let start = Instant::now();
    let succeeded = command.status().expect("a program that runs").success();
    let wall = start.elapsed().as_micros();
    let (cpu, peak) = usage(Whose::Children);
    let succeeded = u8::from(succeeded);
    println!("\n{wall} {} {peak} {succeeded}", cpu.as_micros());
    true
}

pub fn this_program() -> std::path::PathBuf {
    std::env::current_exe().expect("the path of this program")
}

pub enum Whose {
    Own,
    Children,
}

#[cfg(unix)]
pub fn usage(whose: Whose) -> (Duration, u64) {
    use nix::sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    };
    let usage = getrusage(match whose {
        Whose::Own => UsageWho::RUSAGE_SELF,
        Whose::Children => UsageWho::RUSAGE_CHILDREN,
    });
    let usage = usage.expect("a system that counts");
    let time = |time: TimeVal| {
        Duration::new(time.tv_sec() as u64, 0) + Duration::from_micros(time.tv_usec() as u64)
    };
    // In bytes there, and in KiB everywhere else.
    let unit = if cfg!(target_vendor = "apple") {
        1024
    } else {
        1
    };
    let peak = usage.max_rss() as u64 / unit;
    (time(usage.user_time()) + time(usage.system_time()), peak)
}

#[cfg(not(unix))]
pub fn usage(_: Whose) -> (Duration, u64) {
    Default::default()
}
