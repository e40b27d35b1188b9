//! Organizations that a claim need not look at, since none of their runs can start.
//!
//! A claim that has looked at organizations in vain sets them aside, so that ten thousand that wait for one host are
//! looked at once each, and not by every claim. `work.look_at` is the earliest time at which a run is due or its host
//! has waited; a row in `waits` is a host with all the runs that it may have. What comes with the time, or with a free
//! place at a host, is seen by each claim. All else that lets a run start begins with a write of a run: a new one,
//! another attempt, an earlier time, another host, and the end of an attempt, which frees its repository. In the same
//! transaction, and after it, [`LOOK_AGAIN`] or the statement that counts the organization's runs lets the next claim
//! look.

use super::{
    claim::Claimer,
    search::{far, has_free_host, has_free_repo, hosts, looked_at, waiting},
};
use crate::{
    Error,
    records::Time,
    store::{
        Store, Tx, db,
        tx::{Wake, execute, on},
    },
};

/// The hosts with a free place that organizations of the node `$1` wait for.
macro_rules! freed_hosts {
    () => {
        concat!(
            "with recursive h (host) as (select (select v.host from waits v where v.home = $1 order by v.host limit 1)
                union all select (select v.host from waits v where v.home = $1 and v.host > h.host
                    order by v.host limit 1) from h where h.host is not null)
              select h.host from h where h.host is not null and ",
            has_free_host!("h")
        )
    };
}

/// The columns of [`Signs`]. `$in_vain` is true of the first organization that a claim looks at if that is in vain.
macro_rules! signs {
    ($in_vain:literal) => {
        concat!(
            "exists (select 1 from (select w.org from work w where w.home = $1 and w.queued > 0 and w.look_at = 0
                    order by w.running, w.served_at, w.org limit 1) w where ",
            $in_vain,
            ") as in_vain,
             exists (select 1 from work w where w.home = $1 and w.queued > 0 and w.look_at > 0 and w.look_at <= $2)
                as are_due,
             exists (",
            crate::store::sync_runs::aside::freed_hosts!(),
            ") as is_freed"
        )
    };
}
pub(super) use {freed_hosts, signs};

/// Signs that organizations are to be set aside or to be looked at again.
#[derive(sqlx::FromRow, Clone, Copy)]
pub(super) struct Signs {
    /// The first organization was looked at in vain.
    in_vain: bool,
    /// The time of some has come.
    are_due: bool,
    /// A host has a free place that some wait for.
    is_freed: bool,
}

/// The outlook of a claim that has found nothing.
#[derive(sqlx::FromRow)]
pub(super) struct Outlook {
    #[sqlx(flatten)]
    pub(super) signs: Signs,
    next_at: Option<i64>,
}

impl Outlook {
    /// The next time at which a run becomes due or a host has waited for long enough.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.next_at.map(Time)
    }
}

pub(in crate::store) const OUTLOOK: &str = concat!(
    "select ",
    signs!("true"),
    ", (select min(n.at) from (
            select min(run_at) as at from sync_runs where home = $1 and run_at is not null and run_at > $2
            union all select min(not_before) as at from hosts where not_before > $2) n) as next_at"
);

/// A statement that changes rows which it finds. PostgreSQL passes over those that others change meanwhile, so that
/// this waits for nobody, and gets them as one value: it might join them with all organizations.
type Changing = [&'static str; 2];

macro_rules! changing {
    ($text:ident) => {
        [
            $text!("in ", "", ")"),
            $text!("= any (array", " for no key update skip locked", "))"),
        ]
    };
}

macro_rules! mark {
    ($in:literal, $lock:literal, $end:literal) => {
        concat!(
            "update work set look_at = -1 where home = $1 and org ",
            $in,
            "(
                select c.org from (select w.org, coalesce(",
            far!("0"),
            ", ",
            far!("1"),
            ", ",
            far!("2"),
            ") as id from (",
            looked_at!($lock),
            ") w) c where c.id is null",
            $end
        )
    };
}

/// Marks what a claim looks at in vain. On PostgreSQL others may have queued or ended a run since this has begun, and
/// from here on they wait: the statements after this see all that they have done, and they undo what those write.
pub(in crate::store) const MARK: Changing = changing!(mark);

/// Whether a run of the organization `w` with one priority is due and of the host `b`. PostgreSQL may begin an `exists`
/// with the due runs of all organizations; this has one index with its order.
macro_rules! has_due {
    ($priority:literal) => {
        concat!(
            "(select f.id from ",
            waiting!($priority),
            " and f.host = b.host and f.run_at <= $2 order by f.run_at, f.id limit 1) is not null"
        )
    };
}

/// Lets the marked organizations wait for the hosts of their due runs that have no free place.
pub(in crate::store) const WAIT: &str = concat!(
    "insert into waits (home, org, host, served_at)
    select w.home, w.org, b.host, w.served_at from work w
    cross join (select l.host from sync_runs l where l.lease_until is not null group by l.host having count(*) >= $3) b
    where w.home = $1 and w.queued > 0 and w.look_at = -1 and (",
    has_due!("0"),
    " or ",
    has_due!("1"),
    " or ",
    has_due!("2"),
    ") on conflict (home, org, host) do update set served_at = excluded.served_at"
);

/// Whether a run of the organization `w` with one priority can start, as far as `waits` says.
macro_rules! can_start {
    ($priority:literal) => {
        concat!(
            "exists (",
            hosts!($priority),
            " select 1 from h where h.host is not null
                and not exists (select 1 from hosts t where t.host = h.host and t.not_before > $2)
                and not exists (select 1 from waits v where v.home = w.home and v.org = w.org and v.host = h.host)
                and (select f.id from ",
            waiting!($priority),
            " and f.host = h.host and f.run_at <= $2 and ",
            has_free_repo!("f"),
            " order by f.run_at, f.id limit 1) is not null)"
        )
    };
}

/// The earliest time at which a run of the organization `w` with one priority becomes due or its host has waited.
macro_rules! earliest {
    ($priority:literal) => {
        concat!(
            "(",
            hosts!($priority),
            " select min(coalesce(t.not_before, (select f.run_at from ",
            waiting!($priority),
            " and f.host = h.host and f.run_at > $2 order by f.run_at, f.id limit 1)))
                from h left join hosts t on t.host = h.host and t.not_before > $2 where h.host is not null)"
        )
    };
}

/// Sets the marked organizations aside. The places of hosts are not looked at once more, but as `waits` has them: one that
/// was taken or freed in between would be missed there.
pub(in crate::store) const SET_ASIDE: &str = concat!(
    "update work as w set look_at = case when ",
    can_start!("0"),
    " or ",
    can_start!("1"),
    " or ",
    can_start!("2"),
    " then 0 else coalesce((select min(n.at) from (select ",
    earliest!("0"),
    " as at union all select ",
    earliest!("1"),
    " as at union all select ",
    earliest!("2"),
    " as at) n), 9223372036854775807) end where w.home = $1 and w.queued > 0 and w.look_at = -1"
);

macro_rules! due {
    ($in:literal, $lock:literal, $end:literal) => {
        concat!(
            "update work set look_at = 0 where home = $1 and org ",
            $in,
            "(
                select w.org from work w where w.home = $1 and w.queued > 0 and w.look_at > 0 and w.look_at <= $2
                order by w.look_at, w.running, w.served_at, w.org limit 16",
            $lock,
            $end
        )
    };
}

/// Takes the first organizations back whose time has come.
pub(in crate::store) const DUE: Changing = changing!(due);

macro_rules! freed {
    ($in:literal, $lock:literal, $end:literal) => {
        concat!(
            "update work set look_at = 0 where home = $1 and org ",
            $in,
            "(
                select w.org from work w where w.home = $1 and w.org = (select v.org from waits v
                    where v.home = $1 and v.host = (",
            freed_hosts!(),
            " order by (select s.served_at from waits s where s.home = $1 and s.host = h.host
                        order by s.served_at, s.org limit 1), h.host limit 1)
                    order by v.served_at, v.org limit 1)",
            $lock,
            $end,
            " returning org"
        )
    };
}

/// Takes the organization back that was served longest ago, of those that wait for a host with a free place: a claim
/// starts one run.
pub(in crate::store) const FREED: Changing = changing!(freed);

macro_rules! ahead {
    ($in:literal, $lock:literal, $end:literal) => {
        concat!(
            "update work set look_at = 0 where home = $1 and org ",
            $in,
            "(
                select w.org from work w where w.home = $1 and w.queued > 0 and w.look_at > $2
                    and w.look_at < 9223372036854775807
                order by w.look_at limit 100",
            $lock,
            $end
        )
    };
}

/// Takes organizations back that were set aside until after `$2`.
const AHEAD: Changing = changing!(ahead);

/// Lets the next claim look at an organization. It writes where nothing changes, too: the lock keeps a claim from setting
/// the organization aside before this transaction can be seen.
const LOOK_AGAIN: &str = "update work set look_at = 0 where home = $1 and org = $2";

impl Store {
    /// Lets claims look at the organizations of a node that were set aside until after `limit`, since other times were
    /// mended.
    pub(in crate::store) async fn mend_aside(&self, node: &str, limit: Time) -> Result<(), Error> {
        loop {
            let mut tx = self.begin().await?;
            tx.lock_claims(node).await?;
            let query = db::query(tx.changing(AHEAD)).bind(node).bind(limit.0);
            if execute!(tx, query)? == 0 {
                return Ok(());
            }
            tx.wake(Wake::All);
            tx.commit().await?;
        }
    }
}

impl Tx {
    /// Sets organizations aside, and takes others back; whether anything has changed. The caller has the lock of the
    /// node's claims, and commits before it locks anything else.
    pub(super) async fn sort_out(
        &mut self,
        signs: Signs,
        claimer: &Claimer,
        now: Time,
    ) -> Result<bool, Error> {
        let query = |sql| db::query(sql).bind(&claimer.node).bind(now.0);
        let mut changed = 0;
        if signs.in_vain {
            let mark = query(self.changing(MARK)).bind(claimer.per_host);
            let marked = execute!(self, mark)?;
            if marked > 0 {
                execute!(self, query(WAIT).bind(claimer.per_host))?;
                execute!(self, query(SET_ASIDE))?;
            }
            changed += marked;
        }
        if signs.are_due {
            let due = query(self.changing(DUE));
            changed += execute!(self, due)?;
        }
        if signs.is_freed {
            changed += self.take_freed(claimer, now).await?;
        }
        Ok(changed > 0)
    }

    async fn take_freed(&mut self, claimer: &Claimer, now: Time) -> Result<u64, Error> {
        let query = db::query_scalar(self.changing(FREED)).bind(&claimer.node);
        let query = query.bind(now.0).bind(claimer.per_host);
        let taken: Option<String> = on!(self, c => query.fetch_optional(c))?;
        let Some(org) = taken else { return Ok(0) };
        let sql = "delete from waits where home = $1 and org = $2";
        execute!(self, db::query(sql).bind(&claimer.node).bind(org)).map_err(Error::from)
    }

    /// The outlook of a claim that has found nothing.
    pub(super) async fn outlook(&mut self, claimer: &Claimer, now: Time) -> Result<Outlook, Error> {
        let query = db::query_as(OUTLOOK).bind(&claimer.node).bind(now.0);
        Ok(on!(self, c => query.bind(claimer.per_host).fetch_one(c))?)
    }

    /// Lets the next claim look at an organization, one of whose waiting runs has changed.
    pub(super) async fn look_again(&mut self, home: &str, org: &str) -> Result<(), Error> {
        execute!(self, db::query(LOOK_AGAIN).bind(home).bind(org))?;
        Ok(())
    }

    /// Lets the runs of a repository that wait go to another host.
    pub(in crate::store) async fn change_host(
        &mut self,
        repo: &str,
        host: &str,
    ) -> Result<(), Error> {
        let sql = "update sync_runs set host = $2 where coalesce(run_at, -1) <> -1 and host <> $2 and id in (
                select q.id from sync_runs q where q.repo = $1 and coalesce(q.run_at, -1) >= 0 order by q.run_at)
            returning home, org";
        let query = db::query_as(sql).bind(repo).bind(host);
        let changed: Vec<(String, String)> = on!(self, c => query.fetch_all(c))?;
        if let Some((home, org)) = changed.first() {
            self.look_again(home, org).await?;
        }
        Ok(())
    }

    fn changing(&self, [sqlite, postgres]: Changing) -> &'static str {
        if self.has_many_writers() {
            postgres
        } else {
            sqlite
        }
    }
}
