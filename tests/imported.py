"""Imports what programs import, but not the programs; `tests.program` forks them from there."""

import gc
import importlib
import pkgutil

import jaxdqn

# What programs import late, when they need it.
LIBRARIES = ("envpool", "jaxlib.mlir.dialects.mhlo", "jinja2", "matplotlib.figure")
LIBRARIES += ("matplotlib.ticker",)
HELPERS = ("tests.program", *(f"benchmarks.{n}" for n in ("clock", "flops", "plots", "rates")))
HELPERS += ("benchmarks.report",)
for name in (*LIBRARIES, *HELPERS):
    importlib.import_module(name)

# Programs are the modules of the package itself; they run as `__main__`.
for module in pkgutil.walk_packages(jaxdqn.__path__, "jaxdqn."):
    if module.ispkg or module.name.count(".") > 1:
        importlib.import_module(module.name)

gc.freeze()  # or each process would copy what its garbage collector looks at
