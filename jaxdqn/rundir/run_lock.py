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
    lock = _of(path)
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


def wait_until_free(path: pathlib.Path, wait_s: float = 0.0) -> bool:
    """Waits until no process trains in a folder; returns whether that is so.

    Args:
      path: of the run; there may be none.
      wait_s: at most.

    Raises:
      OSError: the folder cannot be used.
    """
    if not (path / FILE).exists():
        return True
    try:
        with _of(path).acquire(timeout=wait_s):
            return True
    except filelock.Timeout:
        return False


def _of(path: pathlib.Path) -> filelock.BaseFileLock:
    # Without the system's locks, filelock's lock file would outlive a process that dies.
    return filelock.FileLock(path / FILE, fallback_to_soft=False)
