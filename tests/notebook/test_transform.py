"""notebook/transform.py: only a durable cell that awaits becomes an awaited call."""

import ast
import atexit
import warnings

import pytest
from IPython.core.interactiveshell import InteractiveShell

from durable_nb.notebook import transform


@pytest.fixture(scope="module")
def shell():
    """A shell that runs nothing: only its transformers are used."""
    shell = InteractiveShell()
    transform.install(shell)
    yield shell
    transform.uninstall(shell)
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)


@pytest.mark.parametrize(
    "body",
    [
        "await f()",
        "x = [await f() for _ in y]",
        "async with a as b:\n    pass",
        "async for a in b:\n    pass",
        "x = [a async for a in b]",
        "def f(x=await g()):\n    pass",
        "@(await g())\nclass C:\n    pass",
        "if x:\n    y = 1 + await f()",
        "files = !ls\nawait f(files)",
        "%time a = 1\nawait f()",
    ],
)
def test_a_body_that_awaits_becomes_an_awaited_call(shell, body):
    cell = shell.transform_cell(f"%%durable name --retry 3\n{body}\n")
    (statement,) = ast.parse(cell).body
    assert isinstance(statement.value, ast.Await)
    assert [ast.literal_eval(one) for one in statement.value.value.args] == ["durable", "name --retry 3", body + "\n"]


@pytest.mark.parametrize(
    "body",
    [
        "x = 1",
        "async def f():\n    await g()",
        "f = lambda: 'await'",
        "# await",
        "await = = 1",
        "await f() +",
        "text = 'await f()'",
        "class C:\n    async def f(self):\n        async with self:\n            pass",
        "%%time\nawait f()",
        "await f(\0)",
    ],
)
def test_every_other_cell_stays_a_plain_magic(shell, body):
    cell = shell.transform_cell(f"%%durable name\n{body}\n")
    assert cell == f"get_ipython().run_cell_magic('durable', 'name', {body + chr(10)!r})\n"


@pytest.mark.parametrize(
    "cell", ["await f()\n", "%%durables\nawait f()\n", "%%time\nawait f()\n", "x = 1\n%%durable\n", "%%durable?\n"]
)
def test_other_cells_are_left_alone(shell, cell):
    with_ours = shell.transform_cell(cell)
    transform.uninstall(shell)
    try:
        assert shell.transform_cell(cell) == with_ours
    finally:
        transform.install(shell)


def test_it_comes_before_the_transformer_of_cell_magics_and_only_once(shell):
    transform.install(shell)
    names = [getattr(one, "__name__", type(one).__name__) for one in shell.input_transformer_manager.line_transforms]
    assert names.count("AwaitTransform") == 1
    assert names.index("AwaitTransform") == names.index("cell_magic") - 1


def test_what_was_transformed_is_not_transformed_again(shell):
    once = shell.transform_cell("%%durable\nawait f()\n")
    assert shell.transform_cell(once) == once


def test_without_autoawait_nothing_is_changed(shell):
    shell.autoawait = False
    try:
        assert shell.transform_cell("%%durable\nawait f()\n").startswith("get_ipython().run_cell_magic(")
    finally:
        shell.autoawait = True


def test_a_warning_of_the_compiler_is_left_to_the_run(shell):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transform.awaits(shell, "await f('\\d')\n")


def test_a_cell_that_is_being_typed_is_complete_as_a_plain_magic_is(shell):
    assert shell.check_complete("%%durable\nawait f()\n") == shell.check_complete("%%durable\nx = 1\n")
