"""Asks with what became of them, as data and as text."""

from durable_nb.history import events as e, wire
from durable_nb.history.events import Row
from durable_nb.history.values import plain
from durable_nb.stores.shapes import Mail
from durable_nb.views.timeline import draw, line_form, lines
from tests.views.histories import FAILURE, RETRIED, T0, asked, rows, started


def test_attempts_are_told_apart() -> None:
    step, timer = lines(RETRIED)
    assert [attempt["outcome"] for attempt in line_form(step)["attempts"]] == ["failed", "crashed", "returned"]
    assert line_form(step)["value"] == {"codec": "json", "json": 2.5}
    assert (timer.outcome, line_form(timer)["due"]) == ("open", T0 + 10)


def test_the_picture_shows_when_and_how_each_ask_ended() -> None:
    assert draw(lines(RETRIED), T0, T0 + 9) == [
        "    2  ··███████████████████···  price(item='tea'): 2.5 after 7 s",
        "                                   attempt 1 failed after 1 s: OSError: no network",
        "                                   attempt 2 crashed after 1 s",
        "                                   attempt 3 returned after 3 s",
        "    7  ·····················░░░  timer: due 2027-01-15 08:00:10.000",
    ]


def test_a_run_that_took_no_time_can_be_drawn() -> None:
    history = rows(started(), asked(2, T0), e.Returned(seq=3, at=T0, ref=2, value=RETURNED))
    assert draw(lines(history), T0, T0) == ["    2  █·······················  price(item='tea'): 1 after 0 ms"]


def test_an_attempt_in_the_inbox_counts() -> None:
    failed = wire.row_of(e.AttemptFailed(seq=0, at=T0, ref=2, attempt=1, failure=FAILURE, retry_at=T0 + 90)).data
    begun = wire.row_of(e.AttemptStarted(seq=0, at=T0, ref=2, attempt=1)).data
    mail = [
        Mail(1, "attempt", 2, 1, None, None, begun, "pid 1", T0 + 1),
        Mail(2, "attempt_failed", 2, 1, None, None, failed, "pid 1", T0 + 2),
        Mail(3, "pause", None, None, None, None, b"{}", "pid 1", T0 + 3),
        Mail(4, "attempt", 2, 2, None, None, b"{", "pid 1", T0 + 3),
    ]
    (line,) = lines(rows(started(), asked(2, T0, elsewhere=True)), mail)
    assert [attempt["outcome"] for attempt in line_form(line)["attempts"]] == ["failed"]
    assert draw([line], T0, T0 + 5) == [
        "    2  ░░░░░░░░░░░░░░░░░░░░░░░░  price(item='tea'): attempt 2 begins 2027-01-15 08:01:30.000"
    ]


def test_what_a_retry_set_aside_is_drawn_as_such() -> None:
    raised = e.Raised(seq=3, at=T0 + 1, ref=2, failure=FAILURE)
    history = rows(started(), asked(2, T0), raised, asked(4, T0 + 1), e.Retried(seq=5, at=T0 + 2, cut=3))
    first, second = draw(lines(history), T0, T0 + 2)
    assert first.endswith("open for 2 s")
    assert second.endswith("open for 1 s (set aside by a retry)")


def test_every_kind_of_ask_is_drawn_with_what_it_is_about_and_what_came_of_it() -> None:
    history = rows(
        started(),
        e.SignalAsked(seq=2, at=T0, name="go"),
        e.TimerAsked(seq=3, at=T0, due=T0 + 5),
        e.ChildAsked(seq=4, at=T0, name="ship", arguments=plain(b'{"item":"tea"}'), id="parcel-7"),
        e.StartAsked(seq=5, at=T0, name="report", arguments=plain(b"{}")),
        e.Returned(seq=6, at=T0, ref=5, value=plain(b'"~report"')),
        e.WatchAsked(seq=7, at=T0, run="other"),
        e.LookAsked(seq=8, at=T0, name="count", run="other"),
        e.Raised(seq=9, at=T0, ref=8, failure=FAILURE),
        e.TellAsked(seq=10, at=T0, name="cancel", run="other"),
        e.Returned(seq=11, at=T0, ref=10, value=plain(b'"told"')),
        e.Received(seq=12, at=T0 + 2, ref=2, name="go", value=plain(b"4"), mail=7, sender="pid 2", sent_at=T0),
        e.Dropped(seq=13, at=T0 + 2, ref=3),
    )
    drawn = [line[33:] for line in draw(lines(history), T0, T0 + 10)]
    assert drawn == [
        "signal `go`: 4 after 2 s",
        "timer: given up after 2 s",
        "ship(item='tea'): open for 10 s",
        "report(): '~report' after 0 ms",
        "the end of run 'other': open for 10 s",
        "`count` in the state of run 'other': raised OSError: no network after 0 ms",
        "cancel to run 'other': 'told' after 0 ms",
    ]
    forms = {line.asked.kind: line_form(line) for line in lines(history)}
    assert (forms["timer"]["outcome"], forms["timer"]["ended_at"]) == ("dropped", T0 + 2)
    assert (forms["signal"]["outcome"], forms["signal"]["value"]) == ("received", {"codec": "json", "json": 4})
    assert (forms["child"]["run"], forms["watch"]["run"]) == ("parcel-7", "other")


def test_an_ask_that_cannot_be_read_hides_no_other() -> None:
    bad = Row(3, "step", None, "price", b"{", T0)
    assert [line.asked.seq for line in lines([*rows(started(), asked(2, T0)), bad])] == [2]


RETURNED = wire.decode_value(b'{"json":1}')
