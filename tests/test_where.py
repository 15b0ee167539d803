"""where.py: the user's lines, whatever else the process is doing."""

import sys
from types import ModuleType

import pytest

from durable_nb.runtime.output import Echo, background
from durable_nb.where import calling_line


def test_a_line_is_found_while_another_thread_imports_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))  # as it is before its own code has run
    assert calling_line().startswith("test_where.py, line ")
    assert background() is Echo.LINES
