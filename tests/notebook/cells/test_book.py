"""The book of durable cells: what is written when, who may write, and what is left after a death."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from durable_nb import LogError, Refused, SignalRejected, connect, runs
from durable_nb.app import App
from durable_nb.history import events as e, wire
from durable_nb.history.values import plain
from durable_nb.notebook.cells.asked import Asked
from durable_nb.notebook.cells.book import CELLS, Book
from durable_nb.notebook.cells.mailbox import Mailbox
from durable_nb.notebook.cells.saved import Saved
from durable_nb.stores import database
from durable_nb.stores.shapes import NewRun, Query

ASKED = Asked(code="c1", source="x = 1", inputs={"raw": ["data", "d1"]})


def nobody(holder: str) -> None:
    raise AssertionError(f"{holder} holds the book")


def held(app: App) -> Book:
    book = Book(app)
    book.hold(nobody)
    return book


def finish(app: App, book: Book, cell: str = "features", asked: Asked = ASKED, **saved: object) -> None:
    entry = book.begin(cell, asked)
    value = app.values.keep(Saved(**saved), "the outcome")  # type: ignore[arg-type]
    book.returned(entry, value, ())


def test_a_cell_that_ended_well_can_be_restored_by_the_next_kernel(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        finish(app, book, names=("x",), seconds=1.5)
        book.let_go()
    with connect(tmp_path / "log.durable.db") as app:
        book = Book(app)
        book.look()
        (entry,) = book.saved("features")
        saved = book.value(entry)
        assert isinstance(saved, Saved)
        assert (saved.names, saved.seconds, entry.asked.source) == (("x",), 1.5, "x = 1")
        assert book.cells() == ["features"]


def test_a_ctrl_c_while_the_lease_is_taken_does_not_lose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(when: str) -> None:
        if when == "after commit":
            signal.raise_signal(signal.SIGINT)

    with connect(tmp_path / "log.durable.db", carriers=0) as app:
        book = held(app)
        book.let_go()
        monkeypatch.setattr(database, "crash_point", press)
        with pytest.raises(KeyboardInterrupt):
            book.hold(nobody)
        monkeypatch.undo()
        book.hold(nobody)
        finish(app, book)
        assert book.cells() == ["features"]


def test_the_run_of_the_cells_is_never_carried(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db", carriers=0) as app:
        book = held(app)
        finish(app, book)
        assert not app.turn()
        book.let_go()
        assert not app.turn()
        record = app.record(CELLS)
        assert (record.status, record.owner, record.ready_at) == ("paused", None, None)


def test_a_cell_that_was_killed_begins_its_next_attempt_under_the_same_ask(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    code = """
        import os, signal, sys
        from durable_nb import connect
        from durable_nb.notebook.cells.asked import Asked
        from durable_nb.notebook.cells.book import Book
        app = connect(sys.argv[1])
        book = Book(app)
        book.hold(print)
        print(book.begin("features", Asked(code="c1", source="x = 1", inputs={"raw": ["data", "d1"]})).seq, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, check=False)
    assert died.returncode == -9, died.stderr
    with connect(path) as app:
        book = Book(app)
        book.look()
        entry = book.newest("features")
        assert entry is not None
        assert (entry.seq, entry.answer, entry.attempts) == (int(died.stdout), None, 1)
        book.hold(lambda holder: None)  # the owner is dead: it is buried within a second
        again = book.begin("features", ASKED)
        assert (again.seq, again.attempts) == (entry.seq, 2)


def test_a_cell_with_other_inputs_gives_the_killed_one_up(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        first = book.begin("features", ASKED)
        second = book.begin("features", Asked(code="c1", inputs={"raw": ["data", "d2"]}))
        assert second.seq != first.seq
        assert [entry.is_dropped for entry in book.entries("features")] == [False, True]


def test_two_kernels_write_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    with connect(path) as one, connect(path) as two:
        first, second = held(one), Book(two)
        finish(one, first)
        told: list[str] = []

        def waiting(holder: str) -> None:
            told.append(holder)
            first.let_go()

        second.hold(waiting)
        assert [one.partition(" ")[0] for one in told] == ["pid"]
        assert [entry.is_saved for entry in second.entries("features")] == [True]
        with pytest.raises(LogError, match="not held"):
            first.begin("other", ASKED)


def test_a_kernel_whose_lease_was_taken_writes_nothing(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        finish(app, book)
        entry = book.begin("late", ASKED)
        record = app.record(CELLS)
        app.store.wrest(record.key, app.owner())
        with pytest.raises(LogError, match="taken"):
            book.returned(entry, plain(b"1"), ())
        other = Book(app)
        other.look()
        late = other.newest("late")
        assert late is not None
        assert late.answer is None


def test_a_failed_cell_and_an_interrupted_one(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        failed = book.raised(book.begin("bad", ASKED), app.values.failure(ValueError("no")))
        assert failed.failure is not None
        assert failed.failure.sentence == "ValueError: no"
        stopped = book.begin("slow", ASKED)
        book.interrupted(stopped)
        again = book.newest("slow")
        assert again is not None
        assert again.was_interrupted
        assert book.begin("slow", ASKED).attempts == 2
        assert book.saved("bad") == []


def test_a_row_that_cannot_be_read_spoils_no_other(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        finish(app, book, "good")
        finish(app, book, "bad")
        key = app.record(CELLS).key
        app.store.database.one(
            "update event set data = 'no json' where run = ? and kind = 'step' and name = 'bad'", (key,)
        )
        again = Book(app)
        again.look()
        assert [len(again.saved(cell)) for cell in ("good", "bad")] == [1, 0]
        assert again.cells_of("c1") == ["good"]
        again.hold(lambda holder: book.let_go())
        finish(app, again, "bad")
        assert len(again.saved("bad")) == 1


@pytest.mark.parametrize("verb", ["cancel", "terminate", "pause", "resume", "retry", "delete", "upgrade", "fork"])
def test_the_run_of_the_cells_is_steered_by_its_cells_only(tmp_path: Path, verb: str) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        finish(app, book)
        book.let_go()
        run = runs[CELLS]
        arguments = {"cancel": ["enough"], "delete": [True], "fork": [2]}.get(verb, [])
        with pytest.raises(Refused, match="keeps the durable cells of a notebook"):
            getattr(run, verb)(*arguments)
        runs().delete(force=True)
        assert len(book.saved("features")) == 1


def test_a_forgotten_cell_has_no_outcome(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        finish(app, book)
        finish(app, book)
        assert book.drop("features") == 2
        assert book.saved("features") == []


def test_a_renamed_cell_keeps_its_outcomes(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db") as app:
        book = held(app)
        finish(app, book, "old")
        finish(app, book, "new")
        assert book.rename("old", "new") == 1
        again = Book(app)
        again.look()
        assert again.cells() == book.cells() == ["new"]
        assert [entry.cell for entry in again.saved("new")] == ["new", "new"]


def test_a_cell_waits_for_a_signal_and_gets_it_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "log.durable.db"
    schema = msgspec.Raw(b'{"type":"boolean"}')
    with connect(path) as app:
        ask = Mailbox(app, held(app)).wait("report", "approve", schema)
        record = app.record(CELLS)
        assert record.sentence == "cell `report` waits for the signal `approve`"
        assert [found.id for found in app.find(Query(waiting_for="approve"))] == [CELLS]
    with connect(path, carry=False) as client:
        with pytest.raises(SignalRejected, match="true or false"):
            client.signal(CELLS, "approve", "yes", None, False)
        client.signal(CELLS, "approve", True, None, False)
    with connect(path) as app:
        book = held(app)
        box = Mailbox(app, book)
        assert box.wait("report", "approve", schema) == ask
        (mail,) = box.mail("approve")
        assert box.value(mail) is True
        book.hold(nobody)
        box.receive(ask, mail)
        assert box.mail("approve") == []
        assert box.wait("report", "approve", schema) > ask


def test_a_flow_that_took_the_id_is_not_written_over(tmp_path: Path) -> None:
    with connect(tmp_path / "log.durable.db", carry=False) as app:
        app.store.start(_stolen())
        with pytest.raises(Refused, match="durable cells need that id"):
            Book(app).hold(nobody)


def _stolen() -> NewRun:
    started = e.Started(seq=1, at=0.0, flow="other", code="", mark="", arguments=plain(b"{}"))
    return NewRun(CELLS, "u", "other", None, "", wire.encode_value(plain(b"{}")), wire.row_of(started), 0.0, None, ())
