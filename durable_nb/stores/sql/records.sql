-- Looking runs up, and what is kept beside them: state, code, payloads, output, the log's own row.

-- name: run
select {run} from run where id = ?1;

-- name: run_by_key
select {run} from run where key = ?1;

-- name: find
-- Walks the runs from the newest on. `since` means created since; the text may be in the id, the flow or the sentence.
select {run} from run
where key < coalesce(:before, 9223372036854775807)
  and (:since is null or created_at >= :since)
  and (:search is null or instr(lower(id), lower(:search)) or instr(lower(flow), lower(:search))
       or instr(lower(coalesce(sentence, '')), lower(:search)))
order by key desc limit :limit;

-- name: find_by_waits
-- As above along run_waits, which has the text: first whether the name is in it at all, then whether it is waited for.
-- The row of a run that is carried still says what it waited for last.
select {run} from run
where waits is not null
  and instr(waits, '"name":' || json_quote(:waiting_for))
  and exists (select 1 from json_each(case when json_valid(waits) then waits else '[]' end) as one
              where one.type = 'object' and json_extract(one.value, '$.name') = :waiting_for)
  and +status <> 'running'
  and key < coalesce(:before, 9223372036854775807)
  and (:flow is null or flow = :flow)
  and (:status is null or +status = :status)
  and (:parent is null or +parent = :parent)
  and (:since is null or created_at >= :since)
  and (:search is null or instr(lower(id), lower(:search)) or instr(lower(flow), lower(:search))
       or instr(lower(coalesce(sentence, '')), lower(:search)))
order by key desc limit :limit;

-- name: find_by_parent
-- As above along run_parent.
select {run} from run
where parent = :parent
  and key < coalesce(:before, 9223372036854775807)
  and (:flow is null or +flow = :flow)
  and (:status is null or +status = :status)
  and (:since is null or created_at >= :since)
  and (:search is null or instr(lower(id), lower(:search)) or instr(lower(flow), lower(:search))
       or instr(lower(coalesce(sentence, '')), lower(:search)))
order by key desc limit :limit;

-- name: find_by_status
-- As above along run_status, where the flow is too.
select {run} from run
where status = :status
  and key < coalesce(:before, 9223372036854775807)
  and (:flow is null or flow = :flow)
  and (:since is null or created_at >= :since)
  and (:search is null or instr(lower(id), lower(:search)) or instr(lower(flow), lower(:search))
       or instr(lower(coalesce(sentence, '')), lower(:search)))
order by key desc limit :limit;

-- name: find_by_flow
-- As above along run_flow, so that a rare flow among many runs is found at once.
select {run} from run
where flow = :flow
  and key < coalesce(:before, 9223372036854775807)
  and (:since is null or created_at >= :since)
  and (:search is null or instr(lower(id), lower(:search)) or instr(lower(flow), lower(:search))
       or instr(lower(coalesce(sentence, '')), lower(:search)))
order by key desc limit :limit;

-- name: children
select {run} from run where parent = ?1 order by key;

-- name: tree
-- The run, those it asked for, those they asked for, and so on.
with recursive family(member) as (
  select key from run where key = ?1
  union
  select run.key from family join run on run.parent = family.member)
select {run} from run where key in (select member from family) order by key;

-- name: state
select key, value from state where run = ?1 order by key;

-- name: counts
select status, count(*) from run group by status;

-- name: count
select count(*) from run
where key < coalesce(:before, 9223372036854775807)
  and (:flow is null or flow = :flow)
  and (:status is null or status = :status)
  and (:parent is null or parent = :parent)
  and (:since is null or created_at >= :since)
  and (:search is null or instr(lower(id), lower(:search)) or instr(lower(flow), lower(:search))
       or instr(lower(coalesce(sentence, '')), lower(:search)))
  and (:waiting_for is null or status <> 'running' and exists (
       select 1 from json_each(case when json_valid(waits) then waits else '[]' end) as one
       where one.type = 'object' and json_extract(one.value, '$.name') = :waiting_for));

-- name: forks
select {run} from run where origin = ?1 order by key;

-- name: expired
select id, uid, status, ended_at, pruned_at from expired where id = ?1 order by pruned_at desc limit 1;

-- name: events
select kind, count(*) from event group by kind
union all
-- The first attempt of a step in place that waits for nothing begins with its ask.
select 'attempts', count(*) from event
where kind = 'attempt'
   or kind = 'step' and json_extract(cast(data as text), '$.due') is null
      and not coalesce(json_extract(cast(data as text), '$.elsewhere'), 0)
union all
select 'failed steps', count(*) from event join event as asked on asked.run = event.run and asked.seq = event.ref
where event.kind = 'raised' and asked.kind = 'step';

-- name: backlog
select 'runs ready', count(*) from run where owner is null and ready_at <= ?1
union all select 'steps due', count(*) from work where owner is null and due <= ?1
union all select 'steps later', count(*) from work where owner is null and due > ?1
union all select 'steps running', count(*) from work where owner is not null
union all select 'mail', count(*) from inbox
union all select 'oldest waiting', min(updated_at) from run where status = 'waiting';

-- name: newest_ids
select id from run order by key desc limit ?1;

-- name: put_code
-- The one put last is the latest, also when it was there before.
insert into code(kind, name, digest, put, mark, at, document)
values (:kind, :name, :digest, (select coalesce(max(put), 0) + 1 from code where kind = :kind and name = :name),
        :mark, :at, :document)
on conflict(kind, name, digest) do update set put = excluded.put, mark = excluded.mark, at = excluded.at,
  document = excluded.document;

-- name: code
select kind, name, digest, document, mark, at from code where digest = ?1 order by put desc limit 1;

-- name: latest_code
select kind, name, digest, document, mark, at from code where kind = ?1 and name = ?2 order by put desc limit 1;

-- name: codes
select kind, name, digest, document, mark, at from code order by kind, name, put;

-- name: replace_code_mark
update code set mark = ?4 where kind = ?1 and name = ?2 and digest = ?3;

-- name: await_payload
-- Somebody is about to refer to it again.
update payload set awaited = 1 where digest = ?1 and awaited <> 1;

-- name: has_payload
select awaited from payload where digest = ?1;

-- name: has_chunk
select exists(select 1 from chunk where digest = ?1);

-- name: put_chunk
insert into chunk(digest, data) values (?1, ?2) on conflict(digest) do nothing;

-- name: put_payload
insert into payload(digest, size) values (?1, ?2) on conflict(digest) do nothing returning key;

-- name: put_payload_chunk
insert into payload_chunk(payload, n, chunk) select ?1, ?2, key from chunk where digest = ?3;

-- name: forget_payload
-- It was put in this transaction, and one of its chunks is gone.
delete from payload where key = ?1;

-- name: refer
insert into payload_ref(run, seq, payload) select ?1, ?2, key from payload where digest = ?3
on conflict do nothing;

-- name: referred
update payload set awaited = 0 where digest = ?1 and awaited <> 0;

-- name: payload_chunks
select chunk.digest, chunk.data
from payload join payload_chunk on payload_chunk.payload = payload.key join chunk on chunk.key = payload_chunk.chunk
where payload.digest = ?1 and n >= ?2
order by n limit ?3;

-- name: put_output
-- Nothing is kept for a run that is gone.
insert into output(run, ask, attempt, stream, text, at) select key, ?2, ?3, ?4, ?5, ?6 from run where key = ?1;

-- name: output
select ask, attempt, stream, text, at from output where run = ?1 order by n;

-- name: log
select uid, mark, created_at from log;

-- name: sign_log
update log set mark = ?1;
