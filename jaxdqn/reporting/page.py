"""A page that compares runs: scores, curves, films, settings. One file that opens offline."""

import base64
import contextlib
import datetime
import functools
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxdqn import errors
from jaxdqn.envs import api, registry, scores
from jaxdqn.reporting import curves as curves_lib
from jaxdqn.reporting import found_runs, group_names, plots, statistics, wording
from jaxdqn.rundir import metrics
from jaxdqn.storage import atomic_files

_FILMS_BYTES = 30_000_000  # of films in one page
_LONG_TABLE = 40  # rows from which on a table of settings is folded
_DIGITS = 1e15  # larger numbers are written with an exponent
_NOT_FINITE = "not finite"
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
    found = [found_runs.read(path) for path in paths]
    with atomic_files.whole(out) as part, contextlib.ExitStack() as stack:
        pictures = (
            stack.enter_context(atomic_files.whole_folder(png_folder)) if png_folder else None
        )

        def picture(name: str, figure: Any) -> None:
            if pictures:
                plots.png(figure, pictures / f"{name}.png")

        part.write_text(build(found, picture), encoding="utf-8")
    broken = sum(run.state == "broken" for run in found)
    told = f"{out}: {wording.counted(len(found), 'run')}"
    return told + (f", {broken} of them broken" if broken else "")


def build(
    found: Sequence[found_runs.Run],
    on_figure: Callable[[str, Any], None] = lambda name, figure: None,
) -> str:
    """Builds the page.

    Args:
      found: runs as `found_runs.read` tells of them.
      on_figure: gets the name of each plot, fit for a file, and its figure.

    Raises:
      RunError: a package is missing.
    """
    try:
        import jinja2
    except ImportError:
        raise errors.RunError(
            "a report needs the extra 'report', as in pip install -e '.[report]'"
        ) from None
    shown = [run for run in found if not run.problem and run.step]
    by_game: dict[str, dict[str, list[found_runs.Run]]] = {}
    for run, label in sorted(
        zip(shown, found_runs.labels(shown), strict=True), key=_game_and_label
    ):
        by_game.setdefault(_game(run), {}).setdefault(label, []).append(run)
    sections = []
    films = _Films(_FILMS_BYTES)
    for game, groups in by_game.items():
        told = []
        for name, title, caption, figure in _figures(game, groups):
            on_figure(f"{_file_name(game)}_{name}", figure)
            told.append({"title": title, "caption": caption, "svg": plots.svg(figure)})
        members = list(itertools.chain.from_iterable(groups.values()))
        sections.append(
            {
                "name": game,
                "told": _told(groups),
                "panels": len(groups) > group_names.SHARED_AXES,
                "figures": told,
                "videos": films.of(members),
                "groups": _groups(groups),
                "settings": _settings(members),
            }
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxdqn.reporting", "."),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    states = [run.state for run in found]
    complete, broken = states.count("complete"), states.count("broken")
    others = len(found) - complete - broken
    html: str = environment.get_template("report.html.j2").render(
        title=f"{', '.join(by_game) or 'No'} runs" if len(by_game) < 4 else f"{len(by_game)} games",
        summary=f"{wording.counted(len(found), 'run')}: {complete} complete, {others} under way or "
        f"stopped, {broken} broken. Made {datetime.datetime.now():%Y-%m-%d %H:%M}.",
        scores=_scores(by_game),
        aggregates=_aggregates(by_game),
        games=sections,
        runs=_runs(found),
        problems=[
            {"path": wording.visible(run.path), "text": wording.visible(text)}
            for run in found
            for text in (*([run.problem] if run.problem else ()), *run.notes)
        ],
    )
    return html


def _game(run: found_runs.Run) -> str:
    assert run.config
    return wording.visible(registry.game(run.config.env).plain_name)


def _info(groups: Mapping[str, Sequence[found_runs.Run]]) -> api.GameInfo:
    """What is known of the game that all these runs play."""
    config = next(run.config for members in groups.values() for run in members if run.config)
    return registry.game(config.env)


def _file_name(game: str) -> str:
    """A game's name as part of a file's: a run from elsewhere may hold anything for it."""
    return re.sub(r"[^\w.-]", "_", game, flags=re.ASCII)[:100]


def _game_and_label(labelled: tuple[found_runs.Run, str]) -> tuple[str, list[str | float]]:
    """What runs are sorted by: 'n_step=3' comes before 'n_step=10'."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", labelled[1])
    return _game(labelled[0]), [float(p) if i % 2 else p for i, p in enumerate(parts)]


def _figures(
    game: str, groups: Mapping[str, Sequence[found_runs.Run]]
) -> Iterator[tuple[str, str, str, Any]]:
    """Name, title, caption and figure of each plot of a game."""
    reference = _info(groups).reference
    levels = {"random": reference.random, "human": reference.human} if reference else {}
    training = "Mean of the last 100 games of training, with its exploration"
    evaluated = "; dots: evaluations with frozen parameters."

    def returns(run: found_runs.Run, x: str) -> curves_lib.Curve:
        return curves_lib.curve(run.training, x, "episode_return_mean")

    yield (
        "return",
        "Return over steps",
        training + evaluated,
        plots.lines(
            curves_lib.of_runs(groups, lambda run: returns(run, "step")),
            curves_lib.of_runs(
                groups, lambda r: curves_lib.curve(r.evaluations, "step", "eval_return_mean")
            ),
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
            curves_lib.of_runs(groups, lambda run: returns(run, "time_s")),
            {},
            x="seconds",
            y="return",
            levels=levels,
        ),
    )
    for title, name, log, caption in _DIAGNOSTICS:
        curves = curves_lib.of_runs(groups, functools.partial(_diagnostic, name))
        values = np.concatenate([ys for of_group in curves.values() for _, ys in of_group])
        if not len(values):
            continue  # runs of before this metric was written
        if log and 0 < np.count_nonzero(curves_lib.has_place(values)) < len(values):
            caption += " Gaps: values that a logarithmic axis cannot show, such as zero."
        figure = plots.lines(curves, {}, x="agent steps", y=title.lower(), levels={}, log=log)
        yield name, title, caption, figure


def _diagnostic(name: str, run: found_runs.Run) -> curves_lib.Curve:
    return curves_lib.curve(run.training, "step", name)


def _told(groups: Mapping[str, Sequence[found_runs.Run]]) -> str:
    """What the plots of a game show."""
    told = ""
    if any(len(members) > 1 for members in groups.values()):
        told = "Faint: each run. Bold: their mean, with its 95% interval for three or more. "
    if len(groups) > group_names.SHARED_AXES:
        told += f"{len(groups)} groups, each in colour, the means of all in grey. "
    if group_names.are_cut(list(groups)):
        told += "The groups are listed by their numbers below the plots."
    return told


def _finals(members: Sequence[found_runs.Run]) -> list[float]:
    """The last evaluations of those runs that are complete, where they are finite."""
    return [run.score for run in members if run.state == "complete" and run.score is not None]


def _without_score(members: Sequence[found_runs.Run]) -> int:
    """How many complete runs have a last evaluation that is not finite."""
    complete = (run for run in members if run.state == "complete" and run.evaluations)
    return sum(run.score is None for run in complete)


def _scores(by_game: Mapping[str, Mapping[str, Sequence[found_runs.Run]]]) -> dict[str, Any] | None:
    rows = []
    infos = {game: _info(groups) for game, groups in by_game.items()}
    published = {game: scores.published(info) for game, info in infos.items()}
    systems = [name for name in scores.PUBLISHED if any(name in of for of in published.values())]
    left_out = 0
    for game, groups in by_game.items():
        reference = infos[game].reference
        for label, members in groups.items():
            finals, without = _finals(members), _without_score(members)
            left_out += without
            if not finals and not without:
                continue
            rows.append(
                [
                    wording.visible(f"{game}, {label}"),
                    f"{len(finals)} of {len(finals) + without}" if without else len(finals),
                    *(_score_cells(reference, finals) if finals else (_NOT_FINITE, "", "")),
                    f"{reference.random:,g}" if reference else "",
                    f"{reference.human:,g}" if reference else "",
                    *(
                        f"{published[game][name]:,g}" if name in published[game] else ""
                        for name in systems
                    ),
                ]
            )
    head = ["game", "runs", "return", "interval", "human", "random", "human tester", *systems]
    without_scores = wording.counted(left_out, "complete run")
    note = f"Left out: {without_scores} whose last evaluation is not finite."
    return {"head": head, "rows": rows, "note": note if left_out else ""} if rows else None


def _score_cells(reference: api.Reference | None, finals: Sequence[float]) -> tuple[str, str, str]:
    """The mean of some scores, its interval, and the mean human-normalised."""
    mean, low, high = (
        float(value[0]) for value in statistics.over_seeds(np.array(finals)[:, None])
    )
    normalised = scores.human_normalised(reference, mean)
    share = "" if normalised is None else _number(100 * normalised, "{:.0f}", "%")
    return _number(mean), _interval(low, high), share


def _aggregates(
    by_game: Mapping[str, Mapping[str, Sequence[found_runs.Run]]],
) -> dict[str, Any] | None:
    """Measures over games with a human's score, for each group that has played two or more."""
    rows = []
    references = {game: _info(groups).reference for game, groups in by_game.items()}
    for label in dict.fromkeys(label for groups in by_game.values() for label in groups):
        normalised = {
            game: [
                value
                for score in _finals(groups.get(label, ()))
                if (value := scores.human_normalised(references[game], score)) is not None
            ]
            for game, groups in by_game.items()
        }
        normalised = {game: values for game, values in normalised.items() if values}
        if len(normalised) < 2:
            continue
        count = sum(map(len, normalised.values()))
        cells = []
        for value, low, high in statistics.over_games(normalised).values():
            interval = _interval(low, high, "{:.3f}")
            cells.append(_number(value, "{:.3f}") + (f" ({interval})" if interval else ""))
        played = f"{wording.counted(count, 'run')} of {len(normalised)} games"
        rows.append([wording.visible(label), played, *cells])
    return {"head": ["group", "of", *statistics.MEASURES], "rows": rows} if rows else None


def _runs(found: Sequence[found_runs.Run]) -> dict[str, Any]:
    rows = []
    for run in found:
        last = run.training[-1] if run.training else {}
        none = _NOT_FINITE if run.evaluations else ""
        rows.append(
            [
                wording.visible(run.path),
                run.state,
                f"{run.step:,}" if run.step else "",
                _number(run.score) or none,
                _number(run.best_score) or none,
                _number(last.get("time_s"), "{:,.0f}", " s"),
                f"{run.written:%Y-%m-%d %H:%M}" if run.written else "",
            ]
        )
    head = ["run", "state", "steps", "last evaluation", "best", "time", "last written"]
    return {"head": head, "rows": rows}


def _number(value: Any, form: str = "{:,.1f}", unit: str = "") -> str:
    """A finite number as people read it; '' for anything else."""
    value = metrics.number(value)
    if value is None:
        return ""
    return (form if abs(value) < _DIGITS else "{:.4g}").format(value) + unit


def _interval(low: float, high: float, form: str = "{:,.1f}") -> str:
    """'1.0 to 2.0'; '' for an interval that says nothing."""
    if not low < high:
        return ""
    return f"{_number(low, form) or -math.inf} to {_number(high, form) or math.inf}"


def _groups(groups: Mapping[str, Sequence[found_runs.Run]]) -> dict[str, Any] | None:
    """The whole labels of groups by the numbers that plots give them; None where plots hold all."""
    if not group_names.are_cut(list(groups)):
        return None
    rows = [
        [f"{number}: {wording.visible(label)}", len(members)]
        for number, (label, members) in enumerate(groups.items(), start=1)
    ]
    return {"head": ["group", "runs"], "rows": rows}


def _settings(shown: Sequence[found_runs.Run]) -> dict[str, Any] | None:
    """The settings in which the runs of a game differ; None where it is their seeds alone."""
    differing = found_runs.differences([run.config for run in shown if run.config])
    if not set(differing) - {"seed"}:
        return None
    columns = [[found_runs.typed(value) for value in column] for column in differing.values()]
    names = [wording.visible(run.path.name) for run in shown]
    rows = [
        [name, *map(wording.visible, values)] for name, *values in zip(names, *columns, strict=True)
    ]
    folded = len(rows) > _LONG_TABLE
    return {"head": ["settings that differ", *differing], "rows": rows, "folded": folded}


class _Films:
    """The newest film of each run, as long as the page stays small enough to be sent."""

    def __init__(self, limit_bytes: int):
        self._left = limit_bytes

    def of(self, members: Sequence[found_runs.Run]) -> list[dict[str, str]]:
        """Films as the page holds them."""
        films = []
        for run in members:
            for path in run.videos[-1:]:
                film = {"title": f"Play at step {int(path.stem):,}", "source": ""}
                try:
                    if path.stat().st_size > self._left:
                        film["caption"] = wording.visible(
                            f"{path}, left out: the page would grow too large"
                        )
                    else:
                        content = path.read_bytes()
                        self._left -= len(content)
                        film["caption"] = wording.visible(run.path)
                        film["source"] = (
                            f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
                        )
                except OSError as error:
                    film["caption"] = wording.visible(f"{path} cannot be read: {error.strerror}")
                films.append(film)
        return films
