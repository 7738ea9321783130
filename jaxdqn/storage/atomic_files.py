"""Files and folders that appear only when they are complete."""

import contextlib
import errno
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from jaxdqn import errors

_LONGEST_NAME_BYTES = 255  # longest name that file systems accept
_SUFFIX = 32  # characters of a suffix that are kept, for programs that need it


# Of file systems that cannot force a file or a folder to the disk.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF})


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or the list of names that a folder is, is on the disk itself.

    After a power cut a file system may know the new name of a file and not its content.

    Raises:
      OSError: it cannot be written.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(number)


def sync_tree(folder: pathlib.Path) -> None:
    """The same for a folder with all that is in it.

    Raises:
      OSError: it cannot be written.
    """
    for path in (*folder.rglob("*"), folder):
        if path.is_file() or path.is_dir():
            sync(path)


def part_name(name: str) -> str:
    """The name of a file while it is written; it keeps the suffix."""
    path = pathlib.PurePath(name)
    part = f".{path.stem}.part{path.suffix}"
    if len(os.fsencode(part)) <= _LONGEST_NAME_BYTES:
        return part
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.part{path.suffix[:_SUFFIX]}"


@contextlib.contextmanager
def replacement(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path to write to; the file is moved to `path` if the block succeeds.

    Raises:
      OSError: it cannot be written.
    """
    part = path.with_name(part_name(path.name))
    part.unlink(missing_ok=True)  # a link would redirect what is written
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The same.

    Raises:
      RunError: it cannot be written.
    """
    try:
        with replacement(path) as part:
            yield part
    except OSError as error:
        raise errors.RunError(f"{path} cannot be written: {error}") from None


@contextlib.contextmanager
def whole_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The same for a folder; an existing one is replaced, and stays until the new one is whole.

    Args:
      path: the folder; of a link, the folder that it names.

    Raises:
      RunError: it cannot be written.
    """
    path = path.resolve()
    part = path.with_name(part_name(path.name))
    shutil.rmtree(part, ignore_errors=True)
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError("it is no folder")
        part.mkdir()
        yield part
        sync_tree(part)
        _replace(path, part)
    except OSError as error:
        raise errors.RunError(f"{path} cannot be written: {error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace(path: pathlib.Path, part: pathlib.Path) -> None:
    """Moves a folder to where another one may be, which is deleted last."""
    old = path.with_name(part_name(f"{path.name}.old"))
    if path.exists():  # else the old one may be all that an interrupted call has left
        shutil.rmtree(old, ignore_errors=True)
    try:
        if path.exists():
            path.rename(old)
        part.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def discard(path: pathlib.Path) -> None:
    """Deletes a file, or a folder with its contents.

    Raises:
      OSError: it cannot be deleted.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
