//! [`Metrics`], the numbers of a process for `/metrics`. No label names a repository or an organization.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::records::Direction;

/// The numbers of a process. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    queued: Gauge,
    queue_age: Gauge<f64, AtomicU64>,
    deliveries_pending: Gauge,
    hosts_throttled: Gauge,
    running: Gauge,
    runs: Family<Run, Counter>,
    run_seconds: Family<RunTime, Histogram, fn() -> Histogram>,
    retries: Family<Code, Counter>,
    leases_lost: Counter,
    workers_lost: Counter,
    host_waits: Counter,
    deliveries: Family<Outcome, Counter>,
    git_requests: Family<GitRequest, Counter>,
    git_processes: Gauge,
    panics: Family<Part, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Run {
    direction: &'static str,
    status: &'static str,
    /// `none` for a completed run.
    error_code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunTime {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    error_code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GitRequest {
    service: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

/// Five milliseconds to some three hours.
fn run_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 4.0, 11))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("refsyncd");
        let mut metrics = Metrics {
            registry: Arc::default(),
            queued: Gauge::default(),
            queue_age: Gauge::default(),
            deliveries_pending: Gauge::default(),
            hosts_throttled: Gauge::default(),
            running: Gauge::default(),
            runs: Family::default(),
            run_seconds: Family::new_with_constructor(run_buckets as fn() -> Histogram),
            retries: Family::default(),
            leases_lost: Counter::default(),
            workers_lost: Counter::default(),
            host_waits: Counter::default(),
            deliveries: Family::default(),
            git_requests: Family::default(),
            git_processes: Gauge::default(),
            panics: Family::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        macro_rules! register {
            ($($field:ident $name:literal $help:literal;)*) => {
                $(registry.register($name, $help, self.$field.clone());)*
            };
        }
        register! {
            queued "queue_length" "Runs of all nodes that wait for an attempt";
            queue_age "queue_age_seconds" "Time for which the first due run has waited";
            running "runs_running" "Runs of this process under way";
            runs "runs" "Runs that this process has ended, in whatever way";
            run_seconds "run_seconds" "Time of the last attempt of a run";
            retries "run_retries" "Attempts after which another one follows";
            leases_lost "leases_lost" "Attempts of this process that had lost their lease at their end";
            workers_lost "workers_lost" "Leases that this process has ended because their worker was lost";
            host_waits "host_waits" "Answers of hosts that asked to wait";
            hosts_throttled "hosts_throttled" "Hosts that no node asks for now, since they asked to wait";
            deliveries "deliveries" "Attempts to deliver an event";
            deliveries_pending "deliveries_pending" "Deliveries of all nodes that are still to be made";
            git_requests "git_requests" "Requests of git clients";
            git_processes "git_processes" "Git processes under way";
            panics "panics" "Tasks that have panicked; each one is a fault of the program";
        }
    }

    /// Sets the number of runs that wait for an attempt, and the time for which the first due one has waited.
    pub fn queue(&self, runs: i64, age: Duration) {
        self.queued.set(runs);
        self.queue_age.set(age.as_secs_f64());
    }

    /// Sets the numbers of deliveries to be made and of hosts that have asked to wait.
    pub fn backlog(&self, deliveries: i64, hosts: i64) {
        self.deliveries_pending.set(deliveries);
        self.hosts_throttled.set(hosts);
    }

    /// Counts an attempt as under way until the guard is dropped.
    pub fn attempt(&self) -> InProgress {
        InProgress::new(&self.running)
    }

    /// Counts a run that has ended, with the code of its failure.
    pub fn run_ended(&self, direction: Direction, error_code: Option<&str>) {
        let run = Run {
            direction: direction.as_str(),
            status: if error_code.is_some() {
                "failed"
            } else {
                "completed"
            },
            error_code: error_code.unwrap_or("none").to_owned(),
        };
        self.runs.get_or_create(&run).inc();
    }

    /// Records the time of the attempt with which a run has ended.
    pub fn last_attempt(&self, direction: Direction, time: Duration) {
        let direction = direction.as_str();
        self.run_seconds
            .get_or_create(&RunTime { direction })
            .observe(time.as_secs_f64());
    }

    /// Counts an attempt after which another one follows.
    pub fn run_retried(&self, error_code: &str) {
        let code = Code {
            error_code: error_code.to_owned(),
        };
        self.retries.get_or_create(&code).inc();
    }

    /// Counts an attempt that had lost its lease when it ended.
    pub fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    /// Counts a lease that was ended because its worker was lost.
    pub fn worker_lost(&self) {
        self.workers_lost.inc();
    }

    /// Counts answers of hosts that asked to wait.
    pub fn hosts_wait(&self, answers: u64) {
        self.host_waits.inc_by(answers);
    }

    /// Counts an attempt to deliver an event.
    pub fn delivery(&self, was_accepted: bool) {
        let outcome = if was_accepted { "delivered" } else { "failed" };
        self.deliveries.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a request of a git client.
    pub fn git_request(&self, service: &'static str, status: u16) {
        self.git_requests
            .get_or_create(&GitRequest { service, status })
            .inc();
    }

    /// Counts the panic of a part of the process.
    pub fn panicked(&self, part: &'static str) {
        self.panics.get_or_create(&Part { part }).inc();
    }

    /// Counts a git process as under way until the guard is dropped.
    pub fn git_process(&self) -> InProgress {
        InProgress::new(&self.git_processes)
    }

    /// The numbers in the text format of OpenMetrics.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).ok();
        text
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// One more in a gauge for as long as it lives.
#[derive(Debug)]
pub struct InProgress(Gauge);

impl InProgress {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        InProgress(gauge.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together() {
        let metrics = Metrics::default();
        let other = metrics.clone();
        other.run_ended(Direction::Pull, Some("network"));
        other.last_attempt(Direction::Pull, Duration::from_millis(3));
        other.git_request("git-upload-pack", 200);
        let attempt = other.attempt();
        let text = metrics.text();
        for line in [
            r#"refsyncd_runs_total{direction="pull",status="failed",error_code="network"} 1"#,
            r#"refsyncd_git_requests_total{service="git-upload-pack",status="200"} 1"#,
            r#"refsyncd_run_seconds_bucket{le="0.005",direction="pull"} 1"#,
            "refsyncd_runs_running 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        drop(attempt);
        assert!(metrics.text().contains("refsyncd_runs_running 0"));
    }
}
