-- Steps for workers.

-- name: add_work
-- What is born claimed is begun with this very commit.
insert into work(run, ask, attempt, told, is_open, due, owner, name, data) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);

-- name: drop_work
delete from work where run = ?1 and ask = ?2;

-- name: forgive_work
update work set crashes = 0 where run = ?1;

-- name: is_work_due
select exists(select 1 from work where owner is null and due <= ?1);

-- name: due_work
select run, ask, name, data, attempt, crashes, due, owner, told, is_open from work
where owner is null and due <= ?1
order by due, run, ask limit ?2;

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
select run, ask, name, data, attempt, crashes, due, owner, told, is_open from work where run = ?1 order by ask;

-- name: next_due
-- One look at the head of each index.
select min(due) from (
  select * from (select ready_at as due from run indexed by run_woken
                 where ready_at is not null and owner is null and status <> 'pending' order by ready_at limit 1)
  union all
  select * from (select ready_at from run indexed by run_new
                 where ready_at is not null and owner is null and status = 'pending' order by ready_at limit 1)
  union all
  select * from (select due from work where owner is null order by due limit 1));
