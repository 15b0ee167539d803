"""Every error a user can meet, as one tree. A class docstring is the default message and says what to do next.

DurableError
├── Refused                 the call was not accepted; nothing was written
│   ├── NotInFlow           a durable verb in the wrong place
│   ├── BadArguments        the arguments do not fit the function          (also a TypeError)
│   ├── BadOption           an option or a duration that makes no sense    (also a ValueError)
│   ├── BadId               a run id that cannot be used                   (also a ValueError)
│   ├── RunConflict         the id belongs to another run
│   ├── AlreadyQueued       a step with the same key is in the queue
│   ├── UnknownSchedule     no schedule of that id                         (also a LookupError)
│   ├── UnknownRun          no run of that id                              (also a LookupError)
│   │   └── ResultExpired   it was there, and was pruned
│   ├── UnknownCode         no definition of that flow or step, here or in the log
│   ├── SignalRejected      a signal that does not fit what the flow waits for  (also a TypeError)
│   ├── Unstorable          a value that cannot go into the log            (also a TypeError)
│   ├── Uncapturable        code that cannot travel as source              (also a TypeError)
│   └── Untrusted           a log from elsewhere; looking is free, running is not
├── LogError                the file itself
│   ├── Corrupt             a row that cannot be read
│   ├── LogClosed           the app was closed
│   ├── ForkedProcess       the app belongs to the parent process
│   ├── LogMissing          the file was removed or replaced while open
│   ├── LogReadOnly         the file cannot be written
│   ├── LogFull             the disk (or the page limit) is full
│   ├── NetworkFileSystem   SQLite's log does not work there
│   └── NewerSchema         written by a newer durable_nb
├── RunFailed               the outcome of a run, when its own class cannot be restored
├── StepFailed              the outcome of a step, when its own class cannot be restored
├── StepTimeout             an attempt took longer than its timeout        (also a TimeoutError)
├── CellFailed              a cell of a notebook that is run as a whole has failed
├── KernelDied              the kernel of a notebook that is run as a whole has died
├── RunParked               the run waits for a person
├── RunPaused               the run was paused while it was being carried
└── RunCancelled            the run was cancelled

Cancelled (a BaseException): raised in the code of a flow that is being cancelled.

DurableWarning (a UserWarning): what works, but perhaps not as its reader expects.
"""


class DurableError(Exception):
    """Something in durable_nb went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class DurableWarning(UserWarning):
    """Something will work, but perhaps not as its reader expects."""


class Refused(DurableError):
    """The call was refused and nothing was written."""


class NotInFlow(Refused):
    """This verb works only inside a flow."""


class BadArguments(Refused, TypeError):
    """The arguments do not fit the function."""


class BadOption(Refused, ValueError):
    """The option is not known or its value makes no sense."""


class BadId(Refused, ValueError):
    """A run id has 1 to 200 printable characters, no "/", and does not begin with "~"."""


class RunConflict(Refused):
    """The id belongs to a run of another flow or with other arguments; choose another id or on_conflict=."""


class AlreadyQueued(Refused):
    """A step with the same key is in the queue already; ask again when it has ended."""


class UnknownSchedule(Refused, LookupError):
    """There is no schedule of that id in this log."""


class UnknownRun(Refused, LookupError):
    """There is no run of that id in this log."""


class ResultExpired(UnknownRun):
    """The run of that id has ended and was pruned; what came of it is not kept any more."""


class UnknownCode(Refused):
    """This process has no definition of that name and the log holds none; run the cell or import the module."""


class SignalRejected(Refused, TypeError):
    """The signal does not fit the type that the flow waits for."""


class Unstorable(Refused, TypeError):
    """The value cannot be stored in the log."""


class Uncapturable(Refused, TypeError):
    """The code cannot travel as source."""


class Untrusted(Refused):
    """The log comes from elsewhere; read it as you like, and run `durable trust FILE` before anything in it may execute."""


class LogError(DurableError):
    """The log file cannot be used."""


class Corrupt(LogError):
    """A row of the log cannot be read."""


class LogClosed(LogError):
    """The app was closed; open the log again with connect()."""


class ForkedProcess(LogError):
    """The app was opened before fork() and belongs to the parent process; call connect() in the child."""


class LogMissing(LogError):
    """The log file was removed or replaced while it was open."""


class LogReadOnly(LogError):
    """The log file cannot be written; check its permissions and those of its folder."""


class LogFull(LogError):
    """There is no room left for the log; nothing was lost, free some space and resume."""


class NetworkFileSystem(LogError):
    """The log lies on a network file system, where SQLite can lose data; put it on a local disk or use PostgreSQL."""


class NewerSchema(LogError):
    """The log was written by a newer durable_nb; upgrade this one."""


class RunFailed(DurableError):
    """The run failed."""


class StepFailed(DurableError):
    """The step failed."""


class StepTimeout(DurableError, TimeoutError):
    """The step took longer than its timeout."""


class CellFailed(DurableError):
    """A cell of the notebook failed; mend it and run the notebook again, finished durable cells come back."""


class KernelDied(DurableError):
    """The kernel of the notebook died; run the notebook again, finished durable cells come back."""


class RunParked(DurableError):
    """The run is parked and waits for a person; run.why() says why."""


class RunPaused(DurableError):
    """The run is paused; run.resume() goes on."""


class Cancelled(BaseException):
    """The run is being cancelled: clean up and let this pass. A BaseException, so that `except Exception` lets it pass."""


class RunCancelled(DurableError):
    """The run was cancelled."""
