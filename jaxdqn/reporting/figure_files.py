"""Figures as files: SVG that takes a page's own text color, or PNG."""

import io
import pathlib
import re
from typing import Any

from jaxdqn.reporting import axes, report_packages

_TALLEST_PIXELS = 60_000  # of a PNG
_COORDINATES = re.compile(r' (?:d|x|y)="[^"]*"')  # in SVG
_FINER = re.compile(r"(\.\d\d)\d+")


def svg(figure: Any) -> str:
    """A figure as SVG to embed in a page: as wide as there is room, with text as text."""
    stream = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "jaxdqn"}
    with report_packages.matplotlib().rc_context(settings):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue().replace(axes.INK, "currentColor")
    text = _COORDINATES.sub(_shortened, text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # several figures on a page would have equal ids
    return text[text.index("<svg") :]


def _shortened(coordinates: re.Match[str]) -> str:
    """Shortens coordinates to less than half: hundredths of a point, and no repeated 'L'."""
    return _FINER.sub(r"\1", coordinates[0]).replace(" \nL ", " ")


def png(figure: Any, path: pathlib.Path) -> None:
    """Writes a figure as PNG on white."""
    dpi = min(150, _TALLEST_PIXELS / figure.get_figheight())
    figure.savefig(path, dpi=dpi, facecolor="white")
