"""What happens when a part of a checkpoint cannot be saved."""

import functools
import sys
import types
from collections.abc import Callable

from jaxdqn import errors
from jaxdqn.distributed import processes

# What Orbax and the system raise when files cannot be read or written.
CAUGHT = (OSError, ValueError, RuntimeError, KeyError, TypeError, errors.RunError)


def attempt(what: str, work: Callable[[], object]) -> str:
    """Does a part of saving.

    Args:
      what: is saved, such as 'step 100' or 'the replay'.
      work: the part.

    Returns:
      Why it failed, in one line; empty if it did not.

    Raises:
      RunError: it failed, and the run has several processes.
    """
    try:
        work()
    except CAUGHT as error:
        problem = one_line(error)
        leave_if_several(what, problem)
        return problem
    return ""


def leave_if_several(what: str, problem: str) -> None:
    """Ends a run of several processes, because the others may have saved what this one has not.

    Raises:
      RunError: there are several.
    """
    if processes.count() > 1:
        raise errors.RunError(f"{what} could not be saved: {problem}")


def one_line(error: BaseException) -> str:
    """The message of an error in one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


@functools.cache  # one hook, however many writers a process has
def silence_writes_left_behind() -> None:
    """Keeps writes that outlive a failed save from printing a traceback each.

    Orbax waits for all writes of a save in one event loop, which it closes at the first that fails.
    The others then report to `sys.excepthook` that it is closed. The failure itself is reported
    by `checkpoint_writer.Writer.outcome`.
    """
    before = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(kind, error, trace)

    sys.excepthook = hook
