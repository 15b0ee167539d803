"""Mail that comes at the worst moment: while a step runs, or between the last look and the end of a turn."""

from typing import Any

import pytest

from durable_nb import App, Retry, RunPaused, current_step, flow, runs, sleep, step
from durable_nb.flows.host import current_host
from durable_nb.stores.shapes import Commit, NewMail
from durable_nb.testing import run_to_end, run_until_idle

LEDGER: list[tuple[str, int]] = []
LATE = NewMail("returned", 99, 1, None, None, b"{}", "a test", False)  # the answer of an ask that nobody made


@pytest.fixture(autouse=True)
def _fresh() -> None:
    LEDGER.clear()


@step(name="late_mail.pausing")
def pausing() -> None:
    runs["r"].pause()


@step(name="late_mail.count")
def count(n: int) -> int:
    LEDGER.append(("count", current_step().attempt))
    return n


@step(name="late_mail.aside")
def aside() -> int:
    return 1


@step(name="late_mail.meanwhile")
def meanwhile() -> int:
    """While this runs, the spawned step ends and its answer comes into the inbox."""
    LEDGER.append(("meanwhile", current_step().attempt))
    assert current_host().turn()  # type: ignore[attr-defined]
    return 1


@step(name="late_mail.failing", retry=Retry(max_attempts=2, first=60, jitter=0))
def failing() -> int:
    LEDGER.append(("failing", current_step().attempt))
    if current_step().attempt == 1:
        raise ConnectionError
    return 2


@step(name="late_mail.interrupted")
def interrupted() -> int:
    LEDGER.append(("interrupted", current_step().attempt))
    if current_step().attempt == 1:
        raise KeyboardInterrupt
    return 3


@flow(name="late_mail.paused_within")
def paused_within() -> int:
    pausing()
    return count(1)


@flow(name="late_mail.forgets")
def forgets(end: str) -> int:
    aside.spawn()
    meanwhile()
    if end == "raises":
        raise ValueError(end)
    if end == "sleeps":
        sleep(60)
    return count(1)


@flow(name="late_mail.retries")
def retries() -> int:
    return failing()


@flow(name="late_mail.stopped")
def stopped() -> int:
    return interrupted()


def test_pause_told_while_a_step_runs_is_followed_before_the_next_step(durable_app: App) -> None:
    with pytest.raises(RunPaused):
        paused_within["r"]()
    assert LEDGER == []
    assert runs["r"].status == "paused"
    runs["r"].resume()
    assert run_to_end(durable_app, runs["r"]) == 1


@pytest.mark.parametrize("end", ["returns", "raises", "sleeps"])
def test_answer_that_waits_for_company_survives_mail_at_the_end_of_the_turn(end: str, durable_app: App) -> None:
    run = forgets["r"].start(end)
    if end == "raises":
        with pytest.raises(ValueError, match="raises"):
            run_to_end(durable_app, run)
    else:
        assert run_to_end(durable_app, run) == 1
    assert LEDGER.count(("meanwhile", 1)) == 1
    assert ("meanwhile", 2) not in LEDGER


def mail_at_the_release(app: App, monkeypatch: pytest.MonkeyPatch) -> list[Commit]:
    """From now on a piece of mail comes right before a lease is given back for the first time; all such commits."""
    seen: list[Commit] = []
    plain_commit = app.store.commit

    def commit(given: Commit) -> int:
        if given.release is not None:
            seen.append(given)
            if len(seen) == 1:
                assert app.store.tell(given.run, LATE, app.clock.now())
        return plain_commit(given)

    monkeypatch.setattr(app.store, "commit", commit)
    return seen


def test_mail_between_the_last_look_and_a_wait_costs_one_more_round(
    durable_app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However high the numbers of the inbox are, which all runs of a log share."""
    other = forgets.options(delay="1h")["other"].start("returns")
    for _ in range(50):
        assert durable_app.store.tell(other.record.key, LATE, durable_app.clock.now())
    run = retries["r"].start()
    releases = mail_at_the_release(durable_app, monkeypatch)
    assert durable_app.turn()
    assert [commit.release.status for commit in releases if commit.release] == ["waiting", "waiting"]
    assert run_to_end(durable_app, run) == 2


def test_late_answer_does_not_undo_an_interruption(durable_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    mail_at_the_release(durable_app, monkeypatch)
    with pytest.raises(KeyboardInterrupt, match="paused"):
        stopped["r"]()
    assert runs["r"].status == "paused"
    assert LEDGER == [("interrupted", 1)]
    runs["r"].resume()
    assert run_to_end(durable_app, runs["r"]) == 3


@step(name="late_mail.first", timeout=60)
def first() -> int:
    return 1


@step(name="late_mail.second", timeout=60)
def second() -> int:
    return 2


@flow(name="late_mail.both")
def both() -> list[int]:
    one, two = first.spawn(), second.spawn()
    return [two.result(), one.result()]


def test_answer_between_the_look_into_the_inbox_and_its_commit_is_not_slept_through(
    durable_app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that admits the first answer tells of the second one: the turn may not end without having read it."""
    run = both["a"].start()
    assert durable_app.turn()  # asks for both steps, and waits
    workers = durable_app.runtime.workers
    assert workers.run_one()
    look, looks = durable_app.store.mail, []

    def look_and_be_late(key: int, after: int = 0) -> Any:
        found = look(key, after)
        looks.append(found)
        if len(looks) == 2:  # the first look is for orders, at the claim; this one is to admit answers
            assert workers.run_one()
        return found

    monkeypatch.setattr(durable_app.store, "mail", look_and_be_late)
    run_until_idle(durable_app)
    assert run.status == "completed", run.why()
    assert run.result() == [2, 1]
