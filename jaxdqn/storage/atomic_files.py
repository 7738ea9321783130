"""Files and folders that are there when they are whole, and not before."""

import contextlib
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from jaxdqn import errors

_LONGEST_NAME_BYTES = 255  # that file systems take
_SUFFIX = 32  # characters kept of an ending, for those who tell kinds of files by it


def part_name(name: str) -> str:
    """What a file is called while it is written; it ends as the file's own name does."""
    path = pathlib.PurePath(name)
    part = f".{path.stem}.part{path.suffix}"
    if len(os.fsencode(part)) <= _LONGEST_NAME_BYTES:
        return part
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.part{path.suffix[:_SUFFIX]}"


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a name to write under; what was written takes `path`'s place when the block ends well.

    Raises:
      RunError: it cannot be written.
    """
    part = path.with_name(part_name(path.name))
    try:
        part.unlink(missing_ok=True)  # or, where it is a link, another file would be written
        yield part
        part.replace(path)
    except OSError as error:
        raise errors.RunError(f"{path} cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The same for a folder; one that lies there gives way.

    Raises:
      RunError: it cannot be written.
    """
    path = path.absolute()
    part = path.with_name(part_name(path.name))
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        yield part
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        raise errors.RunError(f"{path} cannot be written: {error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def discard(path: pathlib.Path) -> None:
    """Deletes what lies there, a file or a folder with all that is in it.

    Raises:
      OSError: it cannot be deleted.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
