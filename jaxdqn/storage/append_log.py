"""Files that grow by whole pieces, even if the disk is full at times."""

import contextlib
import pathlib


class Appender:
    """Appends to a file. What cannot be written is tried again with the next piece.

    Args:
      path: of the file, which need not exist.

    Raises:
      OSError: it cannot be opened.
    """

    def __init__(self, path: pathlib.Path):
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._waiting = b""
        self.problem = ""  # why something is not written yet

    def append(self, piece: bytes = b"") -> None:
        """Writes a piece, after all that was not written before: whole or, for now, not at all."""
        self._waiting += piece
        try:
            rest = memoryview(self._waiting)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.problem = str(error)
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
        else:
            self._size += len(self._waiting)
            self._waiting, self.problem = b"", ""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
