"""The frame that every program runs in: its command line, its errors, its exit code."""

import atexit
import gc
import os
import pathlib
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from jaxdqn import errors
from jaxdqn.cli import other_names, terminal
from jaxdqn.envs import api
from jaxdqn.settings import registry

# The flags below belong to the program that defines them: its `--help` shows them.
flags.disclaim_key_flags()

_at_exit: list[Callable[[], object]] = []


def take_passed_on() -> list[str]:
    """Removes what comes after `--` from the command line: arguments for another program."""
    where = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    sys.argv, passed_on = sys.argv[:where], sys.argv[where + 1 :]
    return passed_on


def run_program(
    define_flags: Callable[[], None], main: Callable[[], int], *, handles_signals: bool = False
) -> None:
    """Parses the command line, runs `main`, and exits with its code.

    Wrong usage, found by absl or by a check of settings, gives one line and exit code 2. A
    failure although the usage is right gives one line and the exit code of the error: 1, or 3 if a
    run diverged.

    Args:
      define_flags: defines the program's flags.
      main: the program.
      handles_signals: whether the program itself handles SIGTERM and SIGHUP. Other programs leave
        nothing half-written when one comes.
    """
    # Imports and tracing make many objects and almost no garbage. Collecting it as often as by
    # default takes a tenth of a start.
    gc.set_threshold(100_000)
    # No program opens a window. EnvPool imports matplotlib; a notebook's backend may be missing.
    os.environ["MPLBACKEND"] = "agg"
    terminal.protect()
    if not handles_signals:
        leave_on_signals()
    define_flags()
    flags.DEFINE_list(
        "plugins",
        [],
        "Python modules to import, which register algorithms, environments or other parts",
    )
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """Sets the flags, or ends the program with one line."""
    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        _refuse(other_names.hint(error.flagname) or str(error))
    except flags.Error as error:
        _refuse(str(error))
    except UnicodeDecodeError as error:
        _refuse(f"--flagfile: is not a text file: {error}")
    if rest[1:]:
        _refuse(f"unexpected argument {rest[1]!r}: settings are given as --name=value")
    return rest


def _guarded(main: Callable[[], int]) -> None:
    """Runs `main` and exits; known errors become one line."""
    logging.set_verbosity(logging.WARNING)
    # Orbax logs every file, and every thread with an error that we print as one line.
    logging.get_absl_logger().setLevel("CRITICAL")
    try:
        registry.load_plugins(flags.FLAGS.plugins)
        sys.exit(terminal.exit_code(main()))
    except errors.SettingError as error:
        _refuse(str(error))
    except (errors.RunError, api.UnsupportedEnvError, api.UnknownGameError) as error:
        _print_error(str(error))
        # Libraries that still work on other threads after a failure would print errors while Python
        # shuts down.
        exit_now(getattr(error, "exit_code", 1))
    except Exception as error:
        problem = _environment_problem(error)
        if not problem:
            raise
        _print_error(problem)
        sys.exit(1)
    except KeyboardInterrupt:  # where the program does not save on it
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def at_exit(work: Callable[[], object]) -> None:
    """Registers what is done when the program exits, also by `exit_now`."""
    _at_exit.append(work)
    atexit.register(work)


def exit_now(code: int) -> typing.NoReturn:
    """Exits without waiting for threads that still work, as those that compile."""
    for work in _at_exit:
        work()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def leave_on_signals() -> None:
    """Makes SIGTERM and SIGHUP end the program in order; a second one ends it at once."""

    def leave(signum: int, frame: types.FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        sys.exit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as under `nohup`
            signal.signal(signum, leave)


def _environment_problem(error: Exception) -> str:
    """The problem, if the environment and not the program is at fault; else empty."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if pathlib.PurePath(last.filename).parts[-3:] == ("jax", "_src", "config.py"):
        # JAX checks its environment variables whenever it is imported.
        return f"JAX does not start: {error}"
    if "Unable to initialize backend" in str(error):
        return f"JAX finds no device: {error}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return f"out of memory: {error}"
    return ""


def _refuse(message: str) -> typing.NoReturn:
    _print_error(message)
    sys.exit(2)


def _print_error(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
