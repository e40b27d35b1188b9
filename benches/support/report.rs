//! The rows to measure, as the command line says, and their report.

use std::time::Duration;

use serde_json::{Value, json};

use super::contest::{Contest, Figures, Pair};

pub struct Report {
    filter: Option<String>,
    is_quick: bool,
    /// The rows for JSON; `None` if they are printed as a table at once.
    json: Option<Vec<Value>>,
}

impl Report {
    /// `[FILTER] [--quick] [--json]`. Cargo adds `--bench`.
    pub fn from_arguments() -> Self {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let report = Report {
            is_quick: has("--quick"),
            json: has("--json").then(Vec::new),
            filter: arguments
                .iter()
                .find(|argument| !argument.starts_with('-'))
                .cloned(),
        };
        if report.json.is_none() {
            println!(
                "| work | git, ms | refsync, ms | x git | requests | KB on the wire | CPU, ms | peak, MiB |"
            );
            println!("|---|---|---|---|---|---|---|---|");
        }
        report
    }

    /// Measures it, unless it is filtered out.
    pub fn run<'a>(&mut self, name: &str, rounds: usize, contest: impl FnOnce() -> Contest<'a>) {
        if self
            .filter
            .as_ref()
            .is_some_and(|part| !name.contains(part))
        {
            return;
        }
        let rounds = if self.is_quick {
            rounds.div_ceil(4)
        } else {
            rounds
        };
        for pair in contest().run(rounds) {
            match &mut self.json {
                Some(all) => all.push(as_json(name, rounds, &pair)),
                None => println!("{}", as_row(name, &pair)),
            }
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(all) = self.json.take() {
            println!("{:#}", Value::Array(all));
        }
    }
}

/// Git's figures first, then ours.
fn as_row(name: &str, Pair { peer, ours }: &Pair) -> String {
    let kilobytes = |figures: &Figures| figures.bytes as f64 / 1000.;
    let mebibytes = |figures: &Figures| figures.peak as f64 / 1024.;
    let on_the_wire = |cell: String| {
        if ours.requests == 0 {
            String::new()
        } else {
            cell
        }
    };
    let mut work = name.to_owned();
    if !ours.label.is_empty() {
        work += &format!(", {}", ours.label);
    }
    if !peer.label.is_empty() {
        work += &format!(" (git: {})", peer.label);
    }
    let cells = [
        work,
        short(milliseconds(peer.wall)),
        short(milliseconds(ours.wall)),
        format!("{:.2}", ratio(peer, ours)),
        on_the_wire(format!("{} / {}", peer.requests, ours.requests)),
        on_the_wire(both(kilobytes(peer), kilobytes(ours))),
        both(milliseconds(peer.cpu), milliseconds(ours.cpu)),
        both(mebibytes(peer), mebibytes(ours)),
    ];
    format!("| {} |", cells.join(" | "))
}

fn both(peer: f64, ours: f64) -> String {
    format!("{} / {}", short(peer), short(ours))
}

/// With two or three digits that say something.
fn short(figure: f64) -> String {
    match figure {
        ..10. => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.
}

fn ratio(peer: &Figures, ours: &Figures) -> f64 {
    ours.wall.as_secs_f64() / peer.wall.as_secs_f64()
}

fn as_json(name: &str, rounds: usize, Pair { peer, ours }: &Pair) -> Value {
    let figures = |figures: &Figures| {
        json!({
            "variant": figures.label,
            "wall_ms": milliseconds(figures.wall),
            "wall_ms_min": milliseconds(figures.fastest),
            "wall_ms_max": milliseconds(figures.slowest),
            "cpu_ms": milliseconds(figures.cpu),
            "peak_kib": figures.peak,
            "requests": figures.requests,
            "wire_bytes": figures.bytes,
        })
    };
    json!({
        "work": name,
        "rounds": rounds,
        "git": figures(peer),
        "refsync": figures(ours),
        "ratio": ratio(peer, ours),
    })
}
