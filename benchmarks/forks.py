"""Functions and programs that run in processes of their own, forked from one with the libraries.

Importing the libraries takes most of the time of a short run. The process that is forked has
imported them and done nothing else yet.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

_CONTEXT = multiprocessing.get_context("forkserver")
_LIBRARIES = ("envpool", "flax.linen", "optax", "orbax.checkpoint", "jaxdqn.training.run")


def preload() -> None:
    """Names the libraries to import, before the first process is forked."""
    _CONTEXT.set_forkserver_preload(list(_LIBRARIES))


def call(function: Callable[..., object], args: tuple[Any, ...], limit_s: float) -> str:
    """Calls a function in a process of its own; returns how that failed, empty if it did not."""
    process = _CONTEXT.Process(target=function, args=args)
    process.start()
    process.join(limit_s)
    if process.exitcode is None:
        process.kill()
        process.join()
        return f"did not end within {limit_s:g} s"
    code = process.exitcode
    return f"died of signal {-code}" if code < 0 else f"ended with code {code}" if code else ""


def redirect(number: int, path: pathlib.Path) -> None:
    """Makes this process, with native code in it, write a standard stream into a file."""
    with path.open("ab") as file:
        os.dup2(file.fileno(), number)


def become(
    module: str, flags: Sequence[str], prepare: Callable[[], object] = lambda: None
) -> NoReturn:
    """Does in a forked process what `python -m` does, and ends it with the program's exit code.

    Args:
      module: the program.
      flags: its arguments.
      prepare: is called first; its errors count as the program's.
    """
    sys.argv = [module, *flags]
    code: str | int | None = 1
    try:
        prepare()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))
