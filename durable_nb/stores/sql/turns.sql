-- Everything a carrier does with a run: start, claim, commit, release; and the mail others put for it.

-- name: start
-- A run that has the id already stays as it is.
insert into run(id, uid, flow, version, status, code, arguments, created_at, updated_at, ready_at, lease, owner)
values (:id, :uid, :flow, :version, :status, :code, :arguments, :at, :at, :ready_at, :lease, :owner)
on conflict(id) do nothing;

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
select exists(select 1 from run indexed by run_woken where ready_at <= ?1 and owner is null and status <> 'pending')
    or exists(select 1 from run indexed by run_new where ready_at <= ?1 and owner is null and status = 'pending');

-- name: due
-- Those woken by mail or a timer go before those never started; a limit in each arm keeps it to the heads of two indexes,
-- which are named, because the planner likes run_status better and would sort all that is pending.
with head as (
  select * from (
    select key, 0 as is_new, ready_at as due from run indexed by run_woken
    where ready_at <= ?1 and owner is null and status <> 'pending' order by ready_at limit ?2)
  union all
  select * from (
    select key, 1, ready_at from run indexed by run_new
    where ready_at <= ?1 and owner is null and status = 'pending' order by ready_at limit ?2)
  order by 2, 3, 1 limit ?2)
select run.key, id, uid, flow, version, execution, status, reason, sentence, waits, code, arguments, outcome,
       created_at, updated_at, ended_at, ready_at, lease, owner, mail
from head join run on run.key = head.key
order by head.is_new, head.due, head.key;

-- name: lease
update run set lease = lease + 1, owner = ?2, status = 'running', ready_at = null, updated_at = ?3 where key = ?1;

-- name: claim_run
update run set lease = lease + 1, owner = ?2, status = 'running', ready_at = null, updated_at = ?3
where key = ?1 and owner is null and status in ('pending', 'running', 'waiting')
returning key, id, uid, flow, version, execution, status, reason, sentence, waits, code, arguments, outcome,
          created_at, updated_at, ended_at, ready_at, lease, owner, mail;

-- name: seize
-- Status and due time stay; nobody else claims the run, because it has an owner.
update run set lease = lease + 1, owner = ?2
where key = ?1 and owner is null
returning key, id, uid, flow, version, execution, status, reason, sentence, waits, code, arguments, outcome,
          created_at, updated_at, ended_at, ready_at, lease, owner, mail;

-- name: consume
delete from inbox where run = ?1 and seq <= ?2;

-- name: follow
-- A single piece of mail: an order that has been followed, out of turn.
delete from inbox where run = ?1 and seq = ?2;

-- name: give_back
update run set owner = null, ready_at = case when status = 'running' then ?3 else ready_at end, updated_at = ?3
where key = ?1 and lease = ?2 and owner is not null;

-- name: pin
update run set code = ?2 where key = ?1;

-- name: release
update run
set owner = null, status = :status, ready_at = :ready_at, reason = :reason, sentence = :sentence, waits = :waits,
    outcome = :outcome, updated_at = :at,
    ended_at = case when :status in ('completed', 'failed', 'cancelled') then :at end
where key = :run and lease = :lease and owner is not null and mail <= :mail;

-- name: drop_mail
delete from inbox where run = ?1;

-- name: drop_all_work
delete from work where run = ?1;

-- name: history
select seq, kind, ref, name, data, at from event where run = ?1 and seq > ?2 order by seq;

-- name: mail
select seq, kind, ask, attempt, name, key, value, sender, sent_at from inbox where run = ?1 and seq > ?2 order by seq;

-- name: tell
-- Nothing is put for a run that is gone or ended.
insert into inbox(run, kind, ask, attempt, name, key, value, sender, sent_at)
select key, :kind, :ask, :attempt, :name, :mail_key, :value, :sender, :now from run
where key = :run and status not in ('completed', 'failed', 'cancelled')
returning seq;

-- name: raise_mail
-- Whoever holds the run sees the mark with his next commit; a run nobody holds is woken, unless a person stopped it.
update run
set mail = ?2,
    ready_at = case when ?4 and owner is null and status in ('pending', 'running', 'waiting')
                    then min(coalesce(ready_at, ?3), ?3) else ready_at end
where key = ?1;
