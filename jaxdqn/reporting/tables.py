"""The tables of a report: heads and rows as its page shows them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxdqn import wording
from jaxdqn.envs import api, scores
from jaxdqn.reporting import found_runs, group_names, statistics
from jaxdqn.rundir import metrics
from jaxdqn.settings import setting

_LONG_TABLE = 40  # number of rows from which a table of settings is folded
_MOST_NAMED = 6  # games that a note names; more are counted
_DIGITS = 1e15  # larger numbers are written with an exponent
_WHOLE_DIGITS = 99.95  # of which three digits are no decimal
_NO_SCORE = "no score"

Table = dict[str, Any]  # `head`, `rows`, and what else the page shows with them


def _finals(members: Sequence[found_runs.Run]) -> list[float]:
    """The last evaluations of complete runs, as far as they are finite."""
    return [run.score for run in members if run.state == "complete" and run.score is not None]


def _without_score(members: Sequence[found_runs.Run]) -> int:
    """The number of complete runs whose last evaluation has no score."""
    complete = (run for run in members if run.state == "complete" and run.evaluations)
    return sum(run.score is None for run in complete)


def _left_out(by_game: found_runs.ByGame) -> str:
    """Which runs have no part in scores, as a sentence; '' if all have."""
    members = [run for groups in by_game.values() for runs in groups.values() for run in runs]
    diverged = sum(run.state == "diverged" for run in members)
    others = sum(run.state not in ("complete", "diverged") for run in members)
    counts = {
        "whose last evaluation has no score": _without_score(members),
        "that diverged": diverged,
        "running or stopped": others,
    }
    parts = [f"{wording.counted(count, 'run')} {which}" for which, count in counts.items() if count]
    return f"Not included: {', '.join(parts)}." if parts else ""


def final_scores(by_game: found_runs.ByGame) -> Table | None:
    """Scores of each group, with those of random play, a human tester and published systems.

    They are the last evaluations of complete runs. None if there are none.
    """
    infos = {game: found_runs.info(groups) for game, groups in by_game.items()}
    known = {name for info in infos.values() for name in scores.published(info)}
    published = [name for name in scores.PUBLISHED if name in known]
    rows = []
    for game, groups in by_game.items():
        for label, members in groups.items():
            finals = _finals(members)
            if finals or _without_score(members):
                name = wording.visible(f"{game}, {label}")
                # Runs that are not to score themselves do not count.
                most = sum(run.state != "complete" or bool(run.evaluations) for run in members)
                count = f"{len(finals)} of {most}" if most > len(finals) else most
                cells = _score_cells(infos[game].reference, finals)
                rows.append([name, count, *cells, *_known(infos[game], published)])
    head = ["game", "runs", "return", "interval", "human", "random", "human tester", *published]
    return {"head": head, "rows": rows, "note": _left_out(by_game)} if rows else None


def _known(game: api.GameInfo, published: Sequence[str]) -> list[str]:
    """Scores of random play, a human tester and published systems; '' for those unknown."""
    reference, by_system = game.reference, scores.published(game)
    known = (reference.random, reference.human) if reference else (None, None)
    values = (*known, *map(by_system.get, published))
    return ["" if value is None else f"{value:,g}" for value in values]


def _score_cells(reference: api.Reference | None, finals: Sequence[float]) -> tuple[str, str, str]:
    """The mean of some scores, its interval, and the human-normalized mean."""
    if not finals:
        return _NO_SCORE, "", ""
    mean, low, high = (
        float(value[0]) for value in statistics.over_seeds(np.array(finals)[:, None])
    )
    normalised = scores.human_normalised(reference, mean)
    share = "" if normalised is None else number_text(100 * normalised, "{:.0f}", "%")
    return number_text(mean), interval_text(low, high), share


def aggregates(by_game: found_runs.ByGame) -> Table | None:
    """Aggregates over the 57 games, for each group that has played at least two of them.

    Games of different sources are not mixed: they would count a game twice. All groups of a source
    are compared over the games that they have in common: a group that lacks a hard one would seem
    better.
    """
    known = {game: groups for game, groups in by_game.items() if found_runs.info(groups).reference}
    rows, notes = over_games(by_game, _finals)
    head = ["group", "of", *statistics.MEASURES]
    note = " ".join(filter(None, (_left_out(known), *notes)))
    return {"head": head, "rows": rows, "note": note} if rows else None


def over_games(
    by_game: found_runs.ByGame, finals: Callable[[Sequence[found_runs.Run]], Sequence[float]]
) -> tuple[list[list[str]], list[str]]:
    """Aggregates as in `aggregates`, of any scores.

    Args:
      by_game: groups of runs.
      finals: the finite scores of the runs of a group.

    Returns:
      For each group its name, what was played, and the measures; and notes about what is left out.
    """
    infos = {game: found_runs.info(groups) for game, groups in by_game.items()}
    sources = dict.fromkeys(info.source for info in infos.values() if info.reference)
    labels = dict.fromkeys(label for groups in by_game.values() for label in groups)
    rows, notes = [], []
    for source in sources:
        of_groups = {}
        for label in labels:
            normalised = {
                game: values
                for game, groups in by_game.items()
                if infos[game].source == source
                and (values := _normalised(infos[game].reference, finals(groups.get(label, ()))))
            }
            if len(normalised) > 1:
                of_groups[label] = normalised
        compared, note = _in_common(of_groups)
        notes += [note] if note else []
        for label, of_group in compared.items():
            count = sum(map(len, of_group.values()))
            games = wording.counted(len(of_group), "game")
            cells = [_estimate(*found) for found in statistics.over_games(of_group).values()]
            name = label if len(sources) == 1 else f"{label}, {source}"
            played = f"{wording.counted(count, 'run')} of {games}"
            rows.append([wording.visible(name), played, *cells])
    return rows, notes


_Normalised = Mapping[str, Sequence[float]]  # human-normalized scores of runs, by game


def _in_common(of_groups: Mapping[str, _Normalised]) -> tuple[Mapping[str, _Normalised], str]:
    """The scores of groups in the games that all of them have, and what is left out."""
    games = list(dict.fromkeys(game for scores in of_groups.values() for game in scores))
    common = [game for game in games if all(game in scores for scores in of_groups.values())]
    missing = [game for game in games if game not in common]
    if not missing:
        return of_groups, ""
    if len(common) < 2:
        shared = f"only {common[0]}" if common else "no game"
        return of_groups, f"The groups have {shared} in common, so their rows cannot be compared."
    kept = {label: {game: scores[game] for game in common} for label, scores in of_groups.items()}
    named = ", ".join(missing) if len(missing) <= _MOST_NAMED else f"{len(missing):,} others"
    shown = wording.counted(len(common), "game")
    return kept, f"Over the {shown} that all groups have scores of. Not included: {named}."


def _normalised(reference: api.Reference | None, finals: Sequence[float]) -> list[float]:
    """Human-normalized scores; empty if the game has none."""
    found = (scores.human_normalised(reference, score) for score in finals)
    return [value for value in found if value is not None]


def _estimate(value: float, low: float, high: float) -> str:
    interval = interval_text(low, high, "{:.3f}")
    return number_text(value, "{:.3f}") + (f" ({interval})" if interval else "")


def runs(found: Sequence[found_runs.Run]) -> Table:
    """How far each run is, and its scores."""
    rows = []
    for run in found:
        none = _NO_SCORE if run.evaluations else ""
        rows.append(
            [
                wording.visible(run.path),
                run.state,
                f"{run.step:,}" if run.step else "",
                number_text(run.score) or none,
                number_text(run.best_score) or none,
                number_text(run.last.get("time_s"), "{:,.0f}", " s"),
                f"{run.written:%Y-%m-%d %H:%M}" if run.written else "",
            ]
        )
    head = ["run", "state", "steps", "last evaluation", "best", "time", "last written"]
    return {"head": head, "rows": rows}


def group_labels(groups: found_runs.Groups) -> Table | None:
    """The whole labels of groups by the numbers that plots give them; None if plots show them."""
    if not group_names.are_cut(list(groups)):
        return None
    rows = [
        [f"{number}: {wording.visible(label)}", len(members)]
        for number, (label, members) in enumerate(groups.items(), start=1)
    ]
    return {"head": ["group", "runs"], "rows": rows}


def differing_settings(shown: Sequence[found_runs.Run]) -> Table | None:
    """The settings in which the runs of a game differ; None if only their seeds do."""
    differing = found_runs.differences([run.config for run in shown if run.config])
    if not set(differing) - {"seed"}:
        return None
    columns = [[setting.as_typed(value) for value in column] for column in differing.values()]
    names = [wording.visible(run.path) for run in shown]
    rows = [
        [name, *map(wording.visible, values)] for name, *values in zip(names, *columns, strict=True)
    ]
    folded = len(rows) > _LONG_TABLE
    return {"head": ["settings that differ", *differing], "rows": rows, "folded": folded}


def number_text(value: Any, form: str = "", unit: str = "") -> str:
    """A finite number as text; '' for anything else.

    Args:
      value: the number.
      form: how to write it; '': as a score, whose scale depends on the game. It has one decimal, or
        three digits if it is less than 100: 432.1, 59.3, 5.93, 0.962.
      unit: to write behind it.
    """
    value = metrics.number(value)
    if value is None:
        return ""
    if abs(value) >= _DIGITS:
        form = "{:.4g}"
    elif not form:
        form = "{:,.1f}" if not value or abs(value) >= _WHOLE_DIGITS else "{:#.3g}"
    return form.format(value) + unit


def interval_text(low: float, high: float, form: str = "") -> str:
    """'1.0 to 2.0'; '' for an empty interval."""
    if not low < high:
        return ""
    return f"{number_text(low, form) or -math.inf} to {number_text(high, form) or math.inf}"
