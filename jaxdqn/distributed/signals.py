"""SIGINT, SIGTERM and SIGHUP as a request to save and stop."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: a session was closed
# In which another SIGTERM or SIGHUP counts as the same one: launchers pass on signals that all
# processes have already received.
ECHO_S = 5.0
_PR_SET_PDEATHSIG = 1


def to_be_heard() -> list[signal.Signals]:
    """The signals that ask to stop; without SIGHUP if it is ignored, as under `nohup`."""
    outlives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signum for signum in _SIGNALS if not (outlives and signum == signal.SIGHUP)]


class StopRequest:
    """While entered, the first signal is remembered; a second one ends the process at once.

    A SIGTERM or SIGHUP within five seconds of the first signal is ignored: SLURM's srun, for
    example, passes on signals that SLURM has also sent to its processes. A second Ctrl-C always
    counts. SIGHUP stays ignored if it was ignored before, as under `nohup`.

    Python handles signals on the main thread between two of its instructions, and that thread may
    wait for emulators or for a compiler. So another thread listens too.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._came, arrive = os.pipe()
        os.set_blocking(arrive, False)
        self._arrive_before = signal.set_wakeup_fd(arrive, warn_on_full_buffer=False)
        self._arrive = arrive
        for signum in to_be_heard():
            self._before[signum] = signal.signal(signum, self._remember)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            # The process is about to exit, and an echo may still come.
            echoes = signum != signal.SIGINT and self.signum is not None
            signal.signal(signum, signal.SIG_IGN if echoes else handler)
        signal.set_wakeup_fd(self._arrive_before)
        os.close(self._arrive)  # which ends the thread

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        # Then the system ends the process, whatever blocks Python's threads.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _listen(self) -> None:
        first_s: float | None = None
        while came := os.read(self._came, 1):
            signum, now = came[0], time.monotonic()
            if signum not in _SIGNALS:
                continue
            if first_s is None:
                self.signum, first_s = self.signum or signum, now
                if signum == signal.SIGINT:
                    _tell("\nStopping. Press Ctrl-C again to stop at once, without saving.\n")
            elif signum == signal.SIGINT or now - first_s > ECHO_S:
                with contextlib.suppress(OSError):
                    os.write(2, b"error: ended by a second signal before everything was saved\n")
                os._exit(128 + signum)
        os.close(self._came)

    def __bool__(self) -> bool:
        return self.signum is not None


def _tell(text: str) -> None:
    """Writes to a terminal; who reads a log later presses no key."""
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, text.encode())


def end_with_parent() -> Callable[[], None]:
    """A function that a new process calls first, for `subprocess.Popen(preexec_fn=...)`.

    The system then sends the process SIGTERM, on which a run saves, when its parent ends, even if
    the parent is killed. The parent counts as ended when the thread that started the process ends.
    Does nothing on systems other than Linux.
    """
    # Looked up here, because after the fork of a process with many threads that is not safe.
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def ask() -> None:
        if prctl:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
