"""Runs a search on Ray, shows its trials, and says what it found."""

import itertools
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import optuna
from absl import flags
from rich import console, live
from rich import table as rich_table

from jaxdqn import errors, wording
from jaxdqn.cli import setting_flags
from jaxdqn.settings import presets
from jaxdqn.storage import atomic_files
from launch import (
    search,
    search_finals,
    search_space,
    sweep_ray,
    sweep_runs,
    sweep_table,
    sweep_worker,
)

BEST_FLAGS = "best.flags"  # the flags of the best trial, for `--flagfile`
_NUM_SHOWN = 5  # of the best trials, at the end


def main(runs_dir: pathlib.Path, train_flags: Sequence[str]) -> int:
    """Searches as the flags say; returns 0 if a trial is complete.

    Args:
      runs_dir: holds the runs and the study.
      train_flags: of all runs.

    Raises:
      SettingError: a flag is wrong, or a setting of all runs.
      RunError: Ray does not start.
    """
    values = flags.FLAGS
    plan, start = _plan(runs_dir, train_flags)
    if values.dry_run:  # the first trial, as far as it is known
        settings = plan.settings(start)
        runs = sweep_runs.runs_of_trial(runs_dir, 0, plan.env, plan.seeds, settings, train_flags)
        for run in runs:
            print(shlex.join(sweep_worker.command(run)))
        return 0
    with sweep_ray.connected(runs_dir) as ray, search.held(runs_dir):
        study = search.open_study(plan, values.sampler, values.pruner, start)
        _run_trials(ray, study, plan)
        results, problems = _run_finals(ray, study, plan)
    for problem, count in search.problems(study).items():
        print(f"error: {wording.counted(count, 'trial')} failed: {problem}", file=sys.stderr)
    for run, problem in problems.items():
        print(f"error: {run.path.name}: {problem}; see {run.log}", file=sys.stderr)
    if results:
        _write_best([results[0].trial], plan)
        _conclude(results, plan, search.counts(study))
    return 0 if results else 1


def _plan(runs_dir: pathlib.Path, train_flags: Sequence[str]) -> tuple[search.Plan, dict[str, Any]]:
    """What is searched, and the values it starts with, which are those without a search.

    Raises:
      SettingError: a flag is wrong, or a setting of all runs.
    """
    values = flags.FLAGS
    if len(values.envs or ()) != 1 or values.envs == ["atari57"]:
        raise errors.SettingError("envs", "a search is for one game, such as CartPole")
    if values.vary:
        raise errors.SettingError("vary", "does not go with --search, whose file has the settings")
    sweep_runs.check_train_flags(train_flags, [])
    space = search_space.read(pathlib.Path(values.search))
    given = setting_flags.parse(train_flags)
    settings = presets.resolve(values.envs[0], given.pop("preset", ""), given)
    seeds = list(dict.fromkeys(sweep_runs.seeds_of(values.seeds)))
    plan = search.Plan(runs_dir, values.envs[0], seeds, list(train_flags), space, values.score)
    return plan, search_space.start(space, settings)


def _run_trials(ray: Any, study: optuna.Study, plan: search.Plan) -> None:
    """Runs trials, as many at a time as there is room for, until all have ended."""
    start = sweep_ray.starter(ray)
    most = max(1, sweep_ray.runs_at_once(ray) // len(plan.seeds))
    # The tasks of each trial under way.
    running = dict[search.Trial, dict[Any, sweep_runs.Run]]()
    with live.Live(refresh_per_second=1, transient=True) as shown:
        while True:
            while len(running) < most and search.wants_another(study, flags.FLAGS.trials):
                trial = search.Trial(study, plan)
                running[trial] = {start(run): run for run in trial.runs}
            if not running:
                return
            shown.update(_progress(running, study, plan))
            done = sweep_ray.wait(ray, itertools.chain(*running.values()))
            for trial in list(running):
                for task in set(running[trial]).intersection(done):
                    del running[trial][task]
                    if problem := sweep_ray.problem(ray, task):
                        trial.fail(problem)
                if running[trial]:
                    trial.look()
                else:
                    trial.end()
                    del running[trial]
                    _write_best(search.best(study, 1), plan)


def _run_finals(
    ray: Any, study: optuna.Study, plan: search.Plan
) -> tuple[list[search_finals.Result], dict[sweep_runs.Run, str]]:
    """Runs the best trials with new seeds; returns them, and the errors of runs that failed."""
    count = flags.FLAGS.finalists
    best = search.best(study, max(_NUM_SHOWN, count))
    runs_of = {trial.number: search_finals.new_runs(trial, plan) for trial in best[:count]}
    if runs_of:
        print(f"new seeds for the best {wording.counted(len(runs_of), 'trial')}")
    problems = sweep_ray.train_all(ray, list(itertools.chain(*runs_of.values())))
    complete = {number: runs for number, runs in runs_of.items() if not set(runs) & set(problems)}
    return search_finals.results(best, complete, plan), problems


def _write_best(best: Sequence[optuna.trial.FrozenTrial], plan: search.Plan) -> None:
    """Writes the flags of the best trial, if one is complete."""
    for trial in best:
        lines = [*plan.train_flags, *(f"--{setting}" for setting in plan.settings(trial.params))]
        with atomic_files.whole(plan.runs_dir / BEST_FLAGS) as part:
            part.write_text("".join(f"{line}\n" for line in lines))


def _progress(
    running: dict[search.Trial, dict[Any, sweep_runs.Run]], study: optuna.Study, plan: search.Plan
) -> rich_table.Table:
    """The runs under way, above what has been found."""
    states = {
        run: "running" if run.attempts() else "waiting"
        for tasks in running.values()
        for run in tasks.values()
    }
    shown = sweep_table.table(states)
    shown.caption = search.counts(study)
    for best in search.best(study, 1):
        read = plan.read(best.params)
        settings = " ".join(f"{name}={_short(x)}" for name, x in read.items())
        shown.caption += f"; best: {best.value:.2f} with {settings}"
    return shown


def _conclude(results: Sequence[search_finals.Result], plan: search.Plan, counts: str) -> None:
    """Prints the best trials, and says how to check the first."""
    names = list(results[0].trial.params)
    table = rich_table.Table("trial", "score", "with new seeds", *names, title=counts)
    for trial, score in results:
        read = plan.read(trial.params)
        scores = [f"{trial.value:.2f}", "-" if score is None else f"{score:.2f}"]
        values = [_short(read[name]) if name in read else "-" for name in names]
        table.add_row(str(search.folder_number(trial)), *scores, *values)
    console.Console(width=None if sys.stdout.isatty() else 120).print(table)
    path = plan.runs_dir / BEST_FLAGS
    new = search_finals.new_seeds(plan).stop
    words = ["python", "-m", "launch.sweep", f"--envs={plan.env}", f"--seeds={new}-{new + 4}"]
    words += [f"--runs_dir={plan.runs_dir}-checked", "--", f"--flagfile={path}"]
    print("The best of many trials was lucky too. New seeds tell how good it is:")
    print(shlex.join(words))


def _short(value: Any) -> str:
    """A setting's value, rounded for a table."""
    return f"{value:.4g}" if isinstance(value, float) else setting_flags.as_typed(value)
