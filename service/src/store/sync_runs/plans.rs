//! Plans of the statements that run most often, with a long queue.

use sqlx::Row as _;

use super::{claim, reads};
use crate::store::Store;

/// Ten thousand queued runs of two hundred repositories and two organizations.
const QUEUE: &str = "
    insert into orgs (id, slug, folded, name, created_at) values ('org_1', 'a', 'a', 'a', 0), ('org_2', 'b', 'b', 'b', 0);
    with recursive n(i) as (select 0 union all select i + 1 from n where i < 199)
    insert into repos (id, org, name, folded, default_bookmark, default_given, tags, home, created_at)
        select printf('repo_%032x', i), 'org_' || (1 + i % 2), 'r' || i, 'r' || i, 'main', false, '{}', 'one', 0 from n;
    insert into upstreams (repo, url, origin, host, version) select id, 'u', 'o', 'host', 1 from repos;
    with recursive n(i) as (select 0 union all select i + 1 from n where i < 9999)
    insert into sync_runs (id, repo, org, home, host, direction, branches, tags, dry_run, priority, status, attempt,
            tries, claim, cancelled, run_at, created_at)
        select printf('sync_%032x', i), printf('repo_%032x', i % 200), 'org_' || (1 + i % 2), 'one', 'host', 'pull',
            'b' || i, '*', false, 1, 'queued', 0, 0, 0, false, i, i from n;
    insert into work (home, org, queued, running, served_at) values ('one', 'org_1', 5000, 0, 0), ('one', 'org_2', 5000, 0, 0);
";

async fn plan(store: &Store, sql: &'static str) -> Vec<String> {
    let explained = sqlx::AssertSqlSafe(format!("explain query plan {sql}"));
    let rows = sqlx::query(explained)
        .fetch_all(store.sqlite_writer())
        .await;
    let rows = rows.expect("a plan");
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn the_claim_and_the_list_of_runs_search_by_indices() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("db"))
        .await
        .expect("a store");
    let writer = store.sqlite_writer();
    sqlx::raw_sql(QUEUE).execute(writer).await.expect("filled");
    // The program never gathers statistics, so the plan depends on the schema alone.
    for (name, sql) in [("claim", claim::FIND), ("list", reads::LIST)] {
        let plan = plan(&store, sql).await;
        // `c` is the list of the organizations that have work.
        let scans = |step: &&String| step.starts_with("SCAN") && *step != "SCAN c";
        assert_eq!(plan.iter().find(scans), None, "{name}: {plan:#?}");
        let searches = |index| plan.iter().any(|step| step.contains(index));
        let expected = match name {
            "claim" => &[
                "sync_runs_due",
                "sync_runs_leased",
                "sync_runs_of_host",
                "work_order",
            ][..],
            _ => &["sync_runs_of_repo"],
        };
        for index in expected {
            assert!(searches(index), "{name} without {index}: {plan:#?}");
        }
    }
}
