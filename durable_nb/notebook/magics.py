"""`%durable`, `%%durable` and their settings; what `%load_ext durable_nb` registers."""

import weakref
from typing import Any

import click
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from traitlets import Bool, Enum, Float

from durable_nb.notebook.cell import execute
from durable_nb.notebook.completing import Completer
from durable_nb.notebook.cut import one_line
from durable_nb.notebook.finding import open_found
from durable_nb.notebook.options import POLICIES, checked
from durable_nb.notebook.own_verbs import own_verbs
from durable_nb.notebook.session import Session
from durable_nb.notebook.status import status
from durable_nb.notebook.verbs import help_text, run_verb


@magics_class
class DurableMagics(Magics):
    """The magics of one shell. Every setting is `%config DurableMagics.NAME = VALUE`."""

    durability = Enum(("full", "process"), "full", help="What a commit survives: power loss, or a kill.").tag(
        config=True
    )
    reuse = Enum(POLICIES, "inputs", help="When an outcome is restored, where a cell does not say.").tag(config=True)
    quiet = Bool(False, help="Say nothing when a cell is restored or runs again.").tag(config=True)
    short_errors = Bool(True, help="Hide the frames of durable_nb in tracebacks.").tag(config=True)
    idle = Float(2.0, help="Seconds of an idle kernel after which old runs are taken up.").tag(config=True)

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session(shell, lambda: str(self.durability), lambda: float(self.idle))
        self.own = own_verbs(self.session)
        self.completer = Completer(self.session, self.own)

    @no_var_expand
    @line_magic("durable")
    def line(self, line: str) -> None:
        """The log of this notebook: `%durable` alone tells how it stands, `%durable help` lists the verbs."""
        with one_line(self.shell):
            if not line.strip():
                print(status(self.session))
            elif line.split()[0] in ("help", "--help", "-h"):
                print(help_text(self.own))
            else:
                run_verb(self.session, self.own, line)

    @no_var_expand
    @magic_arguments("%durable")  # IPython puts one more before it
    @argument("name", nargs="?", help="What the cell is called; otherwise its code is its name.")
    @argument("-r", "--retry", type=int, metavar="N", help="Try up to N times when it fails.")
    @argument("-t", "--timeout", metavar="T", help="Stop an attempt after this time, as in 30s or 1h30m.")
    @argument("-d", "--delay", metavar="T", help="Begin after this time; a restart does not start it anew.")
    @argument("-i", "--in", dest="inputs", metavar="a,b", help="Compare these inputs only.")
    @argument("-o", "--out", dest="outputs", metavar="c", help="Keep these variables only.")
    @argument("-a", "--await", dest="awaited", action="append", metavar="S[:TYPE]", help="Begin when the signal comes.")
    @argument("-u", "--reuse", choices=POLICIES, help="When its outcome is restored.")
    @argument("-p", "--plan", action="store_true", help="Only tell what would be done, and why.")
    @argument("-c", "--crash-test", action="store_true", help="Crash a copy at every commit and compare.")
    @argument("-q", "--quiet", action="store_true", help="Say nothing about restoring.")
    @cell_magic("durable")
    def cell(self, line: str, body: str) -> Any:
        """Run this cell once; afterwards bring back its variables and its output, also in another kernel.

        It runs again when its code or an input has changed, and says which. The same for a function is
        `@durable_nb.step`, called in a `@durable_nb.flow`.
        """
        given = parse_argstring(self.cell, line)
        self.session.shows_all = not self.short_errors
        with one_line(self.shell):
            options = checked(given, self.shell.user_ns, str(self.reuse), bool(self.quiet))
            return execute(self.session, options, body)


_loaded: "weakref.WeakKeyDictionary[InteractiveShell, DurableMagics]" = weakref.WeakKeyDictionary()


def load(shell: InteractiveShell) -> None:
    """Register with the shell and open the log of its notebook; a second time changes nothing."""
    if shell in _loaded:
        return
    magics = DurableMagics(shell)
    shell.register_magics(magics)
    shell.configurables.append(magics)
    magics.session.begin()
    magics.completer.begin()
    _loaded[shell] = magics
    try:
        with one_line(shell):
            print(open_found(magics.session))
    except (click.ClickException, UsageError) as error:
        print(f"durable_nb: {error}")


def unload(shell: InteractiveShell) -> None:
    """Leave the shell as it was."""
    magics = _loaded.pop(shell, None)
    if magics is None:
        return
    magics.completer.end()
    magics.session.end()
    shell.configurables.remove(magics)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("durable", None)
