-- The first schema. Columns that a commit looks at come before the blobs, so that no look follows overflow pages.

pragma application_id = 1685220962; -- "drnb"

create table log(
  one integer primary key check (one = 1),
  uid text not null,
  mark text not null,
  created_at real not null
);

create table run(
  key integer primary key autoincrement,    -- never used twice: owners, caches and other processes remember it
  id text not null unique,
  uid text not null,
  lease integer not null,                   -- fencing token, + 1 whenever somebody takes the run
  owner integer,                            -- the process that holds it
  mail integer not null default 0,          -- highest inbox number ever put: the optimistic guard of the hot path
  ready_at real,                            -- when it may be claimed
  status text not null,
  flow text not null,
  version text,
  execution integer not null default 1,
  created_at real not null,
  updated_at real not null,
  ended_at real,
  code text not null,
  reason text,
  sentence text,
  waits text,
  arguments blob not null,
  outcome blob
);
-- Two indexes, because those woken go before those never started: one look at the head of each, however many wait.
create index run_woken on run(ready_at) where ready_at is not null and owner is null and status <> 'pending';
create index run_new on run(ready_at) where ready_at is not null and owner is null and status = 'pending';
create index run_owner on run(owner) where owner is not null;
create index run_status on run(status, key);
create index run_flow on run(flow, key);

create table event(
  run integer not null references run(key) on delete cascade,
  seq integer not null,
  kind text not null,
  ref integer,                              -- the seq of the ask that is answered
  name text,
  data blob not null,
  at real not null,
  primary key(run, seq)
) without rowid;

create table inbox(
  seq integer primary key autoincrement,    -- never used twice, so that run.mail only grows
  run integer not null references run(key) on delete cascade,
  kind text not null,
  ask integer,
  attempt integer,
  name text,
  key text,
  value blob not null,
  sender text not null,
  sent_at real not null
);
create index inbox_run on inbox(run, seq);

create table work(
  run integer not null references run(key) on delete cascade,
  ask integer not null,
  attempt integer not null,                 -- how often it was begun: the number of the newest attempt
  told integer not null,                    -- the newest attempt that the run was told of
  is_open integer not null default 0,       -- whether that newest attempt may still be running
  crashes integer not null default 0,       -- attempts in a row that never answered
  due real not null,
  owner integer,
  name text not null,
  data blob not null,
  primary key(run, ask)
) without rowid;
create index work_free on work(due) where owner is null;
create index work_owner on work(owner) where owner is not null;

create table owner(
  key integer primary key autoincrement,    -- also the byte of <log>-owners that its process keeps locked
  pid integer not null,
  host text not null,
  label text not null,
  started_at real not null,
  seen_at real not null
);

create table code(
  kind text not null,
  name text not null,
  digest text not null,
  put integer not null,                     -- the highest of a (kind, name) is its latest
  mark text not null,
  at real not null,
  document blob not null,
  primary key(kind, name, digest)
);
create index code_latest on code(kind, name, put);
create index code_digest on code(digest);

-- Rowid tables: blobs cost twice in `without rowid`.
create table payload(
  key integer primary key,
  digest text not null unique,
  size integer not null,
  awaited integer not null default 1        -- put, and no commit refers to it yet: deleting another run leaves it alone
);

create table chunk(
  key integer primary key,
  digest text not null unique,
  data blob not null
);

create table payload_chunk(
  payload integer not null references payload(key) on delete cascade,
  n integer not null,
  chunk integer not null references chunk(key),
  primary key(payload, n)
) without rowid;
create index payload_chunk_chunk on payload_chunk(chunk);

create table payload_ref(
  run integer not null references run(key) on delete cascade,
  seq integer not null,
  payload integer not null references payload(key),
  primary key(run, seq, payload)
) without rowid;
create index payload_ref_payload on payload_ref(payload);

create table output(
  n integer primary key,
  run integer not null references run(key) on delete cascade,
  ask integer,
  attempt integer not null,
  stream text not null,
  text text not null,
  at real not null
);
create index output_run on output(run, n);
