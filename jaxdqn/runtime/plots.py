"""Learning curves as pictures: SVG that takes a page's own text colour, or PNG."""

import io
import itertools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxdqn import config as config_lib
from jaxdqn.runtime import aggregates, runs

# After Okabe and Ito, told apart by the colour-blind; as light as serves on white and on black.
_COLOURS = ("#3B8FD9", "#E0662A", "#1AA37A", "#CC79A7", "#D99A00", "#56B4E9")
_INK = "#123457"  # stands for the page's text colour until the picture is written
_POINTS = 200

Curve = tuple[np.ndarray, np.ndarray]  # x [T], y [T]


def _matplotlib() -> Any:
    """Matplotlib, which not everybody installs.

    Raises:
      RunError: it is not here; says how to install it.
    """
    try:
        import matplotlib.figure
        import matplotlib.ticker
    except ImportError:
        raise config_lib.RunError(
            "a report needs the extra 'report', as in pip install -e '.[report]'"
        ) from None
    return matplotlib


def curve(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> Curve:
    """One metric over another; rows without both as finite numbers are left out."""
    pairs = [(row.get(x), row.get(y)) for row in rows]
    kept = [(a, b) for a, b in pairs if _is_number(a) and _is_number(b)]
    array = np.asarray(kept, np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def lines(
    groups: Mapping[str, Sequence[Curve]],
    points: Mapping[str, Sequence[Curve]],
    *,
    x: str,
    y: str,
    levels: Mapping[str, float],
    log: bool = False,
) -> Any:
    """A figure of one curve for each group: the mean of its runs, and a 95% band for three or more.

    Args:
      groups: the runs' curves, by the group's label.
      points: curves drawn as single points in the colour of their group.
      x: label of that axis.
      y: label of that axis.
      levels: dotted horizontal lines, by their label.
      log: whether y is logarithmic.
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context(_style()):
        figure = matplotlib.figure.Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for colour, (label, curves) in zip(itertools.cycle(_COLOURS), groups.items(), strict=False):
            kept = [one for one in curves if len(one[0])]
            for where, values in points.get(label, ()):
                axes.plot(where, values, "o", color=colour, markersize=3, alpha=0.6)
            if not kept:
                continue
            grid = np.linspace(0, max(where[-1] for where, _ in kept), _POINTS)
            stacked = np.stack(
                [np.interp(grid, *one, left=math.nan, right=math.nan) for one in kept]
            )
            if len(kept) > 1:
                axes.plot(grid, stacked.T, color=colour, linewidth=0.8, alpha=0.5)
            # A mean over other runs at every point would jump where one of them ends.
            everywhere = np.isfinite(stacked).all(axis=0)
            mean, low, high = aggregates.over_seeds(stacked[:, everywhere])
            seeds = f" ({len(kept)} runs)" if len(kept) > 1 else ""
            axes.plot(grid[everywhere], mean, color=colour, label=label + seeds)
            axes.fill_between(grid[everywhere], low, high, color=colour, alpha=0.2, linewidth=0)
        for label, level in levels.items():
            axes.axhline(level, color=_INK, linewidth=0.8, linestyle=":", alpha=0.7)
            axes.annotate(
                label,
                (1, level),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                alpha=0.8,
            )
        axes.set(xlabel=x, ylabel=y, xlim=(0, None))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(_short)
            axes.yaxis.set_minor_formatter("")
        axes.xaxis.set_major_formatter(_short)
        axes.grid(alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        if len(groups) > 1 or any(len(curves) > 1 for curves in groups.values()):
            axes.legend(frameon=False, fontsize=8)
    return figure


def svg(figure: Any) -> str:
    """A figure as SVG for the middle of a page: as wide as there is room, text as text."""
    stream = io.StringIO()
    with _matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxdqn"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue().replace(_INK, "currentColor")
    return text[text.index("<svg") :]


def png(figure: Any, path: pathlib.Path) -> None:
    """Writes a figure as PNG on white."""
    figure.savefig(path, dpi=150, facecolor="white")


def of_runs(
    groups: Mapping[str, Sequence[runs.Run]], choose: Callable[[runs.Run], Curve]
) -> dict[str, list[Curve]]:
    """The curve that `choose` takes of each run, by group."""
    return {label: [choose(run) for run in members] for label, members in groups.items()}


def _style() -> dict[str, Any]:
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return dict.fromkeys(inked, _INK) | {
        "text.parse_math": False,
        "font.size": 9,
        "lines.linewidth": 1.6,
    }


def _short(value: float, _: Any) -> str:
    """1500000 -> 1.5M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
