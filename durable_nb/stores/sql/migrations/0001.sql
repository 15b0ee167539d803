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
  priority integer not null default 0,      -- of those that may be claimed, the higher goes first
  status text not null,
  flow text not null,
  version text,
  execution integer not null default 1,
  base integer not null default 0,          -- the event before the present execution's first one
  parent integer,                           -- the run that asked for it; perhaps deleted since, and its key is nobody's then
  parent_ask integer,
  noted integer not null default 0,         -- how often the note has changed
  origin text,                              -- the id of the run it was forked from
  created_at real not null,
  updated_at real not null,
  ended_at real,
  code text not null,
  reason text,
  sentence text,
  waits text,
  note blob,
  arguments blob not null,
  outcome blob
);
-- Two indexes, because those woken go before those never started: one look at the head of each, however many wait.
-- What has a priority has an index of its own: it costs nothing as long as nobody uses them.
create index run_woken on run(ready_at)
where ready_at is not null and owner is null and status <> 'pending' and priority = 0;
create index run_new on run(ready_at)
where ready_at is not null and owner is null and status = 'pending' and priority = 0;
create index run_priority on run(priority, ready_at) where ready_at is not null and owner is null and priority <> 0;
create index run_owner on run(owner) where owner is not null;
-- With the flow, so that a rare pair of both is found among many runs without looking at their rows.
create index run_status on run(status, key, flow);
create index run_flow on run(flow, key);
create index run_parent on run(parent) where parent is not null;
create index run_origin on run(origin) where origin is not null;
-- With the text, which is looked through: a run may wait for several things.
create index run_waits on run(key, status, flow, waits) where waits is not null;

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

create table signal_key(                    -- of every signal ever put with a key: a repeat is known by it
  run integer not null references run(key) on delete cascade,
  name text not null,
  key text not null,
  primary key(run, name, key)
) without rowid;

create table early(                         -- signals for ids that no run has yet
  seq integer primary key autoincrement,
  id text not null,
  name text not null,
  key text,
  value blob not null,
  sender text not null,
  sent_at real not null
);
create unique index early_key on early(id, name, key);
create index early_sent on early(sent_at);

create table watch(                         -- who is told when the run ends
  run integer not null references run(key) on delete cascade,
  by integer not null references run(key) on delete cascade,
  ask integer not null,                     -- of the one who is told
  primary key(run, by, ask)
) without rowid;
create index watch_by on watch(by, ask);

create table state(                         -- the runs' own data, as it is now
  run integer not null references run(key) on delete cascade,
  key text not null,
  value blob not null,
  primary key(run, key)
);

create table work(
  run integer not null references run(key) on delete cascade,
  ask integer not null,
  attempt integer not null,                 -- how often it was begun: the number of the newest attempt
  told integer not null,                    -- the newest attempt that the run was told of
  is_open integer not null default 0,       -- whether that newest attempt may still be running
  crashes integer not null default 0,       -- attempts in a row that never answered
  due real not null,
  owner integer,
  queue text not null default '',           -- whose limits it keeps; '' = nobody's
  queue_key text not null default '',       -- of those that queue, each key has its turn
  tag text not null default '',             -- only a process that has it may claim it
  session text not null default '',         -- only the process that holds it may claim it
  priority integer not null default 0,
  dedup text not null default '',           -- no two with the same are in a queue; '' = it is equal to none
  name text not null,
  data blob not null,
  primary key(run, ask)
) without rowid;
-- A queue and a tag are a lane: who may not enter it passes it by, however long it is.
create index work_free on work(queue, tag, priority, queue_key, due) where owner is null;
create index work_due on work(queue, tag, due) where owner is null and session = '';
create index work_bound on work(queue, tag, session, due) where owner is null and session <> '';
create index work_dedup on work(dedup, queue) where dedup <> '';
create index work_owner on work(owner) where owner is not null;

create table queue(
  name text primary key,
  concurrency integer,                      -- steps that run at once, in all processes; null = any number
  per_worker integer,                       -- and in one process
  rate_count integer,                       -- steps that begin
  rate_period real,                         -- within so many seconds
  admitted integer not null default 0       -- how many it has let in
) without rowid;

create table admission(                     -- what queues have let in, the last of it: it keeps its place until its body ends
  queue text not null,
  n integer not null,
  queue_key text not null,
  at real not null,
  owner integer,                            -- null = it has ended
  run integer not null,                     -- perhaps deleted since
  ask integer not null,
  attempt integer not null,
  is_begun integer not null default 0,      -- its body runs, or has run, from "at" on
  dedup text not null default '',           -- of its work
  primary key(queue, n)
) without rowid;
create index admission_key on admission(queue, queue_key, n);
create index admission_dedup on admission(dedup, queue) where dedup <> '' and owner is not null;
create index admission_open on admission(queue, owner, run, ask) where owner is not null;

create table session(                       -- which process does the steps of a session
  name text primary key,
  owner integer not null,
  seen_at real not null                     -- when it last began or ended one
) without rowid;
create index session_seen on session(seen_at);
create index session_owner on session(owner);

create table schedule(
  id text primary key,
  flow text not null,
  code text not null,                       -- of the flow, as it was; what is started takes the newest
  arguments blob not null,
  spec text not null,
  tz text not null,
  misfire text not null,
  next_at real not null,
  paused integer not null default 0,
  sentence text,                            -- why it is paused
  created_at real not null
) without rowid;
create index schedule_next on schedule(next_at) where not paused;

create table expired(                       -- pruned runs: their ids answer that they were here
  id text not null,
  uid text not null,
  status text not null,
  ended_at real not null,
  pruned_at real not null,
  primary key(id, uid)
) without rowid;

create table owner(
  key integer primary key autoincrement,    -- also the byte of <log>-owners that its process keeps locked
  pid integer not null,
  host text not null,
  label text not null,
  started_at real not null,
  seen_at real not null,
  tags text not null default '[]'           -- JSON: whose steps it takes beside those without a tag
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
  awaited real not null default 1           -- 1 = put, and no commit refers to it yet: deleting another run leaves it
                                            -- alone; then the time when gc first met it so; 0 = it was referred to
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
