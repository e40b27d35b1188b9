//! Plans that PostgreSQL makes before there is anything in the tables, or anything to be done. A connection keeps them when
//! the tables grow, until they are analyzed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::{super::*, postgres, uses};
use crate::clock;

/// The tables that grow with the use of the service.
const GROWING: &[&str] = &[
    "audit",
    "deliveries",
    "events",
    "hooks",
    "keys",
    "orgs",
    "repos",
    "sync_runs",
    "upstreams",
    "waits",
    "work",
];

/// The indices that may be read as a whole: those of the runs that are worked on.
const SHORT: &[&str] = &["sync_runs_leased", "sync_runs_leases", "sync_runs_of_host"];

/// Statements that look at all rows of a table, by their beginnings: a process executes each at its start or for a
/// person who looks at the whole service.
const OF_ALL: &[&str] = &[
    "insert into nodes",
    "select cast(coalesce(sum(queued), 0) as bigint)",
    "select (select count(*) from deliveries",
    "select c.home, c.org, c.queued",
    "select id, repo from sync_runs",
    "update deliveries set next_at = $2, node = null where node = $1",
];

/// The statements of a store, each with the types of its parameters.
type Statements = BTreeSet<(String, String)>;

/// The columns that a step looks up by an index, never row by row.
const KEYS: &[&str] = &[
    "folded", "hash", "host", "org", "priority", "repo", "subject", "target",
];

/// The steps of a plan that read a growing table without the first column of an index, unless they end with the first
/// rows, those that look for a key in each row, those that answer a question for all rows at once, and those that keep the
/// rows of a search to compare each of a table with them.
fn long_steps<'p>(plan: &'p [String], firsts: &BTreeMap<String, String>) -> Vec<&'p String> {
    let begins = |line: &str, word| line.trim_start().starts_with(word);
    let is_of_step = |line: &&String| {
        !["->", "SubPlan", "InitPlan", "CTE"]
            .iter()
            .any(|word| begins(line, word))
    };
    let mut long = Vec::new();
    for (at, step) in plan.iter().enumerate() {
        let is_growing = |table: &str| step.split(' ').any(|word| word == table);
        let is_scan = step.contains(" Scan ") && GROWING.iter().any(|table| is_growing(table));
        let conditions: Vec<_> = plan[at + 1..].iter().take_while(is_of_step).collect();
        let says = |kind, column: &str| {
            let column = format!("({column} ");
            let is_said = |line: &&&String| line.contains(kind) && line.contains(&column);
            conditions.iter().any(|line| is_said(&line))
        };
        let index = step.split(' ').skip_while(|word| *word != "using").nth(1);
        let has_key = index.is_some_and(|index| says("Index Cond:", &firsts[index]));
        let is_first = index.is_some() && at > 0 && plan[at - 1].contains("Limit");
        let is_short = index.is_some_and(|index| SHORT.contains(&index));
        let is_filtered = KEYS.iter().any(|key| says("Filter:", &format!("{key} =")));
        let is_by_index = is_short || (has_key || is_first) && !is_filtered;
        let is_search = |step: &String| step.contains("Subquery Scan");
        let is_joined = step.contains("Materialize") && plan.get(at + 1).is_some_and(is_search);
        let is_of_all = step.contains("hashed SubPlan") || is_joined;
        if is_scan && !is_by_index || is_of_all {
            long.push(step);
        }
    }
    long
}

/// Adds the statements that the connections of the store have prepared.
async fn collect(store: &Store, statements: &mut Statements) {
    let Pools::Postgres(pool) = &store.inner.pools else {
        panic!("the database is no PostgreSQL");
    };
    let mut connections = Vec::new();
    // One listens.
    while connections.len() + 1 < pool.size() as usize {
        connections.push(pool.acquire().await.expect("a connection"));
    }
    let sql =
        "select statement, array_to_string(parameter_types, ', ') from pg_prepared_statements";
    for connection in &mut connections {
        let found: Vec<(String, String)> = sqlx::query_as(sql)
            .fetch_all(&mut **connection)
            .await
            .expect("statements");
        statements.extend(found.into_iter().filter(|(sql, _)| {
            let verb = sql.split(' ').next().unwrap_or_default();
            ["select", "update", "delete", "insert", "with"].contains(&verb)
                && !sql.contains("pg_prepared_statements")
        }));
    }
}

/// A connection with the settings of the store's own.
pub(super) async fn connect(address: &DatabaseAddress) -> PgConnection {
    let DatabaseAddress::Postgres(url) = address else {
        panic!("the database is no PostgreSQL");
    };
    let options = url.options().expect("options");
    let connected = PgConnection::connect_with(&options).await;
    connected.expect("a connection")
}

/// The first column of each index.
async fn first_columns(connection: &mut PgConnection) -> BTreeMap<String, String> {
    let sql = "select c.relname::text, pg_get_indexdef(i.indexrelid, 1, true)
        from pg_index i join pg_class c on c.oid = i.indexrelid";
    let found: Vec<(String, String)> = sqlx::query_as(sql)
        .fetch_all(connection)
        .await
        .expect("indices");
    found.into_iter().collect()
}

/// The plan of a statement for whatever values.
async fn plan(connection: &mut PgConnection, sql: &str, types: &str) -> Vec<String> {
    let (types, given) = match types.split(", ").filter(|kind| !kind.is_empty()).count() {
        0 => (String::new(), String::new()),
        count => (
            format!("({types})"),
            format!("({})", vec!["null"; count].join(", ")),
        ),
    };
    let prepare = AssertSqlSafe(format!("deallocate all; prepare it {types} as {sql}"));
    let prepared = sqlx::raw_sql(prepare).execute(&mut *connection).await;
    prepared.unwrap_or_else(|err| panic!("{sql}: {err}"));
    let explain = AssertSqlSafe(format!("explain (costs off) execute it{given}"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|err| panic!("{sql}: {err}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// A long history and nothing to be done, as statistics are gathered of a service at night: an index of what is to be done
/// is empty, and reading all of it then costs as little as a key.
const HISTORY: &str = "
    insert into orgs (id, slug, folded, name, created_at)
        select 'org_' || i, 'o' || i, 'o' || i, 'o', 0 from generate_series(1, 2000) i;
    insert into repos (id, org, name, folded, default_bookmark, default_given, tags, home, created_at, removed_at)
        select 'repo_' || i, 'org_' || i, 'r' || i, 'r' || i, 'main', false, '{}', 'one', 0,
            case when i % 100 = 0 then 1 end from generate_series(1, 2000) i;
    insert into upstreams (repo, home, url, origin, host, version)
        select id, 'one', 'u', 'o', 'host', 1 from repos where removed_at is null;
    insert into sync_runs (id, repo, org, home, host, direction, branches, tags, dry_run, priority, status, attempt,
            tries, claim, cancelled, created_at, finished_at)
        select 'sync_' || i, 'repo_' || 1 + i % 2000, 'org_' || 1 + i % 2000, 'one', 'host', 'pull', '*', '*',
            false, 1, 'completed', 1, 0, 1, false, i, i from generate_series(1, 20000) i;
    insert into work (home, org, queued, running, served_at)
        select 'one', 'org_' || i, 0, 0, i from generate_series(1, 2000) i;
    insert into hooks (id, repo, provider, token, secret, created_at)
        select 'hook_' || repo, repo, 'github', 'x', 's', 0 from upstreams;
    insert into events (id, org, subject, type, at)
        select 'evt_' || i, 'org_1', 'sync_' || i, 'sync.completed', i from generate_series(1, 20000) i;
    insert into targets (id, org, url, events, enabled, secret, created_at, updated_at)
        select 'tgt_' || i, 'org_' || i, 'u', '[]', true, 's', 0, 0 from generate_series(1, 10) i;
    insert into deliveries (id, event, sequence, target, subject, type, state, attempt, created_at, finished_at)
        select 'dlv_' || i, 'evt_' || i, i, 'tgt_' || 1 + i % 10, 'sync_' || i, 'sync.completed', 'delivered', 1, i, i
            from generate_series(1, 20000) i;
    insert into keys (id, org, hash, scopes, created_at)
        select 'key_' || i, 'org_' || 1 + i % 100, int4send(i), '[]', 0 from generate_series(1, 2000) i;
    insert into audit (at, org, actor, action, subject)
        select i, 'org_1', 'a', 'b', 'c' from generate_series(1, 5000) i";

#[tokio::test]
async fn no_plan_reads_a_growing_table_as_a_whole() {
    let (Some(used), Some(empty)) = (postgres::database(), postgres::database()) else {
        return;
    };
    let open = async |text: &str| {
        let address: DatabaseAddress = text.parse().expect("an address");
        (Store::open(&address).await.expect("a store"), address)
    };
    let (store, _) = open(&used).await;
    let mut statements = Statements::new();
    let (org, repo) = uses::org_and_repo(&store).await;
    uses::requests(&store, &org, &repo).await;
    collect(&store, &mut statements).await;
    let now = clock::now().plus(Duration::from_secs(100));
    uses::work(&store, now).await;
    collect(&store, &mut statements).await;
    uses::deliver(&store, &org, &repo, now).await;
    uses::upkeep(&store, now).await;
    collect(&store, &mut statements).await;
    store.close().await;
    for (_, sql) in super::CLAIM {
        let types = if sql.contains("$3") {
            "text, bigint, bigint"
        } else {
            "text, bigint"
        };
        statements.insert(((*sql).to_owned(), types.to_owned()));
    }

    let (store, address) = open(&empty).await;
    store.close().await;
    let mut connection = connect(&address).await;
    let firsts = first_columns(&mut connection).await;
    assert!(statements.len() > 90, "{}", statements.len());
    assert_eq!(long_plans(&mut connection, &statements, &firsts).await, "");
    // What an older transaction may not see yet, as one of a backup or of the gathering of statistics, has to be looked up
    // in the table: no index alone answers a question.
    let mut older = connect(&address).await;
    let begin = "begin isolation level repeatable read; select count(*) from nodes";
    execute(&mut older, begin).await;
    execute(&mut connection, HISTORY).await;
    for is_seen_by_all in [false, true] {
        if is_seen_by_all {
            execute(&mut older, "commit").await;
        }
        execute(&mut connection, "vacuum analyze").await;
        let long = long_plans(&mut connection, &statements, &firsts).await;
        assert_eq!(long, "", "{is_seen_by_all}");
    }
}

async fn execute(connection: &mut PgConnection, sql: &'static str) {
    let done = sqlx::raw_sql(sql).execute(connection).await;
    done.expect("executed");
}

/// The statements with plans that read a growing table as a whole.
async fn long_plans(
    connection: &mut PgConnection,
    statements: &Statements,
    firsts: &BTreeMap<String, String>,
) -> String {
    let mut long = String::new();
    for (sql, types) in statements {
        if OF_ALL.iter().any(|beginning| sql.starts_with(beginning)) {
            continue;
        }
        let plan = plan(connection, sql, types).await;
        let steps = long_steps(&plan, firsts);
        if !steps.is_empty() {
            write!(long, "{sql}\n{steps:#?}\n{plan:#?}\n\n").expect("a string");
        }
    }
    long
}

/// An organization with most of the repositories, among many that have one: the planner expects few of each.
const LARGE_ORG: &str = "
    insert into orgs (id, slug, folded, name, created_at)
        select 'org_' || i, 'o' || i, 'o' || i, 'o', 0 from generate_series(1, 1000) i;
    insert into repos (id, org, name, folded, default_bookmark, default_given, tags, home, created_at)
        select 'repo_' || i, 'org_' || case when i <= 1000 then i else 1 end, 'r' || i, 'r' || i, 'main', false, '{}',
            'one', 0 from generate_series(1, 4000) i;
    analyze;
";

#[tokio::test]
async fn names_in_a_large_organization_are_looked_up_one_by_one() {
    let Some(text) = postgres::database() else {
        return;
    };
    let address: DatabaseAddress = text.parse().expect("an address");
    let store = Store::open(&address).await.expect("a store");
    store.close().await;
    let mut connection = connect(&address).await;
    let filled = sqlx::raw_sql(LARGE_ORG).execute(&mut connection).await;
    filled.expect("filled");
    let plan = plan(&mut connection, repos::IDS_OF_NAMES, "text, text").await;
    let compares = |step: &String| step.contains("Join Filter");
    assert!(!plan.iter().any(compares), "{plan:#?}");
}
