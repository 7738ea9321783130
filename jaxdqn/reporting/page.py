"""A page that compares runs: scores, curves, films, settings. One file that opens offline."""

import contextlib
import datetime
import itertools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxdqn import wording
from jaxdqn.reporting import (
    figure_files,
    figures,
    films,
    found_runs,
    group_names,
    report_packages,
    tables,
)
from jaxdqn.storage import atomic_files

_FILMS_BYTES = 30_000_000  # of films in one page


def write(paths: Sequence[pathlib.Path], out: pathlib.Path, png_folder: pathlib.Path | None) -> str:
    """Writes the report of the runs in some folders.

    Args:
      paths: run directories; those that are none, or broken, are shown as such.
      out: the page.
      png_folder: where the figures are written as PNG too; None for nowhere.

    Returns:
      What was written, in one line.

    Raises:
      RunError: a file cannot be written, or a package is missing.
    """
    found = [found_runs.read(path) for path in paths]
    with atomic_files.whole(out) as part, contextlib.ExitStack() as stack:
        pictures = (
            stack.enter_context(atomic_files.whole_folder(png_folder)) if png_folder else None
        )

        def picture(name: str, figure: Any) -> None:
            if pictures:
                figure_files.png(figure, pictures / f"{name}.png")

        part.write_text(build(found, picture), encoding="utf-8")
    broken = sum(run.state == "broken" for run in found)
    written = f"{out}: {wording.counted(len(found), 'run')}"
    return written + (f", {broken} of them broken" if broken else "")


def build(
    found: Sequence[found_runs.Run],
    on_figure: Callable[[str, Any], None] = lambda name, figure: None,
) -> str:
    """Builds the page.

    Args:
      found: runs as `found_runs.read` returns them.
      on_figure: gets the name of each plot, fit for a file, and its figure.

    Raises:
      RunError: a package is missing.
    """
    films_of = films.Films(_FILMS_BYTES).of

    def section(game: str, groups: found_runs.Groups) -> dict[str, Any]:
        videos = films_of(list(itertools.chain.from_iterable(groups.values())))
        return game_section(game, groups, on_figure) | {"videos": videos}

    return render("report.html.j2", content(found, section))


def content(
    found: Sequence[found_runs.Run], section: Callable[[str, found_runs.Groups], Mapping[str, Any]]
) -> dict[str, Any]:
    """What the page shows, as its template takes it.

    Args:
      found: runs as `found_runs.read` returns them.
      section: what it shows of a game and its runs, as from `game_section`.

    Raises:
      RunError: a package is missing.
    """
    shown = [run for run in found if not run.problem and run.step]
    by_game, left_out = found_runs.by_game(shown)
    sections = [section(game, groups) for game, groups in by_game.items()]
    return {
        "title": _title(list(by_game)),
        "summary": _summary(found),
        "scores": tables.final_scores(by_game),
        "aggregates": tables.aggregates(by_game),
        "games": sections,
        "runs": tables.runs(found),
        "problems": [*_problems(found), *_equal_seeds(left_out)],
    }


def render(template: str, shown: Mapping[str, Any]) -> str:
    """A page as HTML.

    Args:
      template: its file, below this package.
      shown: what it shows.

    Raises:
      RunError: a package is missing.
    """
    jinja2 = report_packages.jinja2()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxdqn.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    html: str = environment.get_template(template).render(shown)
    return html


def _title(games: Sequence[str]) -> str:
    return f"{', '.join(games) or 'No'} runs" if len(games) < 4 else f"{len(games)} games"


def game_section(
    game: str,
    groups: found_runs.Groups,
    on_figure: Callable[[str, Any], None] = lambda name, figure: None,
) -> dict[str, Any]:
    """What the page shows of a game: its plots and settings, and no films.

    Args:
      game: its name.
      groups: its runs.
      on_figure: gets the name of each plot, fit for a file, and its figure.

    Raises:
      RunError: a package is missing.
    """
    shown = []
    for each in figures.of_game(game, groups):
        on_figure(f"{_file_name(game)}_{each.name}", each.figure)
        svg = figure_files.svg(each.figure)
        shown.append({"title": each.title, "caption": each.caption, "svg": svg})
    members = list(itertools.chain.from_iterable(groups.values()))
    return {
        "name": game,
        "legend": figures.legend(groups),
        "panels": len(groups) > group_names.SHARED_AXES,
        "figures": shown,
        "videos": (),
        "groups": tables.group_labels(groups),
        "settings": tables.differing_settings(members),
    }


def _file_name(game: str) -> str:
    """A game's name for use in a file name: a run from elsewhere may hold any text."""
    return re.sub(r"[^\w.-]", "_", game, flags=re.ASCII)[:100]


def _summary(found: Sequence[found_runs.Run]) -> str:
    states = [run.state for run in found]
    complete, broken = states.count("complete"), states.count("broken")
    diverged = states.count("diverged")
    others = len(found) - complete - broken - diverged
    counts = f"{complete} complete, {others} running or stopped, {broken} broken"
    if diverged:
        counts += f", {diverged} diverged"
    made = f"{datetime.datetime.now():%Y-%m-%d %H:%M}"
    return f"{wording.counted(len(found), 'run')}: {counts}. Made {made}."


def _problems(found: Sequence[found_runs.Run]) -> list[dict[str, str]]:
    """What is wrong with runs, by their paths."""
    return [
        {"path": wording.visible(run.path), "text": wording.visible(text)}
        for run in found
        for text in (*([run.problem] if run.problem else ()), *run.notes)
    ]


def _equal_seeds(
    left_out: Sequence[tuple[found_runs.Run, found_runs.Run]],
) -> list[dict[str, str]]:
    """The runs that are left out because another one of their group has their seed."""
    return [
        {
            "path": wording.visible(run.path),
            "text": f"left out of scores and plots: {wording.visible(other.path)} has the same "
            "settings and seed, and is as long or longer",
        }
        for run, other in left_out
    ]
