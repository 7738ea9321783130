r"""Compares runs on one page.

  python -m jaxdqn.report --runs='runs/*' --out=report.html

The page opens offline. It shows scores, learning curves, films and settings.
"""

import glob
import os
import pathlib

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import devices, program, shared_flags

_LONGEST_PATH = 4096  # characters, on Linux


def _define_flags() -> None:
    flags.DEFINE_string(
        "runs", "runs/*", "folders of runs, by name or with wildcards, separated by commas"
    )
    flags.DEFINE_string("out", None, "page to write, an .html file")
    flags.DEFINE_boolean(
        "png", False, "also write each plot as a PNG, into a folder beside the page"
    )
    flags.DEFINE_boolean("overwrite", False, "replace an existing page")


def main() -> int:
    """Reports as the flags say; returns the exit code."""
    out = shared_flags.output("out", (".html",))
    if out is None:
        raise errors.SettingError("out", "name the page, such as --out=report.html")
    folders = folders_named(flags.FLAGS.runs)
    pictures = out.with_suffix("") if flags.FLAGS.png else None
    if pictures and pictures.exists():
        others = not pictures.is_dir() or any(path.suffix != ".png" for path in pictures.iterdir())
        if others or not flags.FLAGS.overwrite:
            raise errors.SettingError(
                "png", f"{pictures} exists" + ("" if others else "; --overwrite replaces it")
            )

    devices.import_jax()

    from jaxdqn.reporting import page

    print(page.write(folders, out, pictures))
    return 0


def folders_named(named: str) -> list[pathlib.Path]:
    """The folders that `--runs` names, each once.

    A comma may also be part of a name: parts that name a folder together count as one.

    Raises:
      SettingError: a part does not name a folder.
    """
    parts = named.split(",")
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
    if missing or not found:
        named = " or ".join(missing) or repr(named)
        raise errors.SettingError("runs", f"no folder matches {named}")
    return list(dict.fromkeys(map(pathlib.Path, found)))


def _matching(pattern: str) -> list[str]:
    """The folder with exactly this name, or those that match it as a pattern."""
    for text in dict.fromkeys((pattern, pattern.strip())):
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


if __name__ == "__main__":
    program.run_program(_define_flags, main)
