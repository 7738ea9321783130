"""Packages that reports alone need, and that not everybody installs."""

import contextlib
from collections.abc import Iterator
from typing import Any

from jaxdqn import errors, extras


def jinja2() -> Any:
    """Jinja.

    Raises:
      RunError: it is not installed.
    """
    with _named_if_missing():
        import jinja2
    return jinja2


def matplotlib() -> Any:
    """Matplotlib, with the modules that plots use.

    Raises:
      RunError: it is not installed.
    """
    with _named_if_missing():
        import matplotlib.figure
        import matplotlib.lines
        import matplotlib.path
        import matplotlib.ticker
    return matplotlib


@contextlib.contextmanager
def _named_if_missing() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise errors.RunError(
            f"a report needs more packages: {extras.installation('report')}"
        ) from None
