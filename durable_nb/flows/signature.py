"""Arguments by name: how a call is stored, and how a stored call is made."""

import inspect
from collections.abc import Callable
from typing import Any

from durable_nb.errors import BadArguments

_SIMPLE = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)


class Arguments:
    """The parameters of a function, looked at once."""

    __slots__ = ("_fewest", "_names", "_signature", "_what")

    def __init__(self, function: Callable[..., Any], what: str, skip_self: bool = False) -> None:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if skip_self:
            parameters = parameters[1:]
            signature = signature.replace(parameters=parameters)
        self._signature = signature
        self._what = what
        simple = all(parameter.kind in _SIMPLE for parameter in parameters)
        self._names = tuple(parameter.name for parameter in parameters) if simple else None
        self._fewest = sum(1 for parameter in parameters if parameter.default is inspect.Parameter.empty)

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, as they were given (defaults are left to the function); BadArguments if they do not fit."""
        names = self._names
        if not kwargs and names is not None and self._fewest <= len(args) <= len(names):
            return dict(zip(names, args, strict=False))
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as cause:
            raise BadArguments(f"{self._what}{self._signature}: {cause}") from None
        return dict(bound.arguments)

    def checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The positional arguments as they are, after BadArguments if they do not fit."""
        self.named(args, kwargs)
        return args

    def call_form(self, named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What to call the function with, from stored arguments; BadArguments if the function has changed too much."""
        bound = inspect.BoundArguments(self._signature, named)
        unknown = set(named) - set(self._signature.parameters)
        if unknown:
            raise BadArguments(f"{self._what}{self._signature} has no parameter {', '.join(sorted(unknown))} any more")
        return bound.args, bound.kwargs
