"""A failure as an outcome: what was raised, as data that every reader understands and the same process can raise again."""

from msgspec import Struct

from durable_nb.history.values import Value


class Failure(Struct, frozen=True, omit_defaults=True):
    """`type` is the class as people know it, `error` the exception itself where it could be stored."""

    type: str
    message: str
    traceback: str = ""
    where: str | None = None  # the user's file or cell and line
    error: Value | None = None

    @property
    def sentence(self) -> str:
        """'ValueError: no such order', the way Python prints it."""
        return f"{self.type}: {self.message}" if self.message else self.type
