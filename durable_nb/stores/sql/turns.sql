-- Everything a carrier does with a run: start, claim, commit, release.

-- name: start
-- A run that has the id already stays as it is: no row comes back.
insert into run(id, uid, flow, version, status, code, arguments, created_at, updated_at, ready_at, lease, owner,
                parent, parent_ask, origin, priority)
values (:id, :uid, :flow, :version, :status, :code, :arguments, :at, :at, :ready_at, :lease, :owner,
        :parent, :parent_ask, :origin, :priority)
on conflict(id) do nothing
returning key;

-- name: append
insert into event(run, seq, kind, ref, name, data, at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7);

-- name: append_1
-- The hot path: lease, mail mark and rows in one statement. No rows written = look why in a real transaction.
insert into event(run, seq, kind, ref, name, data, at)
select r.key, ?4, ?5, ?6, ?7, ?8, ?9 from run r
where r.key = ?1 and r.lease = ?2 and r.mail <= ?3 and r.owner is not null;

-- name: append_2
insert into event(run, seq, kind, ref, name, data, at)
select r.key, ?4, ?5, ?6, ?7, ?8, ?9 from run r
where r.key = ?1 and r.lease = ?2 and r.mail <= ?3 and r.owner is not null
union all
select r.key, ?10, ?11, ?12, ?13, ?14, ?15 from run r
where r.key = ?1 and r.lease = ?2 and r.mail <= ?3 and r.owner is not null;

-- name: append_3
insert into event(run, seq, kind, ref, name, data, at)
select r.key, ?4, ?5, ?6, ?7, ?8, ?9 from run r
where r.key = ?1 and r.lease = ?2 and r.mail <= ?3 and r.owner is not null
union all
select r.key, ?10, ?11, ?12, ?13, ?14, ?15 from run r
where r.key = ?1 and r.lease = ?2 and r.mail <= ?3 and r.owner is not null
union all
select r.key, ?16, ?17, ?18, ?19, ?20, ?21 from run r
where r.key = ?1 and r.lease = ?2 and r.mail <= ?3 and r.owner is not null;

-- name: fence
select lease, owner, mail from run where key = ?1;

-- name: row
select seq, kind, ref, name, data, at from event where run = ?1 and seq = ?2;

-- name: is_due
-- Asked before a claim opens a write transaction for nothing.
select exists(select 1 from run indexed by run_woken
              where ready_at <= ?1 and owner is null and status <> 'pending' and priority = 0)
    or exists(select 1 from run indexed by run_new
              where ready_at <= ?1 and owner is null and status = 'pending' and priority = 0)
    or exists(select 1 from run indexed by run_priority
              where ready_at <= ?1 and owner is null and priority <> 0);

-- name: due
-- Those woken by mail or a timer go before those never started; a limit in each arm keeps it to the heads of two indexes,
-- which are named, because the planner likes run_status better and would sort all that is pending.
with head as (
  select * from (
    select key as run, 0 as is_new, ready_at as due from run indexed by run_woken
    where ready_at <= ?1 and owner is null and status <> 'pending' and priority = 0 order by ready_at limit ?2)
  union all
  select * from (
    select key, 1, ready_at from run indexed by run_new
    where ready_at <= ?1 and owner is null and status = 'pending' and priority = 0 order by ready_at limit ?2)
  order by 2, 3, 1 limit ?2)
select {run}
from head join run on run.key = head.run
order by head.is_new, head.due, head.run;

-- name: next_run_priority
select max(priority) from run indexed by run_priority
where ready_at is not null and owner is null and priority <> 0 and priority < ?1;

-- name: due_with_priority
select {run} from run indexed by run_priority
where ready_at <= ?1 and owner is null and priority <> 0 and priority = ?3
order by ready_at, key limit ?2;

-- name: lease
update run set lease = lease + 1, owner = ?2, status = 'running', ready_at = null, updated_at = ?3 where key = ?1;

-- name: claim_run
update run set lease = lease + 1, owner = ?2, status = 'running', ready_at = null, updated_at = ?3
where key = ?1 and owner is null and status in ('pending', 'running', 'waiting')
returning {run};

-- name: seize
-- Status and due time stay; nobody else claims the run, because it has an owner.
update run set lease = lease + 1, owner = ?2
where key = ?1 and owner is null
returning {run};

-- name: wrest
-- Whoever holds the run loses it: the lease number is his no longer.
update run set lease = lease + 1, owner = ?2
where key = ?1
returning {run};

-- name: give_back
update run set owner = null, ready_at = case when status = 'running' then ?3 else ready_at end, updated_at = ?3
where key = ?1 and lease = ?2 and owner is not null;

-- name: pin
update run set code = ?2 where key = ?1;

-- name: put_state
insert into state(run, key, value) values (?1, ?2, ?3)
on conflict(run, key) do update set value = excluded.value;

-- name: drop_state
delete from state where run = ?1 and key = ?2;

-- name: put_note
update run set note = ?2, noted = noted + 1 where key = ?1;

-- name: begin_execution
update run
set execution = execution + 1, base = :base, code = :code, version = :version
where key = :run;

-- name: release
update run
set owner = null, status = :status, ready_at = :ready_at, reason = :reason, sentence = :sentence, waits = :waits,
    outcome = :outcome, updated_at = :at,
    ended_at = case when :status in ('completed', 'failed', 'cancelled') then :at end
where key = :run and lease = :lease and owner is not null and mail <= :mail;

-- name: place
update run set execution = ?2, base = ?3, created_at = ?4, updated_at = ?4 where key = ?1;

-- name: end_at_birth
-- A run that came from elsewhere and has ended there.
update run
set status = :status, ready_at = :ready_at, reason = :reason, sentence = :sentence, waits = :waits, outcome = :outcome,
    updated_at = :at, ended_at = case when :status in ('completed', 'failed', 'cancelled') then :at end
where key = :run;

-- name: drop_all_work
delete from work where run = ?1;

-- name: history
select seq, kind, ref, name, data, at from event where run = ?1 and seq > ?2 order by seq;
