//! Plans of the statements that run most often, with a long queue.

use sqlx::Row as _;

use super::{Store, deliveries, repos, schedules, sync_runs, upstream_hooks};

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

/// The steps over short lists: the organizations that have work, the hosts of one or the targets of all that have
/// something to be done, the first of these, the first 64 rows of something, the ids and names that a caller gave, and
/// the few leases.
const SHORT: &[&str] = &[
    "SCAN c",
    "SCAN h",
    "SCAN t",
    "SCAN d",
    "SCAN ids",
    "SCAN names",
    "SCAN n",
    "SCAN CONSTANT ROW",
    "SCAN f USING COVERING INDEX deliveries_of_target_due",
    "SCAN sync_runs USING INDEX sync_runs_leases",
];

/// Statements, and what their plans have to contain.
const EXPECTED: &[(&str, &str, &[&str])] = &[
    (
        "claim",
        sync_runs::CLAIM,
        &[
            "sync_runs_due (home=? AND org=? AND priority=? AND run_at>? AND run_at<?)",
            "sync_runs_by_host (home=? AND org=? AND priority=? AND host>?)",
            "sync_runs_by_host (home=? AND org=? AND priority=? AND host=? AND run_at>? AND run_at<?)",
            "sync_runs_leased",
            "sync_runs_of_host",
            "work_order",
        ],
    ),
    (
        "queue",
        sync_runs::QUEUE,
        &["sync_runs_open (repo=? AND run_at>?)", "work_of_org"],
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
        &[
            "sync_runs_open (repo=? AND run_at>?)",
            "sync_runs_leased (repo=?)",
        ],
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
            "sync_runs_open (repo=? AND run_at<?)",
        ],
    ),
    ("repositories", repos::ALL_REPOS, &["repos_of_org"]),
    (
        "some repositories",
        repos::SOME_REPOS,
        &["repos_of_org (org=? AND id=?)"],
    ),
    (
        "repositories by name",
        repos::IDS_OF_NAMES,
        &["repos_by_name (org=? AND folded=?)"],
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
        .fetch_all(store.sqlite_writer())
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
    let writer = store.sqlite_writer();
    sqlx::raw_sql(QUEUE).execute(writer).await.expect("filled");
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
