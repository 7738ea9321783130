"""What happens when a part of a checkpoint cannot be saved."""

import functools
import logging
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from typing import Any

from jaxdqn import errors, wording
from jaxdqn.distributed import processes

# What Orbax and the system raise when files cannot be read or written.
CAUGHT = (OSError, ValueError, RuntimeError, KeyError, TypeError, errors.RunError)
_USUAL = (OSError, ValueError, MemoryError, errors.RunError)  # others may be faults of a program
_printed: set[type[BaseException]] = set()


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
        problem = reported(error)
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


def reported(error: BaseException) -> str:
    """The message of an error in one line; the first of a kind that is unusual is also printed."""
    if not isinstance(error, _USUAL) and type(error) not in _printed:
        _printed.add(type(error))
        traceback.print_exception(error)
    return wording.one_line(error)


@functools.cache  # once, however many writers a process has
def silence_writes_left_behind() -> None:
    """Keeps writes that outlive a failed save from printing a traceback each.

    Orbax waits for all writes of a save in one event loop, which it closes at the first that fails.
    The others then report that it is closed, to `sys.excepthook` or to `sys.unraisablehook`, or
    were never awaited, or failed with nobody to tell. The failure itself is reported by
    `checkpoint_writer.Writer.outcome`.
    """
    # Writes that Orbax had not begun when it closed its loop.
    warnings.filterwarnings("ignore", "coroutine '.*serialize.*' was never awaited", RuntimeWarning)
    logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())
    before, unraisable_before = sys.excepthook, sys.unraisablehook

    def is_left_behind(error: BaseException | None) -> bool:
        return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"

    def hook(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        if not is_left_behind(error):
            before(kind, error, trace)

    def unraisable_hook(told: Any) -> None:
        if not is_left_behind(told.exc_value):
            unraisable_before(told)

    sys.excepthook, sys.unraisablehook = hook, unraisable_hook
