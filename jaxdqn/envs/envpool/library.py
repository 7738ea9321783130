"""EnvPool itself: imported late, kept quiet, and quoted in a line."""

import contextlib
import warnings
from collections.abc import Iterator
from types import ModuleType


def module() -> ModuleType:
    """EnvPool, imported when it is first asked for: that takes over a second."""
    import envpool

    return envpool


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silences Gymnasium's warnings about bounds that EnvPool declares in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
