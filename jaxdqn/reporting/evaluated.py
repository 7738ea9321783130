"""Several runs that were evaluated alike: means over their seeds, and over games."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxdqn import wording
from jaxdqn.envs import scores
from jaxdqn.reporting import found_runs, statistics, tables


def summary(means: Mapping[pathlib.Path, float]) -> list[str]:
    """Lines with the mean of each group of runs, and aggregates over the 57 Atari games.

    Runs are grouped as in a report: by game, and by settings other than the seed.

    Args:
      means: the finite mean return of each run, by its folder.
    """
    found = [found_runs.read(path) for path in means]
    by_game, left_out = found_runs.by_game([run for run in found if run.config])
    lines = [
        f"{wording.visible(run.path)} does not count: {wording.visible(other.path)} has the same "
        "settings and seed"
        for run, other in left_out
    ]
    # For each label the human-normalized means of its runs, by game.
    normalised: dict[str, dict[str, list[float]]] = {}
    for game, groups in by_game.items():
        reference = found_runs.info(groups).reference
        for label, members in groups.items():
            finals = [means[run.path] for run in members]
            lines.append(f"{wording.visible(f'{game}, {label}')}: {_group(finals)}")
            shares = [scores.human_normalised(reference, final) for final in finals]
            if found_shares := [share for share in shares if share is not None]:
                normalised.setdefault(label, {})[game] = found_shares
                lines[-1] += f", {np.mean(found_shares):.1%} of a human tester"
    for label, games in normalised.items():
        if len(games) > 1:
            lines.append(f"{wording.visible(label)}, {len(games)} games: {_aggregates(games)}")
    return lines


def _group(finals: Sequence[float]) -> str:
    mean, low, high = (float(end[0]) for end in statistics.over_seeds(np.array(finals)[:, None]))
    interval = f" (95% interval {_number(low)} to {_number(high)})" if low < high else ""
    return f"{wording.counted(len(finals), 'run')}, mean return {_number(mean)}{interval}"


def _aggregates(games: Mapping[str, Sequence[float]]) -> str:
    """The measures of `statistics.over_games`, human-normalized."""
    texts = []
    for name, found in statistics.over_games(games).items():
        interval = f" ({found.low:.3f} to {found.high:.3f})" if found.low < found.high else ""
        texts.append(f"{name} {found.value:.3f}{interval}")
    return "human-normalized " + ", ".join(texts)


def _number(value: float) -> str:
    return tables.number_text(value) or f"{value:g}"
