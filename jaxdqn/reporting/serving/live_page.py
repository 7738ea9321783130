"""The page of runs as they are now, made again only if a run has changed."""

import base64
import hashlib
import html
import math
import pathlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxdqn import errors, wording
from jaxdqn.reporting import found_runs, page, report_packages, tables
from jaxdqn.reporting.serving import film_files
from jaxdqn.rundir import layout, metrics

_SCRIPT = pathlib.Path(__file__).with_name("renew.js").read_text(encoding="utf-8")
# What a browser may run: nothing but this script, whatever the files of a run say.
SCRIPT_HASH = f"sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}"
_WITHOUT_SCRIPT_S = 10  # between two renewals by a browser without JavaScript
# Rest after a page, in times of the core's time that it took: training needs the cores more.
_REST = 3.0
_WAIT_S = 2.0  # for a new page; a busy machine shows the old one meanwhile

_MOST_FILMS = 12  # that the page shows at once; older ones are folded

_Mark = tuple[tuple[int, ...] | None, ...]  # differs if a run's page would


class Page(NamedTuple):
    """The page at one moment."""

    tag: str  # differs if the page does
    html: bytes
    films: Mapping[str, film_files.Film]  # those that may be served, by their tags


class _Section(NamedTuple):
    """What the page shows of a game, and the runs from which it was made."""

    groups: found_runs.Groups
    shown: Mapping[str, Any]


def passing(shown: str) -> bytes:
    """A page that browsers ask for again after two seconds, with or without JavaScript.

    Args:
      shown: what it says.
    """
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="2"><title>Runs</title>
<p style="font: 16px system-ui, sans-serif">{html.escape(wording.visible(shown))}</p>
""".encode()


class LivePage:
    """Makes the page when it is asked for.

    Args:
      find: names the folders of runs; those that appear later too.

    Raises:
      RunError: a package is missing.
    """

    def __init__(self, find: Callable[[], Sequence[pathlib.Path]]):
        self._find = find
        self._lock = threading.Lock()  # of the decision to make a page
        self._making: threading.Thread | None = None  # the last one that made a page
        self._rests_until = 0.0  # on the monotonic clock
        self._marks: dict[pathlib.Path, _Mark] | None = None
        self._runs: dict[pathlib.Path, found_runs.Run] = {}
        self._sections: dict[str, _Section] = {}  # by game
        shown = "The page is being made. Many runs take minutes."
        self._page = Page("first", passing(shown), {})
        self._problem = ""  # why there is no newer page
        report_packages.matplotlib()
        report_packages.jinja2()

    def newest(self, wait_s: float | None = _WAIT_S) -> Page:
        """The page. If runs have changed, a new one is made, but not at once after the last one.

        Args:
          wait_s: how long to wait for the new page; then it is the old one, or one that says that
            the first page is being made. None: until it is made.

        Raises:
          RunError: it cannot be made of what the folders hold at the moment.
        """
        with self._lock:
            is_free = self._making is None or not self._making.is_alive()
            if is_free and time.monotonic() >= self._rests_until:
                marks = {path: _mark(path) for path in self._find()}
                if marks != self._marks:
                    self._making = threading.Thread(target=self._renew, args=(marks,), daemon=True)
                    self._making.start()
            making = self._making
        if making:
            making.join(wait_s)
        if self._problem:
            raise errors.RunError(self._problem)
        return self._page

    def film(self, tag: str) -> film_files.Film | None:
        """A film of the newest page; None if it has none with this tag."""
        return self._page.films.get(tag)

    def finish(self, limit_s: float) -> None:
        """Makes no other page, and waits for one that is being made.

        A process that ends while another thread draws could crash.

        Args:
          limit_s: how long to wait.
        """
        with self._lock:
            self._rests_until = math.inf
        if self._making:
            self._making.join(limit_s)

    def _renew(self, marks: dict[pathlib.Path, _Mark]) -> None:
        try:
            self._make(marks)
            self._problem = ""
        except Exception as error:  # something odd in a file; the next row may mend it
            self._problem = f"The page cannot be made: {wording.with_type(error)}"
        self._rests_until = max(self._rests_until, time.monotonic() + _REST * time.thread_time())

    def _make(self, marks: dict[pathlib.Path, _Mark]) -> None:
        known = self._marks or {}
        self._runs = {
            path: self._runs[path] if known.get(path) == mark else found_runs.read(path)
            for path, mark in marks.items()
        }
        runs = list(self._runs.values())
        tag = secrets.token_hex(16)
        films = {film.tag: film for run in runs for film in film_files.of(run)}
        newest = [_shown(*each) for each in film_files.newest_first(runs)]
        shown = page.content(runs, self._section) | {
            "films": newest[:_MOST_FILMS],
            "older_films": newest[_MOST_FILMS:],
            "script": _SCRIPT,
            "tag": tag,
            "without_script_s": _WITHOUT_SCRIPT_S,
        }
        games = {each["name"] for each in shown["games"]}
        self._sections = {game: kept for game, kept in self._sections.items() if game in games}
        text = page.render("serving/served.html.j2", shown)
        self._marks, self._page = marks, Page(tag, text.encode(), films)

    def _section(self, game: str, groups: found_runs.Groups) -> Mapping[str, Any]:
        """What the page shows of a game; its plots are drawn again only if its runs changed."""
        known = self._sections.get(game)
        if not known or not _are_same(known.groups, groups):
            known = _Section(groups, page.game_section(game, groups))
            self._sections[game] = known
        return known.shown


def _are_same(before: found_runs.Groups, now: found_runs.Groups) -> bool:
    """Whether groups have equal labels and the very same runs, none of them read again."""
    one, other = (
        [(label, [id(run) for run in members]) for label, members in groups.items()]
        for groups in (before, now)
    )
    return one == other


def _mark(path: pathlib.Path) -> _Mark:
    """What changes when a run writes a row or a film, or diverges: files, their times and sizes.

    A film appears under its name only when it is complete, which changes its folder.
    """
    names = (layout.CONFIG_FILE, metrics.FILE, layout.VIDEOS, layout.NONFINITE)
    return tuple(_stat(path / name) for name in names)


def _stat(path: pathlib.Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _shown(run: found_runs.Run, film: film_files.Film) -> dict[str, Any]:
    """What the page shows of a film: where it is, whose it is, and how good that run is."""
    total = f" of {run.config.total_steps:,}" if run.config else ""
    scores = {
        "last evaluation": run.score,
        "best evaluation": run.best_score,
        "return in training": run.last.get("episode_return_mean"),
    }
    written = {name: tables.number_text(score) for name, score in scores.items()}
    shown = [f"{name} {text}" for name, text in written.items() if text]
    return {
        "source": f"/films/{film.tag}.mp4",
        "run": wording.visible(run.path),
        "name": wording.visible(run.path.name or run.path),
        "step": f"Play at step {int(pathlib.PurePath(film.name).stem):,}{total}",
        "score": ", ".join(shown) or "no score yet",
    }
