"""Paths that a user names, checked before anything is read or written under them."""

import errno
import os
import pathlib
import sys

from jaxdqn import errors, wording
from jaxdqn.storage import home

# Room below a folder for the names of a run's own files; Linux takes paths of 4,095 bytes.
_LONGEST_BYTES = 3_500
_WRONG = (errno.ENAMETOOLONG, errno.ELOOP)  # of the path itself


def usable(setting: str, path: str | pathlib.Path) -> pathlib.Path:
    """A path as a user types it, with '~' expanded. It need not exist.

    Args:
      setting: the flag that it comes from.
      path: what was given.

    Raises:
      SettingError: no file can have this path, or Orbax could not write below it.
      RunError: the disk does not answer.
    """
    found = home.expanded(setting, path)
    try:
        whole = str(found.absolute())
        encoded = whole.encode()
        pathlib.Path(whole).stat()
    except UnicodeEncodeError:
        right = "a path in UTF-8"
        if sys.getfilesystemencoding() != "utf-8":
            right = "this locale only has ASCII: set PYTHONUTF8=1, or give a path in ASCII"
        raise errors.SettingError(setting, f"is {_escaped(whole)}; {right}") from None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        if not _has_working_directory():
            raise errors.SettingError(
                setting, f"is {found}, but the current folder was deleted"
            ) from None
    except (OSError, ValueError) as error:
        message = f"{_escaped(str(found))[:100]}: {getattr(error, 'strerror', None) or error}"
        if isinstance(error, OSError) and error.errno not in _WRONG:
            raise errors.RunError(f"--{setting}: {message}") from None
        raise errors.SettingError(setting, message) from None  # a NUL too
    if len(encoded) > _LONGEST_BYTES:
        raise errors.SettingError(
            setting, f"is a path of {len(encoded):,} bytes; at most {_LONGEST_BYTES:,}"
        )
    return found


def _has_working_directory() -> bool:
    try:
        return bool(pathlib.Path.cwd())
    except OSError:
        return False


def _escaped(text: str) -> str:
    """The same in printable characters."""
    return wording.visible(os.fsencode(text).decode("utf-8", "backslashreplace"))
