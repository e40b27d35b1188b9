//! Nodes: the processes that share a database, each with the repositories on its disk.

use std::time::Duration;

use super::{
    Store, db,
    tx::{execute, on, read},
};
use crate::{
    Error,
    records::Time,
    secrets::{Place, Sealer},
};

/// A node, as its process says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// The name, by which repositories know their home.
    pub name: String,
    /// The identifier of the data folder, which has the node's repositories.
    pub folder: String,
    /// The identifier of the process, after those of earlier ones in their order. One process serves a folder, so an
    /// earlier one of the same folder has ended, or serves a copy and has to end.
    pub process: String,
    /// The address under which clients reach it.
    pub public_url: String,
}

/// The answer to the wish to give the name of a node away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The next process may have it, with any data folder.
    Done,
    /// A process has it and was heard lately.
    Lives,
    /// There is no such node.
    Unknown,
}

/// The time after which a node that is silent gets no new repositories, and its name may be given away.
pub const SILENT: Duration = Duration::from_secs(30);

/// The time by which the clock of a living node may be ahead. One that was further ahead when it died would seem to live
/// until its time comes.
const AHEAD: Duration = Duration::from_secs(60);

/// The place for which the proof of the master key is sealed.
const PROOF: Place<'static> = Place {
    table: "settings",
    row: "master_key",
    column: "value",
};

impl Store {
    /// Takes the name of a node. False if a process with another data folder has it and was heard lately, or has
    /// repositories: those are in its folder, and nobody else can serve them.
    pub async fn enter_node(&self, node: &NewNode, now: Time) -> Result<bool, Error> {
        // A file of SQLite has one process; it may be a backup that was restored into another folder.
        let is_alone = !self.is_shared();
        let mut tx = self.begin().await?;
        let sql = "insert into nodes (name, folder, process, public_url, seen_at, repos)
            select $1, $2, $3, $4, $5, count(*) from repos where home = $1 and removed_at is null
            on conflict (name) do update
                set folder = excluded.folder, process = excluded.process, public_url = excluded.public_url,
                    seen_at = excluded.seen_at
                where nodes.folder in (excluded.folder, '')
                    or (nodes.repos = 0 and nodes.seen_at not between $6 and $7) or $8";
        let query = db::query(sql).bind(&node.name).bind(&node.folder);
        let query = query.bind(&node.process).bind(&node.public_url);
        let (first, last) = lately(now);
        let query = query.bind(now.0).bind(first).bind(last).bind(is_alone);
        let entered = execute!(tx, query)? > 0;
        tx.commit().await?;
        Ok(entered)
    }

    /// Says that the node lives. False if another process has its name. The row of an older process with the same
    /// folder, which has ended, is from a restore to an earlier point or a failover that has lost the last seconds:
    /// the name is taken once more.
    pub async fn see_node(&self, node: &NewNode, now: Time) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let sql = "update nodes set seen_at = $3, process = $2, public_url = $5
            where name = $1 and (process = $2 or (folder = $4 and process < $2))";
        let query = db::query(sql).bind(&node.name).bind(&node.process);
        let query = query.bind(now.0).bind(&node.folder).bind(&node.public_url);
        let is_known = execute!(tx, query)? > 0;
        tx.commit().await?;
        Ok(is_known)
    }

    /// Gives the name of a node whose data folder is lost to the next process that asks for it, with its repositories.
    /// A process that has it after all ends as soon as it says that it lives.
    pub async fn release_node(&self, name: &str, now: Time) -> Result<Released, Error> {
        let mut tx = self.begin().await?;
        let sql = "update nodes set folder = '', process = ''
            where name = $1 and seen_at not between $2 and $3";
        let (first, last) = lately(now);
        let query = db::query(sql).bind(name).bind(first).bind(last);
        let released = execute!(tx, query)? > 0;
        let query = db::query_scalar("select name from nodes where name = $1").bind(name);
        let known: Option<String> = on!(tx, c => query.fetch_optional(c))?;
        tx.commit().await?;
        Ok(match (released, known) {
            (true, _) => Released::Done,
            (false, Some(_)) => Released::Lives,
            (false, None) => Released::Unknown,
        })
    }

    /// The names of all nodes, each with the identifier of its data folder.
    pub async fn node_folders(&self) -> Result<Vec<(String, String)>, Error> {
        let sql = "select name, folder from nodes order by name";
        Ok(read!(self, c => db::query_as(sql).fetch_all(c))?)
    }

    /// Says that the node stops: it gets no new repositories until it is back.
    pub async fn leave_node(&self, node: &NewNode) -> Result<(), Error> {
        self.see_node(node, Time(0)).await.map(|_| ())
    }

    /// The living node with the fewest repositories; `own` if none was heard.
    pub async fn emptiest_node(&self, own: &str, now: Time) -> Result<String, Error> {
        let sql =
            "select name from nodes where seen_at between $1 and $2 order by repos, name limit 1";
        let (first, last) = lately(now);
        let query = db::query_scalar(sql).bind(first).bind(last);
        let name: Option<String> = read!(self, c => query.fetch_optional(c))?;
        Ok(name.unwrap_or_else(|| own.to_owned()))
    }

    /// Checks that all nodes have the same master key: the first one leaves a proof, which the others have to open.
    ///
    /// # Errors
    /// [`ErrorKind::Secret`](crate::ErrorKind) if the key is another one.
    pub async fn prove_key(&self, sealer: &Sealer) -> Result<(), Error> {
        let proof = sealer.seal(PROOF, b"refsyncd")?;
        let mut tx = self.begin().await?;
        let sql =
            "insert into settings (name, value) values ($1, $2) on conflict (name) do nothing";
        execute!(tx, db::query(sql).bind(PROOF.row).bind(proof))?;
        let sql = "select value from settings where name = $1";
        let query = db::query_scalar(sql).bind(PROOF.row);
        let first: String = on!(tx, c => query.fetch_one(c))?;
        sealer.open(PROOF, &first)?;
        tx.commit().await
    }
}

/// The first and the last time at which a node was heard lately.
fn lately(now: Time) -> (i64, i64) {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    (
        now.0.saturating_sub(millis(SILENT)),
        now.0.saturating_add(millis(AHEAD)),
    )
}
