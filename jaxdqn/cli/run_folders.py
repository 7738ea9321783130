"""The folders of runs that a user names: one, several, or all that match a pattern."""

import glob
import os
import pathlib
from collections.abc import Sequence

from jaxdqn import errors

_LONGEST_PATH = 4096  # characters, on Linux


def named(text: str) -> list[pathlib.Path]:
    """The folders that `--runs` names, each once.

    A comma may also be part of a name: parts that name a folder together count as one.

    Raises:
      SettingError: a part does not name a folder.
    """
    found, missing = found_and_missing(text)
    if missing or not found:
        raise no_folder(missing, text)
    return found


def no_folder(parts: Sequence[str], text: str) -> errors.SettingError:
    """The error to raise where parts of `--runs`, or all of it, name no folder."""
    return errors.SettingError("runs", f"no folder matches {' or '.join(parts) or repr(text)}")


def found_and_missing(text: str) -> tuple[list[pathlib.Path], list[str]]:
    """The folders that `--runs` names, each once, and the parts that name none."""
    parts = text.split(",")
    found: list[str] = []
    missing = []
    start = 0
    while start < len(parts):
        for end in range(len(parts), start, -1):
            if matching := _matching(",".join(parts[start:end])):
                found += matching
                break
        else:
            end = start + 1
            missing += [parts[start].strip()] if parts[start].strip() else []
        start = end
    # Two names may lead to one folder, by a link or as an absolute and a relative path.
    by_place: dict[pathlib.Path, pathlib.Path] = {}
    for path in map(pathlib.Path, found):
        by_place.setdefault(path.resolve(), path)
    return list(by_place.values()), missing


def _matching(pattern: str) -> list[str]:
    """The folder with exactly this name, or those that match it as a pattern."""
    for text in dict.fromkeys((pattern, pattern.strip())):
        # Unlike `Path.expanduser` and `Path.is_dir`, these take any text that a user can type.
        path = os.path.expanduser(text)  # noqa: PTH111
        if not text or len(path) > _LONGEST_PATH:
            continue
        if os.path.isdir(path):  # noqa: PTH112
            return [path]
        # Not `Path.glob`, which does not accept absolute patterns.
        matches = glob.glob(path)  # noqa: PTH207
        if folders := sorted(match for match in matches if pathlib.Path(match).is_dir()):
            return folders
    return []
