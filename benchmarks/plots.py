"""Plots that are stored next to the JSON of a benchmark."""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def lines(
    path: pathlib.Path,
    where: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    log_y: bool = True,
) -> None:
    """Draws curves over a logarithmic axis. Without matplotlib it only prints a line."""
    if not (pyplot := _pyplot()):
        return
    from matplotlib import ticker

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for label, values in curves.items():
        axes.plot(where, values, marker="o", label=label)
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(where, [f"{value:,}" for value in where], minor=False)
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    else:
        axes.set_ylim(bottom=0)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def seeds(
    path: pathlib.Path,
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    *,
    xlabel: str,
    ylabel: str,
) -> None:
    """Draws the curves of several seeds in one color for each label, as `lines` does."""
    if not (pyplot := _pyplot()):
        return
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for number, (label, many) in enumerate(curves.items()):
        for index, (xs, ys) in enumerate(many):
            named = {} if index else {"label": label}
            axes.plot(xs, ys, marker="o", markersize=3, color=f"C{number}", **named)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _pyplot() -> Any:
    """Matplotlib's module for files; None without matplotlib, after a line that says so."""
    try:
        import matplotlib
    except ImportError:  # the figures are saved anyway
        print("no plot: matplotlib is not installed", file=sys.stderr)
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
