"""Standard output and standard error that never fail.

The reader of a pipe may leave, a disk may be full, a terminal may be closed. Then only the printed
text is lost.
"""

import errno
import io
import os
import select
import signal
import sys
from typing import Any, TextIO


class _Sink(io.FileIO):
    """A file descriptor to which every write succeeds as far as the writer can tell."""

    def __init__(self, fd: int):
        super().__init__(fd, "wb", closefd=False)
        self.failure: OSError | None = None  # the first one

    def write(self, data: Any) -> int:
        """Writes what can be written. A full disk is tried again each time."""
        try:
            while (count := super().write(data)) is None:  # the descriptor does not block
                select.select([], [self], [])
            return count
        except OSError as error:
            is_first, self.failure = self.failure is None, self.failure or error
            if is_first and self.fileno() == 1 and _note:
                print(f"WARNING: {_told(error)}: {_note}", file=sys.stderr, flush=True)
            return len(memoryview(data).cast("B"))


_stdout: _Sink | None = None
_note = ""


def protect() -> None:
    """Makes standard output and standard error streams that never fail.

    Their file descriptors stay the same. Characters that the locale cannot print are escaped.
    """
    global _stdout
    for fd in (0, 1, 2):
        _open_if_closed(fd)
    _stdout = _Sink(1)
    sys.stdout = _text(_stdout, sys.stdout)
    sys.stderr = _text(_Sink(2), sys.stderr)


def tolerate_loss(note: str) -> None:
    """From now on, lost output does not change the exit code.

    Args:
      note: printed to standard error when standard output first fails.
    """
    global _note
    _note = note


def exit_code(code: int) -> int:
    """The exit code of a program that would end with `code` if everything had been printed.

    If the reader of a pipe left, as `head` does when it has enough, it is that of SIGPIPE. After
    any other failure it is 1, and one line says why.
    """
    sys.stdout.flush()
    failure = _stdout.failure if _stdout else None
    if failure is None or code or _note:
        return code
    if failure.errno == errno.EPIPE:
        return 128 + signal.SIGPIPE
    print(f"error: {_told(failure)}", file=sys.stderr, flush=True)
    return 1


def _told(error: OSError) -> str:
    return f"standard output cannot be written: {error.strerror}"


def _open_if_closed(fd: int) -> None:
    """Opens the null device on a closed descriptor, or the next file would get its number."""
    try:
        os.fstat(fd)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != fd:
            os.dup2(null, fd)
            os.close(null)
        os.set_inheritable(fd, True)  # programs that are started from here need it too


def _text(sink: _Sink, before: TextIO | None) -> TextIO:
    """A text stream over a sink; line-buffered on a terminal, like the stream it replaces."""
    return io.TextIOWrapper(
        io.BufferedWriter(sink),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=sink.fileno() == 2 or sink.isatty(),
    )
