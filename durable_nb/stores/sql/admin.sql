-- Opening and looking after the log.

-- name: objects
select count(*) from sqlite_master;

-- name: foreign_objects
-- Code that would run inside our statements: a log has none.
select type || ' ' || name from sqlite_master where type in ('trigger', 'view') order by 1;

-- name: create_log
insert into log(one, uid, mark, created_at) values (1, ?1, '', ?2) on conflict(one) do nothing;

-- name: set_data
update event set data = ?3 where run = ?1 and seq = ?2;

-- name: set_state
update state set value = ?3 where run = ?1 and key = ?2;

-- name: set_beside
update run set note = coalesce(?2, note), outcome = coalesce(?3, outcome) where key = ?1;

-- name: set_mail
update inbox set value = ?2 where seq = ?1;

-- name: early
select id, seq, 'signal', null, null, name, key, value, sender, sent_at from early order by seq;

-- name: set_early
update early set value = ?2 where seq = ?1;

-- name: family
-- The run and all below it, each with whether it may go: ended, and in nobody's hands.
with recursive family(member) as (
  select key from run where key = ?1
  union
  select run.key from family join run on run.parent = family.member)
select key, owner is null and status in ('completed', 'failed', 'cancelled') from run
where key in (select member from family) order by key;

-- name: delete_run
delete from run where key = ?1;

-- name: remember
insert into expired(id, uid, status, ended_at, pruned_at)
select id, uid, status, ended_at, ?2 from run where key = ?1 and ended_at is not null
on conflict(id, uid) do nothing;

-- name: forget_expired
-- Whoever deletes a run on purpose wants its id to be free, whatever had it before.
delete from expired where id = (select id from run where key = ?1);

-- name: ended
-- Roots with all below them are old enough, unless something of them lives or a run that lives was forked from it.
with recursive held(member) as (
  select key from run where status not in ('completed', 'failed', 'cancelled')
  union
  select key from run where owner is not null
  union
  select source.key from run as fork join run as source on source.id = fork.origin
  where fork.origin is not null and fork.status not in ('completed', 'failed', 'cancelled')
  union
  select run.parent from held join run on run.key = held.member where run.parent is not null),
root(member, ended_at, place) as (
  select key, ended_at, row_number() over (partition by flow order by ended_at desc, key desc) from run as one
  where status in ('completed', 'failed', 'cancelled')
    and (:flow is null or flow = :flow)
    and (:status is null or status = :status)
    and (parent is null or not exists (select 1 from run where key = one.parent)))
select member from root
where place > :keep and (:before_time is null or ended_at < :before_time)
  and member not in (select member from held)
order by ended_at, member limit :limit;

-- name: base
select base from run where key = ?1;

-- name: payloads_of
select distinct payload from payload_ref where run = ?1;

-- name: payloads_of_earlier
-- Of earlier executions only, without those that outlive them: a run keeps its state, note, mail and work when it
-- goes on.
select distinct payload_ref.payload from payload_ref join payload on payload.key = payload_ref.payload
where payload_ref.run = ?1 and payload_ref.seq <= ?2
  and not exists (select 1 from state where run = ?1 and instr(cast(value as text), payload.digest))
  and not exists (select 1 from inbox where run = ?1 and instr(cast(value as text), payload.digest))
  and not exists (select 1 from work where run = ?1 and instr(cast(data as text), payload.digest))
  and not exists (select 1 from run where key = ?1 and (instr(cast(note as text), payload.digest)
                  or instr(cast(arguments as text), payload.digest) or instr(cast(outcome as text), payload.digest)));

-- name: forget_reference
delete from payload_ref where run = ?1 and seq <= ?2 and payload = ?3;

-- name: delete_events
delete from event where run = ?1 and seq <= ?2;

-- name: digest_of
select digest from payload where key = ?1;

-- name: mailed
-- Mail that names payloads: its sender referred to them, and perhaps is gone before they are received.
select cast(value as text) from inbox where instr(cast(value as text), '"payload":')
union all
select cast(value as text) from early where instr(cast(value as text), '"payload":');

-- name: forget_awaited
-- Whoever put it was killed before the commit: a look a day ago found it put already.
update payload set awaited = 0 where awaited > 1 and awaited <= ?1;

-- name: meet_awaited
update payload set awaited = max(?1, 2) where awaited = 1;

-- name: unused_payloads
select key from payload
where awaited = 0 and not exists (select 1 from payload_ref where payload_ref.payload = payload.key);

-- name: delete_payload
-- What another run refers to, or is about to refer to, stays.
delete from payload
where key = ?1 and awaited = 0 and not exists (select 1 from payload_ref where payload = ?1);

-- name: chunks_of
select chunk from payload_chunk where payload = ?1;

-- name: delete_chunk
delete from chunk where key = ?1 and not exists (select 1 from payload_chunk where chunk = ?1)
returning length(data);

-- name: delete_unused_chunks
-- Whoever puts a payload right now puts its chunks again with it.
delete from chunk where not exists (select 1 from payload_chunk where payload_chunk.chunk = chunk.key)
returning length(data);

-- name: delete_unused_code
-- Not classes, which stored values name by digest. And a process may still pin new runs to what was the latest when it
-- put it: what was replaced before every process now here began is known to nobody.
delete from code
where kind in ('flow', 'step')
  and not exists (select 1 from run where run.code = code.digest)
  and exists (select 1 from code as newer
              where newer.kind = code.kind and newer.name = code.name and newer.put > code.put
                and newer.at < coalesce((select min(started_at) from owner), newer.at + 1))
returning length(document);

-- name: delete_early
delete from early where sent_at < ?1 returning length(value);

-- name: sizes
-- What the columns hold, without what SQLite needs to keep them in order.
select 'run', coalesce(sum(length(id) + length(uid) + length(flow) + length(code) + length(arguments)
  + coalesce(length(sentence), 0) + coalesce(length(waits), 0) + coalesce(length(note), 0)
  + coalesce(length(outcome), 0)), 0) from run
union all select 'event', coalesce(sum(length(kind) + coalesce(length(name), 0) + length(data)), 0) from event
union all select 'inbox', coalesce(sum(length(kind) + coalesce(length(name), 0) + length(value)), 0) from inbox
union all select 'signal_key', coalesce(sum(length(name) + length(key)), 0) from signal_key
union all select 'early', coalesce(sum(length(id) + length(name) + length(value)), 0) from early
union all select 'state', coalesce(sum(length(key) + length(value)), 0) from state
union all select 'watch', 8 * count(*) from watch
union all select 'expired', coalesce(sum(length(id) + length(uid) + length(status)), 0) from expired
union all select 'work', coalesce(sum(length(name) + length(data)), 0) from work
union all select 'code', coalesce(sum(length(name) + length(digest) + length(document)), 0) from code
union all select 'payload', coalesce(sum(length(digest)), 0) from payload
union all select 'chunk', coalesce(sum(length(digest) + length(data)), 0) from chunk
union all select 'output', coalesce(sum(length(text)), 0) from output;
