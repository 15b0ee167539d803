"""A history as rows."""

from msgspec import Raw

from durable_nb.history.events import Row
from durable_nb.history.values import ARGUMENTS, Value, plain
from durable_nb.history.wire import KINDS
from durable_nb.views.table import readable, table
from durable_nb.views.values import arguments_form, arguments_text, value_form, value_text
from tests.views.histories import EVERY_KIND, PICKLED, T0


def test_every_kind_of_event_has_its_words() -> None:
    said = {row.kind: (row.name, row.what) for row in table(EVERY_KIND)}
    assert set(said) == set(KINDS)
    assert said == {
        "started": ("bill", "(items=['tea'], by=None)"),
        "step": ("price", "(item='tea') on a worker, not before 2027-01-15 08:01:00.000"),
        "timer": (None, "until 2027-01-15 08:01:00.000"),
        "returned": ("price", "Parcel(3) [pickle, 17 bytes]"),
        "raised": ("price", "OSError: no network"),
        "fired": (None, "the timer is due"),
        "attempt": ("price", "attempt 2 begins"),
        "attempt_failed": (
            "price",
            "attempt 2 failed with OSError: no network; the next one begins 2027-01-15 08:01:00.000",
        ),
        "interrupted": ("price", "attempt 2 was interrupted"),
        "paused": (None, "paused by pid 1"),
        "resumed": (None, "resumed by pid 2"),
        "parked": (None, "mismatch: the code has changed"),
        "retried": (None, "goes on from event 5; what came after it is set aside"),
        "code_changed": (None, "goes on with the code dddddddddddd"),
        "completed": (None, "[1, 2]"),
        "failed": (None, "OSError: no network (shop.py, line 3: `get()`)"),
        "cancelled": (None, "by Ann"),
        "signal": ("go", "waits its turn at the mailbox"),
        "child": ("ship", "(item='tea') as run 'parcel-7'"),
        "start": ("report", "()"),
        "watch": (None, "waits for the end of run 'other'"),
        "look": ("count", "looks at the state of run 'other'"),
        "tell": ("signal", "to run 'other', mailbox `go`: 4"),
        "set": ("total", "12"),
        "unset": ("total", "removed"),
        "note": (None, "'3 of 9'"),
        "patched": ("taxes", "the run has the newer code here"),
        "drop": (None, "given up"),
        "received": ("go", "4, sent by pid 2"),
        "rejected": ("go", "'x', sent by pid 2, is refused: a text is no integer"),
        "forked": (None, "forked from run 'zero' after its event 9"),
        "cancelling": (None, "pid 2 wants the run to end: too late"),
        "continued": (None, "goes on as a new execution"),
    }


def test_the_data_of_an_event_is_what_its_columns_do_not_say() -> None:
    data = {row.kind: row.data for row in table(EVERY_KIND)}
    assert data["started"] == {
        "arguments": {"items": {"codec": "json", "json": ["tea"]}, "by": {"codec": "json", "json": None}},
        "code": "c" * 32,
        "version": None,
        "state": {},
    }
    assert data["returned"] == {"value": {"codec": "pickle", "size": 17, "preview": "Parcel(3)"}}
    assert data["parked"] == {"reason": "mismatch", "sentence": "the code has changed", "ask": 2, "before": "running"}
    assert data["fired"] == {}
    assert data["signal"] == {"type": {"type": "integer"}}
    assert data["tell"] == {"run": "other", "mailbox": "go", "key": "k", "value": {"codec": "json", "json": 4}}


def test_a_row_that_cannot_be_read_says_so_and_stops_nothing() -> None:
    bad = Row(5, "returned", 2, None, b"{", T0)
    unknown = Row(6, "teleported", None, None, b"{}", T0)
    rows = list(table([EVERY_KIND[0], bad, unknown, EVERY_KIND[9]]))
    assert [row.kind for row in rows] == ["started", "returned", "teleported", "paused"]
    assert rows[1].what.startswith("cannot be read: event 5")
    assert "unknown kind 'teleported'" in rows[2].what
    assert readable([bad, unknown, EVERY_KIND[9]]) == [EVERY_KIND[9]]


def test_arguments_stored_one_by_one_are_shown_one_by_one() -> None:
    inner = b'{"day":{"json":1},"parcel":{"codec":"arrow","payload":"9f","size":2097152,"preview":"a frame"}}'
    value = Value(codec=ARGUMENTS, json=Raw(inner))
    assert arguments_text(value) == "day=1, parcel=a frame [arrow, 2.0 MiB]"
    assert arguments_form(value)["parcel"] == {"codec": "arrow", "size": 2097152, "preview": "a frame"}
    assert value_text(value) == arguments_text(value)


def test_a_value_keeps_its_json_and_hides_its_bytes() -> None:
    assert value_form(plain(b'{"a":[1,2.5,null]}')) == {"codec": "json", "json": {"a": [1, 2.5, None]}}
    assert "decoded" not in str(value_form(PICKLED))
