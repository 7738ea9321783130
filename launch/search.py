"""A search for settings: trials that Optuna chooses, each with a run for each seed.

Optuna's study is a file next to the runs. So the same command continues where it was cut off:
a trial that was under way begins again with the same settings in the same folders, where its runs
resume.
"""

import collections
import contextlib
import logging
import pathlib
import shutil
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import filelock
import optuna
from optuna.storages import journal

from jaxdqn import errors
from jaxdqn.rundir import layout
from launch import search_plan, search_scores, sweep_runs

JOURNAL = "search.journal"  # Optuna's own file, for its dashboard too
LOCK = "search.lock"
_AWAY = (OSError, errors.RunError)  # what is raised where a disk does not answer
_States = optuna.trial.TrialState
# Attributes of trials and of the study.
_FOLDERS, _SETTINGS, _PROBLEM, _ASKED = "folders_of", "settings", "problem", "asked"
_CUT_OFF = "cut_off"


@contextlib.contextmanager
def held(runs_dir: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from searching in the same folder.

    Raises:
      RunError: one does already.
    """
    lock = filelock.FileLock(runs_dir / LOCK, fallback_to_soft=False)  # as that of a run
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise errors.RunError(f"another process searches in {runs_dir}") from None
    try:
        yield
    finally:
        lock.release()


def open_study(
    plan: search_plan.Plan, sampler: str, pruner: str, start: dict[str, Any]
) -> optuna.Study:
    """The study of a folder, new or as it was left.

    Args:
      plan: what is searched.
      sampler: 'tpe' or 'random'.
      pruner: 'median', 'hyperband' or 'none'.
      start: values for the first trial, as far as they are known.

    Raises:
      SettingError: the folder holds another search.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    _drop_half_line(plan.runs_dir / JOURNAL)
    backend = journal.JournalFileBackend(str(plan.runs_dir / JOURNAL))
    pruners: dict[str, optuna.pruners.BasePruner] = {
        # Steps count from 1: a trial is not judged by its first evaluation alone.
        "median": optuna.pruners.MedianPruner(n_warmup_steps=2),
        "hyperband": optuna.pruners.HyperbandPruner(),
        "none": optuna.pruners.NopPruner(),
    }
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        pruner=pruners[pruner],
        study_name="search",
        direction="maximize",
        load_if_exists=True,
    )
    asked = study.user_attrs.get(_ASKED, plan.asked)
    if asked != plan.asked:
        raise errors.SettingError(
            "runs_dir",
            f"{plan.runs_dir} holds another search, of {' '.join(asked)}; name another folder",
        )
    # A search that goes on must not draw the same numbers again.
    seed = len(study.trials)
    study.sampler = (
        # Trials under way count as bad ones, so that others do not choose the same.
        optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        if sampler == "tpe"
        else optuna.samplers.RandomSampler(seed=seed)
    )
    if not study.trials and start:
        study.enqueue_trial(start)
    study.set_user_attr(_ASKED, plan.asked)
    for trial in cut_off(study):
        study.enqueue_trial(trial.params, user_attrs={_FOLDERS: folder_number(trial)})
    for trial in study.get_trials(states=[_States.RUNNING]):
        study.tell(trial.number, state=_States.FAIL)
    return study


def _drop_half_line(path: pathlib.Path) -> None:
    """Removes what a full disk left of a last line, with which Optuna would join the next one."""
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def cut_off(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that did not end and do not wait to go on."""
    return [
        trial
        for trial in _newest(study)
        if trial.state is _States.RUNNING or trial.user_attrs.get(_CUT_OFF)
    ]


def _newest(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The last attempt of each trial."""
    return list({folder_number(trial): trial for trial in study.trials}.values())


class Trial:
    """A trial under way.

    Args:
      study: chooses its settings.
      plan: what is searched.
    """

    def __init__(self, study: optuna.Study, plan: search_plan.Plan):
        self._study, self._plan = study, plan
        self._trial = study.ask(dict(plan.space))
        self._told = 0  # the number of the last evaluation of which Optuna knows
        self._means: Mapping[int, float] = {}  # of each evaluation, over the seeds
        self._is_pruned = False
        self._problem = ""
        self._is_refused = self._has_diverged = False
        self.settings = plan.settings(self._trial.params)
        number = self._trial.user_attrs.get(_FOLDERS, self._trial.number)
        self._trial.set_user_attr(_FOLDERS, number)
        self._trial.set_user_attr(_SETTINGS, self.settings)
        config = plan.resolved(self._trial.params)
        self._last_step = config.total_steps if config else 0
        self._is_over = False  # the last evaluation has been made: stopping would save nothing
        self.runs = sweep_runs.runs_of_trial(
            plan.runs_dir, number, plan.env, plan.seeds, self.settings, plan.train_flags
        )
        for run in self.runs:  # one that was pruned may have been cut off before it was over
            run.stop_file.unlink(missing_ok=True)

    def look(self) -> None:
        """Tells Optuna of new evaluations, and stops the runs if it has seen enough."""
        with contextlib.suppress(*_AWAY):  # a disk may be there again at the next look
            self._report()
        if self._means and not self._is_pruned and not self._is_over:
            self._is_pruned = self._trial.should_prune()
        if self._is_pruned or self._problem:
            self._stop()

    def _report(self) -> None:
        """Tells Optuna of new evaluations, by the score that the trial would have with them."""
        of_runs = search_scores.evaluations(self.runs)
        self._is_over = all(rows and rows[-1]["step"] >= self._last_step for rows in of_runs)
        self._means = search_scores.means(of_runs)
        for number in self._means:
            if number > self._told:
                self._trial.report(self._score(number), number)
                self._told = number

    def _score(self, last: int) -> float:
        """The score after the evaluation of this number."""
        known = {number: mean for number, mean in self._means.items() if number <= last}
        return search_scores.score(known, self._plan.score)

    def fail(self, problem: str, *, may_resume: bool = False, has_diverged: bool = False) -> None:
        """Notes why a run failed; the others need not go on. One that was cut off may resume."""
        self._problem = self._problem or problem
        self._is_refused = self._is_refused or not may_resume
        self._has_diverged = self._has_diverged or has_diverged
        self._stop()

    def _stop(self) -> None:
        for run in self.runs:
            with contextlib.suppress(OSError):  # the next look tries again
                run.stop_file.touch()

    def end(self) -> None:
        """Tells Optuna how it ended, when none of its runs is under way."""
        try:
            self._report()
        except _AWAY as error:
            self.fail(str(error), may_resume=True)
        if not self._means and not self._problem:
            self.fail("there is no evaluation")
        if self._problem:
            self._trial.set_user_attr(_PROBLEM, self._problem)
            self._trial.set_user_attr(_CUT_OFF, not self._is_refused)
        if self._has_diverged:  # Optuna is to learn that such settings are bad, not to ignore them
            self._study.tell(self._trial, state=_States.PRUNED)
        elif self._problem:
            self._study.tell(self._trial, state=_States.FAIL)
        elif self._is_pruned:
            self._study.tell(self._trial, state=_States.PRUNED)
        else:
            self._study.tell(self._trial, self._score(max(self._means)))
        if self._is_refused or self._is_pruned:  # no run of it is resumed
            for run in self.runs:
                shutil.rmtree(run.path / layout.REPLAY, ignore_errors=True)


def wants_another(study: optuna.Study, num_trials: int) -> bool:
    """Whether a trial waits, or fewer than all have begun; those that were cut off count once."""
    waiting = study.get_trials(states=[_States.WAITING])
    begun = {trial.user_attrs.get(_FOLDERS) for trial in study.trials} - {None}
    return bool(waiting) or len(begun) < num_trials


def counts(study: optuna.Study) -> str:
    """How many trials have ended in which way, such as '7 complete, 3 pruned'."""
    states = [trial.state for trial in study.trials if _PROBLEM not in trial.user_attrs]
    ended = {
        "complete": states.count(_States.COMPLETE),
        "pruned": states.count(_States.PRUNED),
        "failed": problems(study).total(),
    }
    return ", ".join(f"{count:,} {name}" for name, count in ended.items() if count)


def ranked(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The complete trials, the one with the highest score first.

    Where several reach the same score, as where it is the most that a game gives, the one that was
    best on the way comes first.
    """
    return sorted(study.get_trials(states=[_States.COMPLETE]), key=_rank)


def _rank(trial: optuna.trial.FrozenTrial) -> tuple[float, float, int]:
    assert trial.value is not None  # it is complete
    return -trial.value, -statistics.fmean(trial.intermediate_values.values()), trial.number


def problems(study: optuna.Study) -> collections.Counter[str]:
    """Why trials failed in their last attempt, and how many for each reason."""
    return collections.Counter(
        trial.user_attrs[_PROBLEM] for trial in _newest(study) if _PROBLEM in trial.user_attrs
    )


def folder_number(trial: optuna.trial.FrozenTrial) -> int:
    """The number in the names of a trial's folders: its own, or that of its first attempt."""
    return int(trial.user_attrs.get(_FOLDERS, trial.number))


def settings_of(trial: optuna.trial.FrozenTrial) -> list[str]:
    """What the runs of a trial that has begun were given, as a user types it."""
    return list(trial.user_attrs[_SETTINGS])
