"""A log from elsewhere is accepted as a whole, and nothing of it is lost when the acceptance is killed."""

import shutil
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

from durable_nb import Untrusted, connect, continue_as_new, flow, note, runs, schedules, signal, state, step
from durable_nb.app import App
from durable_nb.codec.sign import Signer, load_signer
from durable_nb.errors import Refused
from durable_nb.management.trust import Accepted, describe, trust
from durable_nb.stores import open_store
from durable_nb.testing import FakeClock, SimulatedCrash, crash_at, replay, run_until_idle

THEIRS, MINE = "c" * 32, "d" * 32


class Parcel:
    """A value that only a pickle can hold."""

    def __init__(self, day: date) -> None:
        self.day = day

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parcel) and other.day == self.day

    def __hash__(self) -> int:
        return hash(self.day)


@step
def trust_packed(day: date) -> Parcel:
    return Parcel(day)


@step(timeout="1m")  # runs on a worker: its answer goes through the inbox
def trust_sent(parcel: Parcel) -> Parcel:
    return Parcel(parcel.day)


@step(timeout="1m")
def trust_lost(parcel: Parcel) -> Parcel:
    raise LookupError("lost", parcel.day)


@flow
def trust_delivery(day: date) -> Parcel:
    parcel = trust_packed(day)
    try:
        trust_lost(parcel)
    except LookupError as error:
        if error.args != ("lost", day):
            raise
    return trust_sent(parcel)


DAY = date(2026, 11, 20)


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of theirs, in the state of every turn: ended, with an answer in the inbox, not begun."""
    monkeypatch.setenv("DURABLE_NB_KEY", THEIRS)
    path = tmp_path / "from.durable.db"
    with connect(path, carriers=0) as app:
        trust_delivery["ended"].start(DAY)
        run_until_idle(app)
        trust_delivery["half"].start(DAY)
        assert app.turn()
        assert app.turn()
        assert app.store.mail(app.record("half").key)
        trust_delivery["new"].start(DAY)
    monkeypatch.setenv("DURABLE_NB_KEY", MINE)
    return path


def accept(path: Path) -> Accepted:
    with connect(path, carry=False) as app:
        return trust(app.store, load_signer(), app.clock.now())


def check_all_ends_well(app: App) -> None:
    run_until_idle(app)
    for id in ("ended", "half", "new"):
        assert app.result(id, 0) == Parcel(DAY)
        kinds = [event.__class__.__name__ for event in app.events(id)]
        assert (kinds.count("StepAsked"), kinds.count("Returned"), kinds.count("Raised")) == (3, 2, 1)
    for key in (app.record(id).key for id in ("ended", "half", "new")):
        assert app.store.mail(key) == []


def test_everything_of_a_trusted_log_can_be_decoded_and_goes_on(foreign: Path) -> None:
    with connect(foreign, carriers=0) as app, pytest.raises(Untrusted):
        trust_delivery["other"].start(DAY)
    accepted = accept(foreign)
    assert (accepted.runs, accepted.unreadable) == (3, 0)
    assert accepted.rows > 0
    assert accepted.codes > 0
    with connect(foreign, carriers=0) as app:
        check_all_ends_well(app)


def test_trusting_again_changes_nothing(foreign: Path) -> None:
    accept(foreign)
    assert accept(foreign) == Accepted(runs=3, rows=0, codes=0, unreadable=0)


def test_describing_names_what_would_run_and_decodes_nothing(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("something was decoded")

    monkeypatch.setattr("durable_nb.codec.values.decode", fail)
    with connect(foreign, carry=False) as app:
        found = describe(app.store, load_signer())
        assert describe(app.store, Signer(bytes.fromhex(THEIRS))).is_yours
    assert (found.is_yours, found.flows) == (False, ("trust_delivery",))
    assert set(found.steps) == {"trust_packed", "trust_sent", "trust_lost"}
    assert found.runs == {"completed": 1, "waiting": 1, "pending": 1}


def test_a_log_that_somebody_carries_is_not_trusted(foreign: Path) -> None:
    theirs = open_store(str(foreign))
    owner = theirs.register("their kernel", 0)
    record = theirs.run("new")
    assert record is not None
    assert theirs.claim_run(record.key, owner, 0)
    with pytest.raises(Refused, match=r"their kernel on .* carries runs"):
        accept(foreign)
    theirs.close()  # as if it had died
    assert accept(foreign).runs == 3


def copied(path: Path) -> Path:
    """A fresh copy to kill."""
    trial = path.with_name("trial.durable.db")
    for old in trial.parent.glob(f"{trial.name}*"):
        old.unlink()
    shutil.copy(path, trial)
    return trial


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_killed_at_any_commit_it_is_untrusted_or_wholly_signed(foreign: Path, when: str) -> None:
    with crash_at() as counted:
        accept(copied(foreign))
    outcomes = []
    for commit in range(1, counted.commits + 1):
        trial = copied(foreign)
        with crash_at(commit, when), suppress(SimulatedCrash):
            accept(trial)
        with connect(trial, carry=False) as app:
            outcomes.append(app.is_trusted)
        if not outcomes[-1]:
            accept(trial)
        with connect(trial, carriers=0) as app:
            check_all_ends_well(app)
    assert outcomes == sorted(outcomes)
    assert outcomes.count(True) <= 2  # the mark of the log, and leaving
    assert outcomes.count(False) > 5


@flow
def trust_child(day: date) -> Parcel:
    return Parcel(day)


@flow
def trust_parent(day: date) -> Parcel:
    return trust_child["child"](day)


@flow
def trust_keeping(day: date, n: int = 1) -> list[object]:
    if n == 1:
        state["early"] = Parcel(day)
        continue_as_new(day, 2)
    state["late"] = Parcel(day)
    note(Parcel(day))
    told = signal("told", Parcel).result()
    return [told, state["early"], state["late"]]


@flow
def trust_scheduled(parcel: Parcel) -> Parcel:
    return parcel


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of theirs with values that lie beside histories, each of which only a pickle can hold."""
    monkeypatch.setenv("DURABLE_NB_KEY", THEIRS)
    path = tmp_path / "beside.durable.db"
    with connect(path, carriers=0, clock=FakeClock()) as app:
        trust_scheduled.schedule("every 1h", Parcel(DAY), id="hourly")
        trust_keeping["kept"].start(DAY)
        run_until_idle(app)
        app.signal("later", "told", Parcel(DAY), "early", before_start=True)
        app.signal("later", "told", Parcel(DAY), None, before_start=True)
        trust_parent["parent"].start(DAY)
        while runs["parent"].status != "waiting" or runs["child"].status != "completed":
            assert app.turn()
        assert [mail.kind for mail in app.store.mail(app.record("parent").key)] == ["ended"]
        runs["kept"].signal("told", Parcel(DAY), key="once")
    monkeypatch.setenv("DURABLE_NB_KEY", MINE)
    return path


def check_what_lies_beside(path: Path) -> None:
    clock = FakeClock()
    with connect(path, carriers=0, clock=clock) as app:
        assert runs["kept"].note == Parcel(DAY)
        assert runs["kept"].state == {"early": Parcel(DAY), "late": Parcel(DAY)}
        assert app.signal("kept", "told", Parcel(DAY), "once", before_start=False) == "repeated"
        trust_keeping["later"].start(DAY)
        run_until_idle(app)
        for id in ("kept", "later"):
            assert app.result(id, 0) == [Parcel(DAY)] * 3
        assert [mail.kind for mail in app.store.mail(app.record("later").key)] == []
        assert app.result("parent", 0) == app.result("child", 0) == Parcel(DAY)
        clock.advance("1h")
        run_until_idle(app)
        (started,) = runs(flow=trust_scheduled)
        assert started.result(0) == Parcel(DAY)
        assert schedules["hourly"].next is not None


def test_what_lies_beside_the_histories_is_signed_too(beside: Path) -> None:
    accept(beside)
    again = accept(beside)
    assert (again.rows, again.codes) == (0, 0)
    check_what_lies_beside(beside)


def test_schedules_are_named_before_they_are_accepted(beside: Path) -> None:
    with connect(beside, carry=False) as app:
        assert describe(app.store, load_signer()).schedules == ("hourly",)


def test_a_frozen_state_of_another_key_can_be_replayed_when_it_is_trusted(beside: Path, tmp_path: Path) -> None:
    with connect(beside, carry=False) as app:
        app.freeze("kept", tmp_path / "kept.json")
    with pytest.raises(Untrusted):
        replay(tmp_path / "kept.json", trust_keeping)
    assert replay(tmp_path / "kept.json", trust_keeping, trust=True) is None


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before commit", "after commit"])
def test_killed_at_any_commit_what_lies_beside_is_signed_in_the_end(beside: Path, when: str) -> None:
    with crash_at() as counted:
        accept(copied(beside))
    for commit in range(1, counted.commits + 1):
        trial = copied(beside)
        with crash_at(commit, when), suppress(SimulatedCrash):
            accept(trial)
        accept(trial)
        check_what_lies_beside(trial)
