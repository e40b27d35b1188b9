//! [`Upstreams`], a database with as many upstreams as wanted, and queues of their runs.
//!
//! The store writes one row of each table. All others are copies of that row which differ in what has to differ, so
//! whatever the store writes they have.

use refsync_service::{
    clock,
    records::{Change, Direction, Globs, Name, Priority, Schedule},
    store::{NewRun, RunLimits, Store},
};

use super::{bare::Bare, filled::new_repo, place::address};

/// The limits of an organization that may have all runs.
pub const LIMITS: RunLimits = RunLimits {
    per_repo: i64::MAX,
    per_org: i64::MAX,
};

/// The host that has asked to wait, and another one.
const BUSY: &str = "busy.example";
const FREE: &str = "free.example";

/// The tables of the queue. The others stay as they are from one queue to the next.
const QUEUE: &[&str] = &["waits", "sync_runs", "work", "events", "hosts"];

/// The wait of schedules that are not due, and of what is not due or throttled: no time of a test, and not so far
/// ahead that a clock must have been wrong.
const LATER: i64 = 6 * 60 * 60 * 1_000;

pub struct Upstreams {
    pub store: Store,
    pub bare: Bare,
    pub size: i64,
}

/// The organizations of the runs that are queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    One,
    /// One of ten runs each.
    Many,
}

/// The reason why runs do not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    None,
    /// All but one, or those of all organizations but one, are of a host that has asked to wait.
    Throttled,
    /// None is due yet.
    NotDue,
}

impl Upstreams {
    /// Fills an empty database. A tenth of the upstreams is of one organization, and another tenth of organizations
    /// with ten each; the schedules of a third tenth are due.
    pub async fn open(database: &str, size: i64) -> Self {
        let store = Store::open(address(database)).await.expect("a database");
        let mut all = Upstreams {
            store,
            bare: Bare::open(database).await,
            size,
        };
        all.write_one().await;
        all.fill().await;
        all.analyze().await;
        all
    }

    /// The runs that are due.
    pub fn due(&self) -> i64 {
        self.size / 10
    }

    /// The organizations of [`Owners::Many`].
    pub fn orgs(&self) -> i64 {
        self.due() / 10
    }

    async fn write_one(&mut self) {
        let slug = Name::new("acme").expect("a name");
        let org = self.store.create_org(&slug, "Acme", clock::now()).await;
        let mut new = new_repo(&org.expect("stored").expect("not taken").id, 0);
        let schedule = Schedule {
            direction: Direction::Pull,
            interval_seconds: 86_400,
            ref_globs: Globs::default(),
        };
        let upstream = new.upstream.as_mut().expect("an upstream");
        upstream.schedule = Change::Set(schedule);
        let repo = self.store.create_repo(new, clock::now()).await;
        let repo = repo.expect("stored").expect("not taken");
        let new = NewRun {
            repo: &repo,
            direction: Direction::Pull,
            globs: Globs::default(),
            dry_run: false,
            priority: Priority::Schedule,
        };
        let queued = self.store.enqueue(new, LIMITS, clock::now()).await;
        queued.expect("stored").expect("queued");
        for table in ["orgs", "repos", "upstreams", "sync_runs", "work", "events"] {
            // The last row, if others were there before.
            let last = format!("select * from {table} order by 1 desc limit 1");
            let sql = format!("create table one_{table} as {last}");
            self.bare.script(sql).await;
        }
    }

    async fn fill(&mut self) {
        let (size, now) = (self.size, clock::now().0);
        let (due, later) = (self.due(), now + LATER);
        let orgs = numbers(1, self.orgs() + 3);
        let (org, repo) = (id("org", "n.i"), id("repo", "n.i"));
        let slug = "'o' || cast(n.i as text)";
        let columns = [("id", &*org), ("slug", slug), ("folded", slug)];
        self.copy("orgs", &orgs, &columns, &[]).await;
        let (all, of) = (numbers(1, size + 1), id("org", &self.owner()));
        let name = "'u' || cast(n.i as text)";
        let columns = [
            ("id", &*repo),
            ("org", &*of),
            ("name", name),
            ("folded", name),
        ];
        self.copy("repos", &all, &columns, &[]).await;
        let host = self.host();
        let (url, origin) = (
            format!("'https://' || {host} || '/' || cast(n.i as text) || '.git'"),
            format!("'https://' || {host} || ':443'"),
        );
        let next = format!(
            "case when n.i > {} and n.i <= {} then {now} - 1000000 + n.i else {later} + n.i end",
            2 * due,
            3 * due
        );
        let columns = [
            ("repo", &*repo),
            ("url", &*url),
            ("origin", &*origin),
            ("host", &*host),
            ("next_run_at", &*next),
        ];
        self.copy("upstreams", &all, &columns, &[]).await;
    }

    /// The number of the organization of a repository.
    fn owner(&self) -> String {
        let (due, orgs) = (self.due(), self.orgs());
        format!(
            "case when n.i <= {due} then 1 when n.i <= {} then 2 + (n.i - 1 - {due}) / 10 else {} end",
            2 * due,
            orgs + 2
        )
    }

    /// The host of an upstream: of the one organization's the last one has the free host, of the many organizations
    /// the last one.
    fn host(&self) -> String {
        let due = self.due();
        format!(
            "case when n.i = {due} or n.i > {} then '{FREE}' else '{BUSY}' end",
            2 * due - 10
        )
    }

    /// Replaces the queue by due runs, which wait for what is said.
    pub async fn queue(&mut self, owners: Owners, waiting: Waiting) {
        self.clear().await;
        let (due, now) = (self.due(), clock::now().0);
        let first = if owners == Owners::One { 1 } else { 1 + due };
        let runs = numbers(first, first + due);
        let since = if waiting == Waiting::NotDue {
            now + LATER
        } else {
            now - 1_000_000
        };
        let (run, repo, org) = (
            id("sync", "n.i"),
            id("repo", "n.i"),
            id("org", &self.owner()),
        );
        let (host, at) = (self.host(), format!("{since} + n.i"));
        let columns = [
            ("id", &*run),
            ("repo", &*repo),
            ("org", &*org),
            ("host", &*host),
            ("run_at", &*at),
            ("created_at", &*at),
        ];
        self.copy("sync_runs", &runs, &columns, &[]).await;
        let (event, name) = (id("evt", "n.i"), "'u' || cast(n.i as text)");
        let columns = [
            ("id", &*event),
            ("org", &*org),
            ("repo", &*repo),
            ("repo_name", name),
            ("subject", &*run),
            ("at", &*at),
        ];
        self.copy("events", &runs, &columns, &["sequence"]).await;
        let counted = "with n as (select org, count(*) as queued from sync_runs group by org)";
        let columns = [("org", "n.org"), ("queued", "n.queued")];
        self.copy("work", counted, &columns, &[]).await;
        if waiting == Waiting::Throttled {
            let until = now + LATER;
            let sql = format!("insert into hosts (host, not_before) values ('{BUSY}', {until})");
            self.bare.script(sql).await;
        }
        self.analyze().await;
        let miscounted = self.store.miscounted().await.expect("an answer");
        assert!(miscounted.is_empty(), "{miscounted:?}");
    }

    /// Empties the queue.
    pub async fn clear(&mut self) {
        let how = if self.bare.is_postgres() {
            "truncate"
        } else {
            "delete from"
        };
        for table in QUEUE {
            self.bare.script(format!("{how} {table}")).await;
        }
    }

    /// Leaves nothing that is due.
    pub async fn rest(&mut self) {
        self.clear().await;
        let later = clock::now().0 + LATER;
        let sql = format!("update upstreams set next_run_at = {later} where next_run_at < {later}");
        self.bare.script(sql).await;
        let sql = "update nodes set repos = (select count(*) from repos)";
        self.bare.script(sql).await;
        self.analyze().await;
    }

    /// Makes the schedules due again that were looked at.
    pub async fn make_due_again(&mut self) {
        let (first, past) = (2 * self.due() + 1, clock::now().0 - 2_000_000);
        let number = |i: i64| id("repo", &i.to_string());
        let (from, to) = (number(first), number(first + 100));
        let sql = format!(
            "update upstreams set next_run_at = {past} where repo >= {from} and repo < {to}"
        );
        self.bare.script(sql).await;
    }

    /// Gathers the statistics of PostgreSQL, as a server does by itself after a while. The service gathers none.
    async fn analyze(&mut self) {
        if self.bare.is_postgres() {
            self.bare.script("analyze").await;
        }
    }

    /// Inserts a copy of the row that the store wrote for each row of `n`, but for the given columns and those that are
    /// left to the database.
    async fn copy(&mut self, table: &str, n: &str, columns: &[(&str, &str)], left_out: &[&str]) {
        let names = self.bare.columns(&format!("one_{table}")).await;
        let names: Vec<_> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !left_out.contains(name))
            .collect();
        for (column, _) in columns {
            assert!(names.contains(column), "{table} has no {column}");
        }
        let value = |name: &&str| {
            let other = columns.iter().find(|(column, _)| column == name);
            other.map_or_else(|| format!("o.{name}"), |(_, value)| (*value).to_owned())
        };
        let values: Vec<_> = names.iter().map(value).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        let sql = format!(
            "{n} insert into {table} ({names}) select {values} from one_{table} o cross join n"
        );
        self.bare.script(sql).await;
    }
}

/// The table `n` of the numbers `i` from `first` to the one before `end`.
fn numbers(first: i64, end: i64) -> String {
    format!(
        "with recursive n (i) as (select {first} union all select i + 1 from n where i + 1 < {end})"
    )
}

/// The identifier with a number.
fn id(prefix: &str, number: &str) -> String {
    // Decimal digits are hexadecimal ones.
    format!("'{prefix}_000000000000000000000000' || cast(10000000 + ({number}) as text)")
}
