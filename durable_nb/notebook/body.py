"""Running the body of a durable cell as the shell would run the cell without its first line."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any

from durable_nb.flows.source.texts import remember
from durable_nb.notebook.capture import Capture
from durable_nb.notebook.cut import error_output, hide
from durable_nb.notebook.interrupt import Awaiting
from durable_nb.notebook.outputs import Output

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a body. Nothing was raised yet: the outcome can be stored first."""

    error: BaseException | None  # as the body raised it
    result: Any  # what the shell shows as Out[n], None when there is nothing to show
    outputs: list[Output]  # all that was shown, the error last; empty without a capture
    shown: BaseException | None  # what to raise, so that the shell shows the error once and in the user's lines

    def raise_error(self) -> None:
        """Fail the cell if the body has failed."""
        if self.shown is not None:
            raise self.shown


def run_body(
    shell: "InteractiveShell",
    source: str,
    *,
    first_line: int | None = None,
    capture: Capture | None = None,
    shows_all: bool = False,
) -> Outcome:
    """Run the source in the user's namespace. It begins at `first_line` of the present cell, or where it is found there.

    The last expression is shown as the shell's settings say. Whatever the body raises is in the outcome, also
    SystemExit and KeyboardInterrupt. With `shows_all` the frames of this package are not hidden.
    """
    before = _result(shell)
    error: BaseException | None = None
    try:
        with capture or nullcontext():
            for code in _compiled(shell, source, first_line or first_line_of(shell, source), 0):
                exec(code, shell.user_global_ns, shell.user_ns)
    except BaseException as raised:  # noqa: BLE001 - whatever a body raises is an outcome
        error = raised
    return _outcome(shell, before, error, capture, shows_all)


async def run_body_awaiting(
    shell: "InteractiveShell",
    source: str,
    *,
    first_line: int | None = None,
    capture: Capture | None = None,
    shows_all: bool = False,
) -> Outcome:
    """The same for a body with `await` at its top level. Ctrl-C interrupts it, also while it awaits."""
    before = _result(shell)
    error: BaseException | None = None
    try:
        with capture or nullcontext(), Awaiting():
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            for code in _compiled(shell, source, first_line or first_line_of(shell, source), flags):
                done = eval(code, shell.user_global_ns, shell.user_ns)
                if code.co_flags & inspect.CO_COROUTINE:
                    await done
    except BaseException as raised:  # noqa: BLE001 - whatever a body raises is an outcome
        error = raised
    return _outcome(shell, before, error, capture, shows_all)


def first_line_of(shell: "InteractiveShell", source: str) -> int:
    """The line of the present cell at which this end of it begins: 2 below a magic in line 1."""
    cell = _cell_as_sent(shell).rstrip("\n")
    rest = source.rstrip("\n")
    return cell[: len(cell) - len(rest)].count("\n") + 1 if rest and cell.endswith(rest) else 2


def make_known(shell: "InteractiveShell", source: str, present: str) -> None:
    """Let the source be found as if it had run just now: a class without methods knows no file by itself.

    It has the name of the present cell, unless its text is not quite `present`.
    """
    if source == present:
        _placed(shell, source, first_line_of(shell, source))
    else:
        remember("cell", shell.transform_cell(source))


def _outcome(
    shell: "InteractiveShell", before: Any, error: BaseException | None, capture: Capture | None, shows_all: bool
) -> Outcome:
    shown = error if error is None or shows_all else hide(shell, error)
    outputs = capture.outputs if capture is not None else []
    if shown is not None and capture is not None:
        outputs.append(error_output(shell, shown))  # the shell shows it when it is raised, after the capture
    result = _result(shell)
    return Outcome(error, None if result is before else result, outputs, shown)


def _result(shell: "InteractiveShell") -> Any:
    return getattr(shell.displayhook.exec_result, "result", None)


def _compiled(shell: "InteractiveShell", source: str, first_line: int, flags: int) -> list[CodeType]:
    """The statements of the source, under the file name and with the line numbers of the cell.

    All are compiled before the first one runs: a `return` in the last line is no reason to run the others.
    """
    text, name = _placed(shell, source, first_line)
    codes = []
    try:
        tree: ast.Module = shell.transform_ast(shell.compile.ast_parse(text, filename=name))
        with shell.compile.extra_flags(flags):
            for node, mode in _with_modes(tree.body, _interactivity(shell, source)):
                part: Any = ast.Module([node], []) if mode == "exec" else ast.Interactive([node])
                codes.append(shell.compile(part, name, mode))
    except Exception as error:  # noqa: BLE001 - raised again
        raise error.with_traceback(None)  # the frames of the compiler are not the user's
    return codes


def _placed(shell: "InteractiveShell", source: str, first_line: int) -> tuple[str, str]:
    """The source with the line numbers of the present cell, and the file name under which the shell knows it now."""
    lines = source.splitlines()
    blank = next((place for place, line in enumerate(lines) if line.strip()), 0)  # the shell leaves these out
    text = "\n" * (first_line - 1 + blank) + shell.transform_cell(source)
    return text, shell.compile.cache(text, shell.displayhook.prompt_count, raw_code=_cell_as_sent(shell))


def _cell_as_sent(shell: "InteractiveShell") -> str:
    """The code of the present cell letter by letter: a debugger knows it by its digest."""
    if hasattr(shell, "get_parent"):
        sent = shell.get_parent().get("content", {}).get("code")
        if isinstance(sent, str):
            return sent
    return str(shell.history_manager.input_hist_raw[-1]) if shell.history_manager is not None else ""


def _interactivity(shell: "InteractiveShell", source: str) -> str:
    """What is shown: as the user has set it, and nothing when the last line ends with a semicolon."""
    if shell.displayhook.semicolon_at_end_of_expression(source):
        return "none"
    return str(shell.ast_node_interactivity)


def _with_modes(nodes: list[ast.stmt], interactivity: str) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement, and whether its value is shown ("single") or not ("exec")."""
    if not nodes:
        return
    last = nodes[-1]
    if interactivity == "last_expr_or_assign":
        target = last.targets[0] if isinstance(last, ast.Assign) and len(last.targets) == 1 else None
        target = last.target if isinstance(last, ast.AnnAssign | ast.AugAssign) else target
        if isinstance(target, ast.Name):
            last = ast.copy_location(ast.Expr(ast.copy_location(ast.Name(target.id, ast.Load()), last)), last)
            nodes = [*nodes, last]
    shows_last = interactivity == "last" or (interactivity.startswith("last_expr") and isinstance(last, ast.Expr))
    for node in nodes:
        is_shown = interactivity == "all" or (node is last and shows_last)
        yield node, "single" if is_shown else "exec"
