"""Settings as absl flags, and the frame in which every program runs."""

import dataclasses
import gc
import os
import pathlib
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from jaxdqn import config as config_lib
from jaxdqn import paths, presets, protocols, terminal
from jaxdqn.envs import envpool, games


def define_settings() -> None:
    """Defines one flag for each field of `Config`. Unset flags are None: the preset decides."""
    hints = typing.get_type_hints(config_lib.Config)
    for field in dataclasses.fields(config_lib.Config):
        kind, default = hints[field.name], field.default
        if isinstance(kind, types.UnionType):
            kind = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
        text = field.metadata["help"]
        shown = [] if default in (None, "") else [f"default: {_as_typed(default)}"]
        shown += [
            f"{name}: {_as_typed(preset.settings[field.name])}"
            for name, preset in presets.GENERAL.items()
            if preset.settings.get(field.name, default) != default
        ]
        text += f" ({'; '.join(shown)})" if shown else ""
        if kind is bool:
            flags.DEFINE_boolean(field.name, None, text)
        elif kind is int:
            flags.DEFINE_integer(field.name, None, text)
        elif kind is float:
            flags.DEFINE_float(field.name, None, text)
        elif kind is str:
            flags.DEFINE_string(field.name, None, text)
        else:
            flags.DEFINE_list(field.name, None, text)


def cache_dir(name: str) -> str:
    """The default folder for what can be made anew, its '~' unexpanded."""
    return str(pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "jaxdqn", name))


def define_compilation_cache() -> None:
    """Defines the flag for the folder of compiled programs."""
    flags.DEFINE_string(
        "compilation_cache_dir",
        cache_dir("compiled"),
        "folder of compiled programs, which make later runs start sooner; empty: none",
    )


def import_jax() -> None:
    """Imports JAX, which takes seconds and which `--help` and wrong settings do without.

    Raises:
      RunError: an environment variable asks for what this package cannot do.
    """
    import jax

    jax.config.update("jax_numpy_dtype_promotion", "standard")
    if jax.config.jax_disable_jit:
        raise config_lib.RunError("JAX_DISABLE_JIT is set; unset it: all that runs is compiled")


def start_devices() -> None:
    """Has JAX find the devices, and begins to keep what is compiled for them.

    Raises:
      SettingError: the folder for that cannot be one.
      RunError: there are no devices of the kind that JAX is asked for.
    """
    import_jax()

    from jaxdqn.runtime import compilation, mesh

    mesh.check_devices()
    name = "compilation_cache_dir"
    folder: str = flags.FLAGS[name].value or ""
    if flags.FLAGS[name].present and folder:
        folder = str(paths.usable(name, folder))
    compilation.use_cache(folder)


def define_processes() -> None:
    """Defines the flags by which the processes of a run find each other."""
    flags.DEFINE_string(
        "coordinator_address",
        None,
        "host:port of process 0, where a run has several processes that nothing else (SLURM, "
        "Kubernetes, Open MPI 4, a Cloud TPU) brings together",
    )
    flags.DEFINE_integer(
        "num_processes",
        None,
        "of the run; 1: this alone, whatever started it",
        lower_bound=1,
    )
    flags.DEFINE_integer("process_id", None, "of this one, from 0", lower_bound=0)


def define_saved_run() -> None:
    """Defines the flags that name a trained agent."""
    flags.DEFINE_string("run_dir", None, "folder of the run")
    flags.DEFINE_string(
        "checkpoint", "latest", "latest, best (by the run's own evaluations), or a step"
    )


def saved_run_path() -> pathlib.Path:
    """The folder that the user named.

    Raises:
      SettingError: none was named.
    """
    path = flags.FLAGS.run_dir
    if not path:
        raise config_lib.SettingError("run_dir", "name the folder of a run")
    return paths.usable("run_dir", path)


def define_play_seed() -> None:
    """Defines the seed of games that a trained agent plays."""
    flags.DEFINE_integer(
        "seed",
        0,
        "environment i plays with seed + i; of random actions too",
        lower_bound=0,
        upper_bound=2**30,
    )


def output(name: str, suffixes: Sequence[str]) -> pathlib.Path | None:
    """The file that a flag names for writing; None where it names none.

    Raises:
      SettingError: it cannot become that file, or lies there already without `--overwrite`.
    """
    value = flags.FLAGS[name].value
    if not value:
        return None
    path = paths.usable(name, value)
    if suffixes and path.suffix not in suffixes:
        raise config_lib.SettingError(
            name, f"is {value}; a name that ends in {' or '.join(suffixes)}"
        )
    if path.exists() and not flags.FLAGS.overwrite:
        raise config_lib.SettingError(name, f"{path} exists; --overwrite replaces it")
    if not path.absolute().parent.is_dir():
        raise config_lib.SettingError(name, f"{path.absolute().parent} is not a directory")
    if not os.access(path.absolute().parent, os.W_OK):
        raise config_lib.SettingError(name, f"{path.absolute().parent} cannot be written")
    return path


def define_protocol() -> None:
    """Defines the flag that names the conditions of play."""
    told = "; ".join(f"{name}: {protocol.text}" for name, protocol in protocols.PROTOCOLS.items())
    flags.DEFINE_enum(
        "protocol",
        None,
        list(protocols.PROTOCOLS),
        f"conditions of play (default: nature for Atari, greedy for others). {told}",
    )


def _as_typed(value: Any) -> str:
    """A setting's value as a user types it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def given_settings() -> dict[str, Any]:
    """The settings that the user gave, by name.

    Raises:
      SettingError: a list of numbers holds something else.
    """
    names = [field.name for field in dataclasses.fields(config_lib.Config)]
    given = {name: flags.FLAGS[name].value for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, list):
            try:
                given[name] = tuple(int(item) for item in value)
            except ValueError:
                raise config_lib.SettingError(
                    name, f"is {','.join(value)!r}; whole numbers with commas between them"
                ) from None
    return given


def take_passed_on() -> list[str]:
    """Takes what comes after `--` off the command line: arguments for another program."""
    where = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    sys.argv, passed_on = sys.argv[:where], sys.argv[where + 1 :]
    return passed_on


def run_program(
    define_flags: Callable[[], None], main: Callable[[], int], *, handles_signals: bool = False
) -> None:
    """Parses the command line, runs `main`, and exits with its code.

    Wrong usage, whether absl or a check of settings finds it, is one line and exit code 2; what
    fails although the usage is right is one line and exit code 1.

    Args:
      define_flags: defines the program's flags.
      main: the program.
      handles_signals: whether the program itself sees to SIGTERM and SIGHUP. Others leave nothing
        half-written when one comes.
    """

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            rest = flags.FLAGS(argv)
        except flags.Error as error:
            _refuse(str(error))
        except UnicodeDecodeError as error:
            _refuse(f"--flagfile: is no text: {error}")
        if rest[1:]:
            _refuse(f"unexpected argument {rest[1]!r}: settings are given as --name=value")
        return rest

    def guarded(_: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        # Orbax tells of every file, and of every thread with an error that we tell in a line.
        logging.get_absl_logger().setLevel("CRITICAL")
        try:
            sys.exit(terminal.exit_code(main()))
        except config_lib.SettingError as error:
            _refuse(str(error))
        except (
            config_lib.RunError,
            envpool.UnsupportedEnvError,
            games.UnknownGameError,
        ) as error:
            _print_error(str(error))
            # Leaves at once: what libraries have under way on other threads when something failed
            # would speak of it while Python shuts down.
            sys.stdout.flush()
            os._exit(1)
        except Exception as error:
            told = _environment_problem(error)
            if not told:
                raise
            _print_error(told)
            sys.exit(1)
        except KeyboardInterrupt:  # outside of what a program itself saves on
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    # Imports and tracing make many objects and next to no garbage: looking for it at the default's
    # pace takes a tenth of a start.
    gc.set_threshold(100_000)
    # No program opens a window. EnvPool imports matplotlib: a notebook's choice may not exist here.
    os.environ["MPLBACKEND"] = "agg"
    terminal.protect()
    if not handles_signals:
        leave_on_signals()
    define_flags()
    app.run(guarded, flags_parser=parse)


def leave_on_signals() -> None:
    """Has SIGTERM and SIGHUP end the program in order; a second one ends it at once."""

    def leave(signum: int, frame: types.FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        sys.exit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as under `nohup`
            signal.signal(signum, leave)


def _environment_problem(error: Exception) -> str:
    """What keeps a program from its work, where the fault is not its own; else empty."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if pathlib.PurePath(last.filename).parts[-3:] == ("jax", "_src", "config.py"):
        # JAX refuses an environment variable whenever somebody imports it.
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
