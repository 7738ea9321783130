"""Checks the programs that JAX keeps on disk before JAX uses them.

JAX writes a program directly to its final place and never writes it again. If the process is
killed, the incomplete program would be read in vain at every later start. And a compressed program
with a wrong bit may decompress, and run. So a file `SHA256SUMS`, in the format of `sha256sum`,
lists the programs that were found to be whole: at the end of the process that wrote them or, if
that was killed, at the next start.
"""

import contextlib
import functools
import hashlib
import importlib
import os
import pathlib
import stat
import tempfile
import types

from jaxdqn.storage import atomic_files

_NAME = "SHA256SUMS"
_SUFFIX = "-cache"  # ends the names of JAX's own files
_KERNELS = "xla_gpu_per_fusion_autotune_cache_dir"  # in which XLA notes a GPU's fastest kernels
_LIMIT_BYTES = 64 * 2**20  # of programs, all read at every start; those of one have 1 MB


@functools.cache
def codec() -> types.ModuleType:
    """What JAX compresses programs with here; it decompresses programs of either kind."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    return importlib.import_module("zlib")


def check(folder: pathlib.Path) -> tuple[bool, bool]:
    """Deletes the damaged programs in a folder, and the oldest ones if there are too many.

    Other processes may read and write there meanwhile. A program that is deleted while it is
    written is lost, and compiled again by the next process that needs it.

    Args:
      folder: created if it is missing.

    Returns:
      Whether the remaining programs may be used, and whether more can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _KERNELS).is_file():
            atomic_files.discard(folder / _KERNELS)
        listed = _listed(folder / _NAME)
        whole: dict[str, str] = {}
        unfit = []
        room = _LIMIT_BYTES
        for name, found in _newest_first(folder):
            digest = None
            if stat.S_ISREG(found.st_mode) and found.st_size <= room:
                digest = _digest_if_whole(folder / name, listed.get(name))
            if digest is None:
                unfit.append(name)
            else:
                whole[name] = digest
                room -= found.st_size
        is_writable = _list(folder, whole)
        for name in unfit:
            atomic_files.discard(folder / name)
    except OSError:
        return False, False
    return True, is_writable


def _newest_first(folder: pathlib.Path) -> list[tuple[str, os.stat_result]]:
    """(name, stat) of each file in a folder that JAX or XLA would read, newest first."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX):
                with contextlib.suppress(FileNotFoundError):  # by now
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    for path in (folder / _KERNELS).rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if not path.is_dir():
                found.append((str(path.relative_to(folder)), path.lstat()))
    return sorted(found, key=lambda pair: pair[1].st_mtime_ns, reverse=True)


def _digest_if_whole(path: pathlib.Path, listed: str | None) -> str | None:
    """A file's digest; None if it differs from the listed one or, not listed yet, is not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest = hashlib.sha256(data).hexdigest()
    is_whole = _is_whole(path.name, data) if listed is None else digest == listed
    return digest if is_whole else None


def _is_whole(name: str, data: bytes) -> bool:
    if not name.endswith(_SUFFIX):
        return bool(data.strip(b"\0"))  # XLA moves it into place; a loss of power may empty it
    try:
        return bool(codec().decompress(data))
    except Exception:  # each codec has errors of its own
        return False


def _listed(path: pathlib.Path) -> dict[str, str]:
    """Digests by name; without those that cannot be read."""
    try:
        lines = os.fsdecode(path.read_bytes() if path.is_file() else b"").split("\n")
    except OSError:
        return {}
    parts = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in parts if name}


def _list(folder: pathlib.Path, digests: dict[str, str]) -> bool:
    """Writes the list atomically; returns whether it succeeded."""
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    try:
        # Several processes may write it at once.
        with tempfile.TemporaryDirectory(dir=folder, prefix="listing-") as temporary:
            part = pathlib.Path(temporary, _NAME)
            part.write_bytes(os.fsencode(text))
            if (folder / _NAME).is_dir():
                atomic_files.discard(folder / _NAME)
            part.replace(folder / _NAME)
    except OSError:
        return False
    return True
