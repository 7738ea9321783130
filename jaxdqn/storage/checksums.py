"""Checksums of saved folders, so that what is read is what was written.

The file `SHA256SUMS` lists all other files of a folder, in the format of `sha256sum`. It is written
last, when the folder is complete, and deleted first. A folder without it does not count.
"""

import hashlib
import pathlib
import shutil

from jaxdqn.storage import atomic_files

DELETED = ".deleted"
_NAME = "SHA256SUMS"


def is_signed(folder: pathlib.Path) -> bool:
    """Whether a folder was written completely."""
    return (folder / _NAME).exists()


def delete(folder: pathlib.Path) -> None:
    """Deletes a folder. If that is interrupted, the rest has a name that ends in `DELETED`."""
    gone = folder
    if not folder.name.endswith(DELETED):  # else such a deletion was interrupted
        gone = folder.with_name(f"{folder.name}{DELETED}")
        if gone.exists():
            shutil.rmtree(gone)
        folder.rename(gone)
    shutil.rmtree(gone)


def write(folder: pathlib.Path) -> int:
    """Writes the checksums of a complete folder; returns its size in bytes.

    Raises:
      RunError: they cannot be written.
    """
    lines = "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items())
    with atomic_files.whole(folder / _NAME) as part:
        part.write_text(lines)
    return sum(path.stat().st_size for path in _files(folder))


def problem(folder: pathlib.Path) -> str:
    """What is wrong with a folder, in one line; empty if nothing is.

    Names in the list are compared but never opened, so they cannot point outside the folder.
    """
    if not folder.is_dir():
        return f"{folder} is missing"
    sums = folder / _NAME
    try:
        lines = sums.read_text().removesuffix("\n").split("\n")
        stored = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        found = _digests(folder)
    except FileNotFoundError:
        return f"{folder} was not written completely: it has no {_NAME}"
    except (OSError, ValueError) as error:
        return f"{sums} cannot be read: {error}"
    for name in sorted({*stored, *found}):
        if name not in found:
            return f"{folder / name} is missing"
        if found[name] != stored.get(name):
            return f"{folder / name} differs from what was written"
    return ""


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if path != folder / _NAME]


def _digests(folder: pathlib.Path) -> dict[str, str]:
    digests = {}
    for path in _files(folder):
        with path.open("rb") as file:
            digests[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
