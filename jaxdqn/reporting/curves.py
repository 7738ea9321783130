"""Learning curves of groups of runs, as the numbers that a plot shows."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxdqn.reporting import found_runs, metric_columns, statistics
from jaxdqn.rundir import known_curves

_LARGEST = 1e150  # largest value that is drawn: the arithmetic of axes overflows beyond it
_SMALLEST = 1 / _LARGEST  # on a logarithmic axis

Curve = tuple[np.ndarray, np.ndarray]  # x [T], y [T], float64


class Group(NamedTuple):
    """What a plot shows of a group. NaN interrupts lines."""

    size: int  # number of its runs that have a curve
    runs: Curve  # the lines of several runs, one after the other
    mean: Curve
    low: np.ndarray  # [T] of the mean: the ends of its interval
    high: np.ndarray
    points: Curve
    expected: known_curves.Band | None = None  # from earlier runs with its settings


def curve(columns: metric_columns.Columns, x: str, y: str) -> Curve:
    """One metric over another, sorted by x, where both are finite.

    Args:
      columns: metrics of T rows; one that is missing makes an empty curve.
      x: the metric along the axis.
      y: the metric that is shown.
    """
    xs, ys = (columns.get(name, np.empty(0)) for name in (x, y))
    if not (len(xs) and len(ys)):
        return np.empty(0), np.empty(0)
    kept = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[kept], ys[kept]
    order = np.argsort(xs, kind="stable")
    return xs[order], ys[order]


def of_runs(
    groups: Mapping[str, Sequence[found_runs.Run]], choose: Callable[[found_runs.Run], Curve]
) -> dict[str, list[Curve]]:
    """The curve of each run, as `choose` returns it, by group."""
    return {label: [choose(run) for run in members] for label, members in groups.items()}


def summary(
    curves: Sequence[Curve],
    points: Sequence[Curve],
    *,
    mean_points: int,
    run_points: int,
    log: bool,
    expected: known_curves.Band | None = None,
) -> Group:
    """What a plot shows of a group.

    Args:
      curves: of its runs.
      points: of its runs, to be drawn as single points.
      expected: where these are expected, as far as its runs have come.
      mean_points: of the mean, between 0 and the end of the longest run.
      run_points: maximum number for each run's line.
      log: whether y is logarithmic; then values that are not positive cannot be shown.
    """
    kept = [_clipped(one) for one in curves if len(one[0])]
    where, mean, low, high = np.empty((4, 0))
    if kept:
        where = np.linspace(0, max(xs[-1] for xs, _ in kept), mean_points)
        stacked = np.stack([np.interp(where, *one, left=math.nan, right=math.nan) for one in kept])
        # A mean over fewer runs would jump where one of them ends.
        everywhere = np.isfinite(stacked).all(axis=0)
        where = where[everywhere]
        mean, low, high = statistics.over_seeds(stacked[:, everywhere])
        mean = _drawable(mean, log)
    several = kept if len(kept) > 1 else []
    return Group(
        size=len(kept),
        runs=one_line([_thinned(one, run_points) for one in several], log),
        mean=(where, mean),
        low=np.where(np.isnan(mean), math.nan, np.clip(low, -_LARGEST, _LARGEST)),
        high=np.where(np.isnan(mean), math.nan, np.clip(high, -_LARGEST, _LARGEST)),
        points=one_line([_clipped(one) for one in points], log),
        expected=expected,
    )


def one_line(curves: Sequence[Curve], log: bool) -> Curve:
    """Joins curves with NaN between them: one line makes a smaller picture than many."""
    gap = np.array([math.nan])
    xs = [part for one in curves for part in (one[0], gap)]
    ys = [part for one in curves for part in (_drawable(one[1], log), gap)]
    return np.concatenate([*xs, gap])[:-1], np.concatenate([*ys, gap])[:-1]


def has_place(ys: np.ndarray) -> np.ndarray:
    """Which values [T] a logarithmic axis can show."""
    return ys > _SMALLEST


def alone(one: Curve) -> Curve:
    """The points of a curve without a neighbor that a line could connect them to."""
    is_gap = np.pad(~np.isfinite(one[1]), 1, constant_values=True)
    is_alone = ~is_gap[1:-1] & is_gap[:-2] & is_gap[2:]
    return one[0][is_alone], one[1][is_alone]


def limits(
    groups: Sequence[Group], levels: Sequence[float], log: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The limits of the x and y axes, with some room around groups and levels of y.

    Levels that lie further from the groups than the groups reach, from zero too, are left out: they
    would flatten the curves.
    """
    xs = np.concatenate([part[0] for g in groups for part in (g.runs, g.mean, g.points)])
    ys = [part for g in groups for part in (g.runs[1], g.mean[1], g.points[1], g.high)]
    ys += [part for g in groups if g.expected for part in (g.expected.low, g.expected.high)]
    if not log:  # on a logarithmic axis an interval near zero would leave no room for the curves
        ys += [g.low for g in groups]
    of_y = np.concatenate(ys) if ys else np.empty(0)
    of_y = of_y[np.isfinite(of_y)]
    of_y = np.append(of_y, [level for level in levels if _is_near(level, of_y)])
    end = float(np.max(xs, where=np.isfinite(xs), initial=0))
    return (0.0, end or 1.0), _log_limits(of_y[of_y > 0]) if log else _linear_limits(of_y)


def _is_near(level: float, ys: np.ndarray) -> bool:
    """Whether values [T] keep half of an axis that shows a level too; also if there are none."""
    if not len(ys):
        return True
    reach = np.ptp(np.append(ys, 0.0))
    return bool(ys.min() - reach <= level <= ys.max() + reach)


def _linear_limits(ys: np.ndarray) -> tuple[float, float]:
    low, high = (float(ys.min()), float(ys.max())) if len(ys) else (0.0, 1.0)
    # The difference of equal values may be only rounding.
    room = 0.07 * max(high - low, 1e-6 * abs(high)) or 1.0
    return low - room, high + room


def _log_limits(ys: np.ndarray) -> tuple[float, float]:
    low, high = np.log10([ys.min(), ys.max()]) if len(ys) else (0, 0)
    room = max(0.05 * (high - low), 0.05)
    return float(10 ** (low - room)), float(10 ** (high + room))


def _clipped(one: Curve) -> Curve:
    return np.clip(one[0], -_LARGEST, _LARGEST), np.clip(one[1], -_LARGEST, _LARGEST)


def _drawable(ys: np.ndarray, log: bool) -> np.ndarray:
    """Values [T]; NaN for those that a logarithmic axis cannot show."""
    return np.where(has_place(ys), ys, math.nan) if log else ys


def _thinned(one: Curve, most: int) -> Curve:
    if len(one[0]) <= most:
        return one
    where = np.linspace(one[0][0], one[0][-1], most)
    return where, np.interp(where, *one)
