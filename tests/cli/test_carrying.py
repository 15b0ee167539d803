"""worker and run: processes that carry, and that are killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable_nb import connect
from durable_nb.cli.carrying import RUN_KEYS
from tests.cli.conftest import Shell, durable, ended
from tests.cli.samples import cli_bill, cli_tagged, cli_waiting
from tests.notebook.notebooks import write

SHOP = """
import os, signal, threading, time
from pathlib import Path
from durable_nb import flow, step

@step
def {p}add(one, two):
    print("adding", one, two)
    return one + two

@step
def {p}once(name):
    with open(name + ".count", "a") as file:
        file.write("x")
    return name

@step
def {p}killed():
    if not Path("was-killed").exists():
        Path("was-killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"

@step
def {p}held(name):
    Path(name + ".begun").open("w").close()  # a FIFO: waits for the test to look
    while not Path(name + ".go").exists():  # in an open() that blocks, a signal of just before would never be seen
        time.sleep(0.01)
    return name

@step
def {p}stops():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # taken by this thread, and not by the main one
    return "stopped"

@flow
def {p}total(one, two=2):
    return {p}add(one, two)

@flow
def {p}failing(why: str):
    raise ValueError(why)

@flow
def {p}three():
    return [{p}once("first"), {p}killed(), {p}once("last")]

@flow
def {p}holding():
    return [{p}once("first"), {p}held("hold"), {p}once("last")]

@flow
def {p}stopping():
    return {p}stops()

class {p}Shop:
    @flow
    def open(self):
        return {{"is": "open"}}
"""


def write_shop(folder: Path, name: str) -> None:
    """A module under a name of its own: flows of one name may not come from two modules of a process."""
    (folder / f"{name}.py").write_text(SHOP.format(p=f"{name}_"))


@pytest.fixture(autouse=True)
def import_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/nowhere")  # puts sys.path back afterwards


def test_run_carries_a_flow_and_prints_its_result(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop1")
    said = shell("run", "shop1:shop1_total", "--id", "a", "-p", "one=40")
    assert (said.code, said.out, said.err) == (0, "adding 40 2\n42\n", "run a\n")
    again = shell("run", "shop1.py:shop1_total", "--id", "a", "-p", "one=40")
    assert (again.code, again.out) == (0, "42\n")
    assert [path.name for path in folder.glob("*.durable.db")] == ["shop1.durable.db"]


def test_parameters_are_json_or_else_text(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop2")
    run = ["run", "shop2:shop2_total"]
    assert shell(*run, "-p", "one=a b", "-p", "two= =c").out.splitlines()[-1] == "a b =c"
    assert shell(*run, "-p", "one=[1]", "-p", 'two=["x", null]').out.splitlines()[-1] == '[1,"x",null]'
    assert shell(*run, "-p", 'one="1"', "-p", 'two="2"').out.splitlines()[-1] == "12"
    assert shell("run", "shop2:shop2_Shop.open").out == '{"is":"open"}\n'


def test_run_json_is_all_there_is_on_standard_output(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop3")
    said = shell("run", "shop3:shop3_total", "--id", "a", "-p", "one=1", "--json")
    assert tuple(said.json) == RUN_KEYS
    assert said.json["result"] == {"codec": "json", "json": 3}
    assert "adding 1 2" in said.err


def test_a_failed_run_is_code_1_and_one_line(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop4")
    said = shell("run", "shop4:shop4_failing", "--id", "a", "-p", "why=no tea")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[0] == "run a"
    assert said.err.splitlines()[1].startswith("run 'a' failed: ValueError: no tea (shop4.py, line ")
    assert len(said.err.splitlines()) == 2
    data = shell("run", "shop4:shop4_failing", "--id", "a", "-p", "why=no tea", "--json")
    assert (data.code, data.json["failure"]["message"]) == (1, "no tea")


def test_run_says_what_is_wrong_with_its_target_and_arguments(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop5")
    (folder / "broken5.py").write_text("import nothing_of_that_name\n")
    said = {
        target: shell("run", target)
        for target in ("shop5", "shop5:nope", "missing5:x", "missing5.py:x", "broken5:x", "shop5:shop5_add")
    }
    assert {each.code for each in said.values()} == {2}
    assert "it has shop5_failing, shop5_holding" in said["shop5:nope"].err
    assert "there is no module 'missing5'" in said["missing5:x"].err
    assert "broken5.py, line 1" in said["broken5:x"].err
    assert list(folder.glob("*.durable.db")) == []
    for bad in (["-p", "one"], ["-p", "three=3"], [], ["-p", "one=1", "--id", "a/b"]):
        assert shell("run", "shop5:shop5_total", *bad).code == 2, bad


def test_run_says_what_is_wrong_with_a_notebook(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shopn")
    (folder / "text.ipynb").write_text("no notebook")
    write(folder / "cobol.ipynb", "1", kernel="cobol")
    write(folder / "nb.ipynb", "1")
    said = {
        words: shell("run", *words)
        for words in (
            ("missing.ipynb",),
            ("shopn.py:shopn_total", "--out", "done.ipynb"),
            ("text.ipynb",),
            ("cobol.ipynb",),
            ("nb.ipynb", "--out", "nowhere/done.ipynb"),
            ("nb.ipynb", "-p", "class=1"),
        )
    }
    assert [each.code for each in said.values()] == [2, 2, 1, 1, 1, 1], said
    lines = [each.err.splitlines()[-1] for each in said.values()]
    assert lines[0] == "there is no notebook missing.ipynb"
    assert lines[1] == "--out is for notebooks; shopn.py:shopn_total is none"
    assert "text.ipynb is no notebook: " in lines[2]
    assert "cobol.ipynb wants kernel `cobol`, which is not installed here" in lines[3]
    assert f"there is no folder {folder}/nowhere" in lines[4]
    assert "'class' can be none" in lines[5]
    assert sorted(path.name for path in folder.glob("*.db")) == ["cobol.durable.db", "nb.durable.db", "text.durable.db"]


def test_another_run_of_the_id_is_a_conflict(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop6")
    assert shell("run", "shop6:shop6_total", "--id", "a", "-p", "one=1").code == 0
    said = shell("run", "shop6:shop6_total", "--id", "a", "-p", "one=2")
    assert (said.code, said.out) == (4, "")
    assert "exists with other arguments" in said.err


def test_a_paused_run_is_code_5_and_says_how_to_go_on(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop7")
    with connect(folder / "shop7.durable.db", carriers=0) as app:
        cli_waiting["a"].start()
        app.turn()
    shell("pause", "a")
    said = shell("run", "tests.cli.samples:cli_waiting", "--id", "a")
    assert (said.code, said.out) == (5, "")
    assert "`durable resume a`" in said.err


@pytest.mark.slow
def test_run_goes_on_after_a_kill_and_repeats_nothing(folder: Path) -> None:
    write_shop(folder, "shop8")
    line = ["run", "shop8:shop8_three", "--id", "a"]
    assert ended(durable(*line)).code == -signal.SIGKILL
    assert ended(durable(*line)) == (0, '["first","alive","last"]\n', "run a\n")
    assert (folder / "first.count").read_text() == (folder / "last.count").read_text() == "x"


@pytest.mark.slow
def test_an_interrupted_run_is_code_130_and_goes_on(folder: Path, shell: Shell) -> None:
    write_shop(folder, "shop9")
    os.mkfifo(folder / "hold.begun")
    line = ["run", "shop9:shop9_holding", "--id", "a"]
    process = durable(*line)
    (folder / "hold.begun").open().close()
    process.send_signal(signal.SIGINT)
    said = ended(process)
    assert (said.code, said.out) == (130, "")
    assert "`durable resume a`, then the same command goes on" in said.err
    assert shell(*line).code == 5
    assert shell("resume", "a").code == 0
    process = durable(*line)
    (folder / "hold.begun").open().close()
    (folder / "hold.go").touch()
    assert ended(process)[:2] == (0, '["first","hold","last"]\n')
    assert (folder / "first.count").read_text() == "x"


def test_worker_carries_what_is_due_and_ends_when_idle(folder: Path, shell: Shell) -> None:
    path = folder / "shop.durable.db"
    with connect(path, carriers=0):
        for number in range(20):
            cli_bill[f"bill-{number}"].start(["tea", "cake"])
        cli_waiting["later"].start()
    said = shell("worker", "--until-idle", "--durability", "process", "--carriers", "2", "--workers", "2")
    assert said.code == 0
    first, *_, last = said.out.splitlines()  # between them, what the steps have printed
    assert first == f"worker {os.getpid()} carries {path} with 2 carriers and 2 workers"
    assert last.endswith("20 completed")
    assert shell("ls", "--json").json["totals"] == {"completed": 20, "waiting": 1}


def test_a_worker_with_tags_takes_their_steps_too(folder: Path, shell: Shell) -> None:
    with connect(folder / "shop.durable.db", carriers=0):
        cli_tagged["t"].start("model")
    quick = ("worker", "--until-idle", "--durability", "process")
    assert shell(*quick).code == 0
    assert "waits for a worker with tag `gpu`" in shell("why", "t").out
    assert shell(*quick, "--tags", "tpu, gpu").code == 0
    assert shell("ls", "--json").json["totals"] == {"completed": 1}


@pytest.mark.slow
def test_a_worker_hears_a_signal_that_came_to_another_of_its_threads(folder: Path) -> None:
    """Or just before its main thread began to wait, which is the same: nothing interrupts that wait."""
    write_shop(folder, "shops")
    start = "connect('shop.durable.db', carry=False); shops.shops_stopping['a'].start()"
    subprocess.run([sys.executable, "-c", f"import shops; from durable_nb import connect; {start}"], check=True)
    said = ended(durable("worker", "--log", "shop.durable.db"))
    assert (said.code, said.err, len(said.out.splitlines())) == (0, "", 2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_stop_ends_its_step_and_gives_its_runs_back(
    folder: Path, shell: Shell, number: signal.Signals
) -> None:
    write_shop(folder, "shopw")
    os.mkfifo(folder / "hold.begun")
    start = "connect('shop.durable.db', carry=False); shopw.shopw_holding['a'].start()"
    made = subprocess.run(
        [sys.executable, "-c", f"import shopw; from durable_nb import connect; {start}"],
        capture_output=True,
        timeout=60,
    )
    assert (made.returncode, made.stderr) == (0, b"")
    process = durable("worker", "--log", "shop.durable.db")
    (folder / "hold.begun").open().close()
    process.send_signal(number)
    (folder / "hold.go").touch()
    said = ended(process)
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) == 2
    kinds = [event["kind"] for event in shell("history", "a", "--json").lines]
    assert kinds[:5] == ["started", "step", "returned", "step", "returned"]
    assert shell("ls", "--workers", "--json").json == {"workers": []}
    assert ended(durable("worker", "--until-idle")).code == 0
    assert shell("why", "a", "--json").json["status"] == "completed"
    assert (folder / "first.count").read_text() == (folder / "last.count").read_text() == "x"
