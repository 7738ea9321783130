"""A page that compares runs: scores, curves, films, settings. One file that opens offline."""

import base64
import contextlib
import datetime
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxdqn import config as config_lib
from jaxdqn.envs import games, scores
from jaxdqn.runtime import aggregates, files, plots, runs

_FILMS_BYTES = 30_000_000  # of films in one page
# Metrics of training below the returns: title, name, whether on a logarithmic axis, what it is.
_DIAGNOSTICS = (
    ("Loss", "loss", True, "Mean over the updates since the row before."),
    ("Action values", "q_mean", False, "Mean of the largest action value of sampled states."),
    (
        "Held-out action values",
        "avg_max_q_value",
        False,
        "Mean of the largest action value over observations of random play, the same throughout.",
    ),
    ("Exploration", "epsilon", False, "Share of random actions."),
    ("Speed", "steps_per_second", False, "Agent steps a second, evaluations left out."),
)


def write(paths: Sequence[pathlib.Path], out: pathlib.Path, png_folder: pathlib.Path | None) -> str:
    """Writes the report of the runs in some folders.

    Args:
      paths: run directories; what is none, or broken, is shown as that.
      out: the page.
      png_folder: where the figures go as PNG too; None for nowhere.

    Returns:
      What was written, in one line.

    Raises:
      RunError: a file cannot be written, or a package is missing.
    """
    found = [runs.read(path) for path in paths]
    with files.whole(out) as part, contextlib.ExitStack() as stack:
        pictures = stack.enter_context(files.whole_folder(png_folder)) if png_folder else None

        def picture(name: str, figure: Any) -> None:
            if pictures:
                plots.png(figure, pictures / f"{name}.png")

        part.write_text(build(found, picture))
    broken = sum(run.state == "broken" for run in found)
    return f"{out}: {len(found)} runs" + (f", {broken} of them broken" if broken else "")


def build(
    found: Sequence[runs.Run], on_figure: Callable[[str, Any], None] = lambda name, figure: None
) -> str:
    """Builds the page.

    Args:
      found: runs as `runs.read` tells of them.
      on_figure: gets the name and the figure of each plot.

    Raises:
      RunError: a package is missing.
    """
    try:
        import jinja2
    except ImportError:
        raise config_lib.RunError(
            "a report needs the extra 'report', as in pip install -e '.[report]'"
        ) from None
    shown = [run for run in found if not run.problem and run.step]
    by_game: dict[str, dict[str, list[runs.Run]]] = {}
    for run, label in sorted(zip(shown, runs.labels(shown), strict=True), key=_game_and_label):
        by_game.setdefault(_game(run), {}).setdefault(label, []).append(run)
    sections = []
    films = _Films(_FILMS_BYTES)
    for game, groups in by_game.items():
        told = []
        for name, title, caption, figure in _figures(game, groups):
            on_figure(f"{game}_{name}", figure)
            told.append({"title": title, "caption": caption, "svg": plots.svg(figure)})
        members = list(itertools.chain.from_iterable(groups.values()))
        sections.append(
            {
                "name": game,
                "figures": told,
                "videos": films.of(members),
                "settings": _settings(members),
            }
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxdqn.runtime", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    states = [run.state for run in found]
    complete, broken = states.count("complete"), states.count("broken")
    others = len(found) - complete - broken
    html: str = environment.get_template("report.html.j2").render(
        title=f"{', '.join(by_game) or 'No'} runs" if len(by_game) < 4 else f"{len(by_game)} games",
        summary=f"{len(found)} runs: {complete} complete, {others} under way or stopped, "
        f"{broken} broken. Made {datetime.datetime.now():%Y-%m-%d %H:%M}.",
        scores=_scores(by_game),
        aggregates=_aggregates(by_game),
        games=sections,
        runs=_runs(found),
        problems=[
            {"path": str(run.path), "text": text}
            for run in found
            for text in (*([run.problem] if run.problem else ()), *run.notes)
        ],
    )
    return html


def _game(run: runs.Run) -> str:
    assert run.config
    return games.plain_name(run.config.env)


def _game_and_label(labelled: tuple[runs.Run, str]) -> tuple[str, str]:
    return _game(labelled[0]), labelled[1]


def _figures(
    game: str, groups: Mapping[str, Sequence[runs.Run]]
) -> Iterator[tuple[str, str, str, Any]]:
    """Name, title, caption and figure of each plot of a game."""
    reference = scores.ATARI_57.get(game)
    levels = {"random": reference.random, "human": reference.human} if reference else {}
    training = "Mean of the last 100 games of training, with its exploration"
    evaluated = "; dots: evaluations with frozen parameters."

    def returns(run: runs.Run, x: str) -> plots.Curve:
        return plots.curve(run.training, x, "episode_return_mean")

    yield (
        "return",
        "Return over steps",
        training + evaluated,
        plots.lines(
            plots.of_runs(groups, lambda run: returns(run, "step")),
            plots.of_runs(groups, lambda r: plots.curve(r.evaluations, "step", "eval_return_mean")),
            x="agent steps",
            y="return",
            levels=levels,
        ),
    )
    yield (
        "return_time",
        "Return over time",
        f"{training}; time of training, evaluations left out.",
        plots.lines(
            plots.of_runs(groups, lambda run: returns(run, "time_s")),
            {},
            x="seconds",
            y="return",
            levels=levels,
        ),
    )
    for title, name, log, caption in _DIAGNOSTICS:
        curves = plots.of_runs(groups, functools.partial(_diagnostic, name))
        if not any(len(steps) for of_group in curves.values() for steps, _ in of_group):
            continue  # runs of before this metric was written
        figure = plots.lines(curves, {}, x="agent steps", y=title.lower(), levels={}, log=log)
        yield name, title, caption, figure


def _diagnostic(name: str, run: runs.Run) -> plots.Curve:
    return plots.curve(run.training, "step", name)


def _final(run: runs.Run) -> float | None:
    """The mean return of a run's last evaluation."""
    return float(run.evaluations[-1]["eval_return_mean"]) if run.evaluations else None


def _finals(members: Sequence[runs.Run]) -> list[float]:
    """The last evaluations of those runs that are complete."""
    found = (_final(run) for run in members if run.state == "complete")
    return [score for score in found if score is not None]


def _scores(by_game: Mapping[str, Mapping[str, Sequence[runs.Run]]]) -> dict[str, Any] | None:
    rows = []
    published = {
        source: values for source, values in scores.PUBLISHED.items() if set(values) & set(by_game)
    }
    for game, groups in by_game.items():
        for label, members in groups.items():
            finals = _finals(members)
            if not finals:
                continue
            mean, low, high = (
                float(value[0]) for value in aggregates.over_seeds(np.array(finals)[:, None])
            )
            normalised, reference = scores.human_normalised(game, mean), scores.ATARI_57.get(game)
            rows.append(
                [
                    f"{game}, {label}",
                    len(finals),
                    f"{mean:,.1f}",
                    f"{low:,.1f} to {high:,.1f}" if low < high else "",
                    "" if normalised is None else f"{normalised:.0%}",
                    f"{reference.random:,g}" if reference else "",
                    f"{reference.human:,g}" if reference else "",
                    *(
                        f"{values[game]:,g}" if game in values else ""
                        for values in published.values()
                    ),
                ]
            )
    head = ["game", "runs", "return", "interval", "human", "random", "human tester", *published]
    return {"head": head, "rows": rows} if rows else None


def _aggregates(
    by_game: Mapping[str, Mapping[str, Sequence[runs.Run]]],
) -> Iterator[dict[str, Any]]:
    """Measures over the 57 games, for each group that has played at least two of them."""
    for label in dict.fromkeys(label for groups in by_game.values() for label in groups):
        normalised = {
            game: [
                value
                for score in _finals(groups.get(label, ()))
                if (value := scores.human_normalised(game, score)) is not None
            ]
            for game, groups in by_game.items()
        }
        normalised = {game: values for game, values in normalised.items() if values}
        if len(normalised) < 2:
            continue
        estimates = aggregates.over_games(normalised)
        count = sum(map(len, normalised.values()))
        yield {
            "label": label,
            "told": f"{count} runs of {len(normalised)} games.",
            "rows": [
                [name, f"{value:.3f}", f"{low:.3f} to {high:.3f}" if low < high else ""]
                for name, (value, low, high) in estimates.items()
            ],
        }


def _runs(found: Sequence[runs.Run]) -> dict[str, Any]:
    rows = []
    for run in found:
        final, best = (
            _final(run),
            max((row["eval_return_mean"] for row in run.evaluations), default=None),
        )
        last = run.training[-1] if run.training else {}
        rows.append(
            [
                str(run.path),
                run.state,
                f"{run.step:,}" if run.step else "",
                _number(final),
                _number(best),
                _number(last.get("time_s"), "{:,.0f} s"),
                f"{run.written:%Y-%m-%d %H:%M}" if run.written else "",
            ]
        )
    head = ["run", "state", "steps", "last evaluation", "best", "time", "last written"]
    return {"head": head, "rows": rows}


def _number(value: Any, form: str = "{:,.1f}") -> str:
    return form.format(value) if isinstance(value, int | float) else ""


def _settings(shown: Sequence[runs.Run]) -> dict[str, Any] | None:
    """The settings in which the runs of a game differ; None where it is their seeds alone."""
    differing = runs.differences([run.config for run in shown if run.config])
    if not set(differing) - {"seed"}:
        return None
    columns = [[str(value) for value in column] for column in differing.values()]
    rows = [list(row) for row in zip((run.path.name for run in shown), *columns, strict=True)]
    return {"head": ["settings that differ", *differing], "rows": rows}


class _Films:
    """The newest film of each run, as long as the page stays small enough to be sent."""

    def __init__(self, limit_bytes: int):
        self._left = limit_bytes

    def of(self, members: Sequence[runs.Run]) -> list[dict[str, str]]:
        """Films as the page holds them."""
        films = []
        for run in members:
            for path in run.videos[-1:]:
                film = {"title": f"Play at step {int(path.stem):,}", "source": ""}
                try:
                    if path.stat().st_size > self._left:
                        film["caption"] = f"{path}, left out: the page would grow too large"
                    else:
                        content = path.read_bytes()
                        self._left -= len(content)
                        film["caption"] = str(run.path)
                        film["source"] = (
                            f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
                        )
                except OSError as error:
                    film["caption"] = f"{path} cannot be read: {error.strerror}"
                films.append(film)
        return films
