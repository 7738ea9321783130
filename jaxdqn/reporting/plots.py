"""Figures of learning curves: the groups of runs on shared axes, or in a panel each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxdqn.reporting import axes as axes_lib
from jaxdqn.reporting import curves as curves_lib
from jaxdqn.reporting import group_names, panels, report_packages
from jaxdqn.rundir import known_curves

_MEAN_POINTS, _PANEL_POINTS = 200, 60  # of a mean on shared axes, and in a panel
_RUNS_POINTS, _FEWEST_RUN_POINTS = 16_000, 40  # of the lines of all runs, and of each
_SIZE = (6.4, 3.6)  # of shared axes, in inches
# Of lines and of points. With the colors they distinguish `group_names.SHARED_AXES` groups.
_STYLES = (("-", "o"), ((0, (4, 1.5)), "s"))


def lines(
    groups: Mapping[str, Sequence[curves_lib.Curve]],
    points: Mapping[str, Sequence[curves_lib.Curve]],
    *,
    x: str,
    y: str,
    levels: Mapping[str, float],
    expected: Mapping[str, known_curves.Band | None] | None = None,
    log: bool = False,
) -> Any:
    """A figure of one curve for each group: the mean of its runs, and a 95% band for three or more.

    Up to `group_names.SHARED_AXES` groups share axes, with a legend below these. More have a panel
    each, with the means of all groups in gray behind.

    Args:
      groups: the runs' curves, by the group's label.
      points: curves drawn as single points in the color of their group.
      x: label of that axis.
      y: label of that axis.
      levels: dotted horizontal lines, by label.
      expected: where points are expected, by the group's label.
      log: whether y is logarithmic. Then values that are not positive interrupt the curves; if no
        value is positive, y is linear.
    """
    log = log and any(curves_lib.has_place(ys).any() for c in groups.values() for _, ys in c)
    shared = len(groups) <= group_names.SHARED_AXES
    mean_points = _MEAN_POINTS if shared else _PANEL_POINTS
    run_points = max(_FEWEST_RUN_POINTS, _RUNS_POINTS // sum(map(len, groups.values())))
    drawn = [
        curves_lib.summary(
            curves,
            points.get(label, ()),
            mean_points=mean_points,
            run_points=min(mean_points, run_points),
            log=log,
            expected=(expected or {}).get(label),
        )
        for label, curves in groups.items()
    ]
    frame = axes_lib.Frame(x, y, *curves_lib.limits(drawn, list(levels.values()), log), log, levels)
    draw = _on_shared_axes if shared else panels.draw
    with report_packages.matplotlib().rc_context(_style()):
        return draw(group_names.short(list(groups)), drawn, frame)


def _on_shared_axes(
    names: Sequence[str], drawn: Sequence[curves_lib.Group], frame: axes_lib.Frame
) -> Any:
    matplotlib = report_packages.matplotlib()
    figure = matplotlib.figure.Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes_lib.furnish(axes, frame)
    axes.grid(alpha=0.2)
    axes.set(xlabel=frame.x, ylabel=frame.y)
    strength = 1.0 if len(drawn) <= len(axes_lib.COLOURS) else 0.4
    handles = []
    for index, (name, group) in enumerate(zip(names, drawn, strict=True)):
        line, marker = _STYLES[index // len(axes_lib.COLOURS)]
        look = {"color": axes_lib.COLOURS[index % len(axes_lib.COLOURS)], "linestyle": line}
        axes_lib.draw(axes, group, look, marker, strength=strength)
        if group.size:
            label = name if group.size < 2 else f"{name} ({group.size} runs)"
            handles.append(matplotlib.lines.Line2D([], [], label=label, **look))
    if len(handles) > 1 or any(group.size > 1 for group in drawn):
        columns = _legend_columns([handle.get_label() for handle in handles])
        rows = math.ceil(len(handles) / columns)
        lines_of_name = max(len(name.splitlines()) for name in names)
        figure.set_figheight(_SIZE[1] + rows * lines_of_name * axes_lib.LINE_HEIGHT * 1.4)
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=columns,
            frameon=False,
            fontsize=8,
            handlelength=3,
        )
    return figure


def _legend_columns(names: Sequence[str]) -> int:
    """The number of columns of names that fit the width of a figure, with names spread evenly."""
    longest = max(len(line) for name in names for line in name.splitlines())
    most = max(1, 104 // (longest + 10))
    return math.ceil(len(names) / math.ceil(len(names) / most))


def _style() -> dict[str, Any]:
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return dict.fromkeys(inked, axes_lib.INK) | {
        "text.parse_math": False,
        "font.size": 9,
        "lines.linewidth": 1.6,
    }
