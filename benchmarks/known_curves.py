r"""Adds the evaluations of complete runs to those that the package knows.

  python -m benchmarks.known_curves --runs=runs/Breakout-laptop-seed0,runs/Breakout-laptop-seed1

New runs with the same settings are held against them. A run replaces an earlier one with the same
settings and seed.
"""

import json
from typing import Any

from absl import flags

from benchmarks import report
from jaxdqn import errors, wording
from jaxdqn.cli import paths, program
from jaxdqn.reporting import found_runs
from jaxdqn.rundir import known_curves, layout
from jaxdqn.storage import atomic_files


def added(known: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All runs, sorted; of those with equal settings and seed the newest."""
    kept = [old for old in known if not any(_is_the_same(old, one) for one in new)]
    return sorted([*kept, *new], key=lambda one: (one["env"], one["preset"], one["seed"]))


def _is_the_same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    names = ("env", "seed")
    is_equal = known_curves.are_equal(old["settings"], new["settings"])
    return is_equal and all(old[name] == new[name] for name in names)


def entry_of(run: found_runs.Run) -> dict[str, Any]:
    """A run as the file holds it.

    Raises:
      SettingError: it is not complete, has no evaluations, or missed updates.
    """
    if run.problem or run.config is None:
        raise errors.SettingError("runs", f"has {run.path}: {run.problem}")
    if run.state != "complete" or not run.evaluations or run.score is None:
        raise errors.SettingError(
            "runs", f"has {run.path}, which is {run.state}; must be complete, with evaluations"
        )
    planned = run.config.planned_updates if run.config.learns_by_updates else 0
    updates = run.last["updates"]
    if updates < 0.99 * planned:  # it resumed without its replay
        raise errors.SettingError(
            "runs", f"has {run.path}, which made {updates:,} of {planned:,} updates"
        )
    assert run.written
    hardware = json.loads((run.path / layout.CONFIG_FILE).read_text())["hardware"]
    made = f"{report.machine(hardware)}, {run.written:%Y-%m-%d}"
    return known_curves.entry(run.config, run.evaluations, made)


def main() -> int:
    """Reads the runs and writes the file."""
    new = [entry_of(found_runs.read(paths.usable("runs", name))) for name in flags.FLAGS.runs]
    lines = [f"{json.dumps(one)}\n" for one in added(known_curves.stored(), new)]
    with atomic_files.whole(known_curves.FILE) as part:
        part.write_text("".join(lines))
    print(f"{wording.counted(len(lines), 'run')} in {known_curves.FILE}")
    return 0


def _define_flags() -> None:
    flags.DEFINE_list("runs", None, "comma-separated folders of runs", required=True)


if __name__ == "__main__":
    program.run_program(_define_flags, main)
