"""Durable cells in real kernels: they come back, they say why they run again, and they survive what kills a kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.life import NOTE, Life, badges, durable, own


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with Life(tmp_path_factory.mktemp("shared")) as life:
        life.run(NOTE)
        yield life


@pytest.fixture
def life(shared: Life, tmp_path: Path) -> Life:
    """A kernel that is used again, with a log of the test's own."""
    shared.run(f"%durable open {tmp_path / 'own.durable.db'}")
    shared.log = tmp_path / "own.durable.db"
    return shared


SESSION = (
    "import collections\nraw = [3, 1, 2]\nfactor = 2",
    "%%durable sorted\nnote('sorted')\ntable = {'rows': sorted(raw)}\nrows = table['rows']\nprint('sorting')\nrows",
    "%%durable scaled\nnote('scaled')\ndef scale(x):\n    return x * factor\nscaled = [scale(x) for x in rows]",
    "%%durable\nnote('mutated')\nraw.append(9)\ntable['more'] = 1\nlen(raw)",
    "%%durable point\nnote('point')\nPoint = collections.namedtuple('Point', 'x y')\np = Point(*rows[:2])\np",
)
ASKED = "[raw, table, rows is table['rows'], scaled, scale(5), list(p)]"
EXPECTED = [[3, 1, 2, 9], {"rows": [1, 2, 3], "more": 1}, True, [2, 4, 6], 10, [1, 2]]


def test_a_session_comes_back_in_a_new_kernel_and_nothing_runs_again(tmp_path: Path) -> None:
    with Life(tmp_path) as first:
        assert first.told == "durable_nb: nb.durable.db\n"
        first.run(NOTE)
        shown = [own(first.run(cell)) for cell in SESSION]
        assert first.value(ASKED) == EXPECTED
        assert first.ledger() == ["sorted", "scaled", "mutated", "point"]
        first.kill()
    with Life(tmp_path) as second:
        assert second.told == "durable_nb: nb.durable.db · 4 cells restorable\n"
        second.run(NOTE)
        ran = [second.run(cell) for cell in SESSION]
        assert [badges(one) for one in ran] == [[], *[["restored"]] * 4]
        for one, before in zip(ran, shown, strict=True):
            assert [{**out, "execution_count": 0} for out in own(one)] == [
                {**out, "execution_count": 0} for out in before
            ]
        assert second.value(ASKED) == EXPECTED
        assert second.ledger() == ["sorted", "scaled", "mutated", "point"]
        assert "restored 4 cells in" in second.run("%durable").text


def test_a_stale_cell_says_why(life: Life) -> None:
    life.run("K = 2\nraw = [1]\ndef f(x):\n    return x * K")
    cell = "%%durable a\nb = [f(x) for x in raw]"
    assert badges(life.run(cell)) == []
    assert badges(life.run("%%durable a\n# a comment\nb = [ f(x) for x in raw ]")) == ["restored"]
    life.run("K = 3")
    ran = life.run(cell)
    assert badges(ran) == ["runs again"]
    assert "`K` (used by `f`) changed" in ran.of("display_data")[0]["data"]["text/html"]
    life.run("raw = [2]")
    assert "`raw` changed" in life.run(cell).of("display_data")[0]["data"]["text/html"]
    assert "the code changed" in life.run(cell + "\nc = 1").of("display_data")[0]["data"]["text/html"]
    life.run("K = 2\nraw = [1]")
    assert badges(life.run(cell)) == ["restored"]
    assert life.value("b") == [2]


def test_attempts_timeouts_and_delays(life: Life) -> None:
    life.run("n = 0")
    assert badges(life.run("%%durable tries --retry 3\nn += 1\nif n < 3:\n    raise ValueError(n)")) == [
        "attempt 1 of 3 failed",
        "attempt 2 of 3 failed",
    ]
    assert life.value("n") == 3
    assert life.fail("%%durable never --retry 2\nraise KeyError('k')") == "KeyError: 'k'"
    assert life.fail("%%durable slow --timeout 100ms\nimport time\ntime.sleep(50)").startswith("StepTimeout")
    assert life.fail("%%durable slow2 --timeout 100ms\nimport asyncio\nawait asyncio.sleep(50)").startswith(
        "StepTimeout"
    )
    life.run("%%durable later --delay 200ms\nlate = 1")
    kinds = [line.split()[3:5] for line in life.run("%durable history ~cells").text.splitlines()]
    assert kinds.count(["attempt_failed", "tries"]) == 2
    assert kinds.count(["raised", "never"]) == kinds.count(["raised", "slow"]) == kinds.count(["raised", "slow2"]) == 1


def test_a_cell_that_awaits(tmp_path: Path) -> None:
    cell = "%%durable aw\nimport asyncio\nx = await asyncio.sleep(0.01, 5)\nprint(x)\nx + 1"
    with Life(tmp_path) as first:
        ran = first.run(cell)
        assert (ran.text, badges(ran), first.value("x")) == ("5\n", [], 5)
    with Life(tmp_path) as second:
        again = second.run(cell)
        assert (again.text, badges(again), second.value("x")) == ("5\n", ["restored"], 5)


def test_flows_and_steps_of_a_restored_cell_are_there_again(tmp_path: Path) -> None:
    cell = (
        "%%durable defs\nfrom durable_nb import flow, step\nrate = 3\n@step\ndef price(n):\n    return n * rate\n"
        "@flow\ndef order(n):\n    return price.spawn(n).result() + price(1)"
    )
    with Life(tmp_path) as first:
        first.run(cell)
    with Life(tmp_path) as second:
        assert badges(second.run(cell)) == ["restored"]
        assert second.value("order['o'](2)") == 9


def test_what_cannot_be_stored_is_named_and_the_cell_runs_again(tmp_path: Path) -> None:
    cell = "%%durable g\nnote('g')\ngen = (i for i in range(3))\nok = 1"
    with Life(tmp_path) as first:
        first.run(NOTE)
        ran = first.run(cell)
        assert badges(ran) == ["`gen` is not stored"]
        assert "a generator cannot be continued elsewhere" in ran.of("display_data")[0]["data"]["text/html"]
    with Life(tmp_path) as second:
        second.run(NOTE)
        assert badges(second.run(cell)) == ["runs again", "`gen` is not stored"]
        assert second.value("[list(gen), ok]") == [[0, 1, 2], 1]
        assert second.ledger() == ["g", "g"]


def test_a_killed_cell_goes_on_under_the_same_key_and_from_its_position(tmp_path: Path) -> None:
    setup = NOTE + "import os, signal, time\nfrom durable_nb import current_step"
    cell = (
        "%%durable work\nhere = current_step()\nkeys = [here.idempotency_key, here.attempt]\n"
        "for n in here.progress(range(4)):\n"
        "    note(str(n))\n"
        "    if n == 2 and os.environ.get('KILL'):\n"
        "        time.sleep(1.2)\n"
        "    if n == 3 and os.environ.get('KILL'):\n"
        "        note(keys[0])\n"
        "        os.kill(os.getpid(), signal.SIGKILL)"
    )
    with Life(tmp_path) as first:
        first.run(f"{setup}\nos.environ['KILL'] = '1'")
        first.kernel.begin(cell)
        first.kernel.manager.provisioner.process.wait()  # type: ignore[union-attr]
        *done, key = first.ledger()
        assert done == ["0", "1", "2", "3"]
    with Life(tmp_path) as second:
        assert "begun, not finished" in second.run("%durable cells").text
        second.run(setup)
        assert badges(second.run(cell)) == []
        assert second.value("keys") == [key, 2]
        assert second.ledger() == [*done, key, "3"]


def test_a_stopped_cell_is_run_again(life: Life) -> None:
    cell = "%%durable stop\nimport time\nprint('in', flush=True)\ntime.sleep(secs)"
    life.run("secs = 60")
    request = life.kernel.begin(cell)
    life.kernel.wait_for(request, "in")
    life.kernel.interrupt()
    ran = life.kernel.finish(request)
    assert [one["ename"] for one in ran.errors] == ["KeyboardInterrupt"]
    assert "interrupted" in life.run("%durable cells").text
    life.run("secs = 0")
    assert life.run(cell).text == "in\n"


def test_a_cell_waits_for_a_person_also_over_a_restart(tmp_path: Path) -> None:
    cell = "%%durable report --await approve:bool\nprint('approved', approve)"
    with Life(tmp_path) as first:
        request = first.kernel.begin(cell)
        while "report" not in durable(first.log, "why", "~cells").stdout:
            pass
        refused = durable(first.log, "signal", "~cells", "approve", "maybe")
        assert refused.returncode != 0
        assert "'maybe' is not true or false" in refused.stderr
        first.kill()
    assert durable(tmp_path / "nb.durable.db", "signal", "~cells", "approve", "true").returncode == 0
    del request
    with Life(tmp_path) as second:
        assert second.told.endswith("1 waits for `approve`\n")
        assert second.run(cell).text == "approved True\n"
        assert badges(second.run(cell)) == ["restored"]
    with Life(tmp_path) as third:
        assert badges(third.run(cell)) == ["restored"]
        assert third.value("approve") is True


def test_a_second_kernel_waits_for_the_first(tmp_path: Path) -> None:
    cell = (
        "%%durable slow\nimport time\nprint('in', flush=True)\nnote('slow')\n"
        "while not os.path.exists('go'):\n    time.sleep(0.01)"
    )
    with Life(tmp_path) as first, Life(tmp_path) as second:
        for one in (first, second):
            one.run(NOTE + "import os")
        here = first.kernel.begin(cell)
        first.kernel.wait_for(here, "in")
        there = second.kernel.begin("%%durable other\nnote('other')")
        while not any(
            "which runs a durable cell" in one["content"]["data"]["text/plain"]
            for one in [second.kernel.client.get_iopub_msg(timeout=60)]
            if one["msg_type"] == "display_data"
        ):
            pass
        assert first.ledger() == ["slow"]
        (tmp_path / "go").touch()
        first.kernel.finish(here)
        second.kernel.finish(there)
        assert first.ledger() == ["slow", "other"]


def test_policies(life: Life) -> None:
    life.run("n = 1")
    cell = "%%durable p {}\nm = n"
    life.run(cell.format(""))
    life.run("n = 2")
    assert badges(life.run(cell.format("--reuse code"))) == ["restored"]
    assert badges(life.run(cell.format("--reuse always"))) == ["restored"]
    assert badges(life.run(cell.format("--reuse never"))) == []
    assert life.value("m") == 2
    life.run("n = 3")
    assert "needs somebody to answer" in life.fail(cell.format("--reuse ask"))
    assert badges(life.run(cell.format("--reuse ask"), answers=("restore",))) == ["restored"]
    assert life.value("m") == 2
    life.run(cell.format("--reuse ask"), answers=("run",))
    assert life.value("m") == 3
    life.run("%config DurableMagics.reuse = 'always'\nn = 4")
    assert badges(life.run(cell.format(""))) == ["restored"]
    life.run("%config DurableMagics.reuse = 'inputs'")


def test_inputs_and_outputs_can_be_named(life: Life) -> None:
    life.run("a, b = 1, 1")
    cell = "%%durable io --in a --out c\nc = a + b\nd = 9"
    life.run(cell)
    life.run("b = 5\ndel c, d")
    assert badges(life.run(cell)) == ["restored"]
    assert life.value("[c, 'd' in globals()]") == [2, False]
    assert life.fail("%%durable io2 --in nope\nx = 1") == (
        "BadOption: --in nope: there is no variable `nope` here; define it above, or leave it out"
    )


def test_a_renamed_cell_is_offered_its_outcome(tmp_path: Path) -> None:
    with Life(tmp_path) as first:
        first.run(NOTE)
        first.run("%%durable old\nnote('ran')\nx = 1")
    with Life(tmp_path) as second:
        second.run(NOTE)
        new = "%%durable new\nnote('ran')\nx = 1"
        assert "`%durable rename old new` keeps what it came to" in second.fail(new)
        assert second.run("%durable rename old new").text == "1 outcome of `old` belongs to `new` now\n"
        assert badges(second.run(new)) == ["restored"]
        assert second.run("%durable forget new").text == "forgot 1 outcome of `new`; it runs again\n"
        assert badges(second.run(new)) == []
        assert second.ledger() == ["ran", "ran"]


def test_a_plan_tells_and_does_nothing(life: Life) -> None:
    life.run("raw = 1")
    told = life.run("%%durable plan --plan\nnote('never')\ny = raw").text
    assert "`plan` would run: it has not run before" in told
    assert "reads  raw (data)" in told
    assert "binds  y" in told
    assert life.value("'y' in globals()") is False


def test_errors_of_a_body_are_the_users(life: Life) -> None:
    (error,) = life.kernel.run("%%durable bad\nx = 1\n1 / 0").errors
    text = "\n".join(error["traceback"])
    assert "line 3" in text
    assert "durable_nb" not in text
    assert life.fail("%%durable bad\nif:").startswith("SyntaxError")
    assert "cannot stand in a durable cell" in life.fail(
        "%%durable outer\nget_ipython().run_cell_magic('durable', '', 'x=1')"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("%durable shwo", "there is no such verb; did you mean `show`?"),
        ("%durable why --bogus x", "No such option '--bogus'"),
        ("%durable why nobody", "there is no run 'nobody'"),
        ("%durable signal nobody go", "--before-start keeps the signal for it"),
        ("%durable forget nobody", "there is no durable cell `nobody`"),
        ("%%durable x --bogus\n1", "unrecognized arguments: --bogus"),
        ("%%durable 1x\n1", "no name for a durable cell"),
        ("%%durable x --await a:Nope\n1", "the type 'Nope' is not known here"),
        ("%%durable x --timeout soon\n1", "'soon'"),
    ],
)
def test_bad_lines_are_one_red_line(life: Life, line: str, told: str) -> None:
    assert told in life.fail(line)


def test_every_verb_has_help_and_completion(life: Life) -> None:
    verbs = [line.split()[0] for line in life.run("%durable help").text.splitlines()[1:]]
    assert {"open", "ls", "show", "why", "signal", "cells", "forget", "resume", "chaos", "export"} <= set(verbs)
    for verb in verbs:
        assert f"Usage: %durable {verb}" in life.run(f"%durable {verb} --help").text
    life.run("%%durable features\nq = 1")
    life.run(
        "from IPython.core.completer import provisionalcompleter\n"
        "def completed(line):\n"
        "    with provisionalcompleter():\n"
        "        return [c.text for c in get_ipython().Completer.completions(line, len(line))]"
    )
    for line, expected in (
        ("%durable sig", "signal"),
        ("%durable why ~", "~cells"),
        ("%%durable fea", "features"),
        ("%%durable features --reu", "--reuse"),
        ("%durable signal --b", "--before-start"),
    ):
        assert expected in life.value(f"completed({line!r})"), line  # type: ignore[operator]


def test_loading_twice_and_unloading(tmp_path: Path) -> None:
    with Life(tmp_path) as life:
        assert life.run("%reload_ext durable_nb").text == "durable_nb: nb.durable.db\n"
        life.run("%load_ext durable_nb")
        life.run("%%durable a\nx = 1")
        life.run("%unload_ext durable_nb")
        assert life.value("'durable' in get_ipython().magics_manager.magics['cell']") is False
        assert life.run("%load_ext durable_nb").text.endswith("1 cell restorable\n")
        assert badges(life.run("%%durable a\nx = 1")) == ["restored"]


def test_without_a_log_the_cell_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.notebook.kernels import Kernel

    monkeypatch.delenv("DURABLE_NB_LOG", raising=False)
    kernel = Kernel(tmp_path)
    try:
        assert "type `%durable open work.durable.db`" in kernel.run("%load_ext durable_nb").text
        (error,) = kernel.run("%%durable a\nx = 1").errors
        assert "type `%durable open work.durable.db`" in error["evalue"]
        assert kernel.run("%durable open work.durable.db").text == "durable_nb: work.durable.db\n"
        assert kernel.run("%%durable a\nx = 1").reply["status"] == "ok"
    finally:
        kernel.close()


def test_a_log_from_elsewhere_is_shown_and_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = "%%durable a\nnote('a')\nx = {1, 2}"
    with Life(tmp_path) as first:
        first.run(NOTE)
        first.run(cell)
    monkeypatch.setenv("DURABLE_NB_KEY", "another key, of somebody else, long enough")
    with Life(tmp_path) as second:
        assert "is from elsewhere; `%durable trust" in second.told
        assert "a" in second.run("%durable cells").text
        second.run(NOTE)
        assert "trust" in second.fail(cell)
        assert second.ledger() == ["a"]
        second.run("%durable trust --yes")


BACKGROUND = """
from durable_nb import flow, signal, step
@step
def double(n):
    note(f"double{n}")
    return 2 * n
@flow
def wait(n):
    first = double(n)
    return first + signal("more", int).result()
"""


def test_background_runs_go_on_when_the_next_kernel_is_idle(tmp_path: Path) -> None:
    with Life(tmp_path) as first:
        first.run(NOTE + BACKGROUND)
        first.run("run = wait['left'].start(4)")
        while "waits for the signal" not in first.run("%durable why left").text:
            pass
        first.kill()
    log = tmp_path / "nb.durable.db"
    with Life(tmp_path) as second:
        assert second.told.endswith("1 waits for `more`\n")
        assert durable(log, "signal", "left", "more", "3").returncode == 0
        while (
            "completed" not in durable(log, "why", "left").stdout
        ):  # the kernel is idle, and knows neither flow nor step
            pass
        assert second.value("__import__('durable_nb').runs['left'].result()") == 11
        assert second.ledger() == ["double4"]


def test_a_crash_test_kills_a_copy_at_every_commit(tmp_path: Path) -> None:
    with Life(tmp_path) as life:
        life.run(
            NOTE + "from durable_nb import flow, step\nrate = 3\n"
            "@step\ndef price(n):\n    return n * rate\n"
            "@flow\ndef order(n):\n    return [price(k) for k in range(n)]"
        )
        told = life.run("%%durable t --crash-test\ntotal = sum(order['o'](3))").text
        assert "commits; the cell was killed at each and begun again" in told
        assert "ended as without a crash" in told
        assert "`price` ran twice when killed" in told
        assert life.value("'total' in globals()") is False
        assert "cells" not in life.run("%durable ls").text
        told = life.run("%%durable u --crash-test\nimport random\nx = order['o'](1) and random.random()").text
        assert "ended otherwise: `x` differs" in told
