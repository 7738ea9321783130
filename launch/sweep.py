r"""Trains a separate run for each game, seed and setting, on a Ray cluster or on this machine.

  pip install -e '.[sweep]'
  python -m launch.sweep --envs=Breakout,Pong --seeds=0-4 --vary=n_step=1,3 -- --total_steps=2000000

Arguments after `--` are flags of `jaxdqn.train` for all runs. A run that is interrupted resumes
from its last checkpoint, at most `--retries` times. The same command, run again, resumes all runs
that are not complete. All machines must see `--runs_dir`. If several runs share a machine, set
`--replay_capacity`. Otherwise each run uses all free memory, and a report treats runs with
different capacities as different settings. `--memory_per_run` limits how many runs start at once.
Start Ray on a cluster with `RAY_kill_child_processes_on_worker_exit=false`, as this program does
on one machine. Otherwise runs that are stopped do not save.

With `--search`, Optuna chooses the settings of each trial, and ends trials early that fall behind.
The best trials then run with new seeds, which choose among them:

  python -m launch.sweep --envs=CartPole --seeds=0-3 --search=space.toml --trials=30
"""

import functools
import glob
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Container, Sequence

from absl import flags

from jaxdqn import errors, wording
from jaxdqn.cli import paths, program
from launch import sweep_flags, sweep_ray, sweep_runs, sweep_worker


def define_flags() -> None:
    """Defines the flags of the sweep itself."""
    flags.DEFINE_list(
        "envs", None, "games, separated by commas; atari57: the 57 games of this benchmark"
    )
    flags.DEFINE_string("seeds", "0", "seeds, such as 0,1,2 or 0-4")
    flags.DEFINE_multi_string(
        "vary",
        [],
        "a setting and its values, such as n_step=1,3 or hidden_sizes=64,64;256,256; several "
        "settings are combined",
    )
    flags.DEFINE_string(
        "search",
        None,
        "TOML file of the settings to search: a list of values for each, or { low = ..., high = "
        "... }, optionally with log or step",
    )
    flags.DEFINE_integer("trials", 30, "number of trials of the search", lower_bound=1)
    flags.DEFINE_enum(
        "sampler",
        "tpe",
        ["tpe", "random"],
        "how Optuna chooses the next trial (the replay's --sampler goes after `--`)",
    )
    flags.DEFINE_enum(
        "pruner",
        "median",
        ["median", "hyperband", "none"],
        "how Optuna chooses the trials that end early",
    )
    flags.DEFINE_enum(
        "score",
        "mean",
        ["last", "mean"],
        "what the search maximizes: the mean return over all evaluations, which depends less on "
        "luck and also counts how soon a run learns, or that of the last evaluation",
    )
    flags.DEFINE_integer(
        "finalists",
        5,
        "how many of the best trials run again, each with as many new seeds as --seeds names; the "
        "mean over all of its seeds then chooses among them; 0: take the best trial as it is",
        lower_bound=0,
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
    flags.DEFINE_float(
        "memory_per_run",
        None,
        "memory in GB that Ray reserves for each run (default: none), which limits how many run at "
        "once; --replay_capacity limits what a run uses",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        "retries", 3, "how many times an interrupted run is resumed", lower_bound=0
    )
    flags.DEFINE_boolean("report", True, "write report.html at the end (not with --search)")
    flags.DEFINE_boolean("dry_run", False, "print the commands without running them")


def main(train_flags: Sequence[str]) -> int:
    """Trains all runs; returns 0 when all are complete."""
    runs_dir = paths.usable("runs_dir", flags.FLAGS.runs_dir).absolute()
    gpus = flags.FLAGS.gpus_per_run or 0.0
    if gpus > 1 and not gpus.is_integer():
        raise errors.SettingError(
            "gpus_per_run", f"is {gpus:g}; must be a whole number if it is above 1"
        )
    work = _search if flags.FLAGS.search else _sweep
    try:
        return work(runs_dir, train_flags)
    except (KeyboardInterrupt, SystemExit) as signalled:
        print("stopped: the same command resumes the runs")
        code = getattr(signalled, "code", None)
        return code if isinstance(code, int) else 128 + signal.SIGINT


def _sweep(runs_dir: pathlib.Path, train_flags: Sequence[str]) -> int:
    """Trains a run for each combination; returns 0 when all are complete."""
    values = flags.FLAGS
    for name in ("trials", "sampler", "pruner", "score", "finalists"):
        if values[name].present:
            raise errors.SettingError(name, "belongs to a search; --search names its file")
    runs = sweep_runs.all_runs(runs_dir, values.envs, values.seeds, values.vary, train_flags)
    if values.dry_run:
        for run in runs:
            print(shlex.join(sweep_worker.command(run)))
        return 0
    with sweep_ray.connected(runs_dir) as ray:
        most = min(len(runs), sweep_ray.runs_at_once(ray))
        # Ray starts all of those that reserve nothing.
        at_once = f", up to {most:,} at a time" if values.cpus_per_run else ""
        print(f"{wording.counted(len(runs), 'run')}{at_once}", flush=True)
        problems = sweep_ray.train_all(ray, runs)
    _show(runs, problems)
    if values.report:
        _report(runs_dir, sweep_flags.plugins(train_flags))
    for run, problem in problems.items():
        print(f"error: {run.path.name}: {problem.text}; see {run.log}", file=sys.stderr)
    return 1 if problems else 0


def _show(runs: Sequence[sweep_runs.Run], failed: Container[sweep_runs.Run]) -> None:
    """Prints what became of the runs."""
    from launch import sweep_table

    states = {run: "failed" if run in failed else "complete" for run in runs}
    sweep_table.show(sweep_table.table(states))


def _search(runs_dir: pathlib.Path, train_flags: Sequence[str]) -> int:
    """Searches settings; returns 0 when a trial is complete."""
    try:
        from launch import sweep_search
    except ImportError as error:
        raise sweep_ray.not_installed(error) from None
    return sweep_search.main(runs_dir, train_flags)


def _report(runs_dir: pathlib.Path, plugins: Sequence[str]) -> None:
    """Makes the report of all runs, if its packages are installed."""
    found = f"{glob.escape(str(runs_dir))}/*-seed*"
    command = [sys.executable, "-m", "jaxdqn.report", f"--runs={found}", "--overwrite"]
    command += [f"--plugins={','.join(plugins)}"] if plugins else []
    subprocess.run([*command, f"--out={runs_dir / 'report.html'}"], check=False)


if __name__ == "__main__":
    program.run_program(define_flags, functools.partial(main, program.take_passed_on()))
