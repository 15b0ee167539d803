import pytest

from durable_nb.stores.shapes import Message, Release, Told
from durable_nb.stores.sqlite import SqliteStore, open_sqlite
from tests.stores.examples import as_it_is, carried, letter, new_run, row, together, turn, values, waiting

DAY = 24 * 3600.0


def test_a_signal_reaches_the_run_by_its_id_and_wakes_it(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, release=waiting()))
    assert store.signal("order-1", letter(), 30.0, before_start=False) == Told("told", run.key)
    (mail,) = store.mail(run.key)
    assert (mail.kind, mail.name, mail.key, mail.value, mail.sender) == ("signal", "approve", None, b"true", "pid 1")
    assert (mail.sent_at, as_it_is(store, run).mail) == (30.0, mail.seq)
    assert store.next_due() == 30.0


def test_signals_without_a_key_are_all_put(store: SqliteStore) -> None:
    run = carried(store)
    for value in (b"1", b"1", b"2"):
        assert store.signal("order-1", letter(value=value), 30.0, before_start=False).what == "told"
    assert values(store, run) == [b"1", b"1", b"2"]


def test_a_signal_with_a_known_key_is_reported_and_not_put_again(store: SqliteStore) -> None:
    run, other = carried(store), carried(store, "other")
    first = letter(key="k1")
    assert store.signal("order-1", first, 30.0, before_start=False) == Told("told", run.key)
    assert store.signal("order-1", first, 31.0, before_start=True) == Told("repeated", run.key)
    assert store.signal("order-1", first._replace(name="other name"), 32.0, before_start=False).what == "told"
    assert store.signal("order-1", letter(key="k2"), 33.0, before_start=False).what == "told"
    assert store.signal("other", first, 34.0, before_start=False) == Told("told", other.key)
    assert [mail.sent_at for mail in store.mail(run.key)] == [30.0, 32.0, 33.0]


def test_a_key_stays_known_after_its_signal_was_received(store: SqliteStore) -> None:
    run = carried(store)
    store.signal("order-1", letter(key="k1"), 30.0, before_start=False)
    store.commit(turn(run, row(2), mail=1, taken=[1]))
    assert store.signal("order-1", letter(key="k1"), 31.0, before_start=False).what == "repeated"
    assert store.mail(run.key) == []


def test_only_signals_have_keys_that_are_known(store: SqliteStore) -> None:
    run = carried(store)
    assert store.tell(run.key, letter("answer", key="k1"), 30.0)
    assert store.tell(run.key, letter("answer", key="k1"), 31.0)
    assert store.signal("order-1", letter(key="k1"), 32.0, before_start=False).what == "told"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("before_start", [False, True])
def test_a_signal_to_an_ended_run_is_refused(store: SqliteStore, status: str, before_start: bool) -> None:
    run = carried(store)
    store.signal("order-1", letter(key="k1"), 19.0, before_start=False)
    store.commit(turn(run, mail=1, release=Release(status, None)))
    assert store.signal("order-1", letter(key="k2"), 30.0, before_start) == Told("ended", run.key)
    # It was not refused when it came: who sends it again is told so.
    assert store.signal("order-1", letter(key="k1"), 30.0, before_start) == Told("repeated", run.key)
    assert [mail.key for mail in store.mail(run.key)] == (["k1"] if status == "failed" else [])


def test_signals_that_a_failed_run_has_not_received_are_there_when_it_is_retried(store: SqliteStore) -> None:
    run = carried(store)
    store.tell(run.key, letter("answer", ask=2), 11.0)
    store.signal("order-1", letter(value=b"1"), 12.0, before_start=False)
    store.commit(turn(run, mail=2, release=Release("failed", None)))
    assert [(mail.kind, mail.value) for mail in store.mail(run.key)] == [("signal", b"1")]
    assert run.owner is not None
    seized = store.seize(run.key, run.owner)
    assert seized is not None
    store.commit(turn(seized, row(2, kind="retried"), release=waiting(30.0)))
    again = store.claim_run(run.key, run.owner, 31.0)
    assert again is not None
    assert values(store, again) == [b"1"]
    store.commit(turn(again, row(3), release=Release("completed", None)))
    assert store.mail(run.key) == []


def test_mail_to_a_run_that_is_to_begin_later_does_not_begin_it(store: SqliteStore) -> None:
    run, _ = store.start(new_run(ready_at=99.0))
    assert store.tell(run.key, letter(), 30.0)
    assert store.signal("order-1", letter(), 31.0, before_start=False).what == "told"
    assert as_it_is(store, run) == run._replace(mail=2)
    assert store.next_due() == 99.0


def test_a_signal_to_an_unknown_id_is_refused_unless_it_may_come_early(store: SqliteStore) -> None:
    assert store.signal("order-1", letter(), 30.0, before_start=False) == Told("unknown", None)
    assert store.signal("order-1", letter(), 30.0, before_start=True) == Told("early", None)
    assert store.signal("order-1", letter(), 30.0, before_start=False) == Told("unknown", None)


@pytest.mark.parametrize("is_owned", [False, True])
def test_early_signals_are_in_the_inbox_of_the_started_run_in_order(store: SqliteStore, is_owned: bool) -> None:
    owner = store.register("me", 1.0) if is_owned else None
    for id, value in [("order-1", b"1"), ("order-2", b"9"), ("order-1", b"2"), ("order-1", b"3")]:
        store.signal(id, letter(value=value), 5.0, before_start=True)
    run, was_created = store.start(new_run(owner=owner, ready_at=99.0))
    assert was_created
    assert values(store, run) == [b"1", b"2", b"3"]
    assert {(mail.kind, mail.name, mail.sender, mail.sent_at) for mail in store.mail(run.key)} == {
        ("signal", "approve", "pid 1", 5.0)
    }
    assert run.mail == store.mail(run.key)[-1].seq
    assert as_it_is(store, run) == run, "what start returns is what lies in the log"
    assert store.next_due() == (None if is_owned else 99.0), "the start says when it begins"
    assert store.start(new_run(owner=owner)) == (run, True)
    assert len(store.mail(run.key)) == 3
    assert values(store, store.start(new_run("order-2"))[0]) == [b"9"]


def test_early_signals_go_to_one_run_only(store: SqliteStore) -> None:
    store.signal("order-1", letter(key="k1"), 5.0, before_start=True)
    store.delete([store.start(new_run(uid="a"))[0].key], force=True, now=30.0)
    again, _ = store.start(new_run(uid="b"))
    assert (again.mail, store.mail(again.key)) == (0, [])
    assert store.signal("order-1", letter(key="k1"), 6.0, before_start=True).what == "told"


def test_a_run_nobody_wrote_to_begins_without_mail(store: SqliteStore) -> None:
    store.signal("order-2", letter(), 5.0, before_start=True)
    run, _ = store.start(new_run())
    assert (run.mail, store.mail(run.key)) == (0, [])


def test_a_repeated_early_signal_is_kept_once_and_its_key_is_known_to_the_run(store: SqliteStore) -> None:
    assert store.signal("order-1", letter(key="k1"), 5.0, before_start=True).what == "early"
    assert store.signal("order-1", letter(key="k1"), 6.0, before_start=True) == Told("repeated", None)
    assert store.signal("order-1", letter(key="k2"), 7.0, before_start=True).what == "early"
    run, _ = store.start(new_run())
    assert [(mail.key, mail.sent_at) for mail in store.mail(run.key)] == [("k1", 5.0), ("k2", 7.0)]
    assert store.signal("order-1", letter(key="k1"), 8.0, before_start=True) == Told("repeated", run.key)


def test_early_signals_are_kept_for_seven_days(store: SqliteStore) -> None:
    for at in (10.0, 11.0):
        store.signal("order-1", letter(key=f"at {at}"), at, before_start=True)
    run, _ = store.start(new_run(at=11.0 + 7 * DAY))
    assert [mail.sent_at for mail in store.mail(run.key)] == [11.0]
    assert store.signal("order-1", letter(key="at 10.0"), 12.0 + 7 * DAY, before_start=True).what == "told"


def test_a_signal_that_nobody_awaited_for_seven_days_is_forgotten(store: SqliteStore) -> None:
    assert store.signal("order-1", letter(key="k1"), 10.0, before_start=True).what == "early"
    assert store.signal("order-1", letter(key="k1"), 10.0 + 7 * DAY, before_start=True).what == "repeated"
    assert store.signal("order-2", letter(key="k1"), 11.0 + 7 * DAY, before_start=True).what == "early"
    assert store.database.read("select id from early") == [("order-2",)]


def test_a_start_that_is_refused_leaves_early_signals_where_they_are(store: SqliteStore) -> None:
    store.signal("order-1", letter(), 5.0, before_start=True)
    with pytest.raises(Exception, match="is not in the log"):
        store.start(new_run(payloads=("nowhere",)))
    run, _ = store.start(new_run())
    assert values(store, run) == [b"true"]


def test_mail_put_back_is_before_what_came_after_it(store: SqliteStore) -> None:
    run = carried(store)
    for value in (b"1", b"2", b"3"):
        store.tell(run.key, letter(value=value, key=value.decode()), 11.0)
    first, second, third = store.mail(run.key)
    store.commit(turn(run, row(2), mail=3, taken=[first.seq, second.seq]))
    assert store.commit(turn(run, row(3), mail=3, returned=[second, first])) == 3
    assert store.mail(run.key) == [first, second, third]
    assert as_it_is(store, run).mail == 3
    store.tell(run.key, letter(), 12.0)
    assert store.mail(run.key)[-1].seq == 4


def test_mail_that_the_same_commit_consumes_can_be_put_back(store: SqliteStore) -> None:
    run = carried(store)
    for value in (b"1", b"2"):
        store.tell(run.key, letter(value=value), 11.0)
    first, _ = store.mail(run.key)
    store.commit(turn(run, row(2), mail=2, consumed=2, returned=[first], release=waiting()))
    assert store.mail(run.key) == [first]


def test_a_message_reaches_another_run_with_the_commit_of_its_sender(store: SqliteStore) -> None:
    sender, receiver = carried(store, "sender"), carried(store, "receiver")
    store.commit(turn(receiver, release=waiting()))
    mark = store.commit(turn(sender, row(2), at=30.0, messages=[Message("receiver", receiver.uid, letter(key="k1"))]))
    assert mark == 0
    (mail,) = store.mail(receiver.key)
    assert (mail.key, mail.sent_at) == ("k1", 30.0)
    after = as_it_is(store, receiver)
    assert (after.mail, after.ready_at) == (mail.seq, 30.0)
    assert store.signal("receiver", letter(key="k1"), 31.0, before_start=False).what == "repeated"


def test_a_message_without_a_receiver_goes_nowhere(store: SqliteStore) -> None:
    sender, ended = carried(store, "sender"), carried(store, "ended")
    other = carried(store, "other")
    store.commit(turn(ended, release=Release("completed", None)))
    messages = [
        Message("ended", None, letter()),
        Message("gone", None, letter()),
        Message("other", "an older uid", letter()),
    ]
    assert store.commit(turn(sender, row(2), messages=messages)) == 0
    assert [store.mail(run.key) for run in (sender, ended, other)] == [[], [], []]
    assert store.start(new_run("gone"))[0].mail == 0


def test_a_message_with_a_known_key_is_not_put_again(store: SqliteStore) -> None:
    sender, receiver = carried(store, "sender"), carried(store, "receiver")
    message = Message("receiver", None, letter(key="k1"))
    store.commit(turn(sender, row(2), messages=[message, message]))
    assert len(store.mail(receiver.key)) == 1


def test_a_message_makes_the_release_of_its_receiver_look_again(store: SqliteStore) -> None:
    sender, receiver = carried(store, "sender"), carried(store, "receiver")
    store.commit(turn(sender, row(2), messages=[Message("receiver", None, letter(wakes=False))]))
    assert store.commit(turn(receiver, row(2))) == store.mail(receiver.key)[-1].seq


def test_a_run_that_writes_to_itself_is_told_of_it(store: SqliteStore) -> None:
    run = carried(store)
    assert store.commit(turn(run, row(2), messages=[Message("order-1", None, letter())])) == 1
    assert as_it_is(store, run).mail == 1


def test_a_run_that_writes_to_itself_and_lets_go_is_woken(store: SqliteStore) -> None:
    run = carried(store)
    store.commit(turn(run, row(2), at=30.0, messages=[Message("order-1", None, letter())], release=waiting()))
    assert store.next_due() == 30.0


def test_two_processes_that_send_one_key_put_it_once(filed: SqliteStore, path: str) -> None:
    run, other = carried(filed), open_sqlite(path, "process")
    for number in range(50):
        mail = letter(key=f"key {number}")
        works = [lambda each=each, mail=mail: each.signal("order-1", mail, 30.0, False) for each in (filed, other)]
        assert {told.what for told in together(works)} == {"told", "repeated"}
    assert len(filed.mail(run.key)) == 50
    other.close()


def test_a_signal_sent_while_its_run_starts_elsewhere_is_not_lost(filed: SqliteStore, path: str) -> None:
    other = open_sqlite(path, "process")
    for number in range(50):
        id = f"run-{number}"
        told, (run, _) = together(
            [
                lambda id=id: other.signal(id, letter(), 30.0, True),
                lambda id=id: filed.start(new_run(id)),
            ]
        )
        assert told in (Told("early", None), Told("told", run.key))
        (mail,) = filed.mail(run.key)
        assert as_it_is(filed, run).mail == mail.seq
        assert run.mail == (mail.seq if told.what == "early" else 0)
    other.close()


def test_a_key_that_is_freed_may_be_used_again_and_others_may_not(store: SqliteStore) -> None:
    run, _ = carried(store), carried(store, "other")
    for id in ("order-1", "other"):
        for key in ("k1", "k2"):
            store.signal(id, letter(key=key), 11.0, before_start=False)
    store.commit(turn(run, row(2, kind="rejected"), mail=99, taken=[1], freed=[("approve", "k1")]))
    told = [store.signal(id, letter(key=key), 12.0, False).what for id in ("order-1", "other") for key in ("k1", "k2")]
    assert told == ["told", "repeated", "repeated", "repeated"]
