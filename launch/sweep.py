r"""Trains games x seeds x settings as independent runs, on a Ray cluster or on this machine.

  pip install -e '.[sweep]'
  python -m launch.sweep --envs=Breakout,Pong --seeds=0-4 --vary=n_step=1,3 -- --total_steps=2000000

What comes after `--` are flags of `jaxdqn.train` for all runs. A run that was cut off goes on from
its last checkpoint, as often as `--retries` says. The same command goes on with all that is not
complete. `--runs_dir` lies where all machines see it. Where several runs share a machine, give them
a `--replay_capacity`: each would take what is free.
"""

import functools
import glob
import itertools
import logging
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import filelock
from absl import flags

from jaxdqn import errors
from jaxdqn.cli import paths, program, terminal
from jaxdqn.distributed import signals
from jaxdqn.envs import scores

_LOCK_S = 60.0  # in which a process that is being ended leaves its run
_LOOK_S = 5.0  # between two looks at the runs
_TAIL_BYTES = 50_000  # of a run's metrics, that each look reads
_USAGE = 2  # the exit code of wrong settings, which no second try mends
# Flags of `jaxdqn.train` that each run of a sweep has of its own.
_OWN = {"env", "seed", "run_dir", "num_processes", "process_id", "coordinator_address"}
_LONGEST_NAME_BYTES = 200  # of a run; its logs have longer ones


class Run(NamedTuple):
    """One run of a sweep."""

    path: pathlib.Path
    train_flags: tuple[str, ...]

    @property
    def log(self) -> pathlib.Path:
        """What it prints, over all attempts."""
        return self.path.parent / "logs" / f"{self.path.name}.log"

    @property
    def attempts(self) -> pathlib.Path:
        """A line with the machine for each attempt."""
        return self.log.with_suffix(".attempts")


class CutOffError(Exception):
    """A run was cut off, and may go on."""


class RefusedError(Exception):
    """A run was refused for its settings."""


def _define_flags() -> None:
    flags.DEFINE_list("envs", None, "games; atari57: all of them")
    flags.DEFINE_string("seeds", "0", "such as 0,1,2 or 0-4")
    flags.DEFINE_multi_string(
        "vary", [], "a setting and its values, such as n_step=1,3; several make all combinations"
    )
    flags.DEFINE_string("runs_dir", "runs/sweep", "holds the runs, their logs and the report")
    flags.DEFINE_string("address", None, "of a Ray cluster (default: the one here, or a new one)")
    flags.DEFINE_float("cpus_per_run", 1.0, "cores that Ray keeps for a run", lower_bound=0.0)
    flags.DEFINE_float(
        "gpus_per_run",
        None,
        "GPUs, or the share of one and of its memory; 0: on CPUs (default: 1 where there are any)",
        lower_bound=0.0,
    )
    flags.DEFINE_integer("retries", 3, "of a run that was cut off", lower_bound=0)
    flags.DEFINE_boolean("report", True, "make report.html at the end")
    flags.DEFINE_boolean("dry_run", False, "print the commands, and run nothing")


def main(train_flags: Sequence[str]) -> int:
    """Trains all runs; returns 0 when all are complete."""
    values = flags.FLAGS
    runs_dir = paths.usable("runs_dir", values.runs_dir).absolute()
    runs = list(_runs(runs_dir, train_flags))
    if values.dry_run:
        for run in runs:
            print(shlex.join(_command(run)))
        return 0
    try:
        import ray
        import rich  # noqa: F401 - the table needs it: told before anything is made
    except ImportError as error:
        raise errors.RunError(f"{error.name} is not installed: pip install -e '.[sweep]'") from None
    try:
        (runs_dir / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.SettingError("runs_dir", f"{runs_dir} cannot be used: {error}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=values.address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise errors.RunError(f"Ray does not start: {error}") from None
    program.leave_on_signals()  # once more: Ray's own handlers tell of another exit code
    terminal.tolerate_loss("the runs go on")
    try:
        problems = _train_all(ray, runs)
    except (KeyboardInterrupt, SystemExit) as signalled:
        print("stopped: the same command goes on from there")
        code = getattr(signalled, "code", None)
        return code if isinstance(code, int) else 128 + signal.SIGINT
    finally:
        ray.shutdown()
    if values.report:
        _report(runs_dir)
    for run, problem in problems.items():
        print(f"error: {run.path.name}: {problem}; see {run.log}", file=sys.stderr)
    return 1 if problems else 0


def _runs(runs_dir: pathlib.Path, train_flags: Sequence[str]) -> Iterator[Run]:
    """All combinations of games, settings and seeds.

    Raises:
      SettingError: what is to vary cannot be read, or a run would be refused.
    """
    values = flags.FLAGS
    if not values.envs:
        raise errors.SettingError("envs", "name the games, such as Breakout,Pong")
    envs = list(scores.ATARI_57) if values.envs == ["atari57"] else values.envs
    varied = [_values_of(text) for text in values.vary]
    _check_passed_on(train_flags, [choices[0].partition("=")[0] for choices in varied])
    made = set()
    for env, setting, seed in itertools.product(envs, itertools.product(*varied), _seeds()):
        name = "-".join([re.sub(r"[^\w.=-]+", "_", part) for part in (env, *setting)])
        if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
            raise errors.SettingError("vary", f"makes the name {name}, which is too long")
        path = runs_dir / f"{name}-seed{seed}"
        if path not in made:  # whatever was named twice
            made.add(path)
            own = (f"--env={env}", *(f"--{part}" for part in setting), f"--seed={seed}")
            yield Run(path, (*train_flags, *own, f"--run_dir={path}"))


def _check_passed_on(train_flags: Sequence[str], varied: Sequence[str]) -> None:
    """Refuses settings of all runs that each run has of its own.

    Args:
      train_flags: what comes after `--`.
      varied: names of settings that vary.

    Raises:
      SettingError: there is one, or one is to vary twice.
    """
    for name in varied:
        if name in _OWN or varied.count(name) > 1:
            right = "--envs and --seeds name those" if name in _OWN else "name its values once"
            raise errors.SettingError("vary", f"{name} cannot vary so; {right}")
    try:
        given = flags.FLAGS.read_flags_from_files(list(train_flags))
    except flags.Error as error:
        raise errors.SettingError("flagfile", str(error)) from None
    names = [flag.lstrip("-").partition("=")[0] for flag in given if flag.startswith("-")]
    for name in names:
        if name.removeprefix("no") == "overwrite":
            raise errors.SettingError(
                "overwrite",
                "would delete what a run that was cut off has saved; delete --runs_dir",
            )
        if name in _OWN or name in varied:
            right = "--vary names its values" if name in varied else "the sweep sets it"
            raise errors.SettingError(name, f"cannot be set for all runs: {right}")


def _values_of(text: str) -> list[str]:
    """'n_step=1,3' -> ['n_step=1', 'n_step=3'].

    Raises:
      SettingError: it does not look like that.
    """
    name, equals, told = text.partition("=")
    if not (name.isidentifier() and equals and all(told.split(","))):
        raise errors.SettingError("vary", f"is {text!r}; a setting and its values: n_step=1,3")
    return [f"{name}={value}" for value in told.split(",")]


def _seeds() -> list[int]:
    """The seeds that the user named.

    Raises:
      SettingError: they are no numbers.
    """
    seeds = list[int]()
    for part in flags.FLAGS.seeds.split(","):
        first, dash, last = part.partition("-")
        numbers = [first, last] if dash else [first]
        if not all(map(str.isdecimal, numbers)) or int(numbers[0]) > int(numbers[-1]):
            raise errors.SettingError(
                "seeds", f"is {flags.FLAGS.seeds!r}; numbers such as 0,1,2 or 0-4"
            )
        seeds += range(int(numbers[0]), int(numbers[-1]) + 1)
    return seeds


def _command(run: Run) -> list[str]:
    # Alone, whatever started Ray's workers.
    return [sys.executable, "-m", "jaxdqn.train", *run.train_flags, "--num_processes=1"]


def _train(run: Run, gpus: float | None) -> None:
    """Trains one run to its end, in a process of its own; what a Ray worker does.

    Args:
      run: which.
      gpus: that it may use; less than 1 is a share of one, 0 is none. None: Ray knows of none,
        and it takes what it finds.

    Raises:
      CutOffError: it was cut off.
      RefusedError: its settings are wrong.
    """
    if run.path.exists():  # an attempt before this may still be leaving
        try:
            with filelock.FileLock(run.path / "lock", timeout=_LOCK_S):
                pass
        except filelock.Timeout:
            raise CutOffError("another process still trains there") from None
    environment = dict(os.environ)
    if gpus == 0:  # Ray would leave it all that there are
        environment["JAX_PLATFORMS"] = "cpu"
    elif gpus is not None and gpus < 1:
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = str(round(0.9 * gpus, 3))
    with run.attempts.open("a") as attempts:
        print(socket.gethostname(), file=attempts)
    with run.log.open("ab") as log:
        code = subprocess.Popen(
            _command(run),
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=signals.end_with_parent(),  # the parent is Ray's worker
        ).wait()
    if code == _USAGE:
        raise RefusedError(_last_line(run.log))
    if code:
        raise CutOffError(f"ended with {code}: {_last_line(run.log)}")


def _last_line(path: pathlib.Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else ""


def _train_all(ray: Any, runs: Sequence[Run]) -> dict[Run, str]:
    """Trains all runs and shows how far they are; returns what is wrong with those that failed."""
    from rich import live

    values, gpus = flags.FLAGS, _gpus_per_run(ray)
    remote = ray.remote(
        num_cpus=values.cpus_per_run,
        num_gpus=gpus or 0,
        max_retries=values.retries,
        retry_exceptions=[CutOffError],
    )(_train)
    # Ray's tasks find this module as the machine that started them has it.
    before = {run: _attempts(run) for run in runs}  # by earlier sweeps
    waiting = {remote.remote(run, gpus): run for run in runs}
    states, problems = dict.fromkeys(runs, "waiting"), dict[Run, str]()
    with live.Live(refresh_per_second=1, transient=True) as shown:
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=_LOOK_S)
            for task in done:
                run = waiting.pop(task)
                states[run] = "complete"
                try:
                    ray.get(task)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    problems[run] = " ".join(str(cause).split())
                    states[run] = "failed"
            for run in waiting.values():
                if _attempts(run) > before[run]:
                    states[run] = "running"
            shown.update(_table(states))
    from rich import console

    wide = None if sys.stdout.isatty() else 120
    console.Console(width=wide).print(_table(states))
    return problems


def _gpus_per_run(ray: Any) -> float | None:
    """What the user said, or 1 where the cluster has any and they are wanted."""
    given: float | None = flags.FLAGS.gpus_per_run
    if given is not None or "GPU" not in ray.cluster_resources():
        return given
    return 0.0 if os.environ.get("JAX_PLATFORMS") == "cpu" else 1.0


def _table(states: dict[Run, str]) -> Any:
    """How far the runs are."""
    from rich import table

    from jaxdqn.rundir import metrics

    found = table.Table("run", "state", "attempts", "step", "steps/s", "return", "evaluation")
    for run, state in states.items():
        rows = list(metrics.parse(_tail(run.path / metrics.FILE)))
        training = metrics.training(rows)
        last = training[-1] if training else {}
        evaluations = metrics.evaluations(rows)
        found.add_row(
            run.path.name,
            state,
            str(_attempts(run)),
            _number(last.get("step"), ",.0f"),
            _number(last.get("steps_per_second"), ",.0f"),
            _number(last.get("episode_return_mean"), ".2f"),
            _number(evaluations[-1]["eval_return_mean"] if evaluations else None, ".2f"),
        )
    return found


def _attempts(run: Run) -> int:
    return run.attempts.read_text().count("\n") if run.attempts.exists() else 0


def _tail(path: pathlib.Path) -> str:
    """The last lines of a file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _report(runs_dir: pathlib.Path) -> None:
    """Makes the report of all runs, where that can be made."""
    found = f"{glob.escape(str(runs_dir))}/*-seed*"
    command = [sys.executable, "-m", "jaxdqn.report", f"--runs={found}", "--overwrite"]
    subprocess.run([*command, f"--out={runs_dir / 'report.html'}"], check=False)


if __name__ == "__main__":
    program.run_program(_define_flags, functools.partial(main, program.take_passed_on()))
