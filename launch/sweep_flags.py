"""Checks of the flags that a sweep gives to `jaxdqn.train`, before any run starts."""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import setting_flags
from jaxdqn.settings import presets

# Those that the sweep sets for each run.
OWN = {"env", "seed", "run_dir", "num_processes", "process_id", "coordinator_address"}
_DELETES = "would delete what a run that was cut off has saved; delete --runs_dir"


def check(train_flags: Sequence[str], varied: Sequence[str] = ()) -> None:
    """Refuses flags of all runs that cannot be, and settings that cannot vary.

    Args:
      train_flags: of all runs.
      varied: names of settings that vary.

    Raises:
      SettingError: there is one, or one varies twice.
    """
    for name in varied:
        if name == "overwrite":
            raise errors.SettingError(name, _DELETES)
        if name in OWN or varied.count(name) > 1:
            right = "use --envs or --seeds" if name in OWN else "name its values once"
            raise errors.SettingError("vary", f"{name} cannot vary like this; {right}")
    for name in _names(train_flags):
        if name.removeprefix("no") == "overwrite":
            raise errors.SettingError("overwrite", _DELETES)
        if name in OWN or name in varied:
            right = "--vary names its values" if name in varied else "the sweep sets it"
            raise errors.SettingError(name, f"cannot be set for all runs: {right}")


def check_runs(
    envs: Iterable[str], combinations: Sequence[Sequence[str]], train_flags: Sequence[str]
) -> None:
    """Refuses what `jaxdqn.train` would refuse in each of its runs.

    Args:
      envs: games.
      combinations: the settings of each run, such as 'n_step=3'.
      train_flags: of all runs.

    Raises:
      SettingError: a flag is unknown, or a setting is wrong.
    """
    # Plugins may define games, and be there on the machines of the cluster alone.
    has_plugins = "plugins" in _names(train_flags)
    for env, settings in itertools.product(envs, combinations):
        given = setting_flags.parse([*train_flags, *(f"--{setting}" for setting in settings)])
        if not has_plugins:
            presets.resolve(env, given.pop("preset", ""), given)
    if not has_plugins:
        _check_known([*train_flags, *(f"--{setting}" for one in combinations for setting in one)])


def plugins(train_flags: Sequence[str]) -> list[str]:
    """The modules that `--plugins` names among the flags of all runs.

    Raises:
      SettingError: a file of flags cannot be read, or the flag has no value.
    """
    flag_values = flags.FlagValues()
    flags.DEFINE_list("plugins", [], "", flag_values=flag_values)
    try:
        flag_values(["", *setting_flags.with_files(train_flags)], known_only=True)
    except flags.Error as error:
        raise errors.SettingError("plugins", str(error)) from None
    return list(flag_values.plugins)


def _check_known(words: Sequence[str]) -> None:
    """Refuses flags that `jaxdqn.train` does not have; it is asked to read them and do no more."""
    command = [sys.executable, "-m", "jaxdqn.train", *words, "--list_presets"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    if told.returncode:
        problem = told.stderr.removeprefix("error: ").strip()
        if unknown := re.match(r"Unknown command line flag '(\w+)'\. ?(.*)", problem):
            name, more = unknown.groups()
            raise errors.SettingError(name, f"is not a flag of jaxdqn.train. {more}".strip())
        name, _, problem = problem.removeprefix("flag --").partition(": ")  # 'flag --track=x: ...'
        raise errors.SettingError(name, problem)


def _names(train_flags: Sequence[str]) -> list[str]:
    """The names of the flags, those in files included.

    Raises:
      SettingError: a file cannot be read.
    """
    given = setting_flags.with_files(train_flags)
    return [flag.lstrip("-").partition("=")[0] for flag in given if flag.startswith("-")]
