//! Plans of the statements that run most often, with a long queue.

use sqlx::Row as _;

use super::{Store, deliveries, keys, repos, retention, schedules, sync_runs, upstream_hooks};

/// Ten thousand queued runs of two hundred repositories and two organizations.
const QUEUE: &str = "
    insert into orgs (id, slug, folded, name, created_at) values ('org_1', 'a', 'a', 'a', 0), ('org_2', 'b', 'b', 'b', 0);
    with recursive n(i) as (select 0 union all select i + 1 from n where i < 199)
    insert into repos (id, org, name, folded, default_bookmark, default_given, tags, home, created_at)
        select printf('repo_%032x', i), 'org_' || (1 + i % 2), 'r' || i, 'r' || i, 'main', false, '{}', 'one', 0 from n;
    insert into upstreams (repo, home, url, origin, host, version) select id, 'one', 'u', 'o', 'host', 1 from repos;
    with recursive n(i) as (select 0 union all select i + 1 from n where i < 9999)
    insert into sync_runs (id, repo, org, home, host, direction, branches, tags, dry_run, priority, status, attempt,
            tries, claim, cancelled, run_at, created_at)
        select printf('sync_%032x', i), printf('repo_%032x', i % 200), 'org_' || (1 + i % 2), 'one', 'host', 'pull',
            'b' || i, '*', false, 1, 'queued', 0, 0, 0, false, i, i from n;
    insert into work (home, org, queued, running, served_at) values ('one', 'org_1', 5000, 0, 0), ('one', 'org_2', 5000, 0, 0);
";

/// The steps over short lists: the organizations that a claim looks at, the hosts of one or the targets of all that have
/// something to be done, the first of these, the first 64 rows of something, the ids and names that a caller gave, and
/// the few leases.
const SHORT: &[&str] = &[
    "SCAN c",
    "SCAN w",
    "SCAN h",
    "SCAN t",
    "SCAN d",
    "SCAN b",
    "SCAN m",
    "SCAN ids",
    "SCAN names",
    "SCAN n",
    "SCAN CONSTANT ROW",
    "SCAN f USING COVERING INDEX deliveries_of_target_due",
    "SCAN l USING INDEX sync_runs_of_host",
    "SCAN sync_runs USING INDEX sync_runs_leases",
];

/// The indices of the search for a run.
const CANDIDATE: &[&str] = &[
    "sync_runs_due (home=? AND org=? AND priority=? AND run_at>? AND run_at<?)",
    "sync_runs_by_host (home=? AND org=? AND priority=? AND host>?)",
    "sync_runs_by_host (home=? AND org=? AND priority=? AND host=? AND run_at>? AND run_at<?)",
    "sync_runs_leased",
    "sync_runs_of_host",
    "work_order (home=? AND look_at=?)",
];

/// Statements, and what their plans have to contain.
const EXPECTED: &[(&str, &str, &[&str])] = &[
    ("claim", sync_runs::CLAIM, CANDIDATE),
    ("candidate", sync_runs::CANDIDATE, CANDIDATE),
    (
        "outlook",
        sync_runs::OUTLOOK,
        &[
            "work_order (home=? AND look_at=?)",
            "work_order (home=? AND look_at>? AND look_at<?)",
            "waits_order (home=? AND host>?)",
            "sync_runs_of_host",
            "sync_runs_next",
        ],
    ),
    (
        "mark organizations",
        sync_runs::MARK[0],
        &[
            "work_order (home=? AND look_at=?)",
            "sqlite_autoindex_work_1 (home=? AND org=?)",
            "sync_runs_by_host (home=? AND org=? AND priority=? AND host=? AND run_at>? AND run_at<?)",
        ],
    ),
    (
        "hosts that are waited for",
        sync_runs::WAIT,
        &[
            "work_order (home=? AND look_at=?)",
            "sync_runs_of_host",
            "sync_runs_by_host (home=? AND org=? AND priority=? AND host=? AND run_at>? AND run_at<?)",
        ],
    ),
    (
        "organizations set aside",
        sync_runs::SET_ASIDE,
        &[
            "work_order (home=? AND look_at=?)",
            "sync_runs_by_host (home=? AND org=? AND priority=? AND host>?)",
            "sync_runs_by_host (home=? AND org=? AND priority=? AND host=? AND run_at>?)",
            "sqlite_autoindex_waits_1 (home=? AND org=? AND host=?)",
        ],
    ),
    (
        "organizations that are due",
        sync_runs::DUE[0],
        &[
            "work_order (home=? AND look_at>? AND look_at<?)",
            "sqlite_autoindex_work_1 (home=? AND org=?)",
        ],
    ),
    (
        "organization that waits for a host",
        sync_runs::FREED[0],
        &[
            "waits_order (home=? AND host=?)",
            "waits_order (home=? AND host>?)",
        ],
    ),
    (
        "queue",
        sync_runs::QUEUE,
        &["sync_runs_open (repo=?)", "work_of_org"],
    ),
    ("list of runs", sync_runs::LIST, &["sync_runs_of_repo"]),
    (
        "schedules",
        schedules::DUE,
        &["upstreams_due (home=? AND next_run_at<?)"],
    ),
    (
        "run under way",
        schedules::UNDER_WAY,
        &["sync_runs_open (repo=?)", "sync_runs_leased (repo=?)"],
    ),
    ("leases", sync_runs::LEASES_OF_NODE, &["sync_runs_leases"]),
    (
        "deliveries",
        deliveries::NEAR,
        &["deliveries_due (next_at<?)", "deliveries_pending"],
    ),
    (
        "deliveries by target",
        deliveries::FAR,
        &["deliveries_of_target_due (target=? AND next_at<?)"],
    ),
    (
        "called hook",
        upstream_hooks::CALLED,
        &[
            "sqlite_autoindex_hooks_1 (id=?)",
            "sync_runs_queued (repo=? AND direction=?",
        ],
    ),
    (
        "key and repository",
        keys::KEY_AND_REPO,
        &[
            "sqlite_autoindex_keys_2 (hash=?)",
            "repos_by_name (<expr>=?)",
        ],
    ),
    ("repositories", repos::ALL_REPOS, &["repos_of_org"]),
    (
        "some repositories",
        repos::SOME_REPOS,
        &["sqlite_autoindex_repos_1 (id=?)"],
    ),
    (
        "repositories by name",
        repos::IDS_OF_NAMES,
        &["repos_by_name (<expr>=?)"],
    ),
    (
        "repositories with many runs",
        retention::NEXT_REPOS,
        &[
            "sqlite_autoindex_repos_1 (id>?)",
            "sync_runs_of_repo (repo=?)",
        ],
    ),
    (
        "old runs",
        retention::HAS_OLD_RUNS,
        &[
            "sync_runs_of_repo (repo=? AND id<?)",
            "sync_runs_held (stats_of=?)",
        ],
    ),
    (
        "latest runs",
        repos::LATEST_SYNCS,
        &["sqlite_autoindex_repos_1 (id=?", "sync_runs_of_repo"],
    ),
];

async fn plan(store: &Store, sql: &str) -> Vec<String> {
    let explained = sqlx::AssertSqlSafe(format!("explain query plan {sql}"));
    let rows = sqlx::query(explained)
        .fetch_all(store.sqlite_writer().await.connection())
        .await;
    let rows = rows.expect("a plan");
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn statements_search_by_indices() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("db"))
        .await
        .expect("a store");
    let mut writer = store.sqlite_writer().await;
    let filled = sqlx::raw_sql(QUEUE).execute(writer.connection()).await;
    filled.expect("filled");
    drop(writer);
    // The program never gathers statistics, so the plan depends on the schema alone.
    for (name, sql, expected) in EXPECTED {
        let plan = plan(&store, sql).await;
        let is_long =
            |step: &&String| step.starts_with("SCAN") && !SHORT.iter().any(|short| step == short);
        assert_eq!(plan.iter().find(is_long), None, "{name}: {plan:#?}");
        for index in *expected {
            let is_searched = plan.iter().any(|step| step.contains(index));
            assert!(is_searched, "{name} without {index}: {plan:#?}");
        }
    }
}

mod early;
mod uses;

#[path = "../../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod postgres;

/// Twenty thousand queued runs of five thousand organizations with one repository each, among more that have none.
const POSTGRES_QUEUE: &str = "
    insert into orgs (id, slug, folded, name, created_at)
        select 'org_' || i, 'o' || i, 'o' || i, 'o', 0 from generate_series(1, 30000) i;
    insert into repos (id, org, name, folded, default_bookmark, default_given, tags, home, created_at)
        select 'repo_' || i, 'org_' || i, 'r', 'r', 'main', false, '{}', 'one', 0 from generate_series(1, 5000) i;
    insert into upstreams (repo, home, url, origin, host, version) select id, 'one', 'u', 'o', 'host', 1 from repos;
    insert into sync_runs (id, repo, org, home, host, direction, branches, tags, dry_run, priority, status, attempt,
            tries, claim, cancelled, run_at, created_at)
        select 'sync_' || i, 'repo_' || 1 + i % 5000, 'org_' || 1 + i % 5000, 'one', 'host', 'pull', 'b' || i, '*',
            false, 1, 'queued', 0, 0, 0, false, i, i from generate_series(1, 20000) i;
    insert into work (home, org, queued, running, served_at, look_at)
        select 'one', 'org_' || i, case when i <= 5000 then 4 else 0 end, 0, 0, i % 2 from generate_series(1, 30000) i;
    insert into waits (home, org, host, served_at)
        select 'one', 'org_' || i, 'host' || i % 3, 0 from generate_series(1, 5000) i;
    analyze;
";

/// The statements of a claim on PostgreSQL.
const CLAIM: &[(&str, &str)] = &[
    ("claim", sync_runs::CLAIM),
    ("candidate", sync_runs::CANDIDATE),
    ("outlook", sync_runs::OUTLOOK),
    ("mark organizations", sync_runs::MARK[1]),
    ("hosts that are waited for", sync_runs::WAIT),
    ("organizations set aside", sync_runs::SET_ASIDE),
    ("organizations that are due", sync_runs::DUE[1]),
    ("organization that waits for a host", sync_runs::FREED[1]),
];

#[tokio::test]
async fn postgresql_searches_by_indices_in_a_claim() {
    let Some(address) = postgres::database() else {
        return;
    };
    let of_store: super::DatabaseAddress = address.parse().expect("an address");
    let store = Store::open(&of_store).await.expect("a store");
    store.close().await;
    let mut connection = early::connect(&of_store).await;
    let filled = sqlx::raw_sql(POSTGRES_QUEUE).execute(&mut connection);
    filled.await.expect("filled");
    for (name, sql) in CLAIM {
        let given = if sql.contains("$3") {
            "'one', 5, 4"
        } else {
            "'one', 5"
        };
        let prepare = sqlx::AssertSqlSafe(format!("deallocate all; prepare it as {sql}"));
        let prepared = sqlx::raw_sql(prepare).execute(&mut connection).await;
        prepared.unwrap_or_else(|err| panic!("{name}: {err}"));
        let explain = sqlx::AssertSqlSafe(format!("explain execute it({given})"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|err| panic!("{name}: {err}"));
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        // The hosts that are throttled and the targets are few.
        let is_long = |step: &&String| {
            let tables = ["sync_runs", "work", "waits", "repos", "upstreams", "orgs"];
            let of = |table| step.contains(&format!("Seq Scan on {table}"));
            tables.into_iter().any(of) || step.contains("Sort Key: w.")
        };
        assert_eq!(plan.iter().find(is_long), None, "{name}: {plan:#?}");
    }
}

#[tokio::test]
async fn postgresql_plans_each_statement_once() {
    let Some(address) = postgres::database() else {
        return;
    };
    let of_store: super::DatabaseAddress = address.parse().expect("an address");
    let store = Store::open(&of_store).await.expect("a store");
    for _ in 0..3 {
        store.queue_length().await.expect("counted");
    }
    let super::Pools::Postgres(pool) = &store.inner.pools else {
        panic!("the database is no PostgreSQL");
    };
    let sql = "select cast(coalesce(sum(custom_plans), 0) as bigint), cast(coalesce(sum(generic_plans), 0) as bigint)
        from pg_prepared_statements where statement like '%from work%'";
    let plans: (i64, i64) = sqlx::query_as(sql).fetch_one(pool).await.expect("counted");
    assert!(plans.0 == 0 && plans.1 > 0, "custom and generic: {plans:?}");
    store.close().await;
}
