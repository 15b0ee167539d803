-- Steps for workers, and the queues, tags and sessions that say who may begin one.

-- name: add_work
-- What is born claimed is begun with this very commit.
insert into work(run, ask, attempt, told, is_open, due, owner, name, data, queue, queue_key, tag, session, priority,
                 dedup)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
        coalesce(?14, (select priority from run where key = ?1)), ?15);

-- name: holder
-- The run whose work has the key: it waits or runs, or its body does although nobody waits for it any more.
select coalesce(run.id, '')
from (select run, ask from work indexed by work_dedup where dedup = ?2 and queue = ?1 and dedup <> ''
      union all
      select run, ask from admission indexed by admission_dedup
      where dedup = ?2 and queue = ?1 and dedup <> '' and owner is not null) as held
left join run on run.key = held.run
where not (held.run = ?3 and held.ask = ?4) limit 1;

-- name: drop_work
delete from work where run = ?1 and ask = ?2;

-- name: forgive_work
update work set crashes = 0 where run = ?1;

-- name: next_queue
select min(queue) from work indexed by work_free where owner is null and queue > ?1;

-- name: next_tag
select min(tag) from work indexed by work_free where owner is null and queue = ?1 and tag > ?2;

-- name: lane_due
select due from work indexed by work_due where owner is null and session = '' and queue = ?1 and tag = ?2
order by due limit 1;

-- name: lane_due_bound
-- Steps of a session that another process holds are due when it has been idle for long.
select min(max(w.due, case
    when s.owner is null or s.owner = ?3 then 0
    when exists (select 1 from work busy where busy.owner = s.owner and busy.session = s.name) then 9e999
    else s.seen_at + ?4 end))
from work w indexed by work_bound left join session s on s.name = w.session
where w.owner is null and w.session <> '' and w.queue = ?1 and w.tag = ?2;

-- name: next_priority
select max(priority) from work indexed by work_free where owner is null and queue = ?1 and tag = ?2 and priority < ?3;

-- name: lane_keys
-- Those whose turn is longest ago first.
with recursive each_key(name) as (
  select * from (select min(queue_key) from work indexed by work_free
                 where owner is null and queue = ?1 and tag = ?2 and priority = ?3)
  union all
  select (select min(w.queue_key) from work w indexed by work_free
          where w.owner is null and w.queue = ?1 and w.tag = ?2 and w.priority = ?3 and w.queue_key > each_key.name)
  from each_key where each_key.name is not null)
select name, coalesce((select max(a.n) from admission a indexed by admission_key
                       where a.queue = ?1 and a.queue_key = name), 0) as turn
from each_key where name is not null order by turn, name;

-- name: lane_work
select w.run, w.ask, w.name, w.data, w.attempt, w.crashes, w.due, w.owner, w.told, w.is_open, w.queue, w.queue_key,
       w.tag, w.session, w.priority, w.dedup
from work w indexed by work_free left join session s on w.session <> '' and s.name = w.session
where w.owner is null and w.queue = ?1 and w.tag = ?2 and w.priority = ?3 and w.queue_key = ?4 and w.due <= ?5
  and (s.owner is null or s.owner = ?6
       or (s.seen_at + ?7 <= ?5
           and not exists (select 1 from work busy where busy.owner = s.owner and busy.session = s.name)))
order by w.due, w.run, w.ask limit ?8;

-- name: claim_work
update work set owner = ?3 where run = ?1 and ask = ?2;

-- name: begin_work
update work set attempt = attempt + 1, told = attempt + 1, is_open = 1
where run = ?1 and ask = ?2 and attempt = ?3 and owner = ?4 and not is_open;

-- name: give_back_work
-- Its next attempt may have been begun, although the caller saw an error.
update work set owner = null, is_open = 0 where run = ?1 and ask = ?2 and owner = ?4 and attempt in (?3, ?3 + 1);

-- name: finish_work
delete from work where run = ?1 and ask = ?2 and attempt = ?3 and owner = ?4;

-- name: postpone_work
update work set owner = null, due = ?5, crashes = 0, told = attempt, is_open = 0
where run = ?1 and ask = ?2 and attempt = ?3 and owner = ?4;

-- name: work
select run, ask, name, data, attempt, crashes, due, owner, told, is_open, queue, queue_key, tag, session, priority,
       dedup
from work where run = ?1 order by ask;

-- name: put_queue
insert into queue(name, concurrency, per_worker, rate_count, rate_period) values (?1, ?2, ?3, ?4, ?5)
on conflict(name) do update
set concurrency = excluded.concurrency, per_worker = excluded.per_worker, rate_count = excluded.rate_count,
    rate_period = excluded.rate_period;

-- name: limits
select concurrency, per_worker, rate_count, rate_period from queue where name = ?1;

-- name: queue_use
-- ?5 is the count of the rate less one.
-- How much of a queue is taken: everywhere, by one process, and within the time of its rate. Others may be a little ahead
-- of our time; what is far ahead was begun before the clock was set back. What is let in and has not begun counts, however
-- long that takes: it may begin at any moment.
select
  (select count(*) from admission indexed by admission_open where queue = ?1 and owner is not null),
  (select count(*) from admission indexed by admission_open where queue = ?1 and owner = ?2),
  case when q.rate_count is null then 0 else (select count(*) from admission
   where queue = ?1 and (owner is not null and not is_begun or at + q.rate_period > ?3 and at <= ?3 + q.rate_period + ?4)) end,
  case when q.rate_count is null then null else (select at + q.rate_period from admission
   where queue = ?1 and at <= ?3 + q.rate_period + ?4 order by at desc limit 1 offset ?5) end
from queue q where q.name = ?1;

-- name: admit
update queue set admitted = admitted + 1 where name = ?1
returning admitted, coalesce(rate_count, 0), (select at from admission where queue = ?1 and n = admitted - 1);

-- name: put_admission
insert into admission(queue, n, queue_key, at, owner, run, ask, attempt, dedup)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);

-- name: enter
update admission set at = max(at, ?6), is_begun = 1 where queue = ?1 and owner = ?2 and run = ?3 and ask = ?4 and attempt = ?5
returning at;

-- name: forget_admissions
delete from admission where queue = ?1 and n <= ?2 and owner is null;

-- name: end_admission
update admission set owner = null where queue = ?1 and owner = ?2 and run = ?3 and ask = ?4 and attempt = ?5;

-- name: hold_session
insert into session(name, owner, seen_at) values (?1, ?2, ?3)
on conflict(name) do update set owner = excluded.owner, seen_at = excluded.seen_at;

-- name: see_session
update session set seen_at = ?3 where name = ?1 and owner = ?2;

-- name: forget_sessions
delete from session indexed by session_seen
where seen_at + ?2 <= ?1 and seen_at <= ?1
  and not exists (select 1 from work where work.owner = session.owner and work.session = session.name);

-- name: session_owner
select owner from session where name = ?1;

-- name: next_due_run
-- One look at the head of each index; what has a priority is rare, or at least looked at in order.
select min(due) from (
  select * from (select ready_at as due from run indexed by run_woken
                 where ready_at is not null and owner is null and status <> 'pending' and priority = 0
                 order by ready_at limit 1)
  union all
  select * from (select ready_at from run indexed by run_new
                 where ready_at is not null and owner is null and status = 'pending' and priority = 0
                 order by ready_at limit 1)
  union all
  select * from (select min(ready_at) from run indexed by run_priority
                 where ready_at is not null and owner is null and priority <> 0)
  union all
  select * from (select next_at from schedule where not paused order by next_at limit 1));
