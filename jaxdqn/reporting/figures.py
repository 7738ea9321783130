"""The figures of a report: what is plotted of the runs of a game, and how it is captioned."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdqn.reporting import curves as curves_lib
from jaxdqn.reporting import found_runs, group_names, metric_columns, plots
from jaxdqn.rundir import known_curves, metrics

_VISIBLE = 0.03  # share of an axis
_TRAINING = "Mean of the last 100 training games, with exploration"
# Metrics of learning below the returns: title, name, whether on a logarithmic axis, what it is.
# Those that no run has are left out.
_DIAGNOSTICS = (
    ("Loss", "loss", True, "Mean over the updates since the previous row."),
    ("Action values", "q_mean", False, "Mean of the largest action value of sampled states."),
    (
        "Held-out action values",
        "avg_max_q_value",
        False,
        "Mean of the largest action value over a fixed set of observations of random play.",
    ),
    (
        "Spread of returns",
        "return_std",
        False,
        "Standard deviation of the best action's return, a mean over the held-out observations.",
    ),
    (
        "Entropy of returns",
        "return_entropy",
        False,
        "Of the distribution of the best action's return, in nats; a mean over the same ones.",
    ),
    ("Median priority", "priority_p50", True, "Of the transitions in a prioritized replay."),
    ("Large priorities", "priority_p99", True, "The 99th percentile of the priorities."),
    (
        "Error of lambda returns",
        "lambda_return_error",
        True,
        "Mean distance between the lambda returns of a rollout and the values of its states.",
    ),
    ("Noise", "noise_scale", False, "Mean size of the scales of noisy layers."),
    ("Exploration", "epsilon", False, "Probability of a random action."),
    ("Speed", "steps_per_second", False, "Agent steps per second, for training only."),
    (
        "Wall-clock speed",
        "wall_steps_per_second",
        False,
        "Agent steps per second, with start-up, evaluations, checkpoints and films.",
    ),
)


class Figure(NamedTuple):
    """A plot of the page."""

    name: str  # fit for a file
    title: str
    caption: str
    figure: Any  # Matplotlib's


def of_game(game: str, groups: found_runs.Groups) -> Iterator[Figure]:
    """Plots the groups of a game: returns first, then diagnostics of training."""
    reference = found_runs.info(groups).reference
    levels = {"random": reference.random, "human": reference.human} if reference else {}
    evaluations = curves_lib.of_runs(
        groups,
        lambda run: curves_lib.curve(
            metric_columns.of(run.evaluations), "step", "eval_return_mean"
        ),
    )
    expected = {label: _expected(members) for label, members in groups.items()}
    bars = "; bars: those of earlier runs with the same settings" if any(expected.values()) else ""
    yield Figure(
        "return",
        "Return over steps",
        f"{_TRAINING}; dots: evaluations with frozen parameters{bars}.",
        plots.lines(
            _training(groups, "step", "episode_return_mean"),
            evaluations,
            x="agent steps",
            y="return",
            levels=levels,
            expected=expected,
        ),
    )
    yield Figure(
        "return_time",
        "Return over time",
        f"{_TRAINING}; time of training, evaluations left out.",
        plots.lines(
            _training(groups, "time_s", "episode_return_mean"),
            {},
            x="seconds",
            y="return",
            levels=levels,
        ),
    )
    yield from _diagnostics(groups)


def _expected(members: Sequence[found_runs.Run]) -> known_curves.Band | None:
    """What the package knows of runs with the settings of a group, as far as these have come."""
    config = members[0].config
    assert config
    return known_curves.band(known_curves.of(config), max(run.step for run in members))


def _diagnostics(groups: found_runs.Groups) -> Iterator[Figure]:
    for title, name, log, caption in _DIAGNOSTICS:
        curves = _training(groups, "step", name)
        values = np.concatenate([ys for of_group in curves.values() for _, ys in of_group])
        if not len(values):
            continue  # all runs learn in another way, or are older than this metric
        if log and 0 < np.count_nonzero(curves_lib.has_place(values)) < len(values):
            caption += " Gaps are values that a logarithmic axis cannot show, such as zero."
        figure = plots.lines(curves, {}, x="agent steps", y=title.lower(), levels={}, log=log)
        yield Figure(name, title, caption, figure)


def _training(groups: found_runs.Groups, x: str, y: str) -> dict[str, list[curves_lib.Curve]]:
    """Curves of one metric of training over another, by group."""
    return curves_lib.of_runs(groups, lambda run: curves_lib.curve(run.columns, x, y))


def legend(groups: found_runs.Groups) -> str:
    """Explains the plots of a game, in a few sentences."""
    text = ""
    if any(len(members) > 1 for members in groups.values()):
        until = " as far as all of them have come" if any(map(_end_apart, groups.values())) else ""
        text = (
            f"Faint: each run. Bold: their mean{until}, with its 95% interval for three or more. "
        )
    if len(groups) > group_names.SHARED_AXES:
        text += f"{len(groups)} groups, each in color; the means of all groups in gray. "
    if group_names.are_cut(list(groups)):
        text += "The groups are listed by their numbers below the plots."
    return text


def _end_apart(members: Sequence[found_runs.Run]) -> bool:
    """Whether a mean of runs, over steps or over time, ends visibly before the longest of them."""
    steps = [run.step for run in members]
    times = [metrics.number(run.last.get("time_s")) for run in members]
    return any(
        min(ends) < (1 - _VISIBLE) * max(ends)
        for ends in (steps, [time for time in times if time is not None])
        if ends
    )
