"""notebook/where.py: which notebook a kernel belongs to, asked of everybody who may know."""

import json
import os
import re
import select
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client import BlockingKernelClient

from durable_nb.notebook.where import Found, ask_server, find, log_beside, orphans
from tests.notebook.kernels import ROOT, Kernel

FIND = (
    "from ipykernel import get_connection_file\nfrom durable_nb.notebook.where import find\n"
    "found = find(None, globals(), connection_file=get_connection_file())"
)


class Server:
    """A real Jupyter server, without a page."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.runtime = folder / "runtime"
        env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(self.runtime), "JUPYTER_CONFIG_DIR": str(folder / "config")}
        env |= {"IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": str(ROOT), "JUPYTER_NO_CONFIG": "1"}
        options = [
            "--port=0",
            "--ServerApp.port_retries=0",
            "--no-browser",
            "--allow-root",
            "--IdentityProvider.token=secret",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options, f"--ServerApp.root_dir={self.root}"],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_until_it_answers(self) -> None:
        found = (re.search(r"http://localhost:\d+/", line) for line in self.process.stderr)
        self.url = next(one[0] for one in found if one)
        while not (list(self.runtime.glob("jpserver-*.json")) and self.answers()):
            assert self.process.poll() is None
            select.select([self.process.stderr], [], [], 0.05)

    def answers(self) -> bool:
        try:
            return bool(self.ask("GET", "api")["version"])
        except urllib.error.URLError:  # its file is written a moment before it listens
            return False

    def ask(self, method: str, what: str, content=None):
        headers = {"Authorization": "token secret", "Content-Type": "application/json"}
        data = json.dumps(content).encode() if content is not None else None
        request = urllib.request.Request(self.url + what, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def close(self) -> None:
        self.process.terminate()  # it ends its kernels itself
        self.process.stderr.read()
        self.process.wait(60)
        self.process.stderr.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        server.wait_until_it_answers()
        yield server
    finally:
        server.close()


def begun(server: Server, name: str) -> dict:
    (server.root / name).write_text("{}")
    kernel = {"name": "python3"}
    return server.ask("POST", "api/sessions", {"path": name, "name": name, "type": "notebook", "kernel": kernel})


def test_the_server_knows_the_notebook_also_after_it_was_renamed(server, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime))
    session = begun(server, "first.ipynb")
    file = f"/somewhere/kernel-{session['kernel']['id']}.json"
    told = {"JPY_SESSION_NAME": str(server.root / "first.ipynb")}
    assert find(environ=told, connection_file=file) == Found(
        str(server.root / "first.durable.db"), server.root / "first.ipynb", "server"
    )
    (server.root / "first.ipynb").rename(server.root / "second.ipynb")
    server.ask(
        "PATCH", f"api/sessions/{session['id']}", {"path": "second.ipynb", "name": "second.ipynb", "type": "notebook"}
    )
    assert find(environ=told, connection_file=file).notebook == server.root / "second.ipynb"


def test_a_kernel_of_the_server_finds_its_notebook(server):
    session = begun(server, "inside.ipynb")
    client = BlockingKernelClient(connection_file=str(server.runtime / f"kernel-{session['kernel']['id']}.json"))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive(
            FIND, user_expressions={"by": "found.by", "log": "found.log", "told": "__session__"}, timeout=60
        )
    finally:
        client.stop_channels()
        client.context.term()
    values = {key: one["data"]["text/plain"] for key, one in reply["content"]["user_expressions"].items()}
    path = str(server.root / "inside")
    assert values == {"by": "'server'", "log": repr(path + ".durable.db"), "told": repr(path + ".ipynb")}


def test_a_server_that_does_not_have_this_kernel_is_passed_over(server, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    session = begun(server, "third.ipynb")
    file = f"kernel-{session['kernel']['id']}.json"
    (tmp_path / "jpserver-1.json").write_text(json.dumps({"url": "http://localhost:1/", "token": "", "root_dir": "/"}))
    (tmp_path / "jpserver-2.json").write_text("not json")
    (tmp_path / "jpserver-3.json").write_text(json.dumps({"url": server.url, "token": "wrong", "root_dir": "/"}))
    (tmp_path / "jpserver-4.json").write_text(json.dumps({"url": "", "sock": "/x"}))
    assert ask_server(file) is None
    right = {"url": server.url, "token": "secret", "root_dir": str(server.root)}
    (tmp_path / "jpserver-5.json").write_text(json.dumps(right))
    assert ask_server(file) == server.root / "third.ipynb"
    assert ask_server("kernel-of-nobody.json") is None
    assert ask_server("other.json") is None


def test_a_path_that_an_editor_has_made_up_is_no_notebook(server, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime))
    session = begun(server, "made-up.ipynb")
    (server.root / "made-up.ipynb").unlink()
    assert ask_server(f"kernel-{session['kernel']['id']}.json") is None


def beside(stem, by):
    return Found(f"/n/{stem}.durable.db", Path(f"/n/{stem}.ipynb"), by)


SESSION, NAME, CODE = "JPY_SESSION_NAME", "__session__", "__vsc_ipynb_file__"


@pytest.mark.parametrize(
    ("argument", "names", "environ", "found"),
    [
        ("x.db", {}, {"DURABLE_NB_LOG": "postgresql://h/d"}, Found("postgresql://h/d", None, "DURABLE_NB_LOG")),
        ("x.db", {}, {SESSION: "/n/a.ipynb"}, Found("x.db", None, "argument")),
        (None, {NAME: "/n/b.ipynb"}, {SESSION: "/n/a.ipynb"}, beside("a", SESSION)),
        (None, {NAME: "/n/b.ipynb", CODE: "/n/c.ipynb"}, {}, beside("b", NAME)),
        (None, {CODE: "/n/c.ipynb"}, {SESSION: "console-1"}, beside("c", CODE)),
    ],
)
def test_who_is_asked_first(argument, names, environ, found):
    assert find(argument, names, environ) == found


@pytest.mark.parametrize("name", ["console-1-abc", "", "relative.ipynb", "/n/script.py"])
def test_when_nobody_knows_it_says_so(name):
    found = find(None, {"__session__": name}, {"JPY_SESSION_NAME": name})
    assert (found.log, found.notebook) == (None, None)
    assert "which notebook" in found.why_not


def test_in_a_kernel_without_a_notebook_nobody_knows(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        assert kernel.run(FIND).reply["status"] == "ok"
        assert kernel.value("[found.log, found.by]") == [None, "nobody"]
    finally:
        kernel.close()


def test_the_log_lies_beside_the_notebook():
    assert log_beside(Path("/n/my.report.ipynb")) == Path("/n/my.report.durable.db")


def test_a_log_whose_notebook_is_gone_may_be_ours(tmp_path):
    (tmp_path / "new.ipynb").touch()
    for name in ("other.ipynb", "other.durable.db", "old.durable.db", "older.durable.db", "unrelated.db"):
        (tmp_path / name).touch()
    os.utime(tmp_path / "older.durable.db", (1, 1))
    assert orphans(tmp_path / "new.ipynb") == [tmp_path / "old.durable.db", tmp_path / "older.durable.db"]
    (tmp_path / "new.durable.db").touch()
    assert orphans(tmp_path / "new.ipynb") == []
