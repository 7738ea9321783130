"""Home directories in paths."""

import pathlib

from jaxdqn import errors


def expanded(setting: str, path: str | pathlib.Path) -> pathlib.Path:
    """A path with '~' expanded.

    Args:
      setting: the flag that it comes from.
      path: what was given.

    Raises:
      SettingError: there is no such user, or this user has no home.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:
        raise errors.SettingError(
            setting, f"{path}: this home directory does not exist; give the full path"
        ) from None
