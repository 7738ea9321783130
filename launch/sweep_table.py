"""How far the runs of a sweep are, as a table for a terminal."""

import collections
import pathlib
import sys
from collections.abc import Mapping

from rich import console
from rich import table as rich_table

from jaxdqn.rundir import metrics
from launch import sweep_runs

_TAIL_BYTES = 50_000  # of a run's metrics, which are read again and again


def table(states: Mapping[sweep_runs.Run, str]) -> rich_table.Table:
    """A row for each run, with its state and its newest metrics."""
    shown = rich_table.Table("run", "state", "attempts", "step", "steps/s", "return", "evaluation")
    for run, state in states.items():
        rows = list(metrics.parse(_tail(run.path / metrics.FILE)))
        training = metrics.training(rows)
        last = training[-1] if training else {}
        evaluations = metrics.evaluations(rows)
        shown.add_row(
            run.path.name,
            state,
            str(run.attempts()),
            _number(last.get("step"), ",.0f"),
            _number(last.get("steps_per_second"), ",.0f"),
            _number(last.get("episode_return_mean"), ".2f"),
            _number(evaluations[-1]["eval_return_mean"] if evaluations else None, ".2f"),
        )
    return shown


def progress(states: Mapping[sweep_runs.Run, str]) -> rich_table.Table:
    """The same of the runs under way and of those that failed, and how many there are of each."""
    shown = table({run: state for run, state in states.items() if state in ("running", "failed")})
    counts = collections.Counter(states.values())
    shown.caption = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
    return shown


def show(shown: rich_table.Table) -> None:
    """Prints a table, in a log file as wide as most are."""
    console.Console(width=None if sys.stdout.isatty() else 120).print(shown)


def _tail(path: pathlib.Path) -> str:
    """The last lines of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:  # it is not there yet, or a disk is not there now
        return ""


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
