//! [`TightLoop`], the transactions of runs on one connection, one after the other, with nothing around them.
//!
//! Their texts are the store's own: a run is carried through once while the driver logs what it executes. Only the
//! values are bound here.

use refsync_service::{clock, ids, records::EventId};
use sqlx::FromRow;

use super::{
    bare::{Bare, Value},
    filled::NODE,
    record::Texts,
};

/// A statement that this file knows how to bind.
struct Known {
    beginning: &'static str,
    binds: &'static [Bind],
    /// Whether it is for a database with many writers alone.
    is_lock: bool,
}

/// A parameter.
#[derive(Clone, Copy)]
enum Bind {
    Node,
    Worker,
    Now,
    LeaseUntil,
    PerHost,
    Run,
    Repo,
    RepoName,
    Org,
    Home,
    Host,
    Claim,
    NextClaim,
    LastRun,
    NewEvent,
    Word(&'static str),
    Number(i64),
    Yes,
    NoText,
    NoBytes,
}

use Bind::*;

/// The search for the repository to lock, whose row is not that of a run.
const CANDIDATE: &str = "select r.repo, r.host from";
/// The search for a run.
const FIND: &str = "select r.id as run_id";

const CLAIM: &[Known] = &[
    lock("select pg_advisory_xact_lock", &[Word("claims"), Node]),
    lock(CANDIDATE, &[Node, Now, PerHost]),
    lock("select 1 from repos where id = $1", &[Repo]),
    lock("select pg_advisory_xact_lock", &[Word("host"), Host]),
    statement(FIND, &[Node, Now, PerHost]),
    statement(
        "update sync_runs set status = 'in_progress'",
        &[Run, Claim, LeaseUntil, Node, Worker, Now],
    ),
    statement("update work set queued", &[Home, Org, Now]),
    statement(
        "insert into events",
        &[
            NewEvent,
            Org,
            Repo,
            RepoName,
            Run,
            Word("sync.in_progress"),
            NoText,
            Now,
        ],
    ),
];

const COMPLETE: &[Known] = &[
    lock("select 1 from repos where id = (", &[Run]),
    statement(FIND, &[Run]),
    statement(
        "update sync_runs set status = $4",
        &[
            Run,
            NextClaim,
            Yes,
            Word("completed"),
            NoText,
            NoBytes,
            LastRun,
            NoBytes,
            NoText,
            NoText,
            NoText,
            Now,
        ],
    ),
    statement(
        "update work set queued",
        &[Home, Org, Number(0), Number(-1)],
    ),
    statement(
        "insert into events",
        &[
            NewEvent,
            Org,
            Repo,
            RepoName,
            Run,
            Word("sync.completed"),
            NoText,
            Now,
        ],
    ),
];

/// The statement that finds the upstreams whose time has come, and the number of them that the store looks at.
const DUE: &str = "select u.repo from upstreams u";
const DUE_BINDS: &[Bind] = &[Node, Now, Number(100)];

const fn statement(beginning: &'static str, binds: &'static [Bind]) -> Known {
    Known {
        beginning,
        binds,
        is_lock: false,
    }
}

const fn lock(beginning: &'static str, binds: &'static [Bind]) -> Known {
    Known {
        beginning,
        binds,
        is_lock: true,
    }
}

/// A statement and its parameters. It lives as long as the program.
struct Step {
    sql: &'static str,
    binds: &'static [Bind],
}

/// The run that the loop has found.
#[derive(Default, FromRow)]
struct Found {
    run_id: String,
    run_repo: String,
    open_repo_name: String,
    org: String,
    run_home: String,
    run_host: String,
    claim: i64,
    last_id: Option<String>,
}

pub struct TightLoop {
    bare: Bare,
    claim: Vec<Step>,
    complete: Vec<Step>,
}

impl TightLoop {
    /// The loop on a database that a store has made.
    pub async fn open(database: &str, texts: &Texts) -> Self {
        let bare = Bare::open(database).await;
        let has_locks = bare.is_postgres();
        TightLoop {
            claim: known(&texts.claim, CLAIM, has_locks),
            complete: known(&texts.complete, COMPLETE, has_locks),
            bare,
        }
    }

    /// Carries one run through; false if there is none.
    pub async fn run(&mut self) -> bool {
        let Some(found) = self.claim().await else {
            return false;
        };
        self.complete(&found).await;
        true
    }

    async fn claim(&mut self) -> Option<Found> {
        let (mut found, mut is_found) = (Found::default(), true);
        self.bare.begin().await;
        for step in &self.claim {
            let values = step.values(&found);
            if step.sql.starts_with(CANDIDATE) {
                let locked = self.bare.find::<(String, String)>(step.sql, &values).await;
                is_found = locked.is_some();
                (found.run_repo, found.run_host) = locked.unwrap_or_default();
            } else if step.sql.starts_with(FIND) {
                let run: Option<Found> = self.bare.find(step.sql, &values).await;
                is_found = run.is_some();
                found = run.unwrap_or_default();
            } else {
                step.execute(&mut self.bare, &values).await;
            }
            if !is_found {
                break;
            }
        }
        self.bare.commit().await;
        is_found.then_some(found)
    }

    async fn complete(&mut self, found: &Found) {
        self.bare.begin().await;
        for step in &self.complete {
            let values = step.values(found);
            if step.sql.starts_with(FIND) {
                let run: Option<Found> = self.bare.find(step.sql, &values).await;
                assert!(run.is_some(), "the run is there");
            } else {
                step.execute(&mut self.bare, &values).await;
            }
        }
        self.bare.commit().await;
    }
}

impl Step {
    fn values(&self, found: &Found) -> Vec<Value> {
        self.binds.iter().map(|bind| bind.value(found)).collect()
    }

    async fn execute(&self, bare: &mut Bare, values: &[Value]) {
        let changed = bare.execute(self.sql, values).await;
        let is_write = !self.sql.starts_with("select");
        assert!(changed == 1 || !is_write, "{changed} rows: {}", self.sql);
    }
}

impl Bind {
    fn value(self, run: &Found) -> Value {
        let text = |text: &str| Value::Text(Some(text.to_owned()));
        let now = clock::now().0;
        match self {
            Node => text(NODE),
            Worker => text("local-1"),
            Now => Value::Number(now),
            LeaseUntil => Value::Number(now + 60_000),
            PerHost => Value::Number(i64::MAX),
            Run => text(&run.run_id),
            Repo => text(&run.run_repo),
            RepoName => text(&run.open_repo_name),
            Org => text(&run.org),
            Home => text(&run.run_home),
            Host => text(&run.run_host),
            Claim => Value::Number(run.claim),
            NextClaim => Value::Number(run.claim + 1),
            LastRun => Value::Text(run.last_id.clone()),
            NewEvent => text(ids::new::<EventId>().as_str()),
            Word(word) => text(word),
            Number(number) => Value::Number(number),
            Yes => Value::Bool(true),
            NoText => Value::Text(None),
            NoBytes => Value::Bytes(None),
        }
    }
}

/// The statements, if they are those that are bound here.
fn known(texts: &[String], expected: &'static [Known], has_locks: bool) -> Vec<Step> {
    let expected = expected.iter().filter(|known| has_locks || !known.is_lock);
    let expected: Vec<_> = expected.collect();
    let fits = |(text, known): (&String, &&Known)| text.starts_with(known.beginning);
    assert!(
        texts.len() == expected.len() && texts.iter().zip(&expected).all(fits),
        "the store executes other statements than this loop binds: {texts:#?}"
    );
    let step = |(text, known): (&String, &Known)| Step {
        sql: text.clone().leak(),
        binds: known.binds,
    };
    texts.iter().zip(expected).map(step).collect()
}

/// The searches of a claim and of a look at the schedules, with values for their parameters.
pub fn searches(texts: &Texts, is_postgres: bool) -> Vec<(String, Vec<Value>)> {
    let claim = known(&texts.claim, CLAIM, is_postgres);
    let is_search = |step: &Step| {
        [CANDIDATE, FIND]
            .iter()
            .any(|text| step.sql.starts_with(text))
    };
    let none = Found::default();
    let claim = claim.iter().filter(|step| is_search(step));
    let mut searches: Vec<_> = claim
        .map(|step| (step.sql.to_owned(), step.values(&none)))
        .collect();
    let due = texts.schedules.first().expect("a look at the schedules");
    assert!(due.starts_with(DUE), "{due}");
    let values = DUE_BINDS.iter().map(|bind| bind.value(&none));
    searches.push((due.clone(), values.collect()));
    searches
}
