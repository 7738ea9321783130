"""Plots of many groups of runs: a small panel for each."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdqn.reporting import axes as axes_lib
from jaxdqn.reporting import curves as curves_lib
from jaxdqn.reporting import report_packages

# Sizes in inches.
_WIDTH, _HEIGHT = 13.0, 1.15  # of the figure, and of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 0.75, 0.15, 0.05, 0.5, 0.15


def draw(names: Sequence[str], drawn: Sequence[curves_lib.Group], frame: axes_lib.Frame) -> Any:
    """A figure with a panel for each group, and the means of all groups in gray behind it.

    Args:
      names: of the groups.
      drawn: the groups.
      frame: what all panels share.
    """
    matplotlib = report_packages.matplotlib()
    columns = 5 if len(drawn) <= 20 else 6
    rows = math.ceil(len(drawn) / columns)
    title = max(len(name.splitlines()) for name in names) * axes_lib.LINE_HEIGHT + 0.08
    pitch = title + _HEIGHT + _GAP
    height = _TOP + rows * pitch + _BOTTOM
    width = (_WIDTH - _LEFT - _RIGHT - (columns - 1) * _GAP) / columns
    whole = np.array([_WIDTH, height] * 2)
    figure = matplotlib.figure.Figure(figsize=(_WIDTH, height))
    look = {"color": axes_lib.COLOURS[0], "linestyle": "-"}
    for index, (name, group) in enumerate(zip(names, drawn, strict=True)):
        row, column = divmod(index, columns)
        left = _LEFT + column * (width + _GAP)
        bottom = height - _TOP - row * pitch - title - _HEIGHT
        axes = figure.add_axes(np.array([left, bottom, width, _HEIGHT]) / whole)
        axes_lib.furnish(axes, frame, x_ticks=index + columns >= len(drawn), y_ticks=column == 0)
        # The last label would overlap the first one of the next panel.
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, prune="upper"))
        axes.set_title(name, fontsize=8, loc="left", pad=3)
        if not index:
            behind = _backdrop(axes, drawn, width, _HEIGHT)
            ticks = [t for t in axes.get_yticks() if frame.y_limits[0] < t < frame.y_limits[1]]
        axes.hlines(ticks, *frame.x_limits, color=axes_lib.INK, linewidth=0.5, alpha=0.15)
        axes.plot([0.5], [0.5], transform=axes.transAxes, **behind)
        axes_lib.draw(axes, group, look, "o", scale=0.75)
    figure.text(0.5, 0.08 / height, frame.x, ha="center", va="bottom")
    figure.text(0.1 / _WIDTH, 0.5, frame.y, ha="left", va="center", rotation=90)
    return figure


def _backdrop(
    axes: Any, drawn: Sequence[curves_lib.Group], width: float, height: float
) -> dict[str, Any]:
    """The means of all groups as one marker of the size of a panel.

    It is the same in all panels, and SVG stores a marker once, however often it is drawn.
    """
    path = report_packages.matplotlib().path.Path
    line = curves_lib.one_line([group.mean for group in drawn], log=False)
    shares = axes.transLimits.transform(axes.transScale.transform(np.stack(line, axis=1)))
    vertices = (shares - 0.5) * (width * 72, height * 72)
    is_gap = ~np.isfinite(vertices).all(axis=1)
    follows_gap = np.pad(is_gap, (1, 0), constant_values=True)[:-1]
    codes = np.where(follows_gap, path.MOVETO, path.LINETO)[~is_gap]
    vertices = vertices[~is_gap]
    if not len(vertices):
        return {"linestyle": "none"}
    return {
        "marker": path(vertices, codes),
        "markersize": 2 * np.abs(vertices).max(),  # which leaves the path as large as it is
        "markerfacecolor": "none",
        "markeredgecolor": axes_lib.INK,
        "markeredgewidth": 0.5,
        "alpha": 0.25,
    }
