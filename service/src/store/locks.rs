//! Locks in PostgreSQL, in place of SQLite's single writer.
//!
//! A transaction that changes a repository, its upstream or its runs locks the repository's row before it reads: those
//! of one repository come one after another, each sees what the one before has left, and the events of a run or a
//! repository get their sequence in the order in which they are committed. (Sequences of different repositories are
//! not in the order of commits, and nothing relies on it.) On SQLite all of these do nothing.
//!
//! The order, in which no two transactions wait for each other: the claims of a node, a repository, a host, a run, its
//! counters in `work`, targets, deliveries, `hosts`. A claim that sets organizations aside takes the counters of many, but
//! waits for none, and commits before it locks anything else. Whoever meets a deadlock all the same gets an error of a busy
//! database.

use super::{
    Tx, db,
    tx::{On, execute},
};
use crate::Error;

impl Tx {
    /// Whether many transactions write at a time.
    pub(super) fn has_many_writers(&self) -> bool {
        matches!(self.on, On::Postgres(_))
    }

    /// Lets one process at a time bring the schema to its version, for as long as that takes.
    pub(super) async fn lock_schema(&mut self) -> Result<(), Error> {
        if self.has_many_writers() {
            for sql in [
                "set local statement_timeout = 0",
                "set local lock_timeout = 0",
            ] {
                execute!(self, db::query(sql))?;
            }
            self.lock_word("schema", "").await?;
        }
        Ok(())
    }

    /// Lets one worker of a node claim at a time: each sees which runs the others have taken.
    pub(super) async fn lock_claims(&mut self, node: &str) -> Result<(), Error> {
        self.lock_word("claims", node).await
    }

    /// Lets one node at a time start a run with a host: each sees the runs that others have started.
    pub(super) async fn lock_host(&mut self, host: &str) -> Result<(), Error> {
        self.lock_word("host", host).await
    }

    /// Lets nobody else change a repository, its upstream or its runs.
    pub(super) async fn lock_repo(&mut self, id: &str) -> Result<(), Error> {
        // Weak enough for others to refer to the row.
        let sql = "select 1 from repos where id = $1 for no key update";
        self.lock_rows(sql, id).await
    }

    /// Locks the repository of a run.
    pub(super) async fn lock_repo_of(&mut self, run: &str) -> Result<(), Error> {
        let sql = "select 1 from repos where id = (select r.repo from sync_runs r where r.id = $1) for no key update";
        self.lock_rows(sql, run).await
    }

    /// Lets nobody else change a run, not even renew its lease.
    pub(super) async fn lock_run(&mut self, id: &str) -> Result<(), Error> {
        let sql = "select 1 from sync_runs where id = $1 for no key update";
        self.lock_rows(sql, id).await
    }

    /// Lets nobody else change a target.
    pub(super) async fn lock_target(&mut self, id: &str) -> Result<(), Error> {
        let sql = "select 1 from targets where id = $1 for no key update";
        self.lock_rows(sql, id).await
    }

    /// Locks the target of a delivery.
    pub(super) async fn lock_target_of(&mut self, delivery: &str) -> Result<(), Error> {
        let sql =
            "select 1 from targets where id = (select d.target from deliveries d where d.id = $1)
            for no key update";
        self.lock_rows(sql, delivery).await
    }

    /// Lets nobody disable, narrow or remove a target of the organization that is enabled, before the deliveries to it
    /// are written.
    pub(super) async fn lock_targets_of(&mut self, org: &str) -> Result<(), Error> {
        let sql = "select 1 from targets where org = $1 and enabled order by id for share";
        self.lock_rows(sql, org).await
    }

    async fn lock_rows(&mut self, sql: &'static str, of: &str) -> Result<(), Error> {
        if self.has_many_writers() {
            execute!(self, db::query(sql).bind(of))?;
        }
        Ok(())
    }

    async fn lock_word(&mut self, kind: &str, word: &str) -> Result<(), Error> {
        if self.has_many_writers() {
            let sql =
                "select pg_advisory_xact_lock(hashtextextended('refsyncd ' || $1 || ' ' || $2, 0))";
            execute!(self, db::query(sql).bind(kind).bind(word))?;
        }
        Ok(())
    }
}
