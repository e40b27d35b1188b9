-- The first schema. {bytes} and {serial} are the types of each database; all numbers are bigint, times are unix
-- milliseconds, lists are JSON in text.

create table orgs (
    id text primary key,
    slug text not null,
    folded text not null unique,
    name text not null,
    created_at bigint not null
);

-- Of an API key there is the hash of its secret, of a key that signs tokens its public half; never both.
create table keys (
    id text primary key,
    org text not null references orgs (id),
    name text,
    hash {bytes} unique,
    public_key {bytes},
    scopes text not null,
    repo_ids text,
    created_at bigint not null,
    expires_at bigint
);
create index keys_of_org on keys (org, id);
create unique index keys_public on keys (org, public_key) where public_key is not null;

-- The processes with the repositories of home = name on their disks. folder: the id of the data folder, which alone may
-- have the name; empty if it is lost. process: the id of the last process, which is another one after each start. repos
-- counts those that were not removed.
create table nodes (
    name text primary key,
    folder text not null,
    process text not null,
    public_url text not null,
    seen_at bigint not null,
    repos bigint not null
);

-- Values of the whole service. master_key: a known text, sealed, which every node has to open.
create table settings (
    name text primary key,
    value text not null
);

-- A removed repository keeps its row until its runs have ended and its folder is gone.
create table repos (
    id text primary key,
    org text not null references orgs (id),
    name text not null,
    folded text not null,
    default_bookmark text not null,
    default_given boolean not null,
    tags text not null,
    head text,
    home text not null,
    created_at bigint not null,
    removed_at bigint
);
-- One value, so that no other index begins with a part of what is looked up.
create unique index repos_by_name on repos ((org || '/' || folded)) where removed_at is null;
create index repos_of_org on repos (org, id);
create index repos_removed on repos (home, id) where removed_at is not null;

-- version: counts the changes of url, so that a run of the upstream before does not write its profile here.
-- last_pull, last_push: the run that holds the stats of the last completed run of each direction.
-- failures, refusals: the runs that have failed since the last one that completed, and those of them that the upstream
-- has refused. next_run_at is null without a schedule and where the upstream is parked.
create table upstreams (
    repo text primary key references repos (id),
    home text not null,
    url text not null,
    origin text not null,
    host text not null,
    version bigint not null,
    auth_kind text,
    auth text,
    profile text,
    last_pull text,
    last_push text,
    schedule_direction text,
    schedule_seconds bigint,
    schedule_branches text,
    schedule_tags text,
    failures bigint not null default 0,
    refusals bigint not null default 0,
    is_parked boolean not null default false,
    reason text,
    next_run_at bigint
);
create index upstreams_due on upstreams (home, next_run_at) where next_run_at is not null;

-- token is the SHA-256 of the one in the address, secret is sealed. not_before: the earliest time of the next run that
-- a call starts.
create table hooks (
    id text primary key,
    repo text not null unique references upstreams (repo) on delete cascade,
    provider text not null,
    token {bytes} not null,
    secret text not null,
    not_before bigint,
    created_at bigint not null
);

-- run_at is null unless the run waits for a worker, lease_until is null unless a worker has it. Both are null after
-- its end. tries counts failed attempts. stats has at most 100 refs; full_stats is compressed, and null where stats
-- has all of them; a run whose stats equal those of an earlier run has stats_of, the run that holds them.
create table sync_runs (
    id text primary key,
    repo text not null references repos (id),
    org text not null,
    home text not null,
    host text not null,
    direction text not null,
    branches text not null,
    tags text not null,
    dry_run boolean not null,
    priority bigint not null,
    status text not null,
    attempt bigint not null,
    tries bigint not null,
    claim bigint not null,
    cancelled boolean not null,
    run_at bigint,
    lease_until bigint,
    node text,
    worker text,
    stats text,
    full_stats {bytes},
    stats_of text,
    digest {bytes},
    messages text,
    error text,
    error_code text,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint
);
create unique index sync_runs_leased on sync_runs (repo) where lease_until is not null;
create unique index sync_runs_queued on sync_runs (repo, direction, branches, tags, dry_run) where status = 'queued';
-- The words about the lease, which say nothing new, keep SQLite from a search of one host's runs in sync_runs_due.
create index sync_runs_due on sync_runs (home, org, priority, run_at, id)
    where run_at is not null and lease_until is null;
create index sync_runs_by_host on sync_runs (home, org, priority, host, run_at, id) where run_at is not null;
create index sync_runs_next on sync_runs (home, run_at) where run_at is not null;
-- These words keep PostgreSQL from reading sync_runs_next as a whole for a repository while it has no rows.
create index sync_runs_open on sync_runs (repo, run_at) where coalesce(run_at, -1) >= 0;
create index sync_runs_leases on sync_runs (lease_until) where lease_until is not null;
create index sync_runs_of_host on sync_runs (host) where lease_until is not null;
create index sync_runs_of_repo on sync_runs (repo, id);
create index sync_runs_held on sync_runs (stats_of) where stats_of is not null;

-- The number of runs of an organization that wait for a worker of a node, and of those that run. Kept in the
-- transactions of the runs: counting inside of a claim is too slow. look_at: 0 if a claim is to look at the
-- organization, otherwise the time before which none of its runs can start unless one of `waits` may.
create table work (
    home text not null,
    org text not null references orgs (id),
    queued bigint not null,
    running bigint not null,
    served_at bigint not null,
    look_at bigint not null default 0,
    primary key (home, org)
);
create index work_order on work (home, look_at, running, served_at, org) where queued > 0;
create index work_of_org on work (org);

-- The hosts with all the runs they may have, for which organizations wait that a claim need not look at. A row may have
-- lost its reason: it goes when the host has a free place.
create table waits (
    home text not null,
    org text not null references orgs (id),
    host text not null,
    served_at bigint not null,
    primary key (home, org, host)
);
create index waits_order on waits (home, host, served_at, org);

-- Hosts that have asked to wait.
create table hosts (
    host text primary key,
    not_before bigint not null
);

-- data is null where no target had asked for the event.
create table events (
    sequence {serial},
    id text not null unique,
    org text not null references orgs (id),
    repo text,
    repo_name text,
    subject text not null,
    type text not null,
    data text,
    at bigint not null
);
create index events_by_time on events (at);
create index events_of_subject on events (subject, sequence);

-- Both secrets are sealed; the old one is used beside the new one until old_until.
create table targets (
    id text primary key,
    org text not null references orgs (id),
    url text not null,
    name text,
    events text not null,
    repo_ids text,
    enabled boolean not null,
    secret text not null,
    old_secret text,
    old_until bigint,
    failing_since bigint,
    created_at bigint not null,
    updated_at bigint not null
);
create index targets_of_org on targets (org, id);

-- A delivery that is being made has node, and next_at in the future, so that it is due again if its process dies.
create table deliveries (
    id text primary key,
    event text not null,
    sequence bigint not null,
    target text not null,
    subject text not null,
    type text not null,
    state text not null,
    attempt bigint not null,
    next_at bigint,
    node text,
    last_status bigint,
    last_error text,
    last_body text,
    created_at bigint not null,
    finished_at bigint
);
create index deliveries_due on deliveries (next_at, sequence) where state = 'pending';
create index deliveries_of_target_due on deliveries (target, next_at, sequence) where state = 'pending';
create index deliveries_pending on deliveries (target, subject, sequence) where state = 'pending';
create index deliveries_of_target on deliveries (target, id);
create index deliveries_of_event on deliveries (event) where state = 'pending';
create index deliveries_by_time on deliveries (created_at);

create table audit (
    sequence {serial},
    at bigint not null,
    org text,
    actor text not null,
    action text not null,
    subject text not null,
    detail text
);
create index audit_of_org on audit (org, sequence);
create index audit_by_time on audit (at);
