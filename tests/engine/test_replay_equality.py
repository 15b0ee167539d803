"""Frozen histories: `run.freeze(path)` keeps one, `durable_nb.testing.replay` checks code against it."""

import json
from pathlib import Path
from typing import Any

import pytest

from durable_nb import Cancelled, Saga, Untrusted, current_run, flow, now, random, signal, sleep, step, timer, uuid4
from durable_nb.app import App
from durable_nb.testing import FakeClock, replay, run_to_end, run_until_idle

GOLDEN = Path(__file__).parents[1] / "golden"


pytestmark = pytest.mark.usefixtures("own_names")


class Never:
    """Steps that no replay may run."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def make(self, name: str, **options: Any) -> Any:
        @step(name=name, **options)
        def body(value: Any = None) -> Any:
            self.calls.append(name)
            if name == "broken":
                raise LookupError("nothing there")
            return {"of": name, "value": value}

        return body


def golden_flow() -> Any:
    """The flow of tests/golden/purchase.json. It must not be changed: what it asked is in that file."""
    steps = Never()
    price, pay, ship, refund, broken = (steps.make(name) for name in ("price", "pay", "ship", "refund", "broken"))
    bounded = steps.make("bounded", timeout="30s")

    @flow
    def purchase(item: str, count: int) -> dict[str, Any]:
        total = price(item)
        beside = bounded.spawn({"of": item})
        token = str(uuid4())
        share = random().random()
        pay([total, token, share])
        alarm = timer("2h")
        sleep("1h")
        try:
            broken()
        except LookupError as error:
            caught = str(error)
        try:
            with Saga() as saga:
                saga.undo(refund, token)
                ship(count)
                raise RuntimeError("out of stock")
        except RuntimeError:
            undone = True
        found = beside.result()
        alarm.result()
        at = now().isoformat()
        return {
            "caught": caught, "undone": undone, "found": found, "at": at, "token": token, "share": share,
            "run": current_run().id,
        }  # fmt: skip

    return purchase, steps


def frozen(app: App, made: Any, folder: Path, *args: Any) -> Path:
    run = made["r"].start(*args)
    run_to_end(app, run)
    path = folder / "frozen.json"
    run.freeze(path)
    return path


def two(names: tuple[str, ...] = ("load", "save")) -> tuple[Any, Never]:
    steps = Never()
    made = [steps.make(name) for name in names]

    @flow
    def pair(n: int) -> list[Any]:
        return [one(n) for one in made]

    return pair, steps


def test_the_same_code_fits_and_nothing_is_run(durable_app: App, tmp_path: Path) -> None:
    pair, steps = two()
    path = frozen(durable_app, pair, tmp_path, 7)
    before = list(steps.calls)
    assert replay(path, pair) == [{"of": "load", "value": 7}, {"of": "save", "value": 7}]
    assert steps.calls == before


def test_other_code_is_an_assertion_error_with_both_sides(durable_app: App, tmp_path: Path) -> None:
    pair, _ = two()
    path = frozen(durable_app, pair, tmp_path, 7)
    changed, _ = two(("load", "send"))
    with pytest.raises(AssertionError) as caught:
        replay(path, changed)
    text = str(caught.value)
    assert "the log has step `save`, the code asks for `send`" in text
    assert "in the log" in text
    assert "≠" in text
    assert "test_replay_equality.py, line " in text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("load",), "it ends before event"),
        (("save", "load"), "the log has step `load`, the code asks for `save`"),
        (("load", "save", "save"), "had ended"),
        ((), "it ends before event"),
    ],
)
def test_every_kind_of_misfit_is_told(durable_app: App, tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    pair, _ = two()
    path = frozen(durable_app, pair, tmp_path, 7)
    changed, _ = two(names)
    with pytest.raises(AssertionError, match=said):
        replay(path, changed)


def test_other_arguments_are_told(durable_app: App, tmp_path: Path) -> None:
    steps = Never()
    load = steps.make("load")

    @flow(name="arguments")
    def before(n: int) -> Any:
        return load(n)

    path = frozen(durable_app, before, tmp_path, 7)

    @flow(name="arguments")
    def after(n: int) -> Any:
        return load(n + 1)

    with pytest.raises(AssertionError, match=r'"value":7.*"value":8'):
        replay(path, after)


def test_a_waiting_run_can_be_frozen_and_replays_to_its_wait(durable_app: App, tmp_path: Path) -> None:
    steps = Never()
    load, save = steps.make("load"), steps.make("save")

    @flow
    def waits() -> Any:
        load(1)
        sleep("1h")
        return save(2)

    run = waits["r"].start()
    run_until_idle(durable_app)
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", waits) is None
    assert steps.calls == ["load"]


def test_a_failed_run_replays_to_its_failure(durable_app: App, tmp_path: Path) -> None:
    steps = Never()
    broken = steps.make("broken")

    @flow
    def fails() -> None:
        broken()

    run = fails["r"].start()
    with pytest.raises(LookupError):
        run_to_end(durable_app, run)
    run.freeze(tmp_path / "frozen.json")
    found = replay(tmp_path / "frozen.json", fails)
    assert isinstance(found, LookupError)
    assert str(found) == "nothing there"
    assert steps.calls == ["broken"]


def test_a_retried_run_replays_what_counts(durable_app: App, tmp_path: Path) -> None:
    tries: list[int] = []

    @step
    def fragile() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("down")
        return len(tries)

    @flow
    def work() -> int:
        return fragile()

    run = work["r"].start()
    with pytest.raises(ConnectionError):
        run_to_end(durable_app, run)
    run.retry()
    assert run_to_end(durable_app, run) == 2
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", work) == 2
    assert len(tries) == 2


def test_the_live_result_and_the_replayed_one_are_equal(durable_app: App, tmp_path: Path) -> None:
    purchase, steps = golden_flow()
    run = purchase["r"].start("tea", 3)
    live = run_to_end(durable_app, run)
    before = list(steps.calls)
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", purchase) == live
    assert steps.calls == before


def test_the_frozen_history_is_readable_json(durable_app: App, tmp_path: Path) -> None:
    pair, _ = two()
    document = json.loads(frozen(durable_app, pair, tmp_path, 7).read_text())
    assert document["format"] == 1
    assert document["flow"] == "pair"
    assert [row["kind"] for row in document["rows"]] == ["started", "step", "returned", "step", "returned", "completed"]
    assert document["rows"][2]["data"] == {"json": {"of": "load", "value": 7}}


def test_the_golden_history_still_replays() -> None:
    path = GOLDEN / "purchase.json"
    completed = json.loads(path.read_text())["rows"][-1]
    assert completed["kind"] == "completed"
    purchase, steps = golden_flow()
    assert replay(path, purchase, trust=True) == completed["data"]["json"]
    assert steps.calls == []


def test_a_history_frozen_with_another_key_needs_trust_and_says_so(
    durable_app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purchase, _ = golden_flow()
    run = purchase["r"].start("tea", 3)
    live = run_to_end(durable_app, run)
    run.freeze(tmp_path / "frozen.json")
    monkeypatch.setenv("DURABLE_NB_KEY", "of-another-user-altogether")
    with pytest.raises(Untrusted, match=r"frozen with another key; replay\(…, trust=True\)"):
        replay(tmp_path / "frozen.json", purchase)
    assert replay(tmp_path / "frozen.json", purchase, trust=True) == live


def test_a_plain_history_needs_no_trust(durable_app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, _ = two()
    path = frozen(durable_app, pair, tmp_path, 7)
    monkeypatch.setenv("DURABLE_NB_KEY", "of-another-user-altogether")
    assert len(replay(path, pair)) == 2


def waits(*, is_tidy: bool = False, more: int = 0) -> Any:
    @flow
    def waiting() -> None:
        load(1)
        try:
            signal("never").result()
        except Cancelled:
            if is_tidy:
                load(2)
                signal("never").result()
            for n in range(more):
                load(n)
            raise

    @step
    def load(n: int) -> int:
        return n

    return waiting


def test_a_terminated_run_fits_up_to_its_end(durable_app: App, tmp_path: Path) -> None:
    run = waits()["r"].start()
    run_until_idle(durable_app)
    run.terminate("enough")
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", waits()) is None
    with pytest.raises(AssertionError, match="load"):
        replay(tmp_path / "frozen.json", two()[0])


def test_a_run_that_was_terminated_before_it_began_fits(durable_app: App, tmp_path: Path) -> None:
    run = waits()["r"].start()
    run.terminate("never mind")
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", waits()) is None


@pytest.mark.parametrize("how", ["grace", "terminate"])
def test_a_run_that_was_ended_while_it_cleaned_up_fits(durable_app: App, tmp_path: Path, how: str) -> None:
    run = waits(is_tidy=True)["r"].start()
    run_until_idle(durable_app)
    run.cancel("enough")
    run_until_idle(durable_app)
    assert run.status == "waiting"
    assert isinstance(durable_app.clock, FakeClock)
    if how == "grace":
        durable_app.clock.advance("11m")
        run_until_idle(durable_app)
    else:
        run.terminate("now")
    assert run.status == "cancelled"
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", waits(is_tidy=True)) is None


def test_a_run_that_let_its_cancel_pass_has_ended_there(durable_app: App, tmp_path: Path) -> None:
    run = waits()["r"].start()
    run_until_idle(durable_app)
    run.cancel("enough")
    run_until_idle(durable_app)
    run.freeze(tmp_path / "frozen.json")
    assert replay(tmp_path / "frozen.json", waits()) is None
    with pytest.raises(AssertionError, match="had ended"):
        replay(tmp_path / "frozen.json", waits(more=1))
