"""When code and history do not fit: the place, and both side by side."""

from collections.abc import Sequence

from durable_nb.history import events as e
from durable_nb.history.calls import Ask

_WIDTH = 44


class Mismatch(BaseException):
    """The code asks for something else than the log says it did. A BaseException, so that `except Exception` lets it pass."""

    def __init__(self, seq: int, sentence: str, diff: str, line: str) -> None:
        super().__init__(sentence)
        self.seq = seq
        self.sentence = sentence
        self.diff = diff
        self.line = line

    @property
    def report(self) -> str:
        """The sentence, the line of the flow, and what was expected beside what was found."""
        return f"{self.sentence} (at {self.line})\n{self.diff}"


def found_ask(row: e.Row, ask: Ask, difference: str, rows: Sequence[e.Row], line: str) -> Mismatch:
    """The code asked, and the log has another ask at this place."""
    sentence = f"the flow does not fit its history at event {row.seq}: {difference}"
    return Mismatch(row.seq, sentence, _columns(rows, row.seq, _of_ask(ask)), line)


def found_end(row: e.Row, rows: Sequence[e.Row], line: str) -> Mismatch:
    """The code ended, and the log goes on."""
    sentence = f"the flow does not fit its history: it ends before event {row.seq} ({_of_row(row)})"
    return Mismatch(row.seq, sentence, _columns(rows, row.seq, "(the flow ends here)"), line)


def found_wait(row: e.Row, rows: Sequence[e.Row], line: str) -> Mismatch:
    """The code waits, and the log has an ask that it does not make."""
    sentence = f"the flow does not fit its history: it waits where event {row.seq} is {_of_row(row)}"
    return Mismatch(row.seq, sentence, _columns(rows, row.seq, "(the flow waits here)"), line)


def found_drop(row: e.Row, rows: Sequence[e.Row], line: str) -> Mismatch:
    """The log says that the code gave an ask up, and the code still holds it."""
    sentence = (
        f"the flow does not fit its history: it still holds what event {row.seq} says it gave up (event {row.ref})"
    )
    return Mismatch(row.seq, sentence, _columns(rows, row.seq, "(the flow still holds it)"), line)


def found_unknown(row: e.Row, rows: Sequence[e.Row], line: str) -> Mismatch:
    """The log has something that this version cannot know the meaning of; to pass it by might do things twice."""
    sentence = f"event {row.seq} is of a kind that this version of durable_nb does not know: {row.kind!r}; upgrade it"
    return Mismatch(row.seq, sentence, _columns(rows, row.seq, "(unknown)"), line)


def found_extra(row: e.Row, ask: Ask, rows: Sequence[e.Row], line: str) -> Mismatch:
    """The code asks for something new where it had been waiting."""
    sentence = f"the flow does not fit its history: it asks for {_of_ask(ask)} where event {row.seq} answers a wait"
    return Mismatch(row.seq, sentence, _columns(rows, row.seq, _of_ask(ask)), line)


def _columns(rows: Sequence[e.Row], seq: int, found: str) -> str:
    """The asks around the place: those before it agree, then the one that does not, then what the log has next."""
    asks = [row for row in rows if row.kind in e.CODE or row.seq == seq]
    place = next(index for index, row in enumerate(asks) if row.seq == seq)
    lines = [f"    {'in the log':{_WIDTH}}   in the code"]
    for row in asks[max(0, place - 3) : place]:
        lines.append(f"    {_of_row(row):{_WIDTH}}   {_of_row(row)}")
    lines.append(f"  ≠ {_of_row(asks[place]):{_WIDTH}}   {found}")
    lines.extend(f"    {_of_row(row)}" for row in asks[place + 1 : place + 3])
    return "\n".join(lines)


def _of_row(row: e.Row) -> str:
    what = f"of event {row.ref}" if row.kind == "drop" else row.name or ""
    return _cut(f"{row.seq} {row.kind} {what} {_arguments(row.data)}")


def _of_ask(ask: Ask) -> str:
    return _cut(f"{ask.kind} {ask.name or ''} {_arguments(ask.data)}")


def _arguments(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    start = text.find('{"json":')
    return text[start + 8 :].rstrip("}") + "}" if start >= 0 else ""


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _WIDTH else flat[: _WIDTH - 1] + "…"
