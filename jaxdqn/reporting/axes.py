"""One pair of axes of a plot: its scale, and the curves of a group of runs."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxdqn.reporting import curves as curves_lib
from jaxdqn.reporting import report_packages

# After Okabe and Ito: color-blind readers can distinguish them, and they suit white and black.
COLOURS = ("#3B8FD9", "#E0662A", "#1AA37A", "#CC79A7", "#D99A00", "#8C5A2B")
INK = "#123457"  # becomes the page's text color when the picture is written
LINE_HEIGHT = 8 * 1.25 / 72  # of names, in inches


class Frame(NamedTuple):
    """What all axes of a figure share."""

    x: str
    y: str
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    log: bool
    levels: Mapping[str, float]


def draw(
    axes: Any,
    group: curves_lib.Group,
    look: Mapping[str, Any],
    marker: str,
    scale: float = 1.0,
    strength: float = 1.0,
) -> None:
    """Draws a group: its runs faintly, its points, the bars that they are expected in, its mean.

    Args:
      axes: with their limits set.
      group: to draw.
      look: color and style of lines.
      marker: of points.
      scale: of lines and points.
      strength: opacity of everything except the mean.
    """
    colour = look["color"]
    dots = {"color": colour, "linestyle": "none", "marker": marker, "markeredgewidth": 0}
    if group.expected:
        steps, low, high = group.expected
        axes.fill_between(steps, low, high, color=colour, alpha=0.12 * strength, linewidth=0)
        axes.vlines(steps, low, high, color=colour, linewidth=3 * scale, alpha=0.25 * strength)
    if len(group.runs[0]):
        axes.plot(*group.runs, linewidth=0.8 * scale, alpha=0.4 * strength, **look)
    for one in (group.points, curves_lib.alone(group.runs)):
        if len(one[0]):
            # The last evaluation stands on the edge, and would be cut in half.
            whole = {"clip_on": one is not group.points}
            axes.plot(*one, markersize=3 * scale, alpha=0.6 * strength, **dots, **whole)
    if group.size > 2:
        low = np.maximum(
            group.low, axes.get_ylim()[0]
        )  # a logarithmic axis cannot show lower values
        axes.fill_between(
            group.mean[0], low, group.high, color=colour, alpha=0.2 * strength, linewidth=0
        )
    axes.plot(*group.mean, linewidth=1.6 * scale, **look)
    alone = curves_lib.alone(group.mean)
    if len(alone[0]):
        axes.plot(*alone, markersize=5 * scale, **dots)


def furnish(axes: Any, frame: Frame, x_ticks: bool = True, y_ticks: bool = True) -> None:
    """Sets limits, scale and levels of axes; ticks, which are slow to draw, only if asked for."""
    ticker = report_packages.matplotlib().ticker
    axes.set(xlim=frame.x_limits, ylim=frame.y_limits, yscale="log" if frame.log else "linear")
    axes.xaxis.set_visible(x_ticks)
    axes.yaxis.set_visible(y_ticks)
    axes.xaxis.set_major_formatter(_short)
    if frame.log:
        decades = math.log10(frame.y_limits[1]) - math.log10(frame.y_limits[0])
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
        axes.yaxis.set_major_formatter(_short)
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    low, high = frame.y_limits
    inside = {label: level for label, level in frame.levels.items() if low <= level <= high}
    for label, level in inside.items():
        axes.axhline(level, color=INK, linewidth=0.8, linestyle=":", alpha=0.7)
        if y_ticks:
            # Keeps labels of close levels from overlapping.
            side = "bottom" if level == max(inside.values()) else "top"
            _name_level(axes, label, (1, level), ("axes fraction", "data"), side)
    if y_ticks:
        above = [_with_value(*each) for each in frame.levels.items() if each[1] > high]
        below = [_with_value(*each) for each in frame.levels.items() if each[1] < low]
        for names, where, edge, side in ((above, "above", 1, "top"), (below, "below", 0, "bottom")):
            if names:
                text = f"{', '.join(names)} ({where})"
                _name_level(axes, text, (1, edge), ("axes fraction", "axes fraction"), side)


def _with_value(label: str, level: float) -> str:
    return f"{label} {level:,g}"


def _name_level(
    axes: Any, text: str, place: tuple[float, float], systems: tuple[str, str], side: str
) -> None:
    """Writes the name of a level at the right, above ('bottom') or below ('top') a place."""
    axes.annotate(text, place, xycoords=systems, ha="right", va=side, fontsize=8, alpha=0.8)


def _short(value: float, _: Any) -> str:
    """1500000 -> 1.5M."""
    for limit, unit in ((1e12, ""), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{unit}" if unit else f"{value:g}"
    return f"{value:g}"
