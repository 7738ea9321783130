r"""Trains a separate run for each game, seed and setting, on a Ray cluster or on this machine.

  pip install -e '.[sweep]'
  python -m launch.sweep --envs=Breakout,Pong --seeds=0-4 --vary=n_step=1,3 -- --total_steps=2000000

Arguments after `--` are flags of `jaxdqn.train` for all runs. A run that is interrupted resumes
from its last checkpoint, at most `--retries` times. The same command, run again, resumes all runs
that are not complete. All machines must see `--runs_dir`. If several runs share a machine, set
`--replay_capacity`: otherwise each run takes all memory that is free.
"""

import functools
import glob
import logging
import os
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from jaxdqn import errors
from jaxdqn.cli import paths, program, terminal
from launch import sweep_runs, sweep_worker

_LOOK_S = 5.0  # between two updates of the table


def define_flags() -> None:
    """Defines the flags of the sweep itself."""
    flags.DEFINE_list(
        "envs", None, "games, separated by commas; atari57: the 57 games of this benchmark"
    )
    flags.DEFINE_string("seeds", "0", "seeds, such as 0,1,2 or 0-4")
    flags.DEFINE_multi_string(
        "vary", [], "a setting and its values, such as n_step=1,3; several settings are combined"
    )
    flags.DEFINE_string("runs_dir", "runs/sweep", "folder of the runs, their logs and the report")
    flags.DEFINE_string(
        "address", None, "address of a Ray cluster (default: the one on this machine, or a new one)"
    )
    flags.DEFINE_float(
        "cpus_per_run", 1.0, "CPU cores that Ray reserves for each run", lower_bound=0.0
    )
    flags.DEFINE_float(
        "gpus_per_run",
        None,
        "GPUs for each run, or its share of one GPU and its memory; 0: CPU (default: 1 if there is "
        "one)",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        "retries", 3, "how many times an interrupted run is resumed", lower_bound=0
    )
    flags.DEFINE_boolean("report", True, "write report.html at the end")
    flags.DEFINE_boolean("dry_run", False, "print the commands without running them")


def main(train_flags: Sequence[str]) -> int:
    """Trains all runs; returns 0 when all are complete."""
    values = flags.FLAGS
    runs_dir = paths.usable("runs_dir", values.runs_dir).absolute()
    runs = list(sweep_runs.all_runs(runs_dir, values.envs, values.seeds, values.vary, train_flags))
    if values.dry_run:
        for run in runs:
            print(shlex.join(sweep_worker.command(run)))
        return 0
    ray = _ray(runs_dir)
    try:
        problems = _train_all(ray, runs)
    except (KeyboardInterrupt, SystemExit) as signalled:
        print("stopped: the same command resumes the runs")
        code = getattr(signalled, "code", None)
        return code if isinstance(code, int) else 128 + signal.SIGINT
    finally:
        ray.shutdown()
    if values.report:
        _report(runs_dir)
    for run, problem in problems.items():
        print(f"error: {run.path.name}: {problem}; see {run.log}", file=sys.stderr)
    return 1 if problems else 0


def _ray(runs_dir: pathlib.Path) -> Any:
    """Ray, connected to its cluster, when all that the sweep needs is there.

    Raises:
      RunError: a package is missing, or Ray does not start.
      SettingError: nothing can be written into the folder of the runs.
    """
    try:
        import ray
        import rich  # noqa: F401 - the table needs it
    except ImportError as error:
        raise errors.RunError(f"{error.name} is not installed: pip install -e '.[sweep]'") from None
    try:
        (runs_dir / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.SettingError("runs_dir", f"{runs_dir} cannot be used: {error}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=flags.FLAGS.address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise errors.RunError(f"Ray does not start: {error}") from None
    program.leave_on_signals()  # again, because Ray's own handlers exit with another code
    terminal.tolerate_loss("the runs continue")
    return ray


def _train_all(ray: Any, runs: Sequence[sweep_runs.Run]) -> dict[sweep_runs.Run, str]:
    """Trains all runs and shows their progress; returns the errors of those that failed."""
    from rich import console, live

    from launch import sweep_table

    values, gpus = flags.FLAGS, gpus_per_run(ray)
    # Machines of a cluster have jaxdqn installed, but not these files.
    for module in (sweep_runs, sweep_worker):
        ray.cloudpickle.register_pickle_by_value(module)
    remote = ray.remote(
        num_cpus=values.cpus_per_run,
        num_gpus=gpus or 0,
        max_retries=values.retries,
        retry_exceptions=[sweep_worker.CutOffError],
    )(sweep_worker.train)
    before = {run: run.attempts() for run in runs}  # by earlier sweeps
    waiting = {remote.remote(run, gpus): run for run in runs}
    states, problems = dict.fromkeys(runs, "waiting"), dict[sweep_runs.Run, str]()
    with live.Live(refresh_per_second=1, transient=True) as shown:
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=_LOOK_S)
            for task in done:
                run = waiting.pop(task)
                problem = _problem(ray, task)
                states[run] = "failed" if problem else "complete"
                if problem:
                    problems[run] = problem
            for run in waiting.values():
                if run.attempts() > before[run]:
                    states[run] = "running"
            shown.update(sweep_table.table(states))
    width = None if sys.stdout.isatty() else 120
    console.Console(width=width).print(sweep_table.table(states))
    return problems


def _problem(ray: Any, task: Any) -> str:
    """Why a task that has ended failed; empty if it did not."""
    try:
        ray.get(task)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        return " ".join(str(cause).split()) or type(cause).__name__
    return ""


def gpus_per_run(ray: Any) -> float | None:
    """What the user said, or 1 if the cluster has GPUs and JAX may use them; None: Ray has none."""
    given: float | None = flags.FLAGS.gpus_per_run
    if given is not None or "GPU" not in ray.cluster_resources():
        return given
    return 0.0 if os.environ.get("JAX_PLATFORMS") == "cpu" else 1.0


def _report(runs_dir: pathlib.Path) -> None:
    """Makes the report of all runs, if its packages are installed."""
    found = f"{glob.escape(str(runs_dir))}/*-seed*"
    command = [sys.executable, "-m", "jaxdqn.report", f"--runs={found}", "--overwrite"]
    subprocess.run([*command, f"--out={runs_dir / 'report.html'}"], check=False)


if __name__ == "__main__":
    program.run_program(define_flags, functools.partial(main, program.take_passed_on()))
