"""The walk of code over a history: literal rows in, outcomes out. No store, no clock, no thread."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from durable_nb.engine.cursor import Cursor, Suspended, Ticket, Wait
from durable_nb.engine.replayer import Replayer
from durable_nb.engine.turn import Mismatched, Raised, Returned, Swallowed, Turn, Waiting, place, run_turn
from durable_nb.history.calls import Ask, plain_step
from durable_nb.history.events import Row

STARTED = Row(1, "started", None, "f", b"{}", 10.0)


def ask(seq: int, name: str, arguments: bytes = b"{}") -> Row:
    return Row(seq, "step", None, name, plain_step(arguments), 10.0 + seq)


def returned(seq: int, ref: int, json: bytes) -> Row:
    return Row(seq, "returned", ref, None, b'{"json":' + json + b"}", 10.0 + seq)


def fired(seq: int, ref: int) -> Row:
    return Row(seq, "fired", ref, None, b"{}", 10.0 + seq)


def timer(seq: int, due: float = 99.0) -> Row:
    return Row(seq, "timer", None, None, b'{"due":%f}' % due, 10.0 + seq)


def call(name: str, arguments: bytes = b"{}") -> Row:
    return here().cursor.call(Ask("step", name, plain_step(arguments)))


def begin(name: str) -> Ticket:
    return here().cursor.begin(Ask("step", name, plain_step(b"{}")))


def begin_timer() -> Ticket:
    return here().cursor.begin(Ask("timer", None, b'{"due":1.0}'))


def wait_for(ticket: Ticket) -> Row:
    here().cursor.wait(lambda: ticket.answer is not None, (ticket,))
    assert ticket.answer is not None
    return ticket.answer


def here() -> Turn:
    turn: Turn = place.get()
    return turn


def run(rows: Sequence[Row], code: Callable[[], Any], port: Any = None) -> tuple[Any, Turn]:
    turn = Turn("id", "uid", 1, None, Cursor(list(rows), port or Replayer()), None)
    return run_turn(turn, code), turn


class Answering:
    """A port that appends asks and answers the waited ticket at once, as a live log would."""

    def __init__(self, head: int) -> None:
        self.head = head
        self.log: list[Row] = []

    def exchange(self, asks: Sequence[Ticket], wait: Wait | None, open: Any) -> list[Row]:
        rows = [self._append(one.ask.kind, None, one.ask.name, one.ask.data) for one in asks]
        if wait is None:
            return rows
        if asks:  # a step alone: its answer stands beside it
            return [*rows, self._answer(rows[0])]
        for ticket in wait.tickets:
            assert ticket.row is not None
            rows.append(self._answer(ticket.row))
            if wait.see(rows[-1]):
                break
        return rows

    def _answer(self, row: Row) -> Row:
        return self._append("returned", row.seq, None, b'{"json":%d}' % row.seq)

    def _append(self, kind: str, ref: int | None, name: str | None, data: bytes) -> Row:
        self.head += 1
        self.log.append(Row(self.head, kind, ref, name, data, 10.0 + self.head))
        return self.log[-1]


def test_finished_step_is_answered_from_the_log() -> None:
    outcome, _ = run([STARTED, ask(2, "a"), returned(3, 2, b"41")], lambda: call("a").data)
    assert outcome == Returned(b'{"json":41}', [])


def test_code_waits_at_the_end_of_the_log() -> None:
    outcome, turn = run([STARTED, ask(2, "a"), returned(3, 2, b"41")], lambda: (call("a"), call("b")))
    assert outcome == Waiting()
    assert [one.name for one in turn.cursor.port.asked] == ["b"]


def test_live_turn_and_replay_of_its_log_are_the_same() -> None:
    def code() -> list[bytes]:
        first, second = begin("a"), begin("b")
        found = [wait_for(second).data, call("c").data, wait_for(first).data]
        return [*found, repr(here().cursor.at).encode()]

    port = Answering(1)
    live, _ = run([STARTED], code, port)
    replayed, _ = run([STARTED, *port.log], code)
    assert isinstance(live, Returned)
    assert live == replayed


def test_another_name_is_a_mismatch_that_names_both() -> None:
    outcome, _ = run([STARTED, ask(2, "charge"), returned(3, 2, b"1")], lambda: call("ship"))
    assert isinstance(outcome, Mismatched)
    assert "`charge`" in outcome.mismatch.sentence
    assert "`ship`" in outcome.mismatch.sentence
    assert outcome.mismatch.seq == 2


def test_mismatch_names_the_line_of_the_flow_and_shows_both_sides() -> None:
    rows = [STARTED, ask(2, "a"), returned(3, 2, b"1"), ask(4, "b"), returned(5, 4, b"1")]
    outcome, _ = run(rows, lambda: (call("a"), call("c")))
    assert isinstance(outcome, Mismatched)
    assert "test_cursor.py, line " in outcome.mismatch.line
    marked = [line for line in outcome.mismatch.diff.splitlines() if "≠" in line]
    assert len(marked) == 1
    assert "4 step b" in marked[0]
    assert "step c" in marked[0]


def test_another_argument_is_a_mismatch() -> None:
    rows = [STARTED, ask(2, "a", b'{"n":1}'), returned(3, 2, b"1")]
    outcome, _ = run(rows, lambda: call("a", b'{"n":2}'))
    assert isinstance(outcome, Mismatched)
    assert '{"n":1}' in outcome.mismatch.sentence
    assert '{"n":2}' in outcome.mismatch.sentence


def test_the_order_of_dict_keys_in_arguments_does_not_matter() -> None:
    rows = [STARTED, ask(2, "a", b'{"n":1,"m":2}'), returned(3, 2, b"1")]
    outcome, _ = run(rows, lambda: call("a", b'{"m":2,"n":1}').data)
    assert outcome == Returned(b'{"json":1}', [])


def test_ending_before_the_log_does_is_a_mismatch() -> None:
    outcome, _ = run([STARTED, ask(2, "a"), returned(3, 2, b"1")], lambda: None)
    assert isinstance(outcome, Mismatched)
    assert "ends before event 2" in outcome.mismatch.sentence


def test_an_extra_ask_before_an_answer_is_a_mismatch() -> None:
    rows = [STARTED, timer(2), fired(3, 2)]

    def code() -> None:
        ticket = begin_timer()
        begin("new")
        wait_for(ticket)

    outcome, _ = run(rows, code)
    assert isinstance(outcome, Mismatched)
    assert "asks for step new" in outcome.mismatch.sentence


def test_an_ask_in_the_log_where_the_code_waits_is_a_mismatch() -> None:
    rows = [STARTED, timer(2), ask(3, "a"), fired(4, 2)]
    outcome, _ = run(rows, lambda: wait_for(begin_timer()))
    assert isinstance(outcome, Mismatched)
    assert "it waits where event 3" in outcome.mismatch.sentence


def test_a_caught_mismatch_is_still_a_mismatch() -> None:
    def code() -> str:
        try:
            call("b")
        except BaseException:
            return "caught"
        return "never"

    outcome, _ = run([STARTED, ask(2, "a"), returned(3, 2, b"1")], code)
    assert isinstance(outcome, Mismatched)


def test_a_swallowed_suspension_names_the_line_of_the_wait() -> None:
    def code() -> str:
        try:
            call("a")
        except BaseException:
            return "caught"
        return "never"

    outcome, _ = run([STARTED], code)
    assert isinstance(outcome, Swallowed)
    assert "test_cursor.py, line " in outcome.line


def test_an_ask_after_a_caught_suspension_suspends_again_and_is_not_sent() -> None:
    def code() -> None:
        try:
            call("a")
        except BaseException:
            call("b")

    outcome, turn = run([STARTED], code)
    assert outcome == Waiting()
    assert [one.name for one in turn.cursor.port.asked] == ["a"]


def test_except_exception_does_not_see_a_suspension() -> None:
    def code() -> str:
        try:
            call("a")
        except Exception:
            return "caught"
        return "never"

    assert run([STARTED], code)[0] == Waiting()


def test_bookkeeping_rows_are_invisible() -> None:
    rows = [
        STARTED,
        ask(2, "a"),
        Row(3, "attempt", 2, None, b'{"attempt":2}', 13.0),
        Row(4, "paused", None, None, b'{"sentence":""}', 14.0),
        Row(5, "resumed", None, None, b'{"sentence":""}', 15.0),
        returned(6, 2, b"7"),
        ask(7, "b"),
        returned(8, 7, b"8"),
    ]
    outcome, _ = run(rows, lambda: (call("a").data, call("b").data))
    assert outcome == Returned((b'{"json":7}', b'{"json":8}'), [])


def test_the_failure_that_ended_a_flow_is_traced_to_its_answer() -> None:
    rows = [STARTED, ask(2, "a"), Row(3, "raised", 2, None, b'{"type":"E","message":""}', 13.0)]

    def code() -> None:
        row = call("a")
        error = ValueError("from the log")
        here().raised[row.seq] = error
        try:
            raise error
        except ValueError as cause:
            raise RuntimeError("the flow's own") from cause

    outcome, _ = run(rows, code)
    assert isinstance(outcome, Raised)
    assert outcome.answer == 3


def test_a_failure_of_the_flows_own_line_has_no_answer() -> None:
    outcome, _ = run([STARTED], lambda: 1 / 0)
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, ZeroDivisionError)
    assert outcome.answer is None


def test_spawned_and_never_awaited_asks_are_told_at_the_end() -> None:
    outcome, _ = run([STARTED], lambda: begin("a") and None)
    assert isinstance(outcome, Returned)
    assert [one.ask.name for one in outcome.unsent] == ["a"]


def test_replaying_ends_with_the_rows_that_were_there() -> None:
    seen = []

    def code() -> None:
        seen.append(here().cursor.is_replaying)
        call("a")
        seen.append(here().cursor.is_replaying)

    run([STARTED], code, Answering(1))
    assert seen == [False, False]
    seen.clear()
    run([STARTED, ask(2, "a"), returned(3, 2, b"1")], code)
    assert seen == [True, False]


def test_time_never_goes_backwards() -> None:
    rows = [STARTED, ask(2, "a"), returned(3, 2, b"1"), ask(4, "b"), returned(5, 4, b"1")._replace(at=5.0)]
    _, turn = run(rows, lambda: (call("a"), call("b")))
    assert turn.cursor.at == 13.0


def test_time_is_that_of_what_came_and_not_of_what_was_asked() -> None:
    _, turn = run(
        [STARTED, ask(2, "a")._replace(at=90.0), timer(3), fired(4, 3)], lambda: (begin("a"), wait_for(begin_timer()))
    )
    assert turn.cursor.at == 14.0


def test_closing_raises_the_reason() -> None:
    cursor = Cursor([STARTED], Replayer())
    with pytest.raises(Suspended):
        cursor.close(Suspended())
    with pytest.raises(Suspended):
        cursor.begin(Ask("step", "a", b"{}"))
