"""Several runs that were evaluated alike: means over their seeds, and over games."""

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxdqn import wording
from jaxdqn.envs import api, scores
from jaxdqn.reporting import found_runs, statistics, tables


def summary(means: Mapping[pathlib.Path, float]) -> list[str]:
    """Lines with the mean of each group of runs, and aggregates over the 57 Atari games.

    Runs are grouped as in a report: by game, and by settings other than the seed.

    Args:
      means: the mean return of each run, by its folder.
    """
    lines = [
        f"{wording.visible(path)} does not count: its mean return is not finite"
        for path, mean in means.items()
        if not math.isfinite(mean)
    ]
    found = [found_runs.read(path) for path, mean in means.items() if math.isfinite(mean)]
    by_game, left_out = found_runs.by_game([run for run in found if run.config])
    lines += [
        f"{wording.visible(run.path)} does not count: {wording.visible(other.path)} has the same "
        "settings and seed"
        for run, other in left_out
    ]

    def finals(members: Sequence[found_runs.Run]) -> list[float]:
        return [means[run.path] for run in members]

    for game, groups in by_game.items():
        for label, members in groups.items():
            text = _group(finals(members), found_runs.info(groups).reference)
            lines.append(f"{wording.visible(f'{game}, {label}')}: {text}")
    rows, notes = tables.over_games(by_game, finals)
    for name, played, *cells in rows:
        measures = (" ".join(pair) for pair in zip(statistics.MEASURES, cells, strict=True))
        lines.append(f"{name}, {played}: human-normalized {', '.join(measures)}")
    return [*lines, *notes]


def _group(finals: Sequence[float], reference: api.Reference | None) -> str:
    mean, low, high = (float(end[0]) for end in statistics.over_seeds(np.array(finals)[:, None]))
    text = f"{wording.counted(len(finals), 'run')}, mean return {tables.number_text(mean)}"
    if interval := tables.interval_text(low, high):
        text += f" (95% interval {interval})"
    share = scores.human_normalised(reference, mean)
    return text if share is None else f"{text}, {share:.1%} of a human tester"
