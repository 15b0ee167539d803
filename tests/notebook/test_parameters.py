"""notebook/parameters.py: where parameters go in a notebook, and what they look like there."""

import math
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from durable_nb.errors import BadArguments
from durable_nb.notebook.parameters import inject, source_of


def title() -> Any:
    return new_markdown_cell("# Title")


def cell(source: str, tag: str = "") -> Any:
    return new_code_cell(source, metadata={"tags": [tag]} if tag else {})


def sources(notebook: Any) -> list[str]:
    return [one.source for one in notebook.cells]


def test_values_read_back_as_they_were() -> None:
    given = {"a": [1, -2.5, True, None], "b": {"k": ("it's\n", ""), "e": ()}, "c": math.inf, "d": ("one",), "f": 10**30}
    space: dict[str, Any] = {}
    exec(source_of(given), space)
    assert {name: space[name] for name in given} == given


@pytest.mark.parametrize(
    ("given", "said"),
    [({"x": object()}, "`x` holds a object"), ({"x": [{1}]}, "a set"), ({"if": 1}, "'if'"), ({"a b": 1}, "'a b'")],
)
def test_what_would_not_read_back_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArguments, match=said):
        inject(new_notebook(cells=[cell("1")]), given)


def test_they_follow_the_cell_of_parameters_and_take_the_place_of_earlier_ones() -> None:
    notebook = new_notebook(cells=[title(), cell("1"), cell("day: int = 1\nscale=2", "parameters"), cell("2")])
    assert inject(notebook, {"day": 7}) == []
    assert inject(notebook, {"day": 8, "scale": 1, "sacle": 3}) == ["sacle"]
    injected = "# Parameters\nday = 8\nscale = 1\nsacle = 3\n"
    assert sources(notebook) == ["# Title", "1", "day: int = 1\nscale=2", injected, "2"]
    assert notebook.cells[3].metadata.tags == ["injected-parameters"]


def test_without_such_a_cell_they_come_before_the_first_code() -> None:
    notebook = new_notebook(cells=[title(), cell("# first\n%load_ext durable_nb"), title(), cell("1")])
    assert inject(notebook, {"day": 7}) == []
    assert sources(notebook)[2:] == ["# Title", "# Parameters\nday = 7\n", "1"]
    nothing = new_notebook(cells=[title()])
    inject(nothing, {"day": 7})
    assert len(nothing.cells) == 2


def test_no_parameters_change_nothing() -> None:
    notebook = new_notebook(cells=[cell("day = 1", "injected-parameters")])
    assert inject(notebook, {}) == []
    assert sources(notebook) == ["day = 1"]


def test_a_notebook_of_an_older_format_stays_one() -> None:
    notebook = new_notebook(cells=[], nbformat_minor=4)
    inject(notebook, {"day": 7})
    assert "id" not in notebook.cells[0]
