-- Processes that have the log open.

-- name: register
insert into owner(pid, host, label, started_at, seen_at, tags) values (?1, ?2, ?3, ?4, ?4, ?5) returning key;

-- name: heartbeat
update owner set seen_at = ?2 where key = ?1;

-- name: register_again
-- Somebody took a living owner for dead. Its key stays: it is in every lease it holds.
insert into owner(key, pid, host, label, started_at, tags, seen_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
on conflict do nothing;

-- name: owner_keys
-- Also those without a row: what they hold must not be held for ever.
select key from owner
union select owner from run where owner is not null
union select owner from work where owner is not null
union select owner from admission where owner is not null
union select owner from session
order by 1;

-- name: owners
select key, pid, host, label, started_at, seen_at, (select count(*) from run where run.owner = owner.key), tags
from owner order by key;

-- name: free_running
-- The status stays: what was running goes on as soon as somebody claims it.
update run set owner = null, ready_at = ?2, updated_at = ?2 where owner = ?1 and status = 'running';

-- name: free_seized
update run set owner = null where owner = ?1;

-- name: free_work
-- ?3 is 1 when the owner died and an attempt that was begun counts as a crash, 0 when it gave the work up.
update work set owner = null, due = min(due, ?2), crashes = crashes + ?3 * is_open, is_open = 0 where owner = ?1;

-- name: end_admissions
update admission set owner = null where owner = ?1;

-- name: drop_sessions
delete from session where owner = ?1;

-- name: forget_owner
delete from owner where key = ?1;
