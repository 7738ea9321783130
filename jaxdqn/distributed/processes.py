"""The processes of a run, and what they agree on.

All processes run the same program on JAX's distributed runtime and make the same decisions in the
same order: each decision depends on values that are equal in all of them, or is agreed on here.
Only process 0, the primary, prints, and writes what Orbax does not write.
"""

import contextlib
import json
import os
import pathlib
import platform
import re
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxdqn import errors, wording
from jaxdqn.distributed import signals

_LINGER_S = 3  # for which a process stays alive after an error
_ROUND_S = 0.5  # of work between two exchanges with the other processes
# In error messages of collectives and barriers when a process is gone.
_LOSS = re.compile(r"Gloo|NCCL|coordination service|[Bb]arrier")


def count() -> int:
    """The number of processes."""
    return jax.process_count()


def is_primary() -> bool:
    """Whether this process is the one that prints and writes."""
    return jax.process_index() == 0


def share(total: int) -> range:
    """This process's share of `total` consecutive things, split as evenly as possible."""
    index, processes = jax.process_index(), count()
    return range(index * total // processes, (index + 1) * total // processes)


def gather(array: Any) -> np.ndarray:
    """Gathers arrays [...] of equal shape and dtype from all processes as [P, ...], bit for bit."""
    array = np.asarray(array)
    if count() == 1:
        return array[None]
    # As bytes, because JAX may convert the dtype.
    data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    with jax.transfer_guard("allow"):
        found = np.asarray(multihost_utils.process_allgather(data))
    whole = np.frombuffer(found.tobytes(), array.dtype)
    return whole.reshape(count(), *array.shape)


def wait_for_all() -> None:
    """Waits until all processes have called this."""
    gather(np.uint8(0))


def agreed_by_all(flag: bool) -> bool:
    """Whether the flag is set in every process."""
    return bool(gather(np.bool_(flag)).all())


def of_primary(value: int) -> int:
    """The primary's value."""
    return int(gather(np.int64(value))[0])


def from_primary(find: Callable[[], Any]) -> Any:
    """The result of `find` in the primary, as JSON; for example, what is on disk.

    Raises:
      SettingError, RunError, OSError: in all processes, if `find` raises it in the primary.
    """
    if count() == 1:
        return find()
    text = json.dumps(_outcome(find)).encode() if is_primary() else b""
    data = np.zeros(of_primary(len(text)), np.uint8)
    data[: len(text)] = np.frombuffer(text, np.uint8)
    found, kind, words = json.loads(gather(data)[0].tobytes())
    if kind:
        raise getattr(errors, kind, OSError)(*words)
    return found


def _outcome(find: Callable[[], Any]) -> tuple[Any, str, tuple[Any, ...]]:
    """What `find` returns, or the name and the arguments of the error that it raises."""
    try:
        return find(), "", ()
    except (errors.SettingError, errors.RunError) as error:
        return None, type(error).__name__, error.args
    except OSError as error:
        place = () if error.filename is None else (str(error.filename),)
        return None, OSError.__name__, (error.errno, error.strerror, *place)


def are_equal(value: object) -> bool:
    """Whether the value's `repr` is the same in all processes."""
    return len(set(gather(np.uint32(zlib.crc32(repr(value).encode()))).tolist())) == 1


def sharing_this_machine() -> int:
    """The number of processes on this one's machine, which share its memory."""
    if count() == 1:
        return 1
    try:
        machine = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # not Linux
        machine = platform.node()
    machines = gather(np.uint32(zlib.crc32(machine.encode())))
    return int((machines == machines[jax.process_index()]).sum())


@contextlib.contextmanager
def abort_on_error() -> Iterator[None]:
    """On any error, prints it and ends a process of several at once.

    Closing what it has open would wait for the others, and they wait for it until it is gone.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not jax.distributed.is_initialized():
            raise
        try:
            _tell(error)
        finally:
            # The service that connects the others ends with process 0. They would die of that while
            # printing the same error.
            time.sleep(_LINGER_S)
            os._exit(getattr(error, "exit_code", 1))


def _tell(error: BaseException) -> None:
    told = wording.one_line(error)
    if isinstance(error, jax.errors.JaxRuntimeError | ValueError) and _LOSS.search(told):
        told = f"another process of this run is gone: {told}"
    elif not isinstance(error, errors.SettingError | errors.RunError):
        traceback.print_exception(error)
    print(f"error: {told}", file=sys.stderr, flush=True)
    sys.stdout.flush()


class Stop:
    """A request to stop, from any process; all processes act on it at the same point.

    Args:
      request: the signals of this process.
    """

    def __init__(self, request: signals.StopRequest):
        self._request, self._agreed = request, 0

    @property
    def signum(self) -> int | None:
        """The signal that all processes act on; None before they have agreed on one."""
        return self._request.signum if count() == 1 else self._agreed or None

    def __bool__(self) -> bool:
        return self.signum is not None

    def own_signal(self) -> int:
        """The signal that this process has received; 0: none."""
        return self._request.signum or 0

    def record(self, requests: np.ndarray) -> None:
        """Records the requests of all processes. All must call it at the same point."""
        self._agreed = max(self._agreed, int(requests.max(initial=0)))

    def sync(self) -> bool:
        """Asks all processes whether to stop. All must call it at the same point."""
        if count() > 1:
            self.record(gather(np.int64(self.own_signal())))
        return bool(self)

    def run_until_stopped(self, work: Iterator[object]) -> bool:
        """Runs `work` to its end; returns False if a stop request came first.

        All processes must call it, each with its own share of the work.
        """
        is_over = False
        while True:
            began = time.monotonic()
            while not is_over and (count() == 1 or time.monotonic() - began < _ROUND_S):
                if self._request:
                    break
                is_over = next(work, self) is self
            if count() == 1:
                return is_over
            requests, over = gather(np.array([self.own_signal(), is_over])).T
            self.record(requests)
            if self:
                return False
            if over.all():
                return True
