-- Flows that are started again and again.

-- name: put_schedule
insert into schedule(id, flow, code, arguments, spec, tz, misfire, next_at, paused, sentence, created_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
on conflict(id) do update
set flow = excluded.flow, code = excluded.code, arguments = excluded.arguments, spec = excluded.spec, tz = excluded.tz,
    misfire = excluded.misfire, next_at = excluded.next_at, paused = excluded.paused, sentence = excluded.sentence,
    created_at = excluded.created_at;

-- name: drop_schedule
delete from schedule where id = ?1;

-- name: schedules
select id, flow, code, arguments, spec, tz, misfire, next_at, paused, sentence, created_at from schedule order by id;

-- name: due_schedules
select id, flow, code, arguments, spec, tz, misfire, next_at, paused, sentence, created_at
from schedule indexed by schedule_next where not paused and next_at <= ?1 order by next_at, id;

-- name: schedule
select id, flow, code, arguments, spec, tz, misfire, next_at, paused, sentence, created_at from schedule where id = ?1;
