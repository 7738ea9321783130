"""Checks whether several processes see the same folder, not different ones with the same name."""

import contextlib
import pathlib
import secrets
import time

from jaxdqn.distributed import processes

MARK = "seen-"  # prefix of the file that process 0 leaves there for the others to see


def is_shared(folder: pathlib.Path | None, wait_s: float = 0.0) -> bool:
    """Whether all processes have a folder and it is the same one. All must call it together.

    Args:
      folder: created if it is missing; None: this process has none.
      wait_s: for the file of process 0, which a network's disk may show late.

    Raises:
      OSError: process 0 cannot write there.
    """

    def leave_mark() -> str:
        name = MARK + secrets.token_hex(8)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return name

    name = processes.from_primary(leave_mark)
    mark = folder / name if folder else None
    until = time.monotonic() + wait_s
    while not (is_seen := _is_there(mark)) and time.monotonic() < until:
        time.sleep(0.1)
    by_all = processes.agreed_by_all(is_seen)
    if mark and processes.is_primary():
        with contextlib.suppress(OSError):
            mark.unlink()
    return by_all


def _is_there(path: pathlib.Path | None) -> bool:
    try:
        return path is not None and path.exists()
    except OSError:
        return False
