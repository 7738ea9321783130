"""One run of a sweep, trained by a worker of Ray in a process of its own."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from jaxdqn import errors
from jaxdqn.distributed import signals
from jaxdqn.rundir import run_lock
from launch import sweep_runs

_LOCK_S = 60.0  # for a process that is being stopped to save and exit
_LOOK_S = 1.0  # between two looks for the file that stops a run
_SHORT_S = 60.0  # an attempt that ends sooner has hardly begun
_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 90.0  # after such an attempt: the first, and the most


class CutOffError(Exception):
    """A run was cut off, and may be resumed."""


class RefusedError(Exception):
    """A run was refused because of its settings."""


class DivergedError(Exception):
    """An update of a run was not finite."""


# Exit codes with which a second attempt would fail too.
_FINAL = {
    errors.SettingError.exit_code: RefusedError,
    errors.DivergedError.exit_code: DivergedError,
}


def command(run: sweep_runs.Run, program: Sequence[str] = ()) -> list[str]:
    """The command line of a run; `program` is run instead of `jaxdqn.train` if it is given."""
    train = program or (sys.executable, "-m", "jaxdqn.train")
    # It is one process alone, whatever started Ray's workers.
    return [*train, *run.train_flags, "--num_processes=1"]


def train(
    run: sweep_runs.Run,
    gpus: float | None,
    cwd: pathlib.Path | None = None,
    program: Sequence[str] = (),
) -> None:
    """Trains a run to its end, or until its `stop_file` appears.

    Args:
      run: which.
      gpus: that it may use; less than 1 is a share of one, 0 is none. None: Ray knows of none,
        and the run takes what it finds.
      cwd: the folder that relative paths and plugins among its flags refer to, if it is there.
        Ray's workers may have been started in another one.
      program: see `command`.

    Raises:
      CutOffError: it was cut off.
      RefusedError: its settings are wrong.
      DivergedError: an update was not finite.
    """
    began = time.monotonic()
    try:
        _train(run, gpus, cwd, program)
    except (CutOffError, OSError) as error:  # a disk may be there again
        _pause(run, time.monotonic() - began)
        raise CutOffError(str(error)) from None


def _pause(run: sweep_runs.Run, lasted_s: float) -> None:
    """Waits after an attempt that was cut off at once, the longer the more there were.

    A machine on which nothing runs would otherwise use up the attempts of one run after another,
    and so would a short absence of the disk.
    """
    with contextlib.suppress(OSError):
        pause_s = min(_PAUSE_S * 3 ** max(0, run.attempts() - 1), _LONGEST_PAUSE_S)
        until = time.monotonic() + (pause_s if lasted_s < _SHORT_S else 0.0)
        while time.monotonic() < until and not run.stop_file.exists():
            time.sleep(_LOOK_S)


def _train(
    run: sweep_runs.Run, gpus: float | None, cwd: pathlib.Path | None, program: Sequence[str]
) -> None:
    """As `train`, without a pause.

    Raises:
      CutOffError: it was cut off.
      RefusedError: its settings are wrong.
      DivergedError: an update was not finite.
      OSError: its files cannot be written.
    """
    # The attempt before this one may still be leaving.
    if not run_lock.wait_until_free(run.path, _LOCK_S):
        raise CutOffError("another process still trains there")
    with run.attempts_file.open("a") as attempts:
        print(socket.gethostname(), file=attempts)
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            command(run, program),
            cwd=cwd if cwd and cwd.is_dir() else None,
            env=_environment(gpus),
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=signals.end_with_parent(),  # the parent is Ray's worker
            start_new_session=True,  # or Ray would kill it with the worker's group as it saves
        )
        try:
            code = _wait(process, run.stop_file)
        finally:  # whatever happened, it must not keep training during the next attempt
            process.terminate()
            process.wait()
    if run.stop_file.exists():
        return
    if code in _FINAL:
        raise _FINAL[code](_last_line(run.log))
    if code:
        raise CutOffError(f"ended with {code}: {_last_line(run.log)}")


def _wait(process: subprocess.Popen[bytes], stop_file: pathlib.Path) -> int:
    """Waits for a process, which is told to end when a file appears; returns its exit code."""
    told = False
    while True:
        try:
            return process.wait(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):  # a disk may be there again at the next look
                if not told and stop_file.exists():
                    told = True
                    process.terminate()


def _environment(gpus: float | None) -> dict[str, str]:
    environment = dict(os.environ)
    if gpus == 0:  # Ray would hide none of them
        environment["JAX_PLATFORMS"] = "cpu"
    elif gpus is not None and gpus < 1:
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = str(round(0.9 * gpus, 3))
    return environment


def _last_line(path: pathlib.Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else ""
