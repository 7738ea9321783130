"""Imports what programs import, but not the programs; `tests.program` forks them from there."""

import gc
import importlib
import pkgutil

import jinja2  # noqa: F401
import matplotlib.figure
import matplotlib.ticker  # noqa: F401

import jaxdqn
from benchmarks import clock, flops, plots, rates, report  # noqa: F401
from tests import program  # noqa: F401

# Programs are the modules of the package itself; they run as `__main__`.
for package in pkgutil.iter_modules(jaxdqn.__path__, "jaxdqn."):
    if package.ispkg:
        folder = importlib.import_module(package.name).__path__
        for module in pkgutil.iter_modules(folder, f"{package.name}."):
            importlib.import_module(module.name)

gc.freeze()  # or each process would copy what its garbage collector looks at
