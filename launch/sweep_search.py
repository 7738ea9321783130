"""Runs a search on Ray, shows its trials, and says what it found."""

import contextlib
import itertools
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import optuna
from absl import flags
from rich import live
from rich import table as rich_table

from jaxdqn import errors, wording
from jaxdqn.cli import paths, setting_flags
from jaxdqn.settings import presets, registry, setting
from jaxdqn.storage import atomic_files
from launch import (
    search,
    search_finals,
    search_plan,
    search_space,
    sweep_flags,
    sweep_ray,
    sweep_runs,
    sweep_table,
    sweep_worker,
)

BEST_FLAGS = "best.flags"  # the flags of the best trial, for `--flagfile`
_NUM_SHOWN = 5  # trials, at the end


def main(runs_dir: pathlib.Path, train_flags: Sequence[str]) -> int:
    """Searches as the flags say; returns 0 if a trial is complete and no run is missing.

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
        for text, count in search.problems(study).items():
            print(f"error: {wording.counted(count, 'trial')} failed: {text}", file=sys.stderr)
        _write_best(study, plan)  # an earlier process may have been killed before it did
        problems = _run_finals(ray, study, plan)
        _write_best(study, plan)
    for run, problem in problems.items():
        print(f"error: {run.path.name}: {problem.text}; see {run.log}", file=sys.stderr)
    results = search_finals.results(study)
    if results:
        _conclude(results, plan, search.counts(study))
    goes_on = bool(search.cut_off(study)) or not all(x.has_diverged for x in problems.values())
    if goes_on:
        print("The choice is not final: the same command resumes what was cut off.")
    return 0 if results and not goes_on else 1


def _plan(
    runs_dir: pathlib.Path, train_flags: Sequence[str]
) -> tuple[search_plan.Plan, dict[str, Any]]:
    """What is searched, and the values it starts with, which are those without a search.

    Raises:
      SettingError: a flag is wrong, or a setting of all runs.
    """
    values = flags.FLAGS
    if len(values.envs or ()) != 1 or values.envs == ["atari57"]:
        raise errors.SettingError("envs", "a search is for one game, such as CartPole")
    if values.vary:
        raise errors.SettingError("vary", "does not go with --search, whose file has the settings")
    sweep_flags.check(train_flags)
    # A search needs to know their parts here, wherever the runs are trained.
    registry.load_plugins(sweep_flags.plugins(train_flags))
    space = search_space.read(paths.usable("search", values.search))
    given = setting_flags.parse(train_flags)
    settings = presets.resolve(values.envs[0], given.pop("preset", ""), given)
    sweep_flags.check_runs(values.envs, [()], train_flags)
    seeds = list(dict.fromkeys(sweep_runs.seeds_of(values.seeds)))
    plan = search_plan.Plan(runs_dir, values.envs[0], seeds, list(train_flags), space, values.score)
    return plan, search_space.start(space, settings)


def _run_trials(ray: Any, study: optuna.Study, plan: search_plan.Plan) -> None:
    """Runs trials, as many at a time as there is room for, until all have ended."""
    start = sweep_ray.starter(ray)
    # The tasks of each trial under way.
    running = dict[search.Trial, dict[Any, sweep_runs.Run]]()
    with live.Live(refresh_per_second=1, transient=True) as shown:
        while True:
            # Machines may have come or gone.
            most = max(1, sweep_ray.runs_at_once(ray) // len(plan.seeds))
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
                        trial.fail(
                            problem.text,
                            may_resume=not problem.is_final,
                            has_diverged=problem.has_diverged,
                        )
                if running[trial]:
                    trial.look()
                else:
                    trial.end()
                    del running[trial]
                    with contextlib.suppress(OSError):  # it is written again at the end
                        _write_best(study, plan)


def _run_finals(
    ray: Any, study: optuna.Study, plan: search_plan.Plan
) -> dict[sweep_runs.Run, sweep_ray.Problem]:
    """Runs the best trials with new seeds; returns why runs failed that did."""
    finalists = search_finals.wanted(study, flags.FLAGS.finalists)
    runs_of = [search_finals.new_runs(trial, plan) for trial in finalists]
    runs = list(itertools.chain(*runs_of))
    if not runs:
        return {}
    seeds = search_finals.new_seeds(plan)
    told = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    print(f"best trials with {told}: {wording.counted(len(runs), 'run')}")
    problems = sweep_ray.train_all(ray, runs)
    for trial, own in zip(finalists, runs_of, strict=True):
        failed = [problems[run] for run in own if run in problems]
        has_diverged = any(problem.has_diverged for problem in failed)
        if has_diverged or not failed:
            search_finals.note(study, trial, own, plan.score, has_diverged=has_diverged)
    return problems


def _write_best(study: optuna.Study, plan: search_plan.Plan) -> None:
    """Writes the flags of the best trial, if one is complete."""
    for trial, _ in search_finals.results(study)[:1]:
        lines = [*plan.train_flags, *(f"--{each}" for each in search.settings_of(trial))]
        with atomic_files.whole(plan.runs_dir / BEST_FLAGS) as part:
            part.write_text("".join(f"{line}\n" for line in lines))


def _progress(
    running: dict[search.Trial, dict[Any, sweep_runs.Run]],
    study: optuna.Study,
    plan: search_plan.Plan,
) -> rich_table.Table:
    """The runs under way, above what has been found."""
    states = {
        run: "running" if run.attempts() else "waiting"
        for tasks in running.values()
        for run in tasks.values()
    }
    shown = sweep_table.table(states)
    shown.caption = search.counts(study)
    for result in search_finals.results(study)[:1]:
        read = plan.read(result.trial.params)
        settings = " ".join(f"{name}={_short(x)}" for name, x in read.items())
        shown.caption += f"; best: {result.score:.2f} with {settings}"
    return shown


def _conclude(results: Sequence[search_finals.Result], plan: search_plan.Plan, counts: str) -> None:
    """Prints the best trials, and says how to check the first."""
    shown = results[:_NUM_SHOWN]
    names, has_new = list(shown[0].trial.params), shown[0].new is not None
    scores = ["search", "new seeds", "all seeds"] if has_new else ["score"]
    table = rich_table.Table("trial", *scores, *names, title=counts)
    for result in shown:
        read = plan.read(result.trial.params)
        cells = [f"{result.trial.value:.2f}"]
        if has_new:
            known = result.new is not None
            cells += [f"{x:.2f}" if known else "-" for x in (result.new, result.score)]
        cells += [_short(read[name]) if name in read else "-" for name in names]
        table.add_row(str(search.folder_number(result.trial)), *cells)
    sweep_table.show(table)
    number, new = search.folder_number(shown[0].trial), search_finals.new_seeds(plan).stop
    words = ["python", "-m", "launch.sweep", f"--envs={plan.env}", f"--seeds={new}-{new + 4}"]
    words += [f"--runs_dir={plan.runs_dir}-trial{number}", "--"]
    words += [f"--flagfile={plan.runs_dir / BEST_FLAGS}"]
    print("The score of a trial that was chosen by it is biased upward. Check it with other seeds:")
    print(shlex.join(words))


def _short(value: Any) -> str:
    """A setting's value, rounded for a table."""
    return f"{value:.4g}" if isinstance(value, float) else setting.as_typed(value)
