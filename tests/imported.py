"""Imports what programs import, but not the programs; `tests.program` forks them from there."""

import gc
import importlib
import pkgutil

import jaxdqn

LIBRARIES = ("jinja2", "matplotlib.figure", "matplotlib.ticker")
HELPERS = ("tests.program", *(f"benchmarks.{n}" for n in ("clock", "flops", "plots", "rates")))
HELPERS += ("benchmarks.report",)
for name in (*LIBRARIES, *HELPERS):
    importlib.import_module(name)

# Programs are the modules of the package itself; they run as `__main__`.
for package in pkgutil.iter_modules(jaxdqn.__path__, "jaxdqn."):
    if package.ispkg:
        folder = importlib.import_module(package.name).__path__
        for module in pkgutil.iter_modules(folder, f"{package.name}."):
            importlib.import_module(module.name)

gc.freeze()  # or each process would copy what its garbage collector looks at
