"""A high-throughput JAX trainer for deep Q-networks on vectorized environments."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from jaxdqn.loading import load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> typing.Any:
    """Imports JAX only once somebody loads an agent: `--help` and the like need none."""
    if name == "load":
        return importlib.import_module("jaxdqn.loading").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
