"""Learning curves as pictures: SVG that takes a page's own text colour, or PNG."""

import io
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdqn import errors
from jaxdqn.reporting import curves as curves_lib
from jaxdqn.reporting import group_names

# After Okabe and Ito: the colour-blind tell them apart, and they serve on white and on black.
_COLOURS = ("#3B8FD9", "#E0662A", "#1AA37A", "#CC79A7", "#D99A00", "#8C5A2B")
# Of lines and of points. With the colours they tell `group_names.SHARED_AXES` groups apart.
_STYLES = (("-", "o"), ((0, (4, 1.5)), "s"))
_INK = "#123457"  # stands for the page's text colour until the picture is written
_MEAN_POINTS, _PANEL_POINTS = 200, 60  # of a mean on shared axes, and in a panel
_RUNS_POINTS, _FEWEST_RUN_POINTS = 16_000, 40  # of the lines of all runs, and of each
_TALLEST_PIXELS = 60_000  # of a PNG
_COORDINATES = re.compile(r' (?:d|x|y)="[^"]*"')  # in SVG
_FINER = re.compile(r"(\.\d\d)\d+")
# Sizes in inches.
_AXES_SIZE = (6.4, 3.6)
_PANELS_WIDTH, _PANEL_HEIGHT, _LINE_HEIGHT = 13.0, 1.15, 8 * 1.25 / 72
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 0.75, 0.15, 0.05, 0.5, 0.15


class _Frame(NamedTuple):
    """What all axes of a figure share."""

    x: str
    y: str
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    log: bool
    levels: Mapping[str, float]


def _matplotlib() -> Any:
    """Matplotlib, which not everybody installs.

    Raises:
      RunError: it is not here; says how to install it.
    """
    try:
        import matplotlib.figure
        import matplotlib.lines
        import matplotlib.path
        import matplotlib.ticker
    except ImportError:
        raise errors.RunError(
            "a report needs the extra 'report', as in pip install -e '.[report]'"
        ) from None
    return matplotlib


def lines(
    groups: Mapping[str, Sequence[curves_lib.Curve]],
    points: Mapping[str, Sequence[curves_lib.Curve]],
    *,
    x: str,
    y: str,
    levels: Mapping[str, float],
    log: bool = False,
) -> Any:
    """A figure of one curve for each group: the mean of its runs, and a 95% band for three or more.

    Up to `group_names.SHARED_AXES` groups share axes, with a legend below these. More have a panel
    each, with the means of all groups in grey behind.

    Args:
      groups: the runs' curves, by the group's label.
      points: curves drawn as single points in the colour of their group.
      x: label of that axis.
      y: label of that axis.
      levels: dotted horizontal lines, by their label.
      log: whether y is logarithmic. Values that are not positive interrupt the curves then; where
        no value is positive, y is linear.
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
        )
        for label, curves in groups.items()
    ]
    frame = _Frame(x, y, *curves_lib.limits(drawn, list(levels.values()), log), log, levels)
    draw = _on_shared_axes if shared else _in_panels
    with _matplotlib().rc_context(_style()):
        return draw(group_names.short(list(groups)), drawn, frame)


def svg(figure: Any) -> str:
    """A figure as SVG for the middle of a page: as wide as there is room, text as text."""
    stream = io.StringIO()
    with _matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxdqn"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue().replace(_INK, "currentColor")
    text = _COORDINATES.sub(_shortened, text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # a page has several figures, with equal ones
    return text[text.index("<svg") :]


def _shortened(coordinates: re.Match[str]) -> str:
    """Coordinates in less than half of the room: hundredths of a point, no 'L' again and again."""
    return _FINER.sub(r"\1", coordinates[0]).replace(" \nL ", " ")


def png(figure: Any, path: pathlib.Path) -> None:
    """Writes a figure as PNG on white."""
    dpi = min(150, _TALLEST_PIXELS / figure.get_figheight())
    figure.savefig(path, dpi=dpi, facecolor="white")


def _on_shared_axes(names: Sequence[str], drawn: Sequence[curves_lib.Group], frame: _Frame) -> Any:
    matplotlib = _matplotlib()
    figure = matplotlib.figure.Figure(figsize=_AXES_SIZE, layout="constrained")
    axes = figure.subplots()
    _furnish(axes, frame)
    axes.grid(alpha=0.2)
    axes.set(xlabel=frame.x, ylabel=frame.y)
    strength = 1.0 if len(drawn) <= len(_COLOURS) else 0.4
    handles = []
    for index, (name, group) in enumerate(zip(names, drawn, strict=True)):
        line, marker = _STYLES[index // len(_COLOURS)]
        look = {"color": _COLOURS[index % len(_COLOURS)], "linestyle": line}
        _draw(axes, group, look, marker, strength=strength)
        if group.size:
            told = name if group.size < 2 else f"{name} ({group.size} runs)"
            handles.append(matplotlib.lines.Line2D([], [], label=told, **look))
    if len(handles) > 1 or any(group.size > 1 for group in drawn):
        columns = _legend_columns([handle.get_label() for handle in handles])
        rows = math.ceil(len(handles) / columns)
        lines_of_name = max(len(name.splitlines()) for name in names)
        figure.set_figheight(_AXES_SIZE[1] + rows * lines_of_name * _LINE_HEIGHT * 1.4)
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
    """How many columns of names are as wide as a figure, the names spread evenly over them."""
    longest = max(len(line) for name in names for line in name.splitlines())
    most = max(1, 104 // (longest + 10))
    return math.ceil(len(names) / math.ceil(len(names) / most))


def _in_panels(names: Sequence[str], drawn: Sequence[curves_lib.Group], frame: _Frame) -> Any:
    columns = 5 if len(drawn) <= 20 else 6
    rows = math.ceil(len(drawn) / columns)
    title = max(len(name.splitlines()) for name in names) * _LINE_HEIGHT + 0.08
    pitch = title + _PANEL_HEIGHT + _GAP
    height = _TOP + rows * pitch + _BOTTOM
    width = (_PANELS_WIDTH - _LEFT - _RIGHT - (columns - 1) * _GAP) / columns
    whole = np.array([_PANELS_WIDTH, height] * 2)
    figure = _matplotlib().figure.Figure(figsize=(_PANELS_WIDTH, height))
    look = {"color": _COLOURS[0], "linestyle": "-"}
    for index, (name, group) in enumerate(zip(names, drawn, strict=True)):
        row, column = divmod(index, columns)
        left = _LEFT + column * (width + _GAP)
        bottom = height - _TOP - row * pitch - title - _PANEL_HEIGHT
        axes = figure.add_axes(np.array([left, bottom, width, _PANEL_HEIGHT]) / whole)
        _furnish(axes, frame, x_ticks=index + columns >= len(drawn), y_ticks=column == 0)
        # The last label would run into the first one of the next panel.
        axes.xaxis.set_major_locator(_matplotlib().ticker.MaxNLocator(4, prune="upper"))
        axes.set_title(name, fontsize=8, loc="left", pad=3)
        if not index:
            behind = _backdrop(axes, drawn, width, _PANEL_HEIGHT)
            ticks = [t for t in axes.get_yticks() if frame.y_limits[0] < t < frame.y_limits[1]]
        axes.hlines(ticks, *frame.x_limits, color=_INK, linewidth=0.5, alpha=0.15)
        axes.plot([0.5], [0.5], transform=axes.transAxes, **behind)
        _draw(axes, group, look, "o", scale=0.75)
    figure.text(0.5, 0.08 / height, frame.x, ha="center", va="bottom")
    figure.text(0.1 / _PANELS_WIDTH, 0.5, frame.y, ha="left", va="center", rotation=90)
    return figure


def _backdrop(
    axes: Any, drawn: Sequence[curves_lib.Group], width: float, height: float
) -> dict[str, Any]:
    """The means of all groups as one marker of the size of a panel.

    It is the same in all panels, and SVG holds a marker once, however often it is drawn.
    """
    path = _matplotlib().path.Path
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
        "markeredgecolor": _INK,
        "markeredgewidth": 0.5,
        "alpha": 0.25,
    }


def _draw(
    axes: Any,
    group: curves_lib.Group,
    look: Mapping[str, Any],
    marker: str,
    scale: float = 1.0,
    strength: float = 1.0,
) -> None:
    """Draws a group: its runs faintly, its points, its mean with a band.

    Args:
      axes: which have their limits.
      group: what is drawn.
      look: colour and style of lines.
      marker: of points.
      scale: of lines and points.
      strength: of all but the mean.
    """
    colour = look["color"]
    dots = {"color": colour, "linestyle": "none", "marker": marker, "markeredgewidth": 0}
    if len(group.runs[0]):
        axes.plot(*group.runs, linewidth=0.8 * scale, alpha=0.4 * strength, **look)
    for one in (group.points, curves_lib.alone(group.runs)):
        if len(one[0]):
            axes.plot(*one, markersize=3 * scale, alpha=0.6 * strength, **dots)
    if group.size > 2:
        low = np.maximum(group.low, axes.get_ylim()[0])  # a logarithmic axis has no place below
        axes.fill_between(
            group.mean[0], low, group.high, color=colour, alpha=0.2 * strength, linewidth=0
        )
    axes.plot(*group.mean, linewidth=1.6 * scale, **look)
    alone = curves_lib.alone(group.mean)
    if len(alone[0]):
        axes.plot(*alone, markersize=5 * scale, **dots)


def _furnish(axes: Any, frame: _Frame, x_ticks: bool = True, y_ticks: bool = True) -> None:
    """Gives axes their limits, scale and levels; ticks, which take long to draw, as asked for."""
    ticker = _matplotlib().ticker
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
    for label, level in frame.levels.items():
        axes.axhline(level, color=_INK, linewidth=0.8, linestyle=":", alpha=0.7)
        if y_ticks:
            axes.annotate(
                label,
                (1, level),
                xycoords=("axes fraction", "data"),
                ha="right",
                # Labels of levels that are close do not meet.
                va="bottom" if level == max(frame.levels.values()) else "top",
                fontsize=8,
                alpha=0.8,
            )


def _style() -> dict[str, Any]:
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return dict.fromkeys(inked, _INK) | {
        "text.parse_math": False,
        "font.size": 9,
        "lines.linewidth": 1.6,
    }


def _short(value: float, _: Any) -> str:
    """1500000 -> 1.5M."""
    for limit, unit in ((1e12, ""), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{unit}" if unit else f"{value:g}"
    return f"{value:g}"
