"""Files and folders that are there when they are whole, and not before."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from jaxdqn import config as config_lib


def part_name(name: str) -> str:
    """What a file is called while it is written; it ends as the file's own name does."""
    path = pathlib.PurePath(name)
    return f".{path.stem}.part{path.suffix}"


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
        raise config_lib.RunError(f"{path} cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The same for a folder; one that lies there gives way.

    Raises:
      RunError: it cannot be written.
    """
    path = path.absolute()
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        yield part
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        raise config_lib.RunError(f"{path} cannot be written: {error}") from None
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
