"""The lock that keeps other processes out of the folder of a run."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import filelock

from jaxdqn import errors
from jaxdqn.rundir import folder_errors

FILE = "lock"


@contextlib.contextmanager
def locked(
    path: pathlib.Path, wait_s: float = 0.0, say: Callable[[str], object] = print
) -> Iterator[None]:
    """Locks a folder for training; the system releases the lock when this process dies.

    Args:
      path: of the run.
      wait_s: for another process to exit; a network's disk notices late that a machine died.
      say: prints a line if it waits.

    Raises:
      SettingError: the folder cannot be created.
      RunError: another process has the lock.
    """
    # Without the system's locks, filelock's lock file would outlive a process that dies.
    lock = filelock.FileLock(path / FILE, fallback_to_soft=False)
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if wait_s:
                say(f"{path} is in use: waiting up to {wait_s:.0f} s for the other process to exit")
            lock.acquire(timeout=wait_s)
    except filelock.Timeout:
        raise errors.RunError(
            f"--run_dir: {path} is in use: another process trains there; wait, or choose another"
        ) from None
    except OSError as error:
        raise folder_errors.unusable(path, error) from None
    try:
        yield
    finally:
        lock.release()
