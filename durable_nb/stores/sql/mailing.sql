-- What those who do not hold a run have to say to it.

-- name: mail
select seq, kind, ask, attempt, name, key, value, sender, sent_at from inbox where run = ?1 and seq > ?2 order by seq;

-- name: tell
-- Nothing is put for a run that is gone or ended.
insert into inbox(run, kind, ask, attempt, name, key, value, sender, sent_at)
select key, :kind, :ask, :attempt, :name, :mail_key, :value, :sender, :now from run
where key = :run and status not in ('completed', 'failed', 'cancelled')
returning seq;

-- name: raise_mail
-- Whoever holds the run sees the mark with his next commit; a run nobody holds is woken, unless a person stopped it or
-- it has yet to begin: the start has said when.
update run
set mail = ?2,
    ready_at = case when ?4 and owner is null and status in ('running', 'waiting')
                    then min(coalesce(ready_at, ?3), ?3) else ready_at end
where key = ?1;

-- name: consume
delete from inbox where run = ?1 and seq <= ?2;

-- name: take
-- A single piece of mail, out of turn: an order that has been followed, a signal that was received.
delete from inbox where run = ?1 and seq = ?2;

-- name: put_back
-- Under its old number, so that it is before what came after it; the mark of the run is above it already.
insert into inbox(seq, run, kind, ask, attempt, name, key, value, sender, sent_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
on conflict(seq) do nothing;

-- name: drop_mail
-- With ?2 signals stay: nobody sends them again when a failed run is retried.
delete from inbox where run = ?1 and not (?2 and kind = 'signal');

-- name: addressee
select key, uid, status from run where id = ?1;

-- name: is_key_known
select exists(select 1 from signal_key where run = ?1 and name = ?2 and key = ?3);

-- name: know_key
insert into signal_key(run, name, key) values (?1, ?2, ?3) on conflict do nothing;

-- name: free_key
delete from signal_key where run = ?1 and name = ?2 and key = ?3;

-- name: put_early
-- A key that waits for this id and name already is not put again. Without a key every signal is a new one.
insert into early(id, name, key, value, sender, sent_at) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict(id, name, key) do nothing;

-- name: forget_early
delete from early where sent_at < ?1;

-- name: is_early
-- Asked at every start, which then writes nothing more.
select exists(select 1 from early where id = ?1);

-- name: take_early
insert into inbox(run, kind, name, key, value, sender, sent_at)
select ?1, 'signal', name, key, value, sender, sent_at from early where id = ?2 and sent_at >= ?3 order by seq;

-- name: know_early_keys
insert into signal_key(run, name, key)
select ?1, name, key from early where id = ?2 and sent_at >= ?3 and key is not null;

-- name: drop_early
delete from early where id = ?1;

-- name: mark_early
-- Nobody is woken: the start has said when the run begins.
update run set mail = coalesce((select max(seq) from inbox where run = ?1), 0) where key = ?1 returning mail;

-- name: watch
insert into watch(run, by, ask) values (?1, ?2, ?3) on conflict do nothing;

-- name: watches_of
-- Those of the run's end and its own of others', by the id of the watched one.
select watch.run, watch.by, watch.ask, run.id
from watch join run on run.key = watch.run
where watch.run = ?1 or watch.by = ?1
order by watch.run, watch.by, watch.ask;

-- name: forget_watches
delete from watch where run = ?1 or by = ?1;

-- name: drop_watch
delete from watch where by = ?1 and ask = ?2;
