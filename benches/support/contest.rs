//! Programs that take turns at the same work, each time from the same start.

use std::{process::Command, time::Duration};

use super::{
    GitServer, Repo,
    measure::{Cost, Done, measure},
    programs::Again,
};

pub struct Contest<'a> {
    /// The remote, if there is one, with the name of the repository that is asked for.
    pub remote: Option<(GitServer, String)>,
    /// Makes the repository that changes. Not measured.
    pub prepare: Box<dyn Fn() -> Repo + 'a>,
    /// Whether it is as it should be then. Not measured either.
    pub check: Check<'a>,
    pub peers: Vec<Contender<'a>>,
    pub ours: Vec<Contender<'a>>,
}

type Check<'a> = Box<dyn Fn(&Repo, &Done) + 'a>;
type Start<'a> = Box<dyn Fn(&Repo, &str) -> Command + 'a>;

pub struct Contender<'a> {
    /// The difference to others of its kind; empty for the plain way.
    pub label: &'static str,
    /// The command for the repository that was prepared, and the URL of the remote.
    pub command: Start<'a>,
}

impl<'a> Contender<'a> {
    pub fn new(label: &'static str, command: impl Fn(&Repo, &str) -> Command + 'a) -> Self {
        Contender {
            label,
            command: Box::new(command),
        }
    }
}

/// Whether the program succeeded, and the repository has the refs that another one has by now.
pub fn in_step<'a>(with: &Repo) -> Check<'a> {
    let refs = with.for_each_ref();
    Box::new(move |repo, done| {
        assert!(done.succeeded, "{}", done.said);
        assert!(repo.for_each_ref() == refs, "{}", done.said);
    })
}

/// One of ours beside one of the peers.
pub struct Pair {
    pub peer: Figures,
    pub ours: Figures,
}

/// Medians, but for the extremes.
#[derive(Clone)]
pub struct Figures {
    pub label: &'static str,
    pub wall: Duration,
    pub fastest: Duration,
    pub slowest: Duration,
    pub cpu: Duration,
    /// In KiB.
    pub peak: u64,
    pub requests: u64,
    /// In both directions.
    pub bytes: u64,
}

struct Sample {
    cost: Cost,
    requests: u64,
    bytes: u64,
}

impl Contest<'_> {
    pub fn run(&self, rounds: usize) -> Vec<Pair> {
        let all: Vec<_> = self.peers.iter().chain(&self.ours).collect();
        let mut samples: Vec<Vec<Sample>> = all.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (contender, samples) in all.iter().zip(&mut samples) {
                samples.push(self.turn_of(contender));
            }
        }
        let figures = all.iter().zip(&samples);
        let figures = figures.map(|(contender, samples)| Figures::of(contender.label, samples));
        let mut peers: Vec<_> = figures.collect();
        let ours = peers.split_off(self.peers.len());
        let against = |ours: &Figures| {
            let ours = ours.clone();
            peers.iter().cloned().map(move |peer| Pair {
                peer,
                ours: ours.clone(),
            })
        };
        ours.iter().flat_map(against).collect()
    }

    fn turn_of(&self, contender: &Contender<'_>) -> Sample {
        let repo = (self.prepare)();
        let remote = self.remote.as_ref();
        let url = remote.map(|(server, name)| server.url(name));
        let command = (contender.command)(&repo, &url.unwrap_or_default());
        if let Some((server, _)) = remote {
            server.wait_until_idle();
            server.reset_counts();
        }
        let done = measure(&command);
        let requests = remote.map_or(0, |(server, _)| server.requests().len());
        let (received, sent) = remote.map_or((0, 0), |(server, _)| server.wire_bytes());
        (self.check)(&repo, &done);
        std::fs::remove_dir_all(&repo.path).expect("a folder of ours");
        match Again::find(&done.said) {
            Some(again) => Sample {
                cost: Cost {
                    wall: again.wall,
                    cpu: again.cpu,
                    peak: done.cost.peak,
                },
                requests: again.requests,
                bytes: again.bytes,
            },
            None => Sample {
                cost: done.cost,
                requests: requests as u64,
                bytes: received + sent,
            },
        }
    }
}

impl Figures {
    fn of(label: &'static str, samples: &[Sample]) -> Self {
        let walls = samples.iter().map(|sample| sample.cost.wall);
        Figures {
            label,
            wall: median(samples, |sample| sample.cost.wall),
            fastest: walls.clone().min().unwrap_or_default(),
            slowest: walls.max().unwrap_or_default(),
            cpu: median(samples, |sample| sample.cost.cpu),
            peak: median(samples, |sample| sample.cost.peak),
            requests: median(samples, |sample| sample.requests),
            bytes: median(samples, |sample| sample.bytes),
        }
    }
}

fn median<T: Ord>(samples: &[Sample], figure: impl Fn(&Sample) -> T) -> T {
    let mut figures: Vec<_> = samples.iter().map(figure).collect();
    figures.sort();
    figures.swap_remove(figures.len() / 2)
}
