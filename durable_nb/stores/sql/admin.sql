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

-- name: payloads_of
select distinct payload from payload_ref where run = ?1;

-- name: delete_run
delete from run
where key = ?1 and (?2 or owner is null and status in ('completed', 'failed', 'cancelled'));

-- name: delete_payload
-- What another run refers to, or is about to refer to, stays.
delete from payload
where key = ?1 and awaited = 0 and not exists (select 1 from payload_ref where payload = ?1);

-- name: chunks_of
select chunk from payload_chunk where payload = ?1;

-- name: delete_chunk
delete from chunk where key = ?1 and not exists (select 1 from payload_chunk where chunk = ?1);
