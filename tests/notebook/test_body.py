"""notebook/body.py: the body of a durable cell runs as the plain cell would."""

import re
from collections.abc import Iterator

import pytest

from tests.notebook.kernels import TRIAL, Kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path_factory.mktemp("body"))
    assert kernel.run(TRIAL).reply["status"] == "ok"
    yield kernel
    kernel.close()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def traceback_of(ran) -> str:
    assert [one["msg_type"] for one in ran.messages if one["msg_type"] == "error"] == ["error"]
    return plain("\n".join(ran.errors[0]["traceback"]))


def test_variables_are_bound_in_the_namespace_of_the_user(kernel):
    kernel.run("%%durable\nx = 20\ndef double(n):\n    return n * 2\ny = double(x + 1)")
    assert kernel.value("[x, y, double.__module__, double(4)]") == [20, 42, "__main__", 8]


def test_last_expression_is_the_result_under_the_number_of_the_cell(kernel):
    ran = kernel.run("%%durable\nz = 6\nz * 7")
    (result,) = ran.of("execute_result")
    assert result["data"]["text/plain"] == "42"
    assert result["execution_count"] == ran.reply["execution_count"]
    assert kernel.value(f"[_, Out[{ran.reply['execution_count']}], _outcomes[-1].result]") == [42, 42, 42]


@pytest.mark.parametrize(
    ("body", "results"),
    [("1\n2", ["2"]), ("1;", []), ("x = 1\nx;  # quiet", []), ("if True:\n    3", []), ("None", []), ("", [])],
)
def test_what_is_shown_is_what_a_plain_cell_shows(kernel, body, results):
    in_plain = [one["data"]["text/plain"] for one in kernel.run(body).of("execute_result")]
    shown = [one["data"]["text/plain"] for one in kernel.run(f"%%durable\n{body}\n").of("execute_result")]
    assert shown == results == in_plain


@pytest.mark.parametrize(("setting", "results"), [("all", ["1", "2"]), ("last_expr_or_assign", ["2"]), ("none", [])])
def test_the_interactivity_that_the_user_has_set_holds(kernel, setting, results):
    kernel.run(f"get_ipython().ast_node_interactivity = {setting!r}")
    try:
        body = "1\nlast = 2" if setting == "last_expr_or_assign" else "1\n2"
        shown = [one["data"]["text/plain"] for one in kernel.run(f"%%durable\n{body}").of("execute_result")]
    finally:
        kernel.run("get_ipython().ast_node_interactivity = 'last_expr'")
    assert shown == results


def test_an_error_is_shown_once_with_the_line_of_the_cell_and_only_the_frames_of_the_user(kernel):
    ran = kernel.run("%%durable name --retry 3\n\nx = 1\ndef fail():\n    raise ValueError('no')\nfail()\nafter = 1")
    text = traceback_of(ran)
    number = ran.reply["execution_count"]
    assert f"Cell In[{number}], line 6" in text
    assert f"Cell In[{number}], line 5, in fail()" in text
    assert "----> 6 fail()" in text
    assert "durable_nb" not in text
    assert "interactiveshell" not in text
    assert kernel.value("'after' in globals()") is False
    assert (ran.reply["status"], ran.reply["ename"], ran.reply["evalue"]) == ("error", "ValueError", "no")


def test_the_stored_error_is_the_shown_one(kernel):
    ran = kernel.run("%%durable\nprint('before')\n{}['absent']")
    stored = kernel.value("_outcomes[-1].outputs")
    assert stored == ran.outputs
    assert [one["output_type"] for one in stored] == ["stream", "error"]
    assert kernel.value("type(_outcomes[-1].error).__name__") == "KeyError"


def test_with_all_frames_the_ones_of_the_package_are_shown_too(kernel):
    kernel.run("def _all(line, cell):\n    run_body(get_ipython(), cell, shows_all=True).raise_error()")
    kernel.run("get_ipython().register_magic_function(_all, 'cell', 'all_frames')")
    text = traceback_of(kernel.run("%%all_frames\n1/0"))
    assert "body.py" in text
    assert "ZeroDivisionError" in text


def test_a_chain_of_errors_shows_each_in_the_lines_of_the_user(kernel):
    source = (
        "def inner():\n    1 / 0\ntry:\n    inner()\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e"
    )
    text = traceback_of(kernel.run(f"%%durable\n{source}"))
    assert "direct cause" in text
    assert text.index("----> 3     1 / 0") < text.index("direct cause") < text.rindex("----> 7     raise KeyError")
    assert "durable_nb" not in text


@pytest.mark.parametrize(
    ("body", "line", "name"),
    [("x = 1\ny = = 2", 3, "SyntaxError"), ("x = 1\n  y = 2", 3, "IndentationError"), ("return 5", 2, "SyntaxError")],
)
def test_a_syntax_error_is_one_short_message_with_the_line_of_the_cell(kernel, body, line, name):
    kernel.run("x = 'as before'")
    ran = kernel.run(f"%%durable\n{body}")
    text = traceback_of(ran)
    assert ran.reply["ename"] == ran.errors[0]["ename"] == name
    assert f"line {line}" in text
    assert "Traceback" not in text
    assert "durable_nb" not in text
    assert kernel.value("x") == "as before"  # nothing ran


def test_a_syntax_error_of_an_imported_file_shows_the_line_that_imports_it(kernel):
    kernel.run("open('broken_module.py', 'w').write('def f(:\\n')")
    text = traceback_of(kernel.run("%%durable\nimport broken_module"))
    assert "broken_module.py" in text
    assert "import broken_module" in text
    assert "durable_nb" not in text


def test_a_group_of_errors_is_an_error_of_the_cell(kernel):
    ran = kernel.run("%%durable\nraise ExceptionGroup('two', [ValueError('a'), TypeError('b')])")
    text = traceback_of(ran)
    assert ran.reply["ename"] == "ExceptionGroup"
    assert "ValueError: a" in text
    assert "TypeError: b" in text
    assert "line 2" in text
    assert "durable_nb" not in text
    assert "interactiveshell" not in text


def test_an_exception_with_ways_of_its_own_is_shown(kernel):
    kernel.run(
        "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\n"
        "class Frozen(Exception):\n    def __setattr__(self, name, value):\n        raise AttributeError(name)\n"
        "class Own(Exception):\n    def _render_traceback_(self):\n        return ['my own words']"
    )
    assert "Odd" in traceback_of(kernel.run("%%durable\nraise Odd"))
    assert "Frozen" in traceback_of(kernel.run("%%durable\nraise Frozen('f')"))
    assert traceback_of(kernel.run("%%durable\nraise Own")) == "my own words"


def test_system_exit_is_answered_as_in_a_plain_cell_and_the_kernel_lives(kernel):
    plainly = kernel.run("raise SystemExit(3)")
    ran = kernel.run("%%durable\nraise SystemExit(3)")
    assert ran.errors == plainly.errors
    assert ran.reply["ename"] == "SystemExit"
    stored = kernel.value("_outcomes[-1].outputs")
    assert stored == [one for one in ran.outputs if one["output_type"] == "error"]
    assert kernel.value("1") == 1


def test_an_unknown_magic_is_answered_as_in_a_plain_cell(kernel):
    ran = kernel.run("%%durable\n%no_such_magic")
    assert "UsageError: Line magic function `%no_such_magic` not found." in ran.outputs[0]["text"]
    assert kernel.value("_outcomes[-1].outputs") == ran.outputs
    assert ran.reply["status"] == "error"


def test_debug_stands_in_the_frame_of_the_user(kernel):
    kernel.run("%%durable\ndef deep(local):\n    return local / 0\ndeep(17)")
    ran = kernel.run("%debug", answers=("p local", "up", "p __name__", "q"))
    assert "17" in ran.text
    assert "'__main__'" in ran.text


def test_debug_after_an_error_of_ours_stands_in_the_line_that_called_us(kernel):
    ran = kernel.run("%%durable\ndef ask(local):\n    import durable_nb\n    durable_nb.sleep(local)\nask(18)")
    assert "durable_nb.sleep(local)" in traceback_of(ran).splitlines()[-3:][0] or "----> 4" in traceback_of(ran)
    assert "primitives.py" not in traceback_of(ran)
    assert "18" in kernel.run("%debug", answers=("p local", "q")).text


def test_source_and_file_name_are_those_of_the_cell(kernel):
    code = "%%durable\n# a comment\ndef seen():\n    return 'me'\n"
    kernel.run(code)
    expected = kernel.value(f"__import__('ipykernel').compiler.get_file_name({code!r})")
    assert kernel.value("seen.__code__.co_filename") == expected
    assert kernel.value("[seen.__code__.co_firstlineno, __import__('inspect').getsource(seen)]") == [
        3,
        "def seen():\n    return 'me'\n",
    ]


def test_magics_and_shell_lines_work_within(kernel):
    ran = kernel.run("%%durable\n%time a = 5\nfiles = !echo one two\nb = %who_ls str\nfiles")
    assert kernel.value("[a, list(files)]") == [5, ["one two"]]
    assert "Wall time" in ran.text


def test_a_cell_magic_within_runs_the_rest(kernel):
    ran = kernel.run("%%durable\n%%capture held\nprint('inside')\nw = 3")
    assert kernel.value("[w, held.stdout]") == [3, "inside\n"]
    assert ran.text == ""


def test_under_time_the_lines_are_still_those_of_the_cell(kernel):
    ran = kernel.run("%%time\n%%durable\nq = 1\nq / 0")
    assert "----> 4 q / 0" in traceback_of(ran)
    assert "Wall time" in kernel.run("%%time\n%%durable\nq = 2").text
    assert kernel.value("q") == 2


def test_a_body_that_awaits_runs_and_shows_its_result(kernel):
    ran = kernel.run(
        "%%durable\nimport asyncio\nasync def two():\n    await asyncio.sleep(0)\n    return 2\n"
        "many = [await two() for _ in range(3)]\nawait two() + 40"
    )
    assert kernel.value("many") == [2, 2, 2]
    assert ran.of("execute_result")[0]["data"]["text/plain"] == "42"
    assert kernel.value("_outcomes[-1].result") == 42


def test_an_error_after_an_await_has_the_line_of_the_cell(kernel):
    ran = kernel.run("%%durable\nimport asyncio\nawait asyncio.sleep(0)\nraise OSError('gone')")
    text = traceback_of(ran)
    assert "----> 4 raise OSError('gone')" in text
    assert "durable_nb" not in text
    assert kernel.value("_outcomes[-1].outputs") == ran.outputs
