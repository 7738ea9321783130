"""The runs of a sweep: games x seeds x settings, each with a name and flags of its own."""

import itertools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxdqn import errors
from jaxdqn.cli import setting_flags
from jaxdqn.envs import scores
from launch import sweep_flags

_LONGEST_NAME_BYTES = 200  # of a run; its logs have longer ones


class Run(NamedTuple):
    """One run of a sweep."""

    path: pathlib.Path
    train_flags: tuple[str, ...]

    @property
    def log(self) -> pathlib.Path:
        """The file with its output, over all attempts."""
        return self.path.parent / "logs" / f"{self.path.name}.log"

    @property
    def attempts_file(self) -> pathlib.Path:
        """The file with a line for each attempt: its machine."""
        return self.log.with_suffix(".attempts")

    def attempts(self) -> int:
        """How often it was begun."""
        try:
            return self.attempts_file.read_text().count("\n")
        except OSError:  # there is none yet, or a disk is not there now
            return 0

    @property
    def stop_file(self) -> pathlib.Path:
        """The file that has its machine stop it for good: nothing more is wanted of it."""
        return self.log.with_suffix(".stop")


def all_runs(
    runs_dir: pathlib.Path,
    envs: Sequence[str],
    seeds: str,
    vary: Sequence[str],
    train_flags: Sequence[str],
) -> list[Run]:
    """All combinations of games, settings and seeds.

    Args:
      runs_dir: holds the runs.
      envs: games; 'atari57' alone names all of them.
      seeds: such as '0,1,2' or '0-4'.
      vary: settings and their values, such as 'n_step=1,3'.
      train_flags: of all runs.

    Raises:
      SettingError: one of these cannot be read, or a run would be refused.
    """
    if not envs:
        raise errors.SettingError("envs", "name the games, such as Breakout,Pong")
    envs = list(scores.ATARI_57) if list(envs) == ["atari57"] else list(dict.fromkeys(envs))
    varied, numbers = [_values_of(text) for text in vary], list(dict.fromkeys(seeds_of(seeds)))
    sweep_flags.check(train_flags, [choices[0].partition("=")[0] for choices in varied])
    combinations = list(itertools.product(*varied))
    runs = dict[pathlib.Path, Run]()
    for env, settings, seed in itertools.product(envs, combinations, numbers):
        name = "-".join([_fit_for_a_path(part) for part in (env, *settings)])
        if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
            raise errors.SettingError("vary", f"makes the folder name {name}, which is too long")
        path = runs_dir / f"{name}-seed{seed}"
        if path in runs:
            raise errors.SettingError("vary", f"makes two runs of the name {path.name}")
        runs[path] = Run(path, _flags(train_flags, env, settings, seed, path))
    sweep_flags.check_runs(envs, combinations, train_flags)
    return list(runs.values())


def runs_of_trial(
    runs_dir: pathlib.Path,
    number: int,
    env: str,
    seeds: Sequence[int],
    settings: Sequence[str],
    train_flags: Sequence[str],
) -> list[Run]:
    """The runs of one trial of a search, one for each seed.

    Args:
      runs_dir: holds the runs.
      number: of the trial, which names its folders.
      env: the game.
      seeds: of the runs.
      settings: of this trial, such as 'n_step=3'.
      train_flags: of all trials.
    """
    name = f"{_fit_for_a_path(env)}-trial{number}"
    paths = {seed: runs_dir / f"{name}-seed{seed}" for seed in seeds}
    return [Run(path, _flags(train_flags, env, settings, s, path)) for s, path in paths.items()]


def _flags(
    train_flags: Sequence[str], env: str, settings: Sequence[str], seed: int, path: pathlib.Path
) -> tuple[str, ...]:
    own = (f"--env={env}", *(f"--{setting}" for setting in settings), f"--seed={seed}")
    return (*train_flags, *own, f"--run_dir={path}")


def _fit_for_a_path(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", name)


def _values_of(text: str) -> list[str]:
    """'n_step=1,3' -> ['n_step=1', 'n_step=3']; semicolons divide values that have commas.

    Raises:
      SettingError: it does not look like that.
    """
    name, equals, given = text.partition("=")
    values = given.split(";" if ";" in given or setting_flags.is_list(name) else ",")
    if not (name.isidentifier() and equals and all(values)):
        raise errors.SettingError(
            "vary", f"is {text!r}; must be a setting and its values, such as n_step=1,3"
        )
    if setting_flags.is_list(name) and len(values) == 1:
        raise errors.SettingError(
            "vary", f"is {text!r}; semicolons divide its values, such as {name}=64,64;256,256"
        )
    return [f"{name}={value}" for value in values]


def seeds_of(text: str) -> list[int]:
    """'0,2-4' -> [0, 2, 3, 4].

    Raises:
      SettingError: it does not look like that.
    """
    seeds = list[int]()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = [first, last] if dash else [first]
        if not all(map(str.isdecimal, numbers)) or int(numbers[0]) > int(numbers[-1]):
            raise errors.SettingError("seeds", f"is {text!r}; numbers such as 0,1,2 or 0-4")
        seeds += range(int(numbers[0]), int(numbers[-1]) + 1)
    return seeds
