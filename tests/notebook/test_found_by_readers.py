"""What readers of the notebooks have stumbled over."""

from pathlib import Path

from tests.notebook.life import Life, durable


def test_a_plan_tells_a_cell_that_was_begun_from_one_that_never_ran(tmp_path: Path) -> None:
    cell = "%%durable c{}\nx = 1 / zero"
    with Life(tmp_path) as first:
        first.run("zero = 0")
        assert "`c` would run: it has not run before" in first.run(cell.format(" --plan")).text
        first.fail(cell.format(""))
        told = first.run(cell.format(" --plan")).text
        assert "`c` would run: it failed last time with ZeroDivisionError: division by zero" in told
        first.run("zero = 1")
        first.run(cell.format(""))
        first.run("%durable forget c")
        assert "`c` would run: what it came to was forgotten" in first.run(cell.format(" --plan")).text
        first.kernel.begin("%%durable d\nimport os\nos.kill(os.getpid(), 9)")
        first.kernel.manager.provisioner.process.wait()  # type: ignore[union-attr]
    with Life(tmp_path) as second:
        assert "`d` would run: it was begun and did not end" in second.run("%%durable d --plan\nx = 1").text


def test_a_run_that_waits_for_a_signal_with_a_timeout_is_said_to_wait_for_it(tmp_path: Path) -> None:
    with Life(tmp_path) as first:
        first.run(
            "from durable_nb import flow, note, signal\n"
            "@flow\ndef wait():\n    note('asks')\n    return signal('paid', bool).result(timeout='2d')\n"
            "wait['w'].start().wait_for_note()"
        )
        first.kill()
    with Life(tmp_path) as second:
        assert second.told == "durable_nb: nb.durable.db · 1 waits for `paid`\n"


def test_a_crash_test_crashes_at_commits_of_the_cell_only(tmp_path: Path) -> None:
    with Life(tmp_path) as life:
        told = life.run("%%durable c --crash-test\nx = 1").text
    assert told.startswith("0 commits; ")


def test_a_cell_that_has_got_its_signal_waits_for_it_no_more(tmp_path: Path) -> None:
    with Life(tmp_path) as life:
        life.run("%%durable first\nx = 1")
        life.run("%durable signal ~cells approve true")
        assert life.run("%%durable send --await approve:bool\nprint(approve)").text == "True\n"
        assert life.value("len(__import__('durable_nb').runs(waiting_for='approve'))") == 0
        assert "waits" not in durable(life.log, "why", "~cells").stdout
