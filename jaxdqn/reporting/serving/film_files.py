"""The films of runs as files that may be served, and no other files."""

import hashlib
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from jaxdqn.reporting import found_runs
from jaxdqn.rundir import layout


class Film(NamedTuple):
    """A film of a run."""

    run: pathlib.Path
    name: str  # of the file, in the run's folder of films
    written_ns: int  # since 1970
    tag: str  # differs for every film, also if one replaces another under its name


def of(run: found_runs.Run) -> list[Film]:
    """The films of a run, oldest first. Those that have just been deleted are left out."""
    films = []
    for path in run.videos:
        try:
            found = path.lstat()
        except OSError:
            continue
        films.append(Film(run.path, path.name, found.st_mtime_ns, _tag(run.path, path.name, found)))
    return films


def newest_first(runs: Sequence[found_runs.Run]) -> list[tuple[found_runs.Run, Film]]:
    """The newest film of each run that has one; what was written last comes first."""
    newest = [(run, film) for run in runs for film in of(run)[-1:]]
    return sorted(newest, key=lambda each: each[1].written_ns, reverse=True)


def opened(film: Film) -> BinaryIO:
    """Opens a film for reading.

    No link is followed below the run's folder, even if somebody puts one there meanwhile.

    Raises:
      OSError: it cannot be read, or is another one by now.
    """
    # A pipe in place of a film would make opening it wait.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    folder = os.open(film.run / layout.VIDEOS, flags | os.O_DIRECTORY)
    try:
        file = os.fdopen(os.open(film.name, flags, dir_fd=folder), "rb")
    finally:
        os.close(folder)
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or _tag(film.run, film.name, found) != film.tag:
        file.close()
        raise FileNotFoundError(film.name)
    return file


def _tag(run: pathlib.Path, name: str, found: os.stat_result) -> str:
    made_of = repr((str(run.absolute()), name, found.st_ino, found.st_mtime_ns, found.st_size))
    return hashlib.sha256(made_of.encode("utf-8", "surrogatepass")).hexdigest()[:32]
