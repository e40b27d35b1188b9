//! The SQL of the claim's search: the run that a worker takes next.

use super::{aside::signs, open::others_wait, run_columns, run_tables};
use crate::store::{events::has_targets, orgs::org_columns, repos::repo_columns};

/// The runs of the organization `w` with one priority that wait, of the table `f`.
macro_rules! waiting {
    ($priority:literal) => {
        concat!(
            "sync_runs f where f.home = w.home and f.org = w.org and f.priority = ",
            $priority,
            " and f.run_at is not null"
        )
    };
}

/// The hosts `h` of these runs, one step each, and null at the end.
macro_rules! hosts {
    ($priority:literal) => {
        concat!(
            "with recursive h (host) as (select (select f.host from ",
            waiting!($priority),
            " order by f.host limit 1)
                union all select (select f.host from ",
            waiting!($priority),
            " and f.host > h.host order by f.host limit 1) from h where h.host is not null)"
        )
    };
}

/// Whether no other run of the same repository is worked on.
macro_rules! has_free_repo {
    ($run:literal) => {
        concat!(
            "not exists (select 1 from sync_runs l where l.repo = ",
            $run,
            ".repo and l.lease_until is not null)"
        )
    };
}

/// Whether the host of a row has not asked to wait, and has fewer than `$3` runs that are worked on.
macro_rules! has_free_host {
    ($row:literal) => {
        concat!(
            "not exists (select 1 from hosts t where t.host = ",
            $row,
            ".host and t.not_before > $2)
             and (select count(*) from sync_runs b where b.host = ",
            $row,
            ".host and b.lease_until is not null) < $3"
        )
    };
}

/// The first of the organization's earliest 64 due runs that may start. An inner order is kept by both databases.
macro_rules! near {
    ($priority:literal) => {
        concat!(
            "(select d.id from (select f.id, f.repo, f.host from ",
            waiting!($priority),
            " and f.lease_until is null and f.run_at <= $2 order by f.run_at, f.id limit 64) d where ",
            has_free_repo!("d"),
            " and ",
            has_free_host!("d"),
            " limit 1)"
        )
    };
}

/// The first due run that may start, looked up host by host: a hundred thousand runs of a host that has asked to wait
/// cost one step. The recursion has a price even where no run waits, which most claims would pay. PostgreSQL answers an
/// `exists` for all organizations at once where it expects few runs; the first host it has to look up in its index.
macro_rules! far {
    ($priority:literal) => {
        concat!(
            "case when (select f.host from ",
            waiting!($priority),
            " order by f.host limit 1) is not null then (",
            hosts!($priority),
            " select e.id from h join sync_runs e on e.id = (select f.id from ",
            waiting!($priority),
            " and f.host = h.host and f.run_at <= $2 and ",
            has_free_repo!("f"),
            " order by f.run_at, f.id limit 1) where ",
            has_free_host!("h"),
            " order by e.run_at, e.id limit 1) end"
        )
    };
}

/// The first organizations that a claim looks at: those with the fewest running runs, then those served longest ago.
macro_rules! looked_at {
    ($lock:literal) => {
        concat!(
            "select w.home, w.org from work w where w.home = $1 and w.queued > 0 and w.look_at = 0
                order by w.running, w.served_at, w.org limit 16",
            $lock
        )
    };
}

/// The run to claim: of the first organization that has one, in there by priority. The inner limit keeps SQLite from
/// searching twice, for the condition and for its value.
macro_rules! candidate {
    () => {
        concat!(
            "select c.id from (select coalesce(",
            near!("0"),
            ", ",
            far!("0"),
            ", ",
            near!("1"),
            ", ",
            far!("1"),
            ", ",
            near!("2"),
            ", ",
            far!("2"),
            ") as id from (",
            looked_at!(""),
            ") w limit 16) c where c.id is not null limit 1"
        )
    };
}

pub(super) use {far, has_free_host, has_free_repo, hosts, looked_at, waiting};

/// The claim's search, of the table that its plan is tested with.
pub(in crate::store) const FIND: &str = concat!(
    "select ",
    run_columns!(),
    ", r.org, r.home as run_home, r.host as run_host, r.tries, r.claim, r.cancelled,
     r.lease_until, r.lease_until is not null as is_leased, p.name as open_repo_name, p.head as open_head,
     u.version, u.profile as open_profile, v.id as last_id, v.digest as last_digest, ",
    has_targets!("r.org"),
    ", ",
    others_wait!(),
    ", ",
    signs!("w.org <> r.org"),
    ", ",
    repo_columns!(),
    ", ",
    org_columns!(),
    ", u.host as upstream_host, u.auth as sealed,
     v.stats as previous_stats, v.full_stats as previous_full
     from ",
    run_tables!(),
    " join repos p on p.id = r.repo join orgs o on o.id = r.org join upstreams u on u.repo = r.repo
      left join sync_runs v on v.id = case r.direction when 'pull' then u.last_pull else u.last_push end
      where r.id = (",
    candidate!(),
    ")"
);

/// The repository and the host of the run that [`FIND`] finds.
pub(in crate::store) const CANDIDATE: &str = concat!(
    "select r.repo, r.host from sync_runs r where r.id = (",
    candidate!(),
    ")"
);
