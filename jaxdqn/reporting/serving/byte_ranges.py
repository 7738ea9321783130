"""The part of a file that a browser asks for, when it seeks in a film."""

import re

# Longer numbers are no places in a file.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class UnsatisfiableError(ValueError):
    """The part begins behind the end of the file."""


def parse(header: str | None, size: int) -> range | None:
    """The bytes that a `Range` header names.

    Args:
      header: its value; None if there is none.
      size: of the file, in bytes.

    Returns:
      Their places. None for the whole file: also for what is no range of bytes, and for several
      ranges, which a server may ignore.

    Raises:
      UnsatisfiableError: the file has none of these bytes.
    """
    found = _RANGE.fullmatch((header or "").strip())
    if not found or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        asked = range(max(size - int(last), 0), size)
    elif last and int(last) < int(first):
        return None
    else:
        asked = range(int(first), min(int(last) + 1, size) if last else size)
    if not asked:
        raise UnsatisfiableError
    return asked
