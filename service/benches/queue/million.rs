//! Claims with a million upstreams, beside claims with a thousand.

use std::time::{Duration, Instant};

use refsync_service::{
    clock,
    records::Priority,
    store::{Claimed, Claimer, Completed, Job, NewRun},
};

use super::{
    figures::{median, millis, verdict},
    filled::NODE,
    place::Place,
    record::Texts,
    tight_loop,
    upstreams::{LIMITS, Owners, Upstreams, Waiting},
};

const SMALL: i64 = 1_000;
/// The claims of a shape, after those that let PostgreSQL choose its plans.
const CLAIMS: usize = 101;
const FIRST: usize = 20;
/// The looks at the schedules.
const LOOKS: usize = 12;
/// The time of a shape, after which fewer claims have to do.
const LONGEST: Duration = Duration::from_secs(60);
const BAR: f64 = 2.0;

/// A queue.
struct Shape {
    name: &'static str,
    owners: Owners,
    waiting: Waiting,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "of one organization",
        owners: Owners::One,
        waiting: Waiting::None,
    },
    Shape {
        name: "of one organization, all but one throttled",
        owners: Owners::One,
        waiting: Waiting::Throttled,
    },
    Shape {
        name: "ten each of many organizations",
        owners: Owners::Many,
        waiting: Waiting::None,
    },
    Shape {
        name: "ten each of many, all but one of which are throttled",
        owners: Owners::Many,
        waiting: Waiting::Throttled,
    },
    Shape {
        name: "ten each of many, none due yet",
        owners: Owners::Many,
        waiting: Waiting::NotDue,
    },
];

/// The times of one shape.
struct Times {
    first: Duration,
    fastest: Duration,
    median: Duration,
    longest: Duration,
}

/// The upstreams of the large database.
pub fn large() -> i64 {
    let wanted = std::env::var("REFSYNC_UPSTREAMS").ok();
    wanted.map_or(1_000_000, |wanted| wanted.parse().expect("a number"))
}

pub fn bench() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for place in Place::all() {
        runtime.block_on(compare(&place));
    }
}

async fn compare(place: &Place) {
    let began = Instant::now();
    let mut small = Upstreams::open(&place.database("small"), SMALL).await;
    let mut large = Upstreams::open(&place.database("large"), large()).await;
    println!(
        "\n{}: claims of {CLAIMS} runs each, {} upstreams with {} queued runs beside {} with {} (filled in {:.0} s)\n",
        place.name(),
        small.size,
        small.due(),
        large.size,
        large.due(),
        began.elapsed().as_secs_f64()
    );
    println!(
        "| runs | small, ms: first, fastest, median, longest | large | medians | at most {BAR} |"
    );
    println!("|---|---|---|---|---|");
    for shape in &SHAPES {
        let times = [
            claims(&mut small, shape).await,
            claims(&mut large, shape).await,
        ];
        print_row(shape.name, &times);
    }
    let times = [schedules(&mut small).await, schedules(&mut large).await];
    print_row("a hundred due schedules", &times);
    if std::env::args().any(|argument| argument == "--plans") {
        print_plans(place, &mut large).await;
    }
    small.store.close().await;
    large.store.close().await;
}

fn print_row(name: &str, [small, large]: &[Times; 2]) {
    let part = large.median.as_secs_f64() / small.median.as_secs_f64();
    println!(
        "| {name} | {small} | {large} | {part:.2} | {} |",
        verdict(part <= BAR)
    );
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = [self.first, self.fastest, self.median, self.longest];
        let [first, fastest, median, longest] = times.map(millis);
        write!(f, "{first:.2}, {fastest:.2}, {median:.2}, {longest:.2}")
    }
}

impl Times {
    /// Those of all calls, but for some of the first in the median.
    fn of(times: &[Duration], skipped: usize) -> Self {
        let later = &times[skipped.min(times.len() / 2)..];
        Times {
            first: times[0],
            fastest: later.iter().copied().min().unwrap_or_default(),
            median: median(later),
            longest: later.iter().copied().max().unwrap_or_default(),
        }
    }
}

async fn claims(all: &mut Upstreams, shape: &Shape) -> Times {
    all.queue(shape.owners, shape.waiting).await;
    let (mut times, began) = (Vec::new(), Instant::now());
    while times.len() < FIRST + CLAIMS && (times.len() < 3 || began.elapsed() < LONGEST) {
        let (time, job) = claim(all).await;
        times.push(time);
        let is_none = job.is_none();
        assert_eq!(is_none, shape.waiting == Waiting::NotDue, "{}", shape.name);
        if let Some(job) = job {
            end(all, &job).await;
        }
    }
    Times::of(&times, FIRST)
}

async fn claim(all: &Upstreams) -> (Duration, Option<Box<Job>>) {
    let claimer = Claimer {
        node: NODE.into(),
        worker: "local-1".into(),
        per_host: 4,
    };
    let now = clock::now();
    let until = now.plus(Duration::from_secs(60));
    let began = Instant::now();
    let claimed = all
        .store
        .claim(&claimer, now, until, |_| Ok(Some(())))
        .await;
    let time = began.elapsed();
    let job = match claimed.expect("an answer") {
        Claimed::Run(job, ()) => Some(job),
        Claimed::Nothing { .. } => None,
    };
    (time, job)
}

/// Ends a run and queues it once more, so that the queue stays as long.
async fn end(all: &Upstreams, job: &Job) {
    let done = Completed::default();
    let done = all.store.complete(&job.fence, done, clock::now()).await;
    assert!(done.expect("written"));
    let again = NewRun {
        repo: &job.repo,
        direction: job.run.direction,
        globs: job.run.ref_globs.clone(),
        dry_run: false,
        priority: Priority::Schedule,
    };
    let queued = all.store.enqueue(again, LIMITS, clock::now()).await;
    queued.expect("stored").expect("queued");
}

/// The look at the schedules that queues the first hundred due ones, each time with an empty queue.
async fn schedules(all: &mut Upstreams) -> Times {
    let mut times = Vec::new();
    for _ in 0..LOOKS {
        all.clear().await;
        all.make_due_again().await;
        let began = Instant::now();
        let scheduled = all.store.queue_scheduled(NODE, LIMITS, clock::now()).await;
        times.push(began.elapsed());
        assert_eq!(scheduled.expect("an answer").queued, 100);
    }
    Times::of(&times, 1)
}

/// Prints how the large database searches, with the most organizations that wait.
async fn print_plans(place: &Place, all: &mut Upstreams) {
    let texts = Texts::of(&place.database("record"), &place.folder("record"));
    all.queue(Owners::Many, Waiting::Throttled).await;
    claim(all).await;
    for (sql, values) in tight_loop::searches(&texts, all.bare.is_postgres()) {
        let beginning: String = sql.chars().take(40).collect();
        println!("\n### {}: {beginning}...", place.name());
        for line in all.bare.plan(&sql, &values).await {
            println!("{line}");
        }
    }
}
